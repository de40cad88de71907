"""Which route a task takes, chosen on one half of validation and reported on the other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from numpy.typing import NDArray

from awase.evaluation import Embedded, directions
from awase.evaluation.directions import ranks_between
from awase.evaluation.routes import ALPHA, Kind, Route, Scale, Scales, Term, possible_routes, route_sides, score_moments
from awase.statistics import Difference, paired_difference
from awase.vocabulary import SHARED_NAME, Task

LEAST = 20
"""So many groups of queries (videos, or samples) must be in the half that chooses; of fewer an interval says little."""


@dataclass(frozen=True)
class Candidate:
    """R@1 of a route on both halves, in [0, 1]; the difference to the route without calibration is on the first."""

    calibration: float | None
    report: float | None
    difference: float = 0.0
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class Calibrated:
    """The route of a task, why, and the numbers behind it; `queries` and `groups` are of both halves."""

    route: Kind
    keys: tuple[str, ...]
    why: str
    candidates: dict[Kind, Candidate]
    queries: tuple[int, int]
    groups: tuple[int, int]
    gallery: int


def calibrated_tasks(modalities: tuple[str, ...], keys: Iterable[str]) -> tuple[Task, ...]:
    """Every direction of the space and its reverse, and those of each key: one against the others, and back."""
    found: dict[Task, None] = {}
    sets = [modalities, *(tuple(key.split("+")) for key in keys)]
    for names in sets:
        for one in directions(names):
            task = Task.parse(str(one))
            found |= {task: None, Task(task.target, task.query): None}
    return tuple(found)


def halves(groups: Sequence[str], seed: int) -> Bool[np.ndarray, " samples"]:
    """Returns which samples choose; the others report. Samples of a group are in the same half.

    Of the groups, in an order drawn by `seed`, the first half, the larger one where their number is odd.
    """
    names, number = np.unique(np.array(groups, dtype=np.str_), return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = np.zeros(len(names), dtype=bool)
    chosen[order[: -(-len(names) // 2)]] = True
    found: NDArray[np.bool_] = chosen[number]
    return found


@dataclass(frozen=True)
class Validation:
    """Embeddings of validation under every key, the group of every sample by its row of the data set, and the rows
    that choose."""

    embedded: Embedded
    groups: Mapping[int, str]
    choosing: frozenset[int]
    cosine: bool
    device: str = "cpu"

    @classmethod
    def of(
        cls, embedded: Embedded, groups: Mapping[int, str], *, cosine: bool, seed: int, device: str = "cpu"
    ) -> "Validation":
        """`groups` may lack rows, or be empty: such a sample's group is its clip."""
        rows, clips = embedded.index.tolist(), embedded.clips.tolist()
        whole = {row: groups.get(row) or f"clip {clip}" for row, clip in zip(rows, clips, strict=True)}
        chosen = halves(tuple(whole.values()), seed)
        first = frozenset(row for row, here in zip(whole, chosen.tolist(), strict=True) if here)
        return cls(embedded, whole, first, cosine, device)


@dataclass(frozen=True)
class _Measured:
    """Which queries of a route find their item first, the half and the group of each, and the size of the gallery."""

    hits: Float[np.ndarray, " queries"]
    choosing: Bool[np.ndarray, " queries"]
    groups: Shaped[np.ndarray, " queries"]
    gallery: int


