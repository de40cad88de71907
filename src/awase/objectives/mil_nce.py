"""MIL-NCE: a clip and several candidate captions, of which some may be about it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from awase.distributed import ALONE, World, first_row, gather_constant, gather_rows
from awase.objectives.presence import all_of, everyone, without_absent
from awase.objectives.similarities import FAR, Similarities


def mil_nce(
    x: Float[Tensor, "batch dim"],
    candidates: Float[Tensor, "batch candidates dim"],
    *,
    candidate_mask: Bool[Tensor, "batch candidates"] | None = None,
    present: Bool[Tensor, " batch"] | None = None,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """-log [sum_m exp s_iim / (sum_jm exp s_ijm + sum_jm exp s_jim)], s_ijm = x_i . c_jm, raw dot products.

    The denominator is the row of sample i and its column, over all candidates m; as in the released code both contain
    the numerator, which so is counted twice (with one candidate and one sample the loss is ln 2, not 0).
    `candidate_mask` says which candidates are real; a sample without any is absent. `present` and `world` as in
    `objectives.contrastive`.
    Source: Miech et al., CVPR 2020, equation 1, and the released code.
    """
    if candidate_mask is None and (present is not None or world.size > 1):
        candidate_mask = torch.ones(candidates.shape[:2], dtype=torch.bool, device=candidates.device)
    if candidate_mask is not None:
        present = all_of([everyone(x, present), candidate_mask.any(dim=1)])
        candidate_mask = candidate_mask & everyone(x, present)[:, None]
    x = without_absent(x, present)
    rows = without_absent(candidates.flatten(0, 1), None if candidate_mask is None else candidate_mask.flatten())
    every = gather_rows(rows.unflatten(0, candidates.shape[:2]), world)  # (columns, candidates, dim)
    scores = (x @ every.flatten(0, 1).T).to(x.dtype).unflatten(1, every.shape[:2])  # (rows, columns, candidates)
    if present is not None and candidate_mask is not None:
        with torch.no_grad():  # the gradient of a hidden score is zero by itself
            scores.masked_fill_(~present[:, None, None], FAR)
            scores.masked_fill_(~gather_constant(candidate_mask, world), FAR)
    first = first_row(x, world)
    own = scores.narrow(1, first, len(x)).diagonal().T  # (rows, candidates)
    # Summing over the candidates first leaves one matrix, read along both axes.
    pairs = Similarities(scores.logsumexp(dim=2), first, present, None, world)
    both = torch.logaddexp(pairs.logsumexp_rows(), pairs.logsumexp_columns())
    return pairs.finish(both - own.logsumexp(dim=1))
