"""Query-bank normalisation beside the raw numbers of a run: one more scoring of the embeddings that it saved."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from awase.evaluation import Embedded
from awase.evaluation.directions import parsed, sides_of
from awase.evaluation.postprocess import QUERY_BANK
from awase.records import BankNumber, SpaceNumber
from awase.runner.space_files import read_embeddings
from awase.runner.space_post import has_bank, inductive_ranks
from awase.runner.space_scores import numbers_of
from awase.statistics import RetrievalProtocol

BANK = "val"
"""The split whose queries are the bank. It is not scored with it: a query would normalise itself."""


def bank_numbers(folder: Path, stage: str, numbers: Iterable[SpaceNumber], *, device: str) -> Iterator[BankNumber]:
    """The raw `numbers` of a stage on all splits but the bank's, under static query-bank normalisation.

    Beta is chosen on the bank's split as `choose_beta` does. A direction is left out in which that split has fewer
    than four queries or no item. The embeddings are those in `folder`.
    """
    betas: dict[tuple[str, str], float] = {}  # of each bank and direction, chosen once for all splits
    wanted = [number for number in numbers if number.stage == stage and number.split != bank_of(number.split)]
    for split, own in groupby(wanted, key=lambda number: number.split):
        bank, embedded = bank_of(split), read_embeddings(folder, stage, split)
        val = read_embeddings(folder, stage, bank)
        for raw in own:
            found = _number(embedded, val, bank, raw, betas.get((bank, raw.direction)), device)
            if found is not None:
                betas[bank, raw.direction] = found.beta
                yield found


def bank_of(split: str) -> str:
    """The split whose queries are the bank of another: validation, of a stream that of the same data set.

    >>> bank_of("test"), bank_of("youcook2"), bank_of("test street"), bank_of("val street")
    ('val', 'val', 'val street', 'val street')
    """
    kind, _, data_set = split.partition(" ")
    return f"{BANK} {data_set}" if data_set and kind in ("test", BANK) else BANK


def _number(
    embedded: Embedded, val: Embedded, bank: str, raw: SpaceNumber, beta: float | None, device: str
) -> BankNumber | None:
    direction, protocol = parsed(raw.direction), RetrievalProtocol.from_dict(raw.protocol)
    known = sides_of(val, direction, cosine=protocol.normalised, device=device)
    if not has_bank(known):
        return None
    sides = sides_of(embedded, direction, cosine=protocol.normalised, device=device)
    ranks, beta = inductive_ranks(sides, known, "query_bank", beta)
    return BankNumber(
        stage=raw.stage,
        split=raw.split,
        direction=raw.direction,
        metrics=numbers_of(ranks.cpu().numpy(), protocol.gallery_size),
        bank=bank,
        bank_queries=int(known.asked.sum()),
        beta=beta,
        protocol=replace(protocol, post_processing=QUERY_BANK["static"]).to_dict(),
    )