def calibrate(
    validation: Validation, modalities: tuple[str, ...], keys: tuple[str, ...], *, alpha: float = ALPHA
) -> tuple[Scales, dict[str, Calibrated]]:
    """Returns the scale of every key's scores, and the route of every task of `calibrated_tasks` that can be measured.

    Queries are samples with all modalities of the query whose own item has all of the target; the gallery is every
    such item of validation, of both halves. Scales are of the first half's queries with the whole gallery. The route
    without calibration (`possible_routes`) is kept unless the 95 % interval of a difference in R@1 to it, paired by
    query and drawn by group, lies above zero; of several such routes the one with the largest difference is taken.
    """
    tasks = calibrated_tasks(modalities, keys)
    scales: dict[str, dict[str, Scale]] = {}
    for key in (SHARED_NAME, *keys):
        for task in tasks:
            if key in (SHARED_NAME, task.key):
                scale = _scale_of(validation, Route(task, "exact", (Term(key, task),)))
                if scale is not None:
                    scales.setdefault(key, {})[str(task)] = scale
    found = {}
    for task in tasks:
        routes = possible_routes(task, keys, scales, alpha)
        measured = {kind: _measure(validation, route) for kind, route in routes.items()}
        if next(iter(measured.values())).gallery > 1:
            found[str(task)] = _choose(routes, measured)
    return scales, found


def _scale_of(validation: Validation, route: Route) -> Scale | None:
    base, sides = route_sides(validation.embedded, route, cosine=validation.cosine, device=validation.device)
    rows = base.index[sides.asking.cpu()].tolist()
    first = torch.tensor([row in validation.choosing for row in rows], device=sides.asked.device)
    asked = sides.asked & first
    if not bool(asked.any()) or not bool(sides.there.any()):
        return None
    return Scale(*score_moments(sides.queries[asked], sides.gallery[sides.there]))


def _measure(validation: Validation, route: Route) -> _Measured:
    base, sides = route_sides(validation.embedded, route, cosine=validation.cosine, device=validation.device)
    ranks = ranks_between(sides).cpu().numpy()
    found = ranks >= 0
    rows = [row for row, here in zip(base.index[sides.asking.cpu()].tolist(), found, strict=True) if here]
    gallery = int(sides.there.sum())
    first = ranks[found] == 0  # R@1
    return _Measured(
        first.astype(np.float64),
        np.array([row in validation.choosing for row in rows], dtype=bool),
        np.array([validation.groups[row] for row in rows], dtype=np.str_),
        gallery,
    )


def _choose(routes: Mapping[Kind, Route], measured: Mapping[Kind, _Measured]) -> Calibrated:
    usual = next(iter(routes))
    base = measured[usual]
    first, groups = base.choosing, base.groups
    sizes = (len(set(groups[first])), len(set(groups[~first])))
    enough = sizes[0] >= LEAST
    differences: dict[Kind, Difference] = {}
    if enough:
        for kind, one in measured.items():
            if kind != usual:
                pair = (one.hits[None, first], base.hits[None, first])
                differences[kind] = paired_difference(*pair, groups[first].tolist())
    better = {kind: found.difference for kind, found in differences.items() if found.low > 0}
    chosen = max(better, key=lambda kind: better[kind]) if better else usual
    candidates = {kind: _candidate(one, differences.get(kind)) for kind, one in measured.items()}
    return Calibrated(
        route=chosen,
        keys=routes[chosen].keys,
        why=_why(chosen, usual, differences, sizes[0]),
        candidates=candidates,
        queries=(int(first.sum()), int((~first).sum())),
        groups=sizes,
        gallery=base.gallery,
    )


def _candidate(one: _Measured, found: Difference | None) -> Candidate:
    first, second = one.hits[one.choosing], one.hits[~one.choosing]
    recall = float(first.mean()) if len(first) else None
    report = float(second.mean()) if len(second) else None
    if found is None:
        return Candidate(recall, report)
    return Candidate(recall, report, found.difference, found.low, found.high)


def _why(chosen: Kind, usual: Kind, differences: Mapping[Kind, Difference], groups: int) -> str:
    if chosen != usual:
        found = differences[chosen]
        return (
            f"{chosen} instead of {usual}: R@1 {100 * found.difference:+.1f} points, "
            f"[{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
        )
    if not differences and groups < LEAST:
        return f"{usual}, which is usual here: {groups} groups of queries are too few to choose by ({LEAST})"
    return f"{usual}, which is usual here: no interval of a difference lies above zero"
