"""The methods that a comparison lists, for any modalities."""

from collections.abc import Sequence
from typing import Any

from awase.config import MethodConfig


def natural_baselines(modalities: Sequence[str], ranks: Sequence[int] = (4,)) -> tuple[MethodConfig, ...]:
    """Each modality alone, joint, frozen, fine-tuned, UME, and MMLoRA at every rank in all modalities."""
    alone = [MethodConfig(method="unimodal", label=name, settings={"modality": name}) for name in modalities]
    together = [MethodConfig(method=name) for name in ("joint", "frozen_linear", "joint_finetuned", "ume", "ume_full")]
    adapted = [
        MethodConfig(method="mmlora", label="mmlora" if len(ranks) == 1 else f"mmlora-r{rank}", settings={"rank": rank})
        for rank in ranks
    ]
    return (*alone, *together, *adapted)


def every_method(modalities: Sequence[str], ranks: Sequence[int] = (1, 4, 16)) -> tuple[MethodConfig, ...]:
    """`natural_baselines`, the variants of joint training and of the ensemble, MMLoRA by rank and place, its controls.

    MMLoRA: every rank in each modality alone and in all of them.
    """
    variants = [
        _labelled("joint-sum", "joint", fusion="sum"),
        _labelled("joint-multi-loss", "joint", own_heads=True, modality_weight=1.0),
        _labelled("ume-probabilities", "ume", mean="probabilities"),
        _labelled("ume-calibrated", "ume", calibrated=True),
        _labelled("ume-weighted", "ume", weighted=True),
        _labelled("ume-longer", "ume", longer=True),
    ]
    places: list[tuple[str, list[str]]] = [(name, [name]) for name in modalities]
    adapted = [
        _labelled(f"mmlora-r{rank}-{place}", "mmlora", rank=rank, modalities=chosen)
        for rank in ranks
        for place, chosen in [*places, ("all", list(modalities))]
    ]
    middle = sorted(ranks)[len(ranks) // 2]
    controls = [
        _labelled("mmlora-r0", "mmlora", rank=0),
        _labelled(f"mmlora-r{middle}-own-losses", "mmlora", rank=middle, modality_losses=True),
    ]
    return (*natural_baselines(modalities)[:-1], *variants, *adapted, *controls)


def mmlora_and_controls(modalities: Sequence[str], rank: int = 4) -> tuple[MethodConfig, ...]:
    """Adapters in one modality at a time, the controls that tell their gain from calibration and longer training."""
    placed = [_labelled(f"mmlora-{name}", "mmlora", rank=rank, modalities=[name]) for name in modalities]
    controls = [
        _labelled("mmlora-r0", "mmlora", rank=0),
        _labelled("mmlora-own-losses", "mmlora", rank=rank, modality_losses=True),
        _labelled("ume-longer", "ume", longer=True),
        _labelled("ume-calibrated", "ume", calibrated=True),
    ]
    return (*placed, *controls)


def table_methods(
    modalities: Sequence[str], kinds: Sequence[str] = ("same_width",), multi_label: bool = False
) -> tuple[MethodConfig, ...]:
    """Every method of the published tables and their later competitors, each by its own name, with its defaults.

    `kinds` adds the methods that need encoders of some kind: `same_width` (features of one size: `mla`), `tokens`
    (towers of transformer blocks: `mbt`, and `pmf` for two modalities), `image_text` (`mmbt`, with BERT's own [CLS] and
    [SEP]), `large` (`pmf_l`). Methods of one label per sample (`pmr`) are left out where there are several.
    """
    pairwise = len(modalities) == 2
    fused = [_labelled(f"joint-{name}", "joint", fusion=name) for name in ("sum", "film", "gated")]
    joint = [
        *(one for one in fused if pairwise or one.title == "joint-sum"),
        _labelled("joint-multi-loss", "joint", own_heads=True, modality_weight=1.0),
    ]
    balanced = [
        MethodConfig(method="ogm_ge"),
        _labelled("ogm", "ogm_ge", noise=False),
        *([] if multi_label else [MethodConfig(method="pmr")]),
        MethodConfig(method="gradient_blending"),
        MethodConfig(method="gradient_blending_online"),
        MethodConfig(method="mmpareto"),
        MethodConfig(method="agm"),
        MethodConfig(method="opm"),
    ]
    rare = {"training": {"class_weights": "balanced"}, "warmup_training": {"class_weights": "balanced"}}
    of_kind = {
        "same_width": [MethodConfig(method="mla")],
        "tokens": [MethodConfig(method=name) for name in (("mbt", "pmf") if pairwise else ("mbt",))],
        "image_text": [_labelled("mmbt", "mmbt", special_ids=[101, 102], **(rare if multi_label else {}))],
        "large": [MethodConfig(method="pmf_l")],
    }
    unknown = sorted(set(kinds) - set(of_kind))
    if unknown:
        raise ValueError(f"There is no kind of encoders {', '.join(unknown)}; valid names: {', '.join(of_kind)}.")
    of_encoders = [method for kind in kinds for method in of_kind[kind]]
    *alone, last = natural_baselines(modalities)
    return (*alone, MethodConfig(method="umt"), *joint, *balanced, *of_encoders, last)


def token_methods(modalities: tuple[str, str], *, large: bool = False) -> tuple[MethodConfig, ...]:
    """What joins the blocks of two transformers without pretrained weights, and what it is compared with.

    Each modality, joint, UME, MMLoRA, `mbt` and `pmf` over the towers of the uni-modal stages. `large`: for a second,
    larger pair of towers, of 96 dimensions: `pmf_l` instead of `mbt`, `pmf` and MMLoRA.
    """
    alone = [MethodConfig(method="unimodal", label=name, settings={"modality": name}) for name in modalities]
    shared = [*alone, MethodConfig(method="joint"), MethodConfig(method="ume")]
    if large:
        return (*shared, MethodConfig(method="pmf_l", settings={"towers": "unimodal", "width": 96}))
    own = [MethodConfig(method="mbt"), MethodConfig(method="pmf", settings={"towers": "unimodal"})]
    return (*shared, MethodConfig(method="mmlora"), *own)


def tuned(methods: Sequence[MethodConfig], candidates: Sequence[dict[str, Any]]) -> tuple[MethodConfig, ...]:
    """The methods, each with the same candidates where its last stage trains; the others have nothing to choose."""
    return tuple(
        method if method.method == "ume" else method.model_copy(update={"candidates": tuple(candidates)})
        for method in methods
    )


def _labelled(label: str, method: str, **settings: Any) -> MethodConfig:
    return MethodConfig(method=method, label=label, settings=settings)
