"""MMBT: a text transformer that reads the places of a picture as words, its encoders thawed one after the other."""

from awase.config import FusionConfig, Node, StageConfig, TrainConfig
from awase.methods.context import Changes, MethodContext, changed


def mmbt(
    context: MethodContext,
    text: str = "text",
    other: str | None = None,
    num_places: int = 3,
    special_ids: tuple[int, int] | None = None,
    warmup: tuple[int, int] = (3, 2),
    warmup_training: Changes | None = None,
    training: Changes | None = None,
) -> list[Node]:
    """First the fusion alone learns, then the other modality's encoder too, then the text's as well.

    `warmup` are the epochs of the first two stages: with (3, 2) the picture's encoder is frozen for 3 epochs and the
    text's for 5, as in the original; 0 leaves a stage out. The last stage has the epochs of the joint training on top.
    `other` is the modality beside the text; None where the experiment has one only. Raises `ValueError` where there is
    no such modality, for negative epochs, and where several could be meant. Source: Kiela et al., 2019.
    """
    seen = _other(context, text, other)
    if min(warmup) < 0:
        raise ValueError(f"The epochs of a warm-up are 0 (no such stage) or more; given: {warmup}.")
    fusion = FusionConfig(
        name="mmbt",
        options={"num_places": num_places, "special_ids": None if special_ids is None else list(special_ids)},
    )
    first = changed(context.joint_from_start, warmup_training)
    plans = [
        ("warmup-fusion", ("fusion",), first.model_copy(update={"epochs": warmup[0]})),
        (f"warmup-{seen}", ("fusion", f"{seen}.encoder"), first.model_copy(update={"epochs": warmup[1]})),
        ("mmbt", ("fusion", "*.encoder"), changed(context.joint_from_start, training)),
    ]
    modalities = tuple(name for name in context.modalities if name in (text, seen))
    return _chain([plan for plan in plans if plan[2].epochs > 0], modalities, fusion)


def _chain(
    plans: list[tuple[str, tuple[str, ...], TrainConfig]], modalities: tuple[str, ...], fusion: FusionConfig
) -> list[Node]:
    """A stage per plan, each beginning where the one before ended."""
    nodes: list[Node] = []
    for name, train, training in plans:
        start = (nodes[-1].name,) if nodes else ()
        nodes.append(
            StageConfig(name=name, modalities=modalities, train=train, start=start, fusion=fusion, training=training)
        )
    return nodes


def _other(context: MethodContext, text: str, other: str | None) -> str:
    context.check((text,) if other is None else (text, other))
    rest = [name for name in context.modalities if name != text] if other is None else [other]
    if len(rest) != 1 or rest[0] == text:
        raise ValueError(
            f"MMBT reads the text {text!r} and one other modality; the experiment has {', '.join(context.modalities)}. "
            "Name the other with the setting `other`, and the text with `text`."
        )
    return rest[0]
