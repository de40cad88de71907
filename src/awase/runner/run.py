"""Runs an experiment: every method, seed and fold, each with a folder and a record of its own."""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from awase.config import Experiment, MethodConfig, Runtime, StageConfig
from awase.distributed import ALONE, joined_world
from awase.files import write_text
from awase.methods import build_method
from awase.records import Record, StageRecord, write_record
from awase.runner import provenance
from awase.runner.check import check_request
from awase.runner.final import Final, probe_stage, score_run
from awase.runner.folder import RefusedError, claim, locked, run_folder
from awase.runner.nodes import NodeRunner, StageResult
from awase.runner.overrides import changed_settings
from awase.runner.saved import MODEL_NAME
from awase.runner.setting import Setting, dataset_name, open_setting
from awase.runner.space_final import score_spaces
from awase.runner.space_stream import validation_mean_of_spaces
from awase.runner.spec import SavedModel
from awase.runner.stream_final import score_stream, validation_mean
from awase.runner.tracking import Tracker
from awase.statistics import STREAM_NAME, write_hits, write_predictions
from awase.training.divergence import TrainingDivergedError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """One candidate that was tried: its changes, its stages, and its value on validation."""

    changes: dict[str, Any]
    runner: NodeRunner
    last: StageResult
    value: float


def run_experiment(experiment: Experiment, runtime: Runtime, out: Path) -> list[Record]:
    """The records of every method, seed and fold, in `out`; what is finished there already is not run again.

    Raises `RefusedError` where a folder belongs to another configuration or process, `ValueError` for a request that
    cannot work, `TrainingDivergedError` when a loss stops being a number (after writing a record that says so).
    """
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    backend = "nccl" if runtime.device.startswith("cuda") else "gloo"
    records = []
    with joined_world(backend) as world:
        if world.size > 1:
            raise ValueError("`awase run` trains on one process; start it without torchrun.")
        for fold in experiment.folds or (None,):
            setting = open_setting(experiment, runtime, experiment.seeds[0], fold, world)
            check_request(setting)
            for seed in experiment.seeds:
                setting = setting.with_seed(seed)
                records += [run_method(setting, method, out) for method in experiment.methods]
    return records


def check_experiment(experiment: Experiment, runtime: Runtime) -> None:
    """Opens the data of every fold and builds every method; raises what `run_experiment` would before it trains."""
    for fold in experiment.folds or (None,):
        check_request(open_setting(experiment, runtime, experiment.seeds[0], fold, ALONE))


def known_splits(experiment: Experiment, runtime: Runtime) -> tuple[str, ...]:
    """What a run is scored on, validation among them; of folds, the first. Raises what opening the data raises."""
    fold = experiment.folds[0] if experiment.folds else None
    dataset = open_setting(experiment, runtime, experiment.seeds[0], fold, ALONE).dataset
    return tuple(split for split in dataset.splits if split != "train")


def run_method(setting: Setting, method: MethodConfig, out: Path) -> Record:
    """The record of one method with one seed on one fold; the folder's own where it is done already."""
    folder = run_folder(out, method.title, setting.seed, setting.fold)
    with locked(folder):
        done = claim(folder, run_document(setting, method))
        if done is not None:
            if done.data.get("fingerprint") != setting.dataset.fingerprint:
                raise RefusedError(
                    f"{folder} is a finished run on other data (its rows or files have changed); choose another folder "
                    "with --out, or remove this one."
                )
            log.info("%s is done already", folder)
            return done
        started = datetime.now(UTC)
        clock = time.monotonic()
        tracker = Tracker(folder)
        try:
            attempts = list(attempt_all(setting, method, tracker))
            best = choose(attempts, setting.experiment.selection.direction)
            final = score(best, folder)
            probes = probe_all(best.runner) if setting.experiment.probe and final.predictions is not None else {}
        except TrainingDivergedError as error:
            failed = failed_record(setting, method, started, str(error))
            write_record(folder, failed)
            raise
        finally:
            tracker.close()
        if final.predictions is not None:
            write_predictions(folder / "predictions.parquet", final.predictions)
        if final.stream is not None:
            write_hits(folder / STREAM_NAME, final.stream[1])
        finished = Finished(attempts, best, final, probes, started, time.monotonic() - clock)
        record = make_record(setting, method, finished)
        write_saved(folder, setting, finished, record)
        write_record(folder, record)
        return record


