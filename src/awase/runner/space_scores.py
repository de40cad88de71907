"""A joint space on a split: its embeddings, the ranks in every direction, and the numbers that choose epochs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from awase.config import CombinationsConfig, RetrievalConfig, StageConfig
from awase.data import Dataset
from awase.data.features import ClipDataset
from awase.distributed import ALONE, World
from awase.evaluation import Direction, Embedded, directions, embed
from awase.evaluation.directions import ranks_between, sides_of
from awase.evaluation.embed import first_rows
from awase.models import Retrieval
from awase.objectives import (
    Candidates,
    PairLoss,
    SpanLoss,
    Targets,
    combination_loss,
    pair_losses,
    similarity_distillation,
    span_loss,
    triangle_area,
    volume,
)
from awase.objectives.presence import all_of
from awase.runner.known import EVALUATION_BATCH, Known, autocast
from awase.runner.setting import Setting
from awase.runner.space_files import numbered
from awase.runner.space_state import SpaceState
from awase.statistics import retrieval_metrics

KS = (1, 5, 10)
OVER_ALL = "MedR_all"
SPANS: dict[str, SpanLoss] = {"triangle": triangle_area, "volume": volume}
RAW = ("mms", "mil_nce")
"""Losses of raw dot products; the others are of cosines. A space is scored with what it was trained with."""


def uses_cosine(config: RetrievalConfig) -> bool:
    """Whether the scores of a space are cosines."""
    return config.loss not in RAW


def embed_split(model: Retrieval, split: str, setting: Setting, known: Known | None = None) -> Embedded:
    """The embeddings of every sample of a split that has any modality; `present` says which the model can embed.

    Equal texts have equal embeddings.
    """
    loader = setting.dataset.loader(
        split,
        batch_size=EVALUATION_BATCH,
        modalities=setting.dataset.modalities,  # the same samples after every stage, whatever it knows
        inputs=model.modalities if known is None else known.missing(split),
        workers=setting.runtime.workers,
    )
    with autocast(setting):
        found = embed(
            model,
            loader.epoch(0),
            setting.device,
            known=None if known is None else lambda batch: known.of(batch, split),
        )
    several = setting.dataset.several(split, found.index.numpy())
    found = with_equal_texts(found, same_content(setting.dataset, found.index))
    return replace(found, several={name: torch.from_numpy(clips) for name, clips in several.items()})


def with_equal_texts(embedded: Embedded, same: Mapping[str, Int[Tensor, " samples"]]) -> Embedded:
    """The embeddings, those of equal texts made equal to the last bit: every one is that of the first.

    A matrix product rounds by the number of its rows, so that the same text in a smaller last batch comes out a little
    different, and a tie would be decided by that. `same[modality]` numbers texts, equal ones alike.
    """
    places = {}
    for name in same.keys() & embedded.embeddings.keys():
        firsts = first_rows(same[name])
        place = torch.empty(int(same[name].max()) + 1, dtype=torch.int64)
        place[same[name][firsts]] = firsts
        places[name] = place[same[name]]

    def equal(embeddings: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value[places[name]] if name in places else value for name, value in embeddings.items()}

    keyed = {key: equal(own) for key, own in embedded.keyed.items()}
    return replace(embedded, embeddings=equal(embedded.embeddings), keyed=keyed)


def space_metrics(
    model: Retrieval, stage: StageConfig, split: str, setting: Setting, known: Known | None = None
) -> dict[str, float]:
    """The metrics of a split: of every direction (`R@1 text->video`), and their means over the directed pairs.

    `loss` is the contrastive loss of the stage's pairs in batches of the training's size. Raises `ValueError` where no
    sample has one of the modalities.
    """
    assert stage.retrieval is not None, "the stage has a joint space"
    embedded = embed_split(model, split, setting, known)
    nobody = [name for name, rows in embedded.present.items() if not bool(rows.any())]
    if nobody:
        raise ValueError(
            f"No sample of {split} has {', '.join(nobody)}, so nothing can be asked or found with it; give it such "
            "samples, or leave the modality out."
        )
    assert isinstance(model.objective, SpaceState), "the runner built the model"
    found = {"loss": contrastive_loss(embedded, stage, model.objective, setting.dataset.candidate_modalities)}
    by_direction = {
        one: direction_metrics(embedded, one, stage.retrieval, setting) for one in directions(model.modalities)
    }
    found |= mean_over_pairs(by_direction)
    found |= {f"{name} {one}": value for one, values in by_direction.items() for name, value in values.items()}
    return found


def direction_metrics(
    embedded: Embedded, direction: Direction, config: RetrievalConfig, setting: Setting
) -> dict[str, float]:
    """The numbers of one direction; none where there is no query. Without `MedR_all`, which may be infinite."""
    sides = sides_of(embedded, direction, cosine=uses_cosine(config), device=setting.device)
    found = numbers_of(ranks_between(sides).cpu().numpy(), len(sides.items))
    return {name: value for name, value in found.items() if name != OVER_ALL}


def numbers_of(ranks: Int[np.ndarray, " queries"], gallery: int) -> dict[str, float]:
    """R@k (a share) for the k below the size of the gallery, MedR, MeanR and the mean log rank over those found.

    `MedR_all` is over all queries, the missing ones at infinity, where it is itself if half of them are missing. None
    at all without a query.
    """
    if len(ranks) == 0:
        return {}
    found = retrieval_metrics(ranks, gallery, tuple(k for k in KS if k < gallery))
    recall = {f"R@{k}": value for k, value in found.recall.items()}
    medians = {"MedR": found.median_rank, OVER_ALL: found.median_rank_all}
    return {**recall, **medians, "MeanR": found.mean_rank, "log_rank": found.mean_log_rank}


def mean_over_pairs(by_direction: Mapping[Direction, Mapping[str, float]]) -> dict[str, float]:
    """The mean of every number that all directed pairs have."""
    pairs = [values for one, values in by_direction.items() if one.is_pair]
    shared = [name for name in pairs[0] if all(name in values for values in pairs)]
    return {name: float(np.mean([values[name] for values in pairs])) for name in shared}


@torch.no_grad()
def contrastive_loss(embedded: Embedded, stage: StageConfig, state: SpaceState, several: Sequence[str] = ()) -> float:
    """The mean over samples of the sum over the stage's pairs of the contrastive loss, at the temperature of now.

    `several` are the modalities with candidates in training; here each sample has one.
    """
    config, size = stage.retrieval, stage.training.batch_size
    assert config is not None, "the stage has a joint space"
    loss, total = state.contrast(device="cpu"), 0.0
    for start in range(0, len(embedded), size):
        rows = slice(start, start + size)
        embeddings = {name: value[rows] for name, value in embedded.embeddings.items()}
        present = {name: value[rows] for name, value in embedded.present.items()}
        chosen = several if config.loss == "mil_nce" else ()
        candidates = _alone(embeddings, present, chosen)
        terms = pair_losses(embeddings, present, loss, config.pairs, candidates=candidates)
        if config.combinations is not None:
            keyed = {
                key: {name: value[rows] for name, value in values.items()} for key, values in embedded.keyed.items()
            }
            now = float(state.temperature)
            own = {key: _alone(values, present, chosen) for key, values in keyed.items()}
            terms |= combination_losses(keyed, present, loss, config.combinations, temperature=now, candidates=own)
        total += sum(float(value.sum()) for value in terms.values())
    return total / len(embedded)


def _alone(
    embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor], several: Sequence[str]
) -> dict[str, Candidates]:
    """Of the modalities `several` the one embedding of every sample, as its only candidate."""
    return {name: (embeddings[name][:, None], present[name][:, None]) for name in several if name in embeddings}


def combination_losses(
    keyed: Mapping[str, Mapping[str, Tensor]],
    present: Mapping[str, Tensor | None],
    loss: PairLoss,
    config: CombinationsConfig,
    *,
    temperature: Tensor | float,
    targets: Mapping[str, Targets] | None = None,
    candidates: Mapping[str, Mapping[str, Candidates]] | None = None,
    keys: Sequence[str] | None = None,
    world: World = ALONE,
) -> dict[str, Tensor]:
    """The weighted loss per sample of every combination that learns, under `combination audio+text`.

    `temperature` is that of the space, which `loss` has too, and of keys without their own. `targets` are for the loss
    of the keys that they name; the size of what a set spans has none. `keys` are those of a step; None: all that learn.
    A key of two modalities that has `candidates` of one of them has `mil_nce` instead of `loss`, as in `pair_losses`.
    """
    found, several = {}, candidates or {}
    for key in config.learned if keys is None else keys:
        if several.get(key):
            losses = pair_losses(keyed[key], present, loss, {key: 1.0}, candidates=several[key], world=world)[key]
        elif config.of_set in SPANS and len(keyed[key]) > 2:
            span = partial(SPANS[config.of_set], temperature=config.temperatures.get(key, temperature))
            losses = span_loss(keyed[key], present, span, world=world)
        else:
            own = partial(loss, temperature=config.temperatures[key]) if key in config.temperatures else loss
            own = partial(own, targets=targets[key]) if targets and key in targets else own
            losses = combination_loss(keyed[key], present, own, world=world)
        found[f"combination {key}"] = config.weights.get(key, 1.0) * losses
    return found


def tether_losses(
    keyed: Mapping[str, Mapping[str, Tensor]],
    shared: Mapping[str, Tensor],
    present: Mapping[str, Tensor | None],
    config: CombinationsConfig,
    *,
    temperature: Tensor | float,
    keys: Sequence[str] | None = None,
    world: World = ALONE,
) -> dict[str, Tensor]:
    """What holds each pair that learns to the similarities of the `shared` space, under `tether audio+text`.

    `temperature` is that of the space. It and the shared embeddings get no gradient. `keys` are those of a step; None:
    all that learn. Nothing where the weight is 0.
    """
    if config.tether == 0:
        return {}
    found, fixed = {}, temperature.detach() if isinstance(temperature, Tensor) else temperature
    for key in config.learned if keys is None else keys:
        names = sorted(keyed[key])
        if len(names) == 2:
            new, old = ((side[names[0]], side[names[1]]) for side in (keyed[key], shared))
            both = all_of([present[name] for name in names])
            losses = similarity_distillation(new, old, temperature=fixed, present=both, world=world)
            found[f"tether {key}"] = config.tether * losses
    return found


def same_content(
    dataset: Dataset | ClipDataset, index: Int[Tensor, " samples"]
) -> Mapping[str, Int[Tensor, " samples"]]:
    """Per text modality a number for each sample's text: samples with the same text have the same number."""
    return {name: numbered(texts) for name, texts in dataset.texts(index.numpy()).items()}


def space_metric_names(modalities: tuple[str, ...]) -> tuple[str, ...]:
    """The names of everything that `space_metrics` gives for a space of these modalities."""
    plain = (*(f"R@{k}" for k in KS), "MedR", "MeanR", "log_rank")
    return ("loss", *plain, *(f"{name} {one}" for one in directions(modalities) for name in plain))
