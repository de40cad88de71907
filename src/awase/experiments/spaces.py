"""Joint spaces on any data whose modalities belong together: at once, and in two stages in every order."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from pydantic import JsonValue

from awase.config import DataConfig, EncoderConfig, Experiment, MethodConfig, SelectionConfig, TrainConfig
from awase.methods.mcn import all_pairs

SMALL: dict[str, JsonValue] = {
    "space": {"dim": 256, "reconstruction": 128},
    "clustering": None,
    "loss": "info_nce",
    "temperature": 0.1,
    "reconstruction": {"weight": 1.0},
}
"""A space for small encoders and hundreds of pairs: cosines, since raw dot products of untrained encoders are far from
the scale at which the margin of `mms` was chosen; without clusters, which hold such encoders where they begin."""

TRAINING = TrainConfig(epochs=40, batch_size=32, learning_rate=2e-3, warmup_epochs=1)


def joint_spaces(name: str, data: DataConfig, encoders: dict[str, EncoderConfig] | None = None) -> Experiment:
    """`mcn` at once, and in two stages in every order, on data whose task is retrieval.

    Command: `awase run clips.csv --set data.task=retrieval`. Expected time: minutes per 1,000 clips on two cores.
    """
    return Experiment(
        name=name,
        data=data,
        encoders=encoders or {},
        methods=every_order(tuple(data.inputs), SMALL),
        joint=TRAINING,
        selection=SelectionConfig(metric="R@1"),
        probe=False,
        missing_rates=(),
    )


def every_order(modalities: Sequence[str], retrieval: dict[str, JsonValue]) -> tuple[MethodConfig, ...]:
    """Joint training, then, of three or more modalities, every pair first with the strict and the relaxed stage."""
    joint = MethodConfig(method="mcn", label="joint", settings={"retrieval": retrieval})
    if len(modalities) < 3:
        return (joint,)
    staged = [
        MethodConfig(
            method="mcn",
            label=order_name(pair, modalities) + ("" if second == "strict" else "-relaxed"),
            settings={"retrieval": retrieval, "staged": {"first": list(pair), "second": second}},
        )
        for second in ("strict", "relaxed")
        for pair in combinations(modalities, 2)
    ]
    return (joint, *staged)


def order_name(first: Sequence[str], modalities: Sequence[str]) -> str:
    """`av_t` for audio and video first and then text: initials, those of a stage sorted, text last.

    >>> order_name(("text", "video"), ("video", "audio", "text"))
    'vt_a'
    """
    rest = [name for name in modalities if name not in first]
    return "_".join("".join(name[0] for name in sorted(part, key=lambda n: (n == "text", n))) for part in (first, rest))


def controlled(modalities: Sequence[str], retrieval: dict[str, JsonValue], epochs: int) -> tuple[MethodConfig, ...]:
    """Joint and staged training, all subsets of the pairs, and the controls of staged training, of `epochs` epochs.

    For three modalities, the last of which the source adds to the others.

    `alone-p`: the pair p with the second stage's epochs. `-continue`: the learning rate goes on down at the boundary.
    `-anew`: queue, centroids and batch statistics begin anew there. `-new-terms`: clustering and reconstruction cover
    the new modality alone. `-freeze`: the first stage's towers stand still. `-shuffled`: the first stage sees wrong
    pairs. `joint-restart`: joint training whose learning rate rises again in the middle.
    """
    pairs = all_pairs(tuple(modalities))
    subsets = [chosen for size in (1, 2) for chosen in combinations(pairs, size)]
    first = list(modalities[:2])
    name = order_name(first, modalities)
    changes: dict[str, dict[str, Any]] = {
        "continue": {"schedule": "continue"},
        "anew": {"begin": ["queue", "centroids", "batch_statistics"]},
        "new-terms": {"terms": "new"},
        "freeze": {"policy": [{"name": "freeze"}]},
        "shuffled": {"shuffle_first": True},
    }
    return (
        *every_order(modalities, retrieval),
        *(_labelled("only-" + ",".join(chosen), retrieval, pairs=list(chosen)) for chosen in subsets),
        *(_labelled(f"alone-{pair}", retrieval, pairs=[pair], training={"epochs": epochs // 2}) for pair in pairs),
        *(
            _labelled(f"{name}-{word}", retrieval, staged={"first": first, **change})
            for word, change in changes.items()
        ),
        _labelled("joint-restart", retrieval, staged={"first": list(modalities)}),
    )


POLICIES: dict[str, list[dict[str, JsonValue]]] = {
    "naive": [],
    "freeze": [{"name": "freeze"}],
    "lwf-features": [{"name": "feature_distillation"}],
    "lwf-similarities": [{"name": "similarity_distillation"}],
    "ckc": [{"name": "ckc"}],
    "replay": [{"name": "replay"}],
    "replay-lwf-similarities": [{"name": "replay"}, {"name": "similarity_distillation"}],
    "ewc": [{"name": "ewc"}],
    "low-rank": [{"name": "low_rank"}],
    "o-lora": [{"name": "low_rank", "weight": 0.5}],
    "osrm": [{"name": "low_rank", "directions": "osrm"}],
    "inflora": [{"name": "low_rank", "directions": "inflora", "rank": 4, "energy": 0.8}],
    "keeplora": [{"name": "low_rank", "directions": "keeplora", "rank": 4, "energy": 0.5}],
    "bank": [{"name": "bank"}],
    "bank-heads": [{"name": "bank", "combination": {"adapter": {"rank": 256}}}],
    "bank-encoders": [{"name": "bank", "combination": {"place": "both", "adapter": {"rank": 8, "targets": "*"}}}],
    "bank-encoders-r32": [{"name": "bank", "combination": {"place": "both", "adapter": {"rank": 32, "targets": "*"}}}],
}
"""Short names of policies for the second stage, at their defaults where these fit small encoders.

