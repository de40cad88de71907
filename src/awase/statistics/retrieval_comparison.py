"""R@k of several seeds, and of two methods, on the same queries: intervals by the crossed bootstrap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from awase.statistics.bootstrap import Difference, paired_differences
from awase.statistics.rank_table import RankTable
from awase.statistics.retrieval import hits
from awase.statistics.retrieval_protocol import one_protocol


@dataclass(frozen=True)
class RecallScores:
    """Hits at k, a row per seed in the order of `seeds`, a column per query in the order of `queries`.

    `left_out` counts queries that only some seeds have. The mean of a row is R@k of that seed.
    """

    hits: Float[np.ndarray, "seeds queries"]
    seeds: tuple[int, ...]
    queries: tuple[str, ...]
    groups: tuple[str, ...] | None
    left_out: int


def recall_scores(runs: Mapping[int, RankTable], k: int, gallery: int, *, same_caption: bool = False) -> RecallScores:
    """Returns the hits of every seed on the queries that every seed has, for `bootstrap_mean`.

    `runs` maps a seed to its ranks of one stage, split, direction and post-processing. Raises `ValueError` where a
    table holds more than one of these, where the protocols that are stored differ, and as `hits` does.
    """
    seeds = tuple(sorted(runs))
    tables, left_out = _aligned([runs[seed] for seed in seeds])
    values = np.stack([hits(_ranks(table, same_caption), k, gallery) for table in tables]).astype(np.float64)
    return RecallScores(values, seeds, tables[0].query_id, tables[0].groups, left_out)


def compare_recall(
    a: Mapping[int, RankTable], b: Mapping[int, RankTable], k: int, gallery: int, *, same_caption: bool = False
) -> tuple[Difference, int]:
    """Returns `a - b` of R@k on the seeds and queries that both have, and how many queries were left out.

    Queries of one group (a source video) are drawn together, seeds and queries crossed. Raises `ValueError` where no
    seed or no query is shared, and as `recall_scores` does. For two stages of one run give the same seeds twice.
    """
    differences, left_out = compare_recalls(a, b, (k,), gallery, same_caption=same_caption)
    return differences[k], left_out


def compare_recalls(
    a: Mapping[int, RankTable],
    b: Mapping[int, RankTable],
    ks: Sequence[int],
    gallery: int,
    *,
    same_caption: bool = False,
) -> tuple[dict[int, Difference], int]:
    """Returns `compare_recall` for every k, all from the same draws, and how many queries were left out."""
    seeds = sorted(set(a) & set(b))
    if not seeds:
        raise ValueError(f"The runs share no seed: {sorted(a)} against {sorted(b)}. A paired comparison needs one.")
    tables, left_out = _aligned([runs[seed] for runs in (a, b) for seed in seeds])
    values = [np.stack([hits(_ranks(table, same_caption), k, gallery) for table in tables]).astype(float) for k in ks]
    differences = paired_differences(
        [found[: len(seeds)] for found in values], [found[len(seeds) :] for found in values], tables[0].groups
    )
    return dict(zip(ks, differences, strict=True)), left_out


def _ranks(table: RankTable, same_caption: bool) -> Int[np.ndarray, " rows"]:
    return table.rank_same_caption if same_caption else table.rank


def _aligned(tables: Sequence[RankTable]) -> tuple[list[RankTable], int]:
    protocols = [protocol for protocol in (table.protocol for table in tables) if protocol is not None]
    if protocols:
        one_protocol(protocols)
    rows = [{name: row for row, name in enumerate(table.query_id)} for table in tables]
    if any(len(names) != len(table) for names, table in zip(rows, tables, strict=True)):
        raise ValueError("A query id comes twice; select one stage, split, direction and post-processing.")
    shared = set(rows[0]).intersection(*rows[1:])
    if not shared:
        raise ValueError("The runs have no query in common, so they cannot be compared by query.")
    order = [name for name in tables[0].query_id if name in shared]
    found = [table.take([names[name] for name in order]) for names, table in zip(rows, tables, strict=True)]
    if any(table.item_id != found[0].item_id for table in found):
        raise ValueError("The runs disagree about which item a query looks for: they were made from different data.")
    return found, len(set().union(*rows)) - len(order)
