"""What every pair reaches in a space of its own, in the joint one and under adapters: R@k and paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from awase.config import RetrievalConfig
from awase.methods.headroom import ADAPTERS, JOINT, LONGER, WIDE, alone, heads
from awase.methods.mcn import all_pairs
from awase.report.groups import Group
from awase.report.headroom_verdict import Verdict, overall, verdict
from awase.report.retrieval_numbers import last_stage
from awase.report.retrieval_ranks import GroupRanks, Joined
from awase.statistics import Difference, compare_recall, hits, join_ranks

BOTH = "both"
"""Both directions of a pair together: their queries side by side, those of one sample drawn as one."""
AGNOSTIC = (JOINT, WIDE, LONGER)
"""What answers without being told which pair is asked."""
COMPARED = (
    ("alone", JOINT),
    (ADAPTERS, JOINT),
    (ADAPTERS, "alone"),
    ("alone", WIDE),
    (ADAPTERS, WIDE),
    (ADAPTERS, LONGER),
    (ADAPTERS, "heads"),
)


@dataclass(frozen=True)
class Asked:
    """One direction, or both: R@k (a share, the mean over seeds) of every model, and `first - second` by names."""

    direction: str
    task_agnostic: dict[str, float]
    task_aware: dict[str, float]
    differences: dict[str, Difference]


@dataclass(frozen=True)
class PairHeadroom:
    """A pair of modalities: its two directions and both together, on which the verdict rests."""

    pair: str
    asked: tuple[Asked, ...]
    verdict: Verdict


@dataclass(frozen=True)
class Cost:
    """What one answer to all pairs takes: numbers stored per item that has every modality, parameters trained."""

    stored: int
    trained: int


@dataclass(frozen=True)
class Headroom:
    """The answer for some data, with the costs of every model."""

    split: str
    k: int
    pairs: tuple[PairHeadroom, ...]
    costs: dict[str, Cost]
    sentence: str


def headroom_of(groups: Mapping[str, Group], modalities: Sequence[str], split: str = "test", *, k: int = 1) -> Headroom:
    """Returns the answer in R@k from the runs of `methods.headroom.headroom_methods`, by label.

    Raises `FileNotFoundError` where ranks are not beside a record, `ValueError` for a split that has no ranks of a
    pair, and as `compare_recall` does.
    """
    ranks = {label: GroupRanks(group) for label, group in groups.items()}
    lacking = [label for label, known in ranks.items() if not known.complete]
    if lacking:
        raise FileNotFoundError(f"A run of {', '.join(lacking)} has no ranks.parquet; run it again.")
    found = []
    for pair in all_pairs(tuple(modalities)):
        labels = {**{name: name for name in (*AGNOSTIC, ADAPTERS)}, "alone": alone(pair), "heads": heads(pair)}
        a, b = pair.split("+")
        directed = {
            direction: {name: _ranks(ranks[label], groups[label], split, direction) for name, label in labels.items()}
            for direction in (f"{a}->{b}", f"{b}->{a}")
        }
        together = {name: _together({one: parts[name] for one, parts in directed.items()}) for name in labels}
        asked = tuple(_asked(one, parts, k) for one, parts in {**directed, BOTH: together}.items())
        found.append(PairHeadroom(pair, asked, verdict(pair, asked[-1].differences, k)))
    return Headroom(split, k, tuple(found), _costs(groups, modalities), overall([one.verdict for one in found]))


def _ranks(ranks: GroupRanks, group: Group, split: str, direction: str) -> Joined:
    found = ranks.of(last_stage(group), split, direction)
    if found is None:
        raise ValueError(f"{group.method} has no ranks of {direction} on {split}; name another --split.")
    return found


def _together(directed: Mapping[str, Joined]) -> Joined:
    """The queries of all directions side by side; a sample's, or a group's, are drawn as one in intervals."""
    tables = {
        seed: join_ranks(
            [
                replace(
                    one.tables[seed],
                    query_id=tuple(f"{direction} {name}" for name in one.tables[seed].query_id),
                    direction=(BOTH,) * len(one.tables[seed]),
                    groups=one.tables[seed].groups or one.tables[seed].query_id,
                    protocols={},
                )
                for direction, one in directed.items()
            ]
        )
        for seed in next(iter(directed.values())).tables
    }
    return Joined(tables, max(one.gallery for one in directed.values()))


def _asked(direction: str, parts: Mapping[str, Joined], k: int) -> Asked:
    shares = {
        name: float(np.mean([hits(table.rank, k, one.gallery).mean() for table in one.tables.values()]))
        for name, one in parts.items()
    }
    differences = {}
    for a, b in COMPARED:
        gallery = max(parts[a].gallery, parts[b].gallery)
        differences[f"{a} - {b}"], _ = compare_recall(parts[a].tables, parts[b].tables, k, gallery)
    agnostic = {name: share for name, share in shares.items() if name in AGNOSTIC}
    return Asked(direction, agnostic, {n: s for n, s in shares.items() if n not in agnostic}, differences)


def _costs(groups: Mapping[str, Group], modalities: Sequence[str]) -> dict[str, Cost]:
    pairs, count = all_pairs(tuple(modalities)), len(modalities)
    members = {**{name: [name] for name in (*AGNOSTIC, ADAPTERS)}, "alone": [alone(pair) for pair in pairs]}
    members["heads"] = [heads(pair) for pair in pairs]
    return {
        name: Cost(
            _dim(groups[labels[0]]) * count * (1 if name in AGNOSTIC else count - 1),
            sum(groups[label].runs[0].record.trainable_parameters for label in labels),
        )
        for name, labels in members.items()
    }


def _dim(group: Group) -> int:
    """The dimension of the space, candidates that change it aside."""
    settings = group.runs[0].record.config["method"]["settings"]
    return RetrievalConfig.model_validate(settings.get("retrieval") or {}).space.dim