`bank`: adapters at the heads; `bank-heads`: of full rank, heads of the pair's own; `bank-encoders`: in encoders too,
of rank 8 and 32.
"""
RELAXED: dict[str, list[dict[str, JsonValue]]] = {
    "relaxed": [],
    "relaxed-lwf-similarities": [{"name": "similarity_distillation"}],
}
"""Those whose second stage draws the old pairs together too."""
LINEAR: dict[str, list[dict[str, JsonValue]]] = {"linear": [], "dns": [{"name": "dns"}]}
"""Those that need linear heads, and naive staging with such heads."""


def policies(modalities: Sequence[str], retrieval: dict[str, JsonValue], epochs: int) -> tuple[MethodConfig, ...]:
    """Every order of three modalities under every policy, joint training, and every pair alone, of `epochs` epochs.

    `alone-p`: the pair p with the second stage's epochs. Methods of one order share their first stage. `av_t-dns` and
    so on have linear heads, with a naive one of their own to compare them with.
    """
    pairs = all_pairs(tuple(modalities))
    orders = list(combinations(modalities, 2))
    linear: dict[str, JsonValue] = {**retrieval, "space": {**_space(retrieval), "projection": "linear"}}
    return (
        _labelled("joint", retrieval),
        *(_labelled(f"alone-{pair}", retrieval, pairs=[pair], training={"epochs": epochs // 2}) for pair in pairs),
        *(_under(first, modalities, word, retrieval, policy) for first in orders for word, policy in POLICIES.items()),
        *(
            _under(first, modalities, word, retrieval, policy, second="relaxed")
            for first in orders
            for word, policy in RELAXED.items()
        ),
        *(_under(first, modalities, word, linear, policy) for first in orders for word, policy in LINEAR.items()),
    )


def _under(
    first: Sequence[str],
    modalities: Sequence[str],
    word: str,
    retrieval: dict[str, JsonValue],
    policy: Sequence[dict[str, JsonValue]],
    **changes: JsonValue,
) -> MethodConfig:
    staged = {"first": list(first), "policy": list(policy), **changes}
    return _labelled(f"{order_name(first, modalities)}-{word}", retrieval, staged=staged)


def _space(retrieval: dict[str, JsonValue]) -> dict[str, JsonValue]:
    space = retrieval.get("space") or {}
    assert isinstance(space, dict), "a space is a table of its fields"
    return space


def _labelled(label: str, retrieval: dict[str, JsonValue], **settings: Any) -> MethodConfig:
    return MethodConfig(method="mcn", label=label, settings={"retrieval": retrieval, **settings})
