"""The one look at the test sets of a joint space: after the last stage, every stage's model is scored in one go."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from awase.config import RetrievalConfig
from awase.digest import tensors_digest
from awase.evaluation import Direction, Embedded, directions, ranks_of
from awase.evaluation.directions import Sides, parsed, ranks_between, sides_of
from awase.evaluation.shape import shape_of
from awase.records import Metric, RetrievalRecord, SpaceNumber
from awase.runner.nodes import NodeRunner, StageResult
from awase.runner.routing import Routing, routing_of, write_routing
from awase.runner.setting import Setting
from awase.runner.space_bank import BANK, bank_numbers
from awase.runner.space_drift import drift_of
from awase.runner.space_files import read_embeddings, write_embeddings, write_samples
from awase.runner.space_scores import embed_split, mean_over_pairs, numbers_of, same_content, uses_cosine
from awase.runner.space_stream import answer_for, data_set_of, has_seen
from awase.runner.space_worst import worst_queries
from awase.statistics import (
    ANY_CAPTION,
    OWN_ITEM,
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
    setting = runner.setting.apart()
    splits = [split for split in setting.dataset.splits if split != "train"]
    numbers, agnostic = list[SpaceNumber](), list[SpaceNumber]()
    shapes: dict[str, dict[str, dict[str, float]]] = {}
    tables: list[RankTable] = []
    worst: list[WorstQueries] = []
    write_samples(folder, setting.dataset, splits)
    for name, result in runner.stages.items():
        model, config = runner.space(result), result.stage.retrieval
        assert config is not None, "the stage has a joint space"
        trained = trained_pairs(runner, result)
        for split in splits:
            data_set = data_set_of(split, setting)
            answer_for(model, data_set)
            embedded = embed_split(model, split, setting)
            write_embeddings(folder, name, split, embedded)
            shape = shapes.setdefault(name, {})[split] = shape_of(embedded, cosine=uses_cosine(config))
            for start in result.stage.start:
                before = read_embeddings(folder, start, split)
                shape |= drift_of(before, embedded, cosine=uses_cosine(config), device=setting.device)
            place = Place(name, split, trained if has_seen(runner, result, data_set) else frozenset())
            if name == last.stage.name:
                worst += worst_of(embedded, model.modalities, config, setting, place)
            for direction in directions(model.modalities):
                table = ranked(embedded, direction, config, setting, place)
                if table is not None:
                    tables.append(table)
                    numbers.append(number_of(table, direction, place, embedded.key_of(direction.modalities)))
                if table is not None and numbers[-1].under is not None:
                    plain = ranked(replace(embedded, keyed={}), direction, config, setting, place)
                    assert plain is not None, "the same samples ask"
                    agnostic.append(number_of(plain, direction, place))
    write_ranks(folder / RANKS_NAME, join_ranks(tables))
    write_worst(folder, worst)
    config = last.stage.retrieval
    assert config is not None, "the stage has a joint space"
    if config.combinations is not None:
        write_routing(folder, routing_of_run(runner, last, config, folder))
    record = RetrievalRecord(
        score="cosine" if uses_cosine(config) else "dot",
        pairs={name: own_pairs(result) for name, result in runner.stages.items()},
        numbers=tuple(numbers),
        agnostic=tuple(agnostic),
        query_bank=tuple(bank_numbers(folder, last.stage.name, numbers, device=setting.device)),
        geometry=shapes,
    )
    of_stream = [split for split in splits if data_set_of(split, setting) is not None]
    return tuple(metrics_of(numbers, last.stage.name, of_stream)), record


def routing_of_run(runner: NodeRunner, last: StageResult, config: RetrievalConfig, folder: Path) -> Routing:
    """The table of routes, from the embeddings of validation; of a stream they are written here, of all data sets."""
    assert config.combinations is not None, "the stage has adapters of combinations"
    setting = runner.setting
    if data_set_of(BANK, setting) is not None:
        write_embeddings(folder, last.stage.name, BANK, embed_split(runner.space(last), BANK, setting))
    return routing_of(
        folder,
        last.stage.name,
        model=tensors_digest(runner.space(last).state_dict()),
        keys=config.combinations.keys,
        alpha=config.combinations.ensemble,
        cosine=uses_cosine(config),
        seed=setting.seed,
        device=setting.device,
    )


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


def protocol_of(
    embedded: Embedded, sides: Sides, direction: Direction, name: str, *, cosine: bool
) -> RetrievalProtocol:
    """What a direction of the set `name` (`Setting.set_name`) is measured under, without post-processing."""
    rows, clips = len(embedded), len(embedded.one_per_clip())
    return RetrievalProtocol(
        queries=name,
        gallery=name,
        num_queries=len(sides.asking),
        missing_queries=int((~sides.asked).sum()),
        gallery_size=len(sides.items),
        direction=str(direction),
        score=formula(direction),
        captions_per_item=1 if rows == clips else rows / clips,
        missing_items=int((~sides.there).sum()),
        correct=ANY_CAPTION if sides.any_caption else OWN_ITEM,
        normalised=cosine,
    )


def ranked(
    embedded: Embedded, direction: Direction, config: RetrievalConfig, setting: Setting, place: Place
) -> RankTable | None:
    """The ranks of every query of one direction; None where no sample has the query's modality."""
    cosine, dataset = uses_cosine(config), setting.dataset
    sides = sides_of(embedded, direction, cosine=cosine, device=setting.device)
    if not bool(sides.asked.any()):
        return None
    ranks = ranks_between(sides).cpu().numpy()
    same = {} if embedded.several else same_content(dataset, embedded.index)
    best = ranks
    if direction.modalities & same.keys():
        best = ranks_of(embedded, direction, cosine=cosine, same=same, device=setting.device).numpy()
    asking, found = sides.asking.tolist(), sides.items[sides.match].tolist()
    name = setting.set_name(place.split)
    groups, size, text = dataset.groups, len(sides.asking), str(direction)
    return RankTable(
        query_id=tuple(embedded.ids[row] for row in asking),
        item_id=tuple(embedded.ids[row] for row in found),
        stage=(place.stage,) * size,
        split=(place.split,) * size,
        direction=(text,) * size,
        post_processing=("none",) * size,
        rank=ranks,
        rank_same_caption=best,
        groups=None if groups is None else tuple(groups[row] for row in embedded.index[sides.asking.cpu()].tolist()),
        protocols={(place.split, text, "none"): protocol_of(embedded, sides, direction, name, cosine=cosine)},
    )


