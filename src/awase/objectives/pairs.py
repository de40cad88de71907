"""A loss of two sets of embeddings, over several pairs of modalities."""

from collections.abc import Mapping
from functools import partial

from jaxtyping import Bool, Float
from torch import Tensor

from awase.distributed import ALONE, World
from awase.objectives.contrastive import PairLoss
from awase.objectives.mil_nce import mil_nce
from awase.objectives.presence import all_of
from awase.objectives.soft_targets import Targets

Candidates = tuple[Float[Tensor, "batch candidates dim"], Bool[Tensor, "batch candidates"]]
"""The embeddings of all candidates of every sample, and which of them are real."""


def pair_losses(
    embeddings: Mapping[str, Float[Tensor, "batch dim"]],
    present: Mapping[str, Bool[Tensor, " batch"] | None],
    loss: PairLoss,
    weights: Mapping[str, float],
    *,
    candidates: Mapping[str, Candidates] | None = None,
    targets: Mapping[str, Targets] | None = None,
    world: World = ALONE,
) -> dict[str, Float[Tensor, " batch"]]:
    """weight . loss(x, y) of every pair that has a weight, under the pair's name; the objective is their sum.

    The pair takes part in the samples that have both: the others are 0 in it and nobody's negative. x is the one whose
    name comes first in the alphabet. The weighted mean of Everything at Once is had with weights that sum to 1.
    A pair with a modality that has `candidates` has `mil_nce` of the other's embeddings and these instead of `loss`.
    A pair in `targets` gives its own to `loss`, which then is one that takes them.
    Raises `ValueError` for a pair that is not of two of the embeddings.
    """
    several, drawn = candidates or {}, targets or {}
    found: dict[str, Tensor] = {}
    for pair, weight in weights.items():
        first, second = _two(pair, embeddings)
        both = all_of([present[first], present[second]])
        if first in several or second in several:
            x, of = (first, second) if second in several else (second, first)
            values, mask = several[of]
            losses = mil_nce(embeddings[x], values, candidate_mask=mask, present=both, world=world)
        else:
            own = partial(loss, targets=drawn[pair]) if pair in drawn else loss
            losses = own(embeddings[first], embeddings[second], present=both, world=world)
        found[pair] = weight * losses
    return found


def _two(pair: str, embeddings: Mapping[str, Tensor]) -> tuple[str, str]:
    names = sorted(pair.split("+"))
    if len(names) != 2 or names[0] == names[1] or not set(names) <= set(embeddings):
        raise ValueError(
            f"A pair is two of the modalities {', '.join(sorted(embeddings))}, written like 'audio+text'; "
            f"given: {pair!r}."
        )
    return names[0], names[1]
