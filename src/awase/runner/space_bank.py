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
    val = read_embeddings(folder, stage, BANK)
    betas: dict[str, float] = {}  # of each direction, chosen once for all splits
    wanted = [number for number in numbers if number.stage == stage and number.split != BANK]
    for split, own in groupby(wanted, key=lambda number: number.split):
        embedded = read_embeddings(folder, stage, split)
        for raw in own:
            found = _number(embedded, val, raw, betas.get(raw.direction), device)
            if found is not None:
                betas[raw.direction] = found.beta
                yield found


def _number(embedded: Embedded, val: Embedded, raw: SpaceNumber, beta: float | None, device: str) -> BankNumber | None:
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
        bank=BANK,
        bank_queries=int(known.asked.sum()),
        beta=beta,
        protocol=replace(protocol, post_processing=QUERY_BANK["static"]).to_dict(),
    )
