"""How far a stage moved the space of the one it began from, and whether an index made then can still be asked."""

from dataclasses import replace
from itertools import permutations

import torch
from torch.nn import functional as F

from awase.evaluation import Direction, Embedded
from awase.evaluation.directions import ranks_between, sides_of
from awase.runner.space_scores import numbers_of


def drift_of(old: Embedded, new: Embedded, *, cosine: bool, device: str) -> dict[str, float]:
    """What became of the modalities of `old`, the same samples under an earlier stage's model.

    `drift video`: the mean of 1 - cos of a sample's old and new embedding, 0 where none turned. `old_index
    text->video`: R@1 of new queries (under the adapters of their combination where it has such) in the gallery of old
    embeddings; where it is much below that of new ones, stored embeddings must be made anew. Nothing of a modality or
    direction that no sample has.
    """
    assert torch.equal(old.index, new.index), "every stage embeds the same samples"
    found = {}
    for name, rows in old.present.items():
        if bool(rows.any()):
            turned = 1 - F.cosine_similarity(old.embeddings[name][rows], new.embeddings[name][rows], dim=1)
            found[f"drift {name}"] = float(turned.mean())
    for query, item in permutations(sorted(old.embeddings), 2):
        asked = new.under((query, item)).embeddings[query]
        mixed = replace(new, embeddings={query: asked, item: old.embeddings[item]}, keyed={})
        sides = sides_of(mixed, Direction(query, (item,)), cosine=cosine, device=device)
        numbers = numbers_of(ranks_between(sides).cpu().numpy(), len(sides.items))
        if "R@1" in numbers:
            found[f"old_index {query}->{item}"] = numbers["R@1"]
    return found
