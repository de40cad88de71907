"""The shape of a joint space after every stage: gap between modalities, alignment, uniformity, norms, hubs."""

from awase.report import numbers
from awase.report.groups import stat_of
from awase.report.html import Html, fold_out, grouped_table, join, tag
from awase.report.learning import shared_stages
from awase.report.retrieval_lines import SpaceLines
from awase.report.retrieval_numbers import retrieval_of

_KINDS = (
    ("Modality gap and alignment", ("gap", "alignment", "matched", "unmatched")),
    ("Spread and length", ("uniformity", "norm")),
    ("Hubs", ("hubness", "never")),
    ("Drift since the stage before", ("drift",)),
    ("New queries in the gallery of the stage before", ("old_index",)),
)
_ABOUT = (
    "Gap: distance between the centroids of two modalities' unit vectors, 0 to 2. Alignment: mean squared distance of "
    "matched unit vectors, 0 (the same) to 4. Matched, unmatched: mean cosines of samples with themselves and with "
    "others. Uniformity: log mean of exp(−2 d²) over pairs of samples, 0 where all are one, lower when spread. Norm: "
    "mean length before normalisation. Hubness: skewness of how often an item is among the ten best of a query; "
    "several where few items are everywhere. Never: share of the items, in %, that are among no query's ten best. "
    "Drift: mean of 1 − cosine of a sample before and after the stage. Old index: R@1, in %, of queries of this stage "
    "among embeddings of the one before."
)


def shape_section(found: SpaceLines) -> Html:
    """A table of each kind per test set; the first set is open."""
    parts = [(split, tables) for split in found.splits if (tables := _of_split(found, split))]
    if not parts:
        return Html("")
    about = tag("p", _ABOUT, css="quiet")
    return join([about, parts[0][1], *(fold_out(f"On {split}", tables) for split, tables in parts[1:])])


def _of_split(found: SpaceLines, split: str) -> Html:
    known: dict[str, dict[str, float]] = {}
    for run in (run for group in found.table.groups for run in group.runs):
        shapes = retrieval_of(run.record).geometry
        for stage in run.record.stages:
            known[stage.hash] = shapes.get(stage.name, {}).get(split, {})
    stages = shared_stages(found.table, lambda stage: bool(known.get(stage.hash)))
    names = list(dict.fromkeys(name for one in known.values() for name in one))
    tables = []
    for title, kinds in _KINDS:
        about = list(dict.fromkeys(name.partition(" ")[2] for name in names if name.partition(" ")[0] in kinds))
        if not about or not stages:
            continue
        rows = [
            [
                f"{stage.name} ({stage.owners})",
                *(_value([known[r.hash] for r in stage.results], f"{kind} {what}") for what in about for kind in kinds),
            ]
            for stage in stages
        ]
        caption = f"{title} on {split}, mean over seeds and folds"
        tables.append(grouped_table("after stage", [(what, kinds) for what in about], rows, caption=caption))
    return join(tables)


def _value(found: list[dict[str, float]], name: str) -> str:
    stat = stat_of(dict(enumerate(one[name] for one in found if name in one)))
    if stat is None:
        return numbers.NONE
    if name.startswith(("never", "old_index")):
        return f"{100 * stat.mean:.0f}"
    return ("−" if round(stat.mean, 2) < 0 else "") + f"{abs(stat.mean):.2f}"
