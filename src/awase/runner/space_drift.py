"""How far a stage moved the space of the one it began from, and whether an index made then can still be asked."""

from collections.abc import Collection
from dataclasses import replace
from itertools import permutations

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from awase.evaluation import Direction, Embedded
from awase.evaluation.directions import ranks_between, sides_of
from awase.runner.space_scores import numbers_of


def drift_of(old: Embedded, new: Embedded, *, cosine: bool, device: str) -> dict[str, float]:
    """What became of the modalities and samples that `old`, under an earlier stage's model, has in common with `new`.

    `drift video`: the mean of 1 - cos of a sample's old and new embedding, 0 where none turned. `old_index
    text->video`: R@1 of new queries (under the adapters of their combination where it has such) in the gallery of old
    embeddings; where it is much below that of new ones, stored embeddings must be made anew. Nothing of a modality or
    direction that no sample has.
    """
    both = [name for name in old.embeddings if name in new.embeddings]
    old, new = (_rows(one, torch.isin(one.index, other.index), both) for one, other in ((old, new), (new, old)))
    assert torch.equal(old.index, new.index), "every stage embeds samples in the same order"
    found = {}
    for name in both:
        rows = old.present[name]
        if bool(rows.any()):
            turned = 1 - F.cosine_similarity(old.embeddings[name][rows], new.embeddings[name][rows], dim=1)
            found[f"drift {name}"] = float(turned.mean())
    for query, item in permutations(sorted(both), 2):
        asked = new.under((query, item)).embeddings[query]
        mixed = replace(new, embeddings={query: asked, item: old.embeddings[item]}, keyed={})
        sides = sides_of(mixed, Direction(query, (item,)), cosine=cosine, device=device)
        numbers = numbers_of(ranks_between(sides).cpu().numpy(), len(sides.items))
        if "R@1" in numbers:
            found[f"old_index {query}->{item}"] = numbers["R@1"]
    return found


def _rows(embedded: Embedded, rows: Bool[Tensor, " samples"], names: Collection[str]) -> Embedded:
    """Some samples, and of them some modalities in the shared space and the combinations of these alone."""
    return Embedded(
        tuple(name for name, here in zip(embedded.ids, rows.tolist(), strict=True) if here),
        embedded.index[rows],
        {name: embedded.embeddings[name][rows] for name in names},
        {name: embedded.present[name][rows] for name in names},
        {name: value[rows] for name, value in embedded.several.items() if name in names},
        {
            key: {name: value[rows] for name, value in own.items()}
            for key, own in embedded.keyed.items()
            if set(own) <= set(names)
        },
    )
