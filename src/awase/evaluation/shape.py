"""The shape of a joint space in numbers by name: what the record keeps of every stage."""

from itertools import combinations, permutations

from awase.evaluation.embed import Embedded
from awase.evaluation.geometry import hubness, norms, pair_geometry, uniformity

HUBS = 10


def shape_of(embedded: Embedded, *, cosine: bool) -> dict[str, float]:
    """Norms and uniformity per modality, gap, alignment and cosines per pair, hubs per directed pair.

    `norm video`, `uniformity video`, `gap audio+video`, `alignment audio+video`, `matched audio+video`,
    `unmatched audio+video` (mean cosines), `hubness text->video` (skewness of N_10), `never text->video` (share of
    items that are among no query's best ten). Of the samples that have what is named; what fewer than two samples have
    is left out, and hubs where the gallery has no more than ten.
    """
    found: dict[str, float] = {}
    for name, rows in embedded.present.items():
        values = embedded.embeddings[name][rows]
        if len(values) > 1:
            found[f"norm {name}"] = norms(values).mean
            found[f"uniformity {name}"] = uniformity(values)
    for pair in combinations(sorted(embedded.embeddings), 2):
        both = embedded.present[pair[0]] & embedded.present[pair[1]]
        if int(both.sum()) > 1:
            geometry = pair_geometry(*(embedded.embeddings[name][both] for name in pair), normalise=cosine)
            title = "+".join(pair)
            found |= {f"gap {title}": geometry.gap, f"alignment {title}": geometry.alignment}
            found |= {f"matched {title}": geometry.matched, f"unmatched {title}": geometry.unmatched}
    for query, item in permutations(sorted(embedded.embeddings), 2):
        queries = embedded.embeddings[query][embedded.present[query]]
        items = embedded.embeddings[item][embedded.present[item]]
        if len(items) > HUBS and len(queries):
            hubs = hubness(queries, items, HUBS, normalise=cosine)
            found |= {f"hubness {query}->{item}": hubs.skewness, f"never {query}->{item}": hubs.never}
    return found
