"""The shape of a joint space in numbers by name: what the record keeps of every stage."""

from itertools import permutations

from awase.evaluation.embed import Embedded
from awase.evaluation.geometry import norms, pair_geometry, uniformity

HUBS = 10


def shape_of(embedded: Embedded, *, cosine: bool) -> dict[str, float]:
    """Norms and uniformity per modality, gap, alignment and cosines per pair, hubs per directed pair.

    `norm video`, `uniformity video`, `gap audio+video`, `alignment audio+video`, `matched audio+video`,
    `unmatched audio+video` (mean cosines), `hubness text->video` (skewness of N_10), `never text->video` (share of
    items that are among no query's best ten). Of the samples that have what is named, one per
    clip; what fewer than two samples have
    is left out, and hubs where the gallery has no more than ten.
    """
    found: dict[str, float] = {}
    embedded = embedded.one_per_clip()
    for name, rows in embedded.present.items():
        values = embedded.embeddings[name][rows]
        if len(values) > 1:
            found[f"norm {name}"] = norms(values).mean
            found[f"uniformity {name}"] = uniformity(values)
    for query, item in permutations(sorted(embedded.embeddings), 2):
        both = embedded.present[query] & embedded.present[item]
        if int(both.sum()) < 2:
            continue
        pair = pair_geometry(
            embedded.embeddings[query][both], embedded.embeddings[item][both], k=HUBS, normalise=cosine
        )
        if query < item:
            title = f"{query}+{item}"
            found |= {f"gap {title}": pair.gap, f"alignment {title}": pair.alignment}
            found |= {f"matched {title}": pair.matched, f"unmatched {title}": pair.unmatched}
        if pair.hubness is not None:
            title = f"{query}->{item}"
            found |= {f"hubness {title}": pair.hubness.skewness, f"never {title}": pair.hubness.never}
    return found
