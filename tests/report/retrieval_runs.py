"""Made-up retrieval runs of three modalities, joint and in two stages: records, ranks and worst queries."""

from pathlib import Path
from typing import Any

import numpy as np
from report_records import make_record

from awase.records import BankNumber, Epoch, Record, RetrievalRecord, SpaceNumber, StageRecord, write_record
from awase.statistics import (
    Found,
    RankTable,
    RetrievalProtocol,
    WorstQueries,
    WorstQuery,
    join_ranks,
    retrieval_metrics,
    write_ranks,
    write_worst,
)

PAIRS = ("audio->text", "audio->video", "text->audio", "text->video", "video->audio", "video->text")
FUSED = ("audio->text+video", "text->audio+video", "video->audio+text")
STAGES = {"joint": ("joint",), "av_t": ("audio+video", "joint"), "at_v": ("audio+text", "joint")}
SIZE = 23
SPLITS = ("val", "test")


def measured(stage: str) -> tuple[str, ...]:
    """The directions of a stage: those of its two modalities, or all."""
    if stage == "joint":
        return (*PAIRS, *FUSED)
    a, b = stage.split("+")
    return (f"{a}->{b}", f"{b}->{a}")


def protocol(direction: str, split: str, size: int = SIZE, **changes: Any) -> RetrievalProtocol:
    return RetrievalProtocol(split, split, size, size, direction, direction.replace("->", "."), **changes)


def make_ranks(
    method: str, seed: int, *, fold: int | None = None, size: int = SIZE, **changes: Any
) -> dict[tuple[str, str, str], RankTable]:
    """Ranks by (stage, split, direction), lower in joint training; fused, every fifth query has no item."""
    found = {}
    for stage in STAGES[method]:
        for split in SPLITS:
            for direction in measured(stage):
                key = [seed, len(method), len(stage), len(split), (*PAIRS, *FUSED).index(direction), fold or 0]
                rank = np.random.default_rng(key).integers(0, size // (2 if method == "joint" else 1), size=size)
                if "+" in direction:
                    rank[::5] = -1
                ids = tuple(f"{split}-{'' if fold is None else f'{fold}-'}{i}" for i in range(size))
                found[stage, split, direction] = RankTable(
                    ids,
                    ids,
                    (stage,) * size,
                    (split,) * size,
                    (direction,) * size,
                    ("none",) * size,
                    rank=rank,
                    rank_same_caption=np.where(rank > 0, rank - 1, rank),
                    groups=tuple(f"g{i // 2}" for i in range(size)),
                    protocols={(split, direction, "none"): protocol(direction, split, size, **changes)},
                )
    return found


def numbers(ranks: np.ndarray, size: int) -> dict[str, float]:
    found = retrieval_metrics(ranks, size)
    recall = {f"R@{k}": value for k, value in found.recall.items()}
    more = {"MedR_all": found.median_rank_all}
    return {**recall, "MedR": found.median_rank, **more, "MeanR": found.mean_rank, "log_rank": found.mean_log_rank}


def make_space(
    method: str,
    seed: int = 0,
    *,
    fold: int | None = None,
    size: int = SIZE,
    published: Any = None,
    bank: int | None = None,
    **changes: Any,
) -> tuple[Record, dict[tuple[str, str, str], RankTable]]:
    """A record with the ranks behind it; `changes` are of the protocol.

    With `bank` queries each rank is one better.
    """
    ranks = make_ranks(method, seed, fold=fold, size=size, **changes)
    stages = STAGES[method]
    entries = tuple(
        SpaceNumber(
            stage=stage,
            split=split,
            direction=direction,
            trained=not (stage == "joint" and direction == "video->text" and method == "at_v"),
            metrics=numbers(table.rank, size),
            metrics_same=numbers(table.rank_same_caption, size) if direction.startswith("text") else {},
            protocol=protocol(direction, split, size, **changes).to_dict(),
        )
        for (stage, split, direction), table in ranks.items()
    )
    shape = {"gap audio+text": 0.7, "norm text": 2.0, "hubness text->audio": -0.001, "never text->audio": 0.25}
    record = make_record(
        method,
        seed,
        fold,
        experiment="spaces",
        dataset="clips",
        selection_metric="R@1",
        metrics=[
            {"split": split, "name": "R@1", "value": 0.1 + 0.01 * seed + 0.1 * (method == "joint"), "count": size}
            for split in SPLITS
        ],
        stages=tuple(make_stage(stage, method, seed) for stage in stages),
        published=published,
        config={"experiment": {"data": {"inputs": {"text": {"kind": "text"}, "video": {"kind": "video"}}}}},
        classes=(),
        notes=(),
        retrieval=RetrievalRecord(
            score="dot",
            pairs=dict.fromkeys(stages, ("audio+text", "audio+video", "text+video")),
            numbers=entries,
            query_bank=tuple(
                BankNumber(
                    stage=stage,
                    split=split,
                    direction=direction,
                    metrics=numbers(np.where(table.rank > 0, table.rank - 1, table.rank), size),
                    bank="val",
                    bank_queries=bank,
                    beta=0.5,
                    protocol={**protocol(direction, split, size, **changes).to_dict(), "post_processing": "querybank"},
                )
                for (stage, split, direction), table in ranks.items()
                if bank is not None and stage == "joint" and split != "val"
            ),
            geometry={stage: dict.fromkeys(SPLITS, shape) for stage in stages},
        ),
    )
    return record, ranks


def make_stage(name: str, method: str, seed: int) -> StageRecord:
    shared = name != "joint"
    curve = tuple(
        Epoch(
            epoch=k,
            train_loss=1.0,
            val_loss=1.0,
            val_metric=0.1 * k,
            learning_rate=0.1,
            seconds=1.0,
            metrics={f"R@1 {direction}": 0.1 * k + 0.01 * seed for direction in measured(name)},
        )
        for k in range(2 if shared else 3)
    )
    return StageRecord(
        name=name,
        hash=f"{name}-{'' if shared else method}-{seed}",
        reused=False,
        trained_parts=("audio.head",),
        trainable_parameters=31,
        total_parameters=37,
        seconds=2.0,
        peak_memory_mib=100.0,
        best_epoch=1,
        still_improving=False,
        curve=curve,
        guards={},
        probes={},
    )


def worst(split: str = "test") -> WorstQueries:
    asked = WorstQuery("test-3", 21, 0.125, (Found("test-9", 0.75, "a cat <purrs>"), Found("test-2", 0.5)), "a dog")
    return WorstQueries("joint", split, "text->video", SIZE, 1, (asked,))


def write_space(folder: Path, method: str, seed: int = 0, *, with_ranks: bool = True, **settings: Any) -> Path:
    """A run's folder."""
    record, ranks = make_space(method, seed, **settings)
    fold = "" if record.fold is None else f"fold-{record.fold}"
    run = folder / method / f"seed-{seed}" / fold
    write_record(run, record)
    if with_ranks:
        write_ranks(run / "ranks.parquet", join_ranks(list(ranks.values())))
    write_worst(run, [worst(), worst("val")])
    return run