def number_of(table: RankTable, direction: Direction, place: Place, under: str | None = None) -> SpaceNumber:
    """The entry of the record for one direction of one stage and split, asked under a key or in the shared space."""
    protocol = table.protocol
    assert protocol is not None, "the ranks were just made"
    pairs = {"+".join(sorted((direction.query, name))) for name in direction.gallery}
    differ = not np.array_equal(table.rank, table.rank_same_caption)
    return SpaceNumber(
        stage=place.stage,
        split=place.split,
        direction=str(direction),
        trained=pairs <= place.trained,
        under=under,
        metrics=numbers_of(table.rank, protocol.gallery_size),
        metrics_same=numbers_of(table.rank_same_caption, protocol.gallery_size) if differ else {},
        protocol=protocol.to_dict(),
    )


def metrics_of(numbers: Iterable[SpaceNumber], stage: str, of_stream: Collection[str] = ()) -> Iterator[Metric]:
    """The numbers of the last stage as metrics of the run: each direction, and the mean over the directed pairs.

    Of a stream that mean also over its data sets, for validation and test as a whole.
    """
    own = [number for number in numbers if number.stage == stage]
    of_whole: dict[str, list[Metric]] = {}
    for split in dict.fromkeys(number.split for number in own):
        here = {parsed(number.direction): number for number in own if number.split == split}
        count = max(number.protocol["num_queries"] for number in here.values())
        for name, value in mean_over_pairs({one: number.metrics for one, number in here.items()}).items():
            found = Metric(split=split, name=name, value=value, count=count)
            yield found
            if split in of_stream:
                of_whole.setdefault(split.partition(" ")[0], []).append(found)
        for one, number in here.items():
            for name, value in number.metrics.items():
                yield Metric(
                    split=split, name=name, value=value, condition=str(one), count=number.protocol["num_queries"]
                )
    for split, found_there in of_whole.items():
        for name in dict.fromkeys(one.name for one in found_there):
            parts = [one for one in found_there if one.name == name]
            mean = sum(one.value for one in parts) / len(parts)
            yield Metric(split=split, name=name, value=mean, count=sum(one.count for one in parts))
