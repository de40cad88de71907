"""How a task is answered: under which keys its two sides are scored, and embeddings whose product is that score."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from awase.evaluation.directions import Direction, Sides, side, sides_of
from awase.evaluation.embed import Embedded
from awase.vocabulary import SHARED_NAME, Combination, Task

Kind = Literal["exact", "shared", "ensemble", "pair_average"]
KINDS: tuple[Kind, ...] = ("exact", "shared", "ensemble", "pair_average")
ALPHA = 0.25
"""Weight of the shared space in an ensemble."""


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of the scores of validation under one key: what makes keys comparable."""

    mean: float
    deviation: float


Scales = Mapping[str, Mapping[str, Scale]]
"""Key (`shared` among them) -> task -> scale."""


@dataclass(frozen=True)
class Term:
    """weight (s - mean) / deviation, where s is the score of `task` under `key`; without a scale, s itself."""

    key: str
    task: Task
    weight: float = 1.0
    scale: Scale = Scale(0.0, 1.0)


@dataclass(frozen=True)
class Route:
    """The score of a task as a sum of terms, and why it is this one. The task may be narrower than what was asked."""

    task: Task
    kind: Kind
    terms: tuple[Term, ...]
    why: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys whose embeddings are compared."""
        return tuple(term.key for term in self.terms)


def possible_routes(task: Task, keys: tuple[str, ...], scales: Scales, alpha: float = ALPHA) -> dict[Kind, Route]:
    """Returns every route that a task could take, the one without calibration first.

    exact: under the key of all its modalities. pair_average, for three and more: the mean over the pairs of a query
    and a target modality that have a key, of their normalised scores. shared: no adapters. ensemble: alpha times the
    shared score plus 1 - alpha times the exact one, both normalised. What needs a scale that is not there is left out.
    """
    found: dict[Kind, Route] = {}
    if task.key in keys:
        found["exact"] = Route(task, "exact", (Term(task.key, task),))
    pairs = [_of_pair(one, other) for one in _names(task.query) for other in _names(task.target)]
    known = [pair for pair in pairs if pair.key in keys and _scale(scales, pair.key, pair) is not None]
    if len(pairs) > 1 and known:
        terms = tuple(Term(one.key, one, 1 / len(known), scales[one.key][str(one)]) for one in known)
        found["pair_average"] = Route(task, "pair_average", terms)
    found["shared"] = Route(task, "shared", (Term(SHARED_NAME, task),))
    own, plain = _scale(scales, task.key, task), _scale(scales, SHARED_NAME, task)
    if "exact" in found and own is not None and plain is not None:
        both = (Term(SHARED_NAME, task, alpha, plain), Term(task.key, task, 1 - alpha, own))
        found["ensemble"] = Route(task, "ensemble", both)
    return found


def _of_pair(query: str, target: str) -> Task:
    return Task(Combination.of((query,)), Combination.of((target,)))


def _names(combination: Combination) -> tuple[str, ...]:
    return tuple(sorted(combination.modalities))


def _scale(scales: Scales, key: str, task: Task) -> Scale | None:
    return scales.get(key, {}).get(str(task))


def side_under(
    embedded: Embedded, route: Route, which: Literal["query", "target"], *, cosine: bool
) -> tuple[Float[Tensor, "samples dim"], Bool[Tensor, " samples"]]:
    """One side of a route: vectors whose products with the other side's are the score but for a constant.

    The parts of several keys stand side by side, a query's scaled by weight / deviation. A sample is there with all of
    the side's modalities or not at all, so that every score of a route is under the same keys.
    Raises `ValueError` for a key under which the samples are not embedded.
    """
    parts = []
    for term in route.terms:
        names = _names(getattr(term.task, which))
        values = side(embedded.of_key(term.key), names, cosine=cosine)[0]
        parts.append(values * (term.weight / term.scale.deviation) if which == "query" else values)
    whole = [embedded.present[name] for name in _names(getattr(route.task, which))]
    return torch.cat(parts, dim=1), torch.stack(whole).all(dim=0)


def route_sides(
    embedded: Embedded, route: Route, *, cosine: bool, device: torch.device | str = "cpu"
) -> tuple[Embedded, Sides]:
    """The samples that ask (where a clip has captions that the task has no use for, one per clip), and both sides."""
    modalities = {"query": route.task.query.modalities, "target": route.task.target.modalities}
    involved = set().union(*modalities.values())
    base = embedded if involved & set(embedded.several) else embedded.one_per_clip()
    query, asked = side_under(base, route, "query", cosine=cosine)
    target, there = side_under(base, route, "target", cosine=cosine)
    several = {which: base.several[name] for which, own in modalities.items() for name in own & set(base.several)}
    plain = Embedded(
        base.ids, base.index, {"query": query, "target": target}, {"query": asked, "target": there}, several
    )
    return base, sides_of(plain, Direction("query", ("target",)), cosine=False, device=device)


def route_scores(queries: Embedded, gallery: Embedded, route: Route, *, cosine: bool) -> Float[Tensor, "queries items"]:
    """Returns the scores of a route; NaN where the query or the item lacks a modality of the task.

    Raises `ValueError` where the two sides are embedded under different keys.
    """
    if queries.key != gallery.key and None not in (queries.key, gallery.key):
        raise ValueError(
            f"The queries are embedded under {queries.key}, the items under {gallery.key}: scores between two keys "
            "mean nothing. Embed both under the same one, or without naming one."
        )
    query, asked = side_under(queries, route, "query", cosine=cosine)
    target, there = side_under(gallery, route, "target", cosine=cosine)
    constant = sum(term.weight * term.scale.mean / term.scale.deviation for term in route.terms)
    scores = query @ target.T - constant
    return scores.masked_fill(~(asked[:, None] & there[None, :]), torch.nan)


def score_moments(queries: Float[Tensor, "queries dim"], items: Float[Tensor, "items dim"]) -> tuple[float, float]:
    """Returns mean and standard deviation of all products, from means alone: no matrix of all pairs.

    The deviation is 1 where all are the same. Example: queries `[[1.]]`, items `[[1.], [3.]]`: (2, 1).
    """
    queries, items = queries.double(), items.double()
    mean = float(queries.mean(0) @ items.mean(0))
    square = float(((queries.T @ queries) * (items.T @ items)).sum()) / (len(queries) * len(items))
    deviation = max(square - mean**2, 0.0) ** 0.5
    return mean, deviation if deviation > 1e-9 else 1.0
