"""A finished joint space scored under another protocol, from the embeddings it saved: nothing is encoded again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jaxtyping import Int
from torch import Tensor

from awase.evaluation import Direction, Embedded, directions
from awase.evaluation.directions import Sides, parsed, sides_of
from awase.records import Record, read_record
from awase.runner.again import note_look
from awase.runner.space_bank import bank_of
from awase.runner.space_files import numbered, read_embeddings, read_samples
from awase.runner.space_final import protocol_of
from awase.runner.space_post import BANKS, POST, choose_beta, inductive_ranks, post_ranks
from awase.runner.space_scores import numbers_of
from awase.statistics import LEFT_OUT, SAME_CAPTION, RetrievalProtocol


@dataclass(frozen=True)
class Request:
    """How a space is scored; what is None is as the run has it: its last stage, every direction, its score."""

    split: str = "test"
    stage: str | None = None
    directions: tuple[str, ...] = ()
    score: str | None = None
    post: str = "none"
    beta: float | None = None
    same_caption: bool = False
    gallery_without_missing: bool = False


@dataclass(frozen=True)
class Rescored:
    """The numbers of one direction under a protocol; `beta` as chosen on validation or given, None where there is none.

    `bank` says whose queries a query bank is made of.
    """

    direction: str
    metrics: dict[str, float]
    protocol: RetrievalProtocol
    beta: float | None = None
    bank: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def is_space(folder: Path) -> bool:
    """Whether the finished run in `folder` is a joint space; raises `FileNotFoundError` where there is none."""
    return read_record(folder).retrieval is not None


def rescore(folder: Path, request: Request, *, device: str = "cpu") -> tuple[Rescored, ...]:
    """The numbers of a finished retrieval run under another protocol; a look at anything but validation is noted.

    Raises `ValueError` for an unknown direction, score or post-processing, for a query bank on validation, whose
    queries are the bank, and where no query is left; `FileNotFoundError` for a stage or split without embeddings.
    """
    record = read_record(folder)
    _check(record, folder, request)
    retrieval = record.retrieval
    assert retrieval is not None, "it was checked"
    stage = request.stage or tuple(retrieval.pairs)[-1]
    embedded = read_embeddings(folder, stage, request.split)
    chosen = _directions(embedded, request)
    needs_val = request.post in BANKS or (request.post != "none" and request.beta is None)
    val = read_embeddings(folder, stage, bank_of(request.split)) if needs_val else None
    cosine = (request.score or retrieval.score) == "cosine"
    numbers = retrieval.numbers
    name = next((one.protocol["queries"] for one in numbers if one.split == request.split), request.split)
    same = _same(folder, embedded) if request.same_caption else None
    found = tuple(
        _scored(embedded, val, one, request, name=name, cosine=cosine, same=same, device=device) for one in chosen
    )
    if request.split != bank_of(request.split):
        entry = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "by": "evaluate", "stage": stage}
        note_look(folder, {**entry, **{name: value for name, value in asdict(request).items() if name != "stage"}})
    return found


def _check(record: Record, folder: Path, request: Request) -> None:
    if record.retrieval is None:
        raise ValueError(f"The run in {folder} decides between classes; a joint space is needed for this.")
    if request.post not in POST:
        raise ValueError(f"There is no post-processing {request.post!r}; valid names: {', '.join(POST)}.")
    if request.score not in (None, "dot", "cosine"):
        raise ValueError(f"A score is 'dot' or 'cosine'; given: {request.score!r}.")
    if request.stage is not None and request.stage not in record.retrieval.pairs:
        names = ", ".join(record.retrieval.pairs)
        raise ValueError(f"The run in {folder} has no stage {request.stage!r}; it has {names}.")
    if request.split == bank_of(request.split) and request.post in BANKS:
        raise ValueError(
            "The bank of queries is the validation split, so validation itself cannot be scored with it: a query "
            "would normalise itself. Choose another split, or a transductive post-processing, which says so."
        )
    if request.beta is not None and (request.post == "none" or not request.beta > 0):
        raise ValueError(f"Beta belongs to a post-processing and is above 0; given: {request.beta} for {request.post}.")


def _directions(embedded: Embedded, request: Request) -> tuple[Direction, ...]:
    known = directions(tuple(embedded.embeddings))
    if not request.directions:
        return known
    names = {_sorted(one): one for one in known}
    wanted = [_sorted(parsed(name)) for name in request.directions]
    unknown = [name for name, key in zip(request.directions, wanted, strict=True) if key not in names]
    if unknown:
        raise ValueError(
            f"There is no direction {', '.join(map(repr, unknown))}; valid names: {', '.join(map(str, known))}."
        )
    return tuple(names[key] for key in wanted)


def _sorted(direction: Direction) -> Direction:
    """The same with its gallery in alphabetical order: `text->video+audio` is `text->audio+video`."""
    return Direction(direction.query, tuple(sorted(direction.gallery)))


def _same(folder: Path, embedded: Embedded) -> dict[str, Int[Tensor, " samples"]]:
    columns = read_samples(folder)
    rows = embedded.index.tolist()
    found = {
        name.removeprefix("text|"): numbered([texts[row] for row in rows])
        for name, texts in columns.items()
        if name.startswith("text|")
    }
    if not found:
        raise ValueError(f"The run in {folder} kept no texts, so there are no captions to be the same.")
    return found


def _scored(
    embedded: Embedded,
    val: Embedded | None,
    direction: Direction,
    request: Request,
    *,
    name: str,
    cosine: bool,
    same: Mapping[str, Int[Tensor, " samples"]] | None,
    device: str,
) -> Rescored:
    sides = sides_of(embedded, direction, cosine=cosine, same=same, device=device)
    known = None if val is None else sides_of(val, direction, cosine=cosine, device=device)
    beta = request.beta
    if request.post in BANKS:
        assert known is not None, "validation was read"
        found, beta = inductive_ranks(sides, known, request.post, beta)
    else:
        if beta is None and request.post != "none":
            assert known is not None, "validation was read"
            beta = choose_beta(known, request.post)
        found = post_ranks(sides, request.post, beta)
    ranks = found.cpu().numpy()
    if request.gallery_without_missing:
        ranks = ranks[ranks >= 0]
    protocol = _protocol(embedded, sides, direction, request, name, cosine)
    metrics = numbers_of(ranks, protocol.gallery_size)
    if not metrics:
        raise ValueError(f"No query of {direction} is left on {request.split}: no sample has what it needs.")
    return Rescored(str(direction), metrics, protocol, beta, bank_of(request.split) if request.post in BANKS else None)


def _protocol(
    embedded: Embedded, sides: Sides, direction: Direction, request: Request, name: str, cosine: bool
) -> RetrievalProtocol:
    protocol = protocol_of(embedded, sides, direction, name, cosine=cosine)
    if request.gallery_without_missing:
        found = int((sides.asked & sides.there[sides.match]).sum())
        protocol = replace(
            protocol,
            num_queries=found,
            gallery_size=protocol.candidates,
            missing_queries=0,
            missing_items=0,
            missing=LEFT_OUT,
        )
    same = request.same_caption and sides.right is not None and not sides.any_caption
    return replace(protocol, correct=SAME_CAPTION if same else protocol.correct, post_processing=POST[request.post])