def score(best: Attempt, folder: Path) -> Final:
    """The one look at test: of classes by the last stage's model, of joint spaces and streams by every stage's."""
    if best.runner.setting.dataset.task == "retrieval":
        metrics, retrieval = score_spaces(best.runner, best.last, folder)
        return Final(metrics, None, 0.5, retrieval)
    return replace(score_run(best.runner, best.last), stream=score_stream(best.runner, best.last))


def write_saved(folder: Path, setting: Setting, finished: "Finished", record: Record) -> None:
    """Writes `model.json`: what is needed to load the run's model from the stage store."""
    last = finished.best.last
    card = {
        "method": record.method,
        "dataset": record.dataset,
        "weights": record.weights,
        "version": record.versions.get("awase"),
        "fingerprint": record.data["fingerprint"],
        "test": {
            m.name: m.value
            for m in record.metrics
            if m.split == "test" and m.condition == "full" and math.isfinite(m.value)
        },
        "count": next((m.count for m in record.metrics if m.split == "test"), 0),
    }
    saved = SavedModel(
        spec=setting.spec,
        stage=last.stage,
        derived=last.derived,
        threshold=finished.final.threshold,
        hashes=tuple(result.hash for result in ancestry(finished.best.runner, last)),
        card=card,
    )
    write_text(folder / MODEL_NAME, saved.model_dump_json(indent=1) + "\n")


def ancestry(runner: NodeRunner, last: StageResult) -> list[StageResult]:
    """The stages that the last one begins from, at first or second hand, in the order of the run, and itself."""
    names, waiting = set[str](), [last.stage.name]
    while waiting:
        name = waiting.pop()
        names.add(name)
        waiting += [one for one in runner.stages[name].stage.start if one not in names]
    return [result for name, result in runner.stages.items() if name in names]


def run_document(setting: Setting, method: MethodConfig) -> dict[str, Any]:
    """The configuration a run's folder belongs to: one method, seed and fold; the other methods do not matter."""
    experiment = setting.experiment.model_dump(mode="json", exclude={"methods", "seeds", "folds"})
    runtime = {"device": torch.device(setting.device).type, "dtype": setting.runtime.dtype}
    return {
        "experiment": experiment,
        "method": method.model_dump(mode="json"),
        "seed": setting.seed,
        "fold": setting.fold,
        "runtime": runtime,
    }


def attempt_all(setting: Setting, method: MethodConfig, tracker: Tracker) -> Iterator[Attempt]:
    """Runs every candidate of the method; those of one method share their earlier stages through the store."""
    metric = setting.experiment.selection.metric
    for changes in method.candidates or ({},):
        settings = changed_settings(method.settings, changes)
        nodes = build_method(method.method, setting.method_context(), settings)
        runner = NodeRunner(setting, tracker.on_epoch)
        last = runner.run(nodes)
        if metric not in last.facts["val"]:
            valid = ", ".join(last.facts["val"])
            raise ValueError(f"Selection asks for the metric {metric!r}; valid names: {valid}.")
        of_stream = validation_mean_of_spaces if setting.dataset.task == "retrieval" else validation_mean
        value = of_stream(runner, last, metric)
        yield Attempt(dict(changes), runner, last, last.facts["val"][metric] if value is None else value)


def choose(attempts: Sequence[Attempt], direction: str) -> Attempt:
    """The attempt that is best on validation, the first among equals."""
    sign = 1.0 if direction == "max" else -1.0
    return max(attempts, key=lambda attempt: sign * attempt.value)


def probe_all(runner: NodeRunner) -> dict[str, dict[str, float]]:
    """Stage -> modality -> accuracy of a linear probe on its encoder; the last one first, whose model is there."""
    return {name: probe_stage(runner, result) for name, result in reversed(runner.stages.items())}


@dataclass(frozen=True)
class Finished:
    """What a run ended with, on its way into the record."""

    attempts: Sequence[Attempt]
    best: Attempt
    final: Final
    probes: dict[str, dict[str, float]]
    started: datetime
    seconds: float


