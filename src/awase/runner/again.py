"""A finished run measured again; every later look at the test split is written into its record."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from awase.config import Experiment, Runtime
from awase.distributed import ALONE
from awase.evaluation import score
from awase.records import Record, read_record, write_record
from awase.runner import final
from awase.runner.folder import locked
from awase.runner.loaded import Model
from awase.runner.resolve import restored
from awase.runner.setting import Setting, open_setting
from awase.runner.spec import SavedModel
from awase.runner.work import look


@dataclass(frozen=True)
class Reopened:
    """A finished run with its model and its data, as they were."""

    folder: Path
    record: Record
    model: Model
    setting: Setting


def reopen(folder: Path, *, device: str = "auto", cache: Path | None = None) -> Reopened:
    """The finished run in `folder`.

    Raises `FileNotFoundError` where there is none, `ValueError` when the model or the data are not those of the record.
    """
    record = read_record(folder)
    model = Model.from_pretrained(folder, device=device, cache=cache)
    return Reopened(folder, record, model, reopen_setting(folder, record, model.saved, device=device, cache=cache))


def reopen_setting(
    folder: Path, record: Record, saved: SavedModel, *, device: str = "auto", cache: Path | None = None
) -> Setting:
    """The data and surroundings of a finished run whose model `saved` describes; raises `ValueError` as `reopen`."""
    hashes = [stage.hash for stage in record.stages]
    if not set(saved.hashes) <= set(hashes) or saved.hashes[-1:] != tuple(hashes[-1:]):
        raise ValueError(
            f"The model.json in {folder} belongs to another run than its record; run the experiment again."
        )
    experiment = restored(Experiment.model_validate({**record.config["experiment"], "methods": []}))
    kept = {"dtype": record.config["runtime"]["dtype"]}
    runtime = Runtime.model_validate({"device": device, "cache": cache or Runtime().cache, **kept})
    setting = open_setting(experiment, runtime, record.seed, record.fold, ALONE)
    if setting.dataset.fingerprint != record.data["fingerprint"]:
        raise ValueError(f"The data of {folder} has changed since the run; its numbers would not be comparable.")
    return setting


def evaluate_run(
    folder: Path,
    split: str,
    without: tuple[str, ...] = (),
    *,
    device: str = "auto",
    cache: Path | None = None,
) -> dict[str, float]:
    """The metrics of a finished run on one split of its own data, with the modalities `without` taken away.

    Raises `ValueError` for an unknown split or modality, or when the data has changed since the run.
    """
    if split not in ("train", "val", "test"):
        raise ValueError(f"There is no split {split!r}; valid names: train, val, test.")
    run = reopen(folder, device=device, cache=cache)
    model, setting = run.model, run.setting
    unknown = sorted(set(without) - set(model.modalities))
    if unknown or len(set(without)) == len(model.modalities):
        names = ", ".join(model.modalities)
        raise ValueError(f"Of {names}, some but not all can be taken away; given: {', '.join(without)}.")
    outputs = look(model.classifier, split, setting)
    keep = dict.fromkeys(without, False)
    seen = final.without(model.classifier, outputs, split, keep, setting) if without else outputs
    assert seen.targets is not None, "an experiment's rows have labels"
    metrics = score(seen.logits, seen.targets, setting.label_task, model.saved.threshold)
    if split == "test":
        entry = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "by": "evaluate", "without": list(without)}
        note_look(folder, entry)
    return metrics


def note_look(folder: Path, entry: dict[str, Any]) -> None:
    """Adds one look at the test split to the record of a run; two processes do not lose each other's."""
    with locked(folder):
        record = read_record(folder)
        write_record(folder, record.model_copy(update={"test_looks": (*record.test_looks, entry)}))
