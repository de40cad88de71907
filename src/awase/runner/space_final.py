"""The one look at the test sets of a joint space: after the last stage, every stage's model is scored in one go."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from awase.config import RetrievalConfig
from awase.evaluation import Direction, Embedded, directions, ranks_of
from awase.evaluation.directions import parsed, side
from awase.evaluation.shape import shape_of
from awase.records import Metric, RetrievalRecord, SpaceNumber
from awase.runner.nodes import NodeRunner, StageResult
from awase.runner.setting import Setting
from awase.runner.space_bank import bank_numbers
from awase.runner.space_files import write_embeddings, write_samples
from awase.runner.space_scores import embed_split, mean_over_pairs, numbers_of, same_content, uses_cosine
from awase.runner.space_worst import worst_queries
from awase.statistics import (
    RANKS_NAME,
    RankTable,
    RetrievalProtocol,
    WorstQueries,
    join_ranks,
    main_directions,
    write_ranks,
    write_worst,
)


@dataclass(frozen=True)
class Place:
    """A stage and a split, and the pairs that the stage and those it began from drew together."""

    stage: str
    split: str
    trained: frozenset[str]


def score_spaces(runner: NodeRunner, last: StageResult, folder: Path) -> tuple[tuple[Metric, ...], RetrievalRecord]:
    """The numbers of every stage on validation and every test set; of the last one also those with a query bank.

    Embeddings, ranks and the worst queries of the last stage are written into `folder`.
    """
    setting = runner.setting
    splits = [split for split in setting.dataset.splits if split != "train"]
    numbers: list[SpaceNumber] = []
    shapes: dict[str, dict[str, dict[str, float]]] = {}
    tables: list[RankTable] = []
    worst: list[WorstQueries] = []
    write_samples(folder, setting.dataset, splits)
    for name, result in runner.stages.items():
        model, config = runner.space(result), result.stage.retrieval
        assert config is not None, "the stage has a joint space"
        trained = trained_pairs(runner, result)
        for split in splits:
            embedded = embed_split(model, split, setting)
            write_embeddings(folder, name, split, embedded)
            shapes.setdefault(name, {})[split] = shape_of(embedded, cosine=uses_cosine(config))
            place = Place(name, split, trained)
            if name == last.stage.name:
                worst += worst_of(embedded, model.modalities, config, setting, place)
            for direction in directions(model.modalities):
                table = ranked(embedded, direction, config, setting, place)
                if table is not None:
                    tables.append(table)
                    numbers.append(number_of(table, direction, place))
    write_ranks(folder / RANKS_NAME, join_ranks(tables))
    write_worst(folder, worst)
    config = last.stage.retrieval
    assert config is not None, "the stage has a joint space"
    record = RetrievalRecord(
        score="cosine" if uses_cosine(config) else "dot",
        pairs={name: own_pairs(result) for name, result in runner.stages.items()},
        numbers=tuple(numbers),
        query_bank=tuple(bank_numbers(folder, last.stage.name, numbers, device=setting.device)),
        geometry=shapes,
    )
    return tuple(metrics_of(numbers, last.stage.name)), record


def worst_of(
    embedded: Embedded, modalities: tuple[str, ...], config: RetrievalConfig, setting: Setting, place: Place
) -> Iterator[WorstQueries]:
    """The worst queries of the directions that are asked for most."""
    texts = setting.dataset.texts(embedded.index.numpy())
    for name in main_directions([str(one) for one in directions(modalities)], next(iter(texts), None)):
        found = worst_queries(
            embedded,
            parsed(name),
            cosine=uses_cosine(config),
            stage=place.stage,
            split=place.split,
            texts=texts,
            device=setting.device,
        )
        if found is not None:
            yield found


def trained_pairs(runner: NodeRunner, result: StageResult) -> frozenset[str]:
    """The pairs that a stage drew together, it or one that it began from."""
    own = frozenset(own_pairs(result))
    return own.union(*(trained_pairs(runner, runner.stages[name]) for name in result.stage.start))


def own_pairs(result: StageResult) -> tuple[str, ...]:
    """The pairs that a stage drew together."""
    assert result.stage.retrieval is not None, "the stage has a joint space"
    return tuple(result.stage.retrieval.pairs)


def formula(direction: Direction) -> str:
    """The score in symbols: `text.video`, or `text.(audio+video)`."""
    items = "+".join(direction.gallery)
    return f"{direction.query}.{items}" if direction.is_pair else f"{direction.query}.({items})"


def ranked(
    embedded: Embedded, direction: Direction, config: RetrievalConfig, setting: Setting, place: Place
) -> RankTable | None:
    """The ranks of every query of one direction; None where no sample has the query's modality."""
    cosine, dataset = uses_cosine(config), setting.dataset
    asked = side(embedded, (direction.query,), cosine=cosine)[1]
    if not bool(asked.any()):
        return None
    ranks = ranks_of(embedded, direction, cosine=cosine, device=setting.device)
    same = same_content(dataset, embedded.index)
    texts = bool(direction.modalities & same.keys())
    best = ranks_of(embedded, direction, cosine=cosine, same=same, device=setting.device) if texts else ranks
    ids = embedded.ids
    groups = dataset.groups
    missing = len(embedded) - int(side(embedded, direction.gallery, cosine=cosine)[1].sum())
    protocol = RetrievalProtocol(
        queries=place.split,
        gallery=place.split,
        num_queries=len(ids),
        missing_queries=len(ids) - int(asked.sum()),
        gallery_size=len(embedded),
        direction=str(direction),
        score=formula(direction),
        missing_items=missing,
        normalised=cosine,
    )
    return RankTable(
        query_id=ids,
        item_id=ids,
        stage=(place.stage,) * len(ids),
        split=(place.split,) * len(ids),
        direction=(str(direction),) * len(ids),
        post_processing=("none",) * len(ids),
        rank=ranks.numpy(),
        rank_same_caption=best.numpy(),
        groups=None if groups is None else tuple(groups[row] for row in embedded.index.tolist()),
        protocols={(place.split, str(direction), "none"): protocol},
    )


def number_of(table: RankTable, direction: Direction, place: Place) -> SpaceNumber:
    """The entry of the record for one direction of one stage and split."""
    protocol = table.protocol
    assert protocol is not None, "the ranks were just made"
    pairs = {"+".join(sorted((direction.query, name))) for name in direction.gallery}
    differ = not np.array_equal(table.rank, table.rank_same_caption)
    return SpaceNumber(
        stage=place.stage,
        split=place.split,
        direction=str(direction),
        trained=pairs <= place.trained,
        metrics=numbers_of(table.rank, protocol.gallery_size),
        metrics_same=numbers_of(table.rank_same_caption, protocol.gallery_size) if differ else {},
        protocol=protocol.to_dict(),
    )


def metrics_of(numbers: Iterable[SpaceNumber], stage: str) -> Iterator[Metric]:
    """The numbers of the last stage as metrics of the run: each direction, and the mean over the directed pairs."""
    own = [number for number in numbers if number.stage == stage]
    for split in dict.fromkeys(number.split for number in own):
        here = {parsed(number.direction): number for number in own if number.split == split}
        count = max(number.protocol["num_queries"] for number in here.values())
        for name, value in mean_over_pairs({one: number.metrics for one, number in here.items()}).items():
            yield Metric(split=split, name=name, value=value, count=count)
        for one, number in here.items():
            for name, value in number.metrics.items():
                yield Metric(
                    split=split, name=name, value=value, condition=str(one), count=number.protocol["num_queries"]
                )