def make_record(setting: Setting, method: MethodConfig, finished: Finished) -> Record:
    """The record of a finished run."""
    best, stages = finished.best, list(finished.best.runner.stages.values())
    return Record(
        status="done",
        **shared_fields(setting, method, finished.started),
        metrics=finished.final.metrics,
        stages=tuple(stage_record(result, finished.probes.get(result.stage.name, {})) for result in stages),
        derived={**best.runner.decisions, "threshold": finished.final.threshold},
        settings_tried=len(finished.attempts),
        chosen={
            "changes": best.changes,
            "tried": [{"changes": one.changes, "validation": one.value} for one in finished.attempts],
        },
        trainable_parameters=trainable(best),
        total_parameters=best.last.facts["total_parameters"],
        seconds=finished.seconds,
        peak_memory_mib=max(result.facts["peak_memory_mib"] for result in stages),
        notes=tuple(notes(stages)),
        retrieval=finished.final.retrieval,
        stream=None if finished.final.stream is None else finished.final.stream[0],
    )


def trainable(attempt: Attempt) -> int:
    """Parameters that the last stage trains; where it only composes, those of the stages it composes."""
    own = int(attempt.last.facts["trainable_parameters"])
    composed = [attempt.runner.stages[name] for name in attempt.last.stage.start]
    return own or sum(int(result.facts["trainable_parameters"]) for result in composed)


def failed_record(setting: Setting, method: MethodConfig, started: datetime, reason: str) -> Record:
    """The record of a run that could not be finished."""
    return Record(
        status="failed",
        **shared_fields(setting, method, started),
        metrics=(),
        stages=(),
        derived={},
        settings_tried=0,
        chosen={},
        trainable_parameters=0,
        total_parameters=0,
        seconds=(datetime.now(UTC) - started).total_seconds(),
        peak_memory_mib=0.0,
        notes=(reason,),
    )


def shared_fields(setting: Setting, method: MethodConfig, started: datetime) -> dict[str, Any]:
    """The fields every record has, finished or failed."""
    experiment = setting.experiment
    head, dirty = provenance.commit(Path(__file__).parent)
    return {
        "experiment": experiment.name,
        "method": method.title,
        "dataset": dataset_name(experiment.data),
        "seed": setting.seed,
        "fold": setting.fold,
        "selection_metric": experiment.selection.metric,
        "published": experiment.published.get(method.title),
        "published_starred": method.title in experiment.published_starred,
        "config": {
            **run_document(setting, method),
            "command": setting.runtime.command,
            "methods": [other.model_dump(mode="json") for other in experiment.methods],
        },
        "data": {"fingerprint": setting.dataset.fingerprint, **setting.dataset.summary},
        "weights": setting.weights,
        "classes": setting.dataset.classes,
        "versions": provenance.versions(),
        "hardware": provenance.hardware(setting.device),
        "commit": head,
        "dirty": dirty,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def stage_record(result: StageResult, probes: dict[str, float]) -> StageRecord:
    """What became of one stage."""
    facts = result.facts
    keys = ("trainable_parameters", "total_parameters", "seconds", "peak_memory_mib", "best_epoch", "still_improving")
    return StageRecord(
        name=result.stage.name,
        hash=result.hash,
        reused=result.reused,
        trained_parts=tuple(facts["trained_parts"]),
        curve=tuple(facts["curve"]),
        guards=facts["guards"],
        probes=probes,
        **{key: facts[key] for key in keys},
    )


def notes(stages: Sequence[StageResult]) -> Iterator[str]:
    """Warnings that belong beside the numbers."""
    for result in stages:
        stage: StageConfig = result.stage
        if result.facts["still_improving"]:
            yield (
                f"Stage {stage.name!r} was still improving on validation at the end of its {stage.training.epochs} "
                "epochs; more epochs would probably change its numbers."
            )
        if stage.stream is not None and stage.stream.keys and result is stages[-1]:
            yield (
                "Every row was answered by the adapters and heads of its own data set, so the accuracy over all "
                "rows is task-aware: it does not stand beside that of a model which is not told the data set."
            )
        if stage.stream is not None and not stage.start and result is stages[-1]:
            yield "The accuracy over all rows is that of the model of the last data set; each data set has its own."
        lacking = result.facts.get("steps_without_clusters")
        if lacking:
            assert stage.retrieval is not None
            assert stage.retrieval.clustering is not None
            yield (
                f"Stage {stage.name!r} took {lacking} steps without the clustering term: there were fewer rows than "
                f"its {stage.retrieval.clustering.num_clusters} clusters."
            )
