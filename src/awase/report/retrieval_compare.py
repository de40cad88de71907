"""Two retrieval runs, or methods with several seeds, paired by query: what `awase compare` prints."""

from dataclasses import dataclass

from awase.report.groups import Group
from awase.report.retrieval_numbers import KS, last_stage, protocol_of, retrieval_of
from awase.report.retrieval_ranks import GroupRanks
from awase.statistics import Difference, compare_recalls, one_protocol


@dataclass(frozen=True)
class ComparedDirection:
    """`a - b` of R@k by k in one direction, under one protocol (with folds that of the first)."""

    direction: str
    differences: dict[int, Difference]
    left_out: int
    protocol: str


def compare_spaces(
    a: Group, b: Group, split: str = "test", directions: tuple[str, ...] = (), ks: tuple[int, ...] = KS
) -> tuple[ComparedDirection, ...]:
    """Returns the paired differences after the last stage in the directions that both have, or in those given.

    Raises `FileNotFoundError` where ranks are not beside the records; `ValueError` where there is no shared direction
    on this split, where a direction that is given is not one, where protocols differ (one_protocol says in what), and
    as `compare_recalls`.
    """
    ranks = GroupRanks(a), GroupRanks(b)
    for group, known in zip((a, b), ranks, strict=True):
        if not known.complete:
            raise FileNotFoundError(f"A run below {group.method} has no ranks.parquet; run it again.")
    shared = _directions(a, split)
    shared = [name for name in shared if name in _directions(b, split)]
    unknown = [name for name in directions if name not in shared]
    if unknown or not shared:
        words = ", ".join(shared) or "none"
        raise ValueError(
            f"Both have on {split}, after their last stages, the directions {words}"
            + (f"; given: {', '.join(unknown)}." if unknown else "; name another --split.")
        )
    found = []
    for direction in directions or shared:
        first, second = (one.of(last_stage(g), split, direction) for one, g in zip(ranks, (a, b), strict=True))
        assert first is not None, "its record has numbers of this direction"
        assert second is not None, "its record has numbers of this direction"
        protocols = [protocol_of(group.runs[0], split, direction) for group in (a, b)]
        protocol = one_protocol([one for one in protocols if one is not None])
        gallery = max(first.gallery, second.gallery)
        chosen = tuple(k for k in ks if k < gallery) or ks  # of none, the error says what would do
        differences, left_out = compare_recalls(first.tables, second.tables, chosen, gallery)
        found.append(ComparedDirection(direction, differences, left_out, protocol.sentence))
    return tuple(found)


def _directions(group: Group, split: str) -> list[str]:
    last = last_stage(group)
    numbers = retrieval_of(group.runs[0].record).numbers
    return [number.direction for number in numbers if (number.stage, number.split) == (last, split)]
