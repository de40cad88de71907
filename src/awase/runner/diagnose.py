"""A finished run diagnosed: which modality it uses, which it ignores, and what to try."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from awase.config import StageConfig
from awase.evaluation.balance import balance, still_rising
from awase.evaluation.diagnosis import findings_of, verdict
from awase.evaluation.evidence import Measured, interaction_evidence, modality_evidence, whole_evidence
from awase.evaluation.shapley import MAX_MODALITIES
from awase.records import (
    BalancePoint,
    Diagnosis,
    Record,
    read_diagnoses,
    read_record,
    write_diagnosis,
)
from awase.runner.again import Reopened, note_look, reopen
from awase.runner.folder import locked
from awase.runner.measured import Split, measured
from awase.runner.own_stages import own_stage, stages_of

REVISION = 1
"""Raised by hand when the same run would give other numbers or statements; older diagnoses are then made anew."""


def diagnose_run(
    folder: Path,
    split: str = "val",
    *,
    device: str = "auto",
    cache: Path | None = None,
    again: bool = False,
) -> Diagnosis:
    """The diagnosis of a finished run, kept in `diagnosis.json` beside its record; `again` does not read that file.

    A diagnosis guides further training, so it is made on validation unless told otherwise; a look at test is written
    into the record. Raises `ValueError` for an unknown split, for a run that failed, and when the data has changed.
    """
    chosen = _split(split)
    record = read_record(folder)
    if record.status != "done":
        raise ValueError(f"The run in {folder} failed ({'; '.join(record.notes)}), so there is nothing to diagnose.")
    if record.retrieval is not None:
        raise ValueError(
            f"The run in {folder} retrieves: nothing is decided, so no modality can be blamed for a decision. "
            "`awase report` shows its directions, stages, the shape of its space and its worst queries."
        )
    known = None if again else _known(folder, record, chosen)
    if known is not None:
        return known
    diagnosis = _diagnosis(reopen(folder, device=device, cache=cache), chosen)
    if chosen == "test":
        note_look(folder, {"when": diagnosis.made, "by": "diagnose"})
    with locked(folder):
        write_diagnosis(folder, diagnosis)
    return diagnosis


def _split(name: str) -> Split:
    if name not in ("val", "test"):
        raise ValueError(f"A run is diagnosed on val or on test; {name!r} is neither.")
    return "val" if name == "val" else "test"


def _known(folder: Path, record: Record, split: Split) -> Diagnosis | None:
    found = read_diagnoses(folder).by_split.get(split)
    hashes = tuple(stage.hash for stage in record.stages)
    return found if found is not None and (found.revision, found.stages) == (REVISION, hashes) else None


def _diagnosis(run: Reopened, split: Split) -> Diagnosis:
    record, model, dataset = run.record, run.model.classifier, run.setting.dataset
    stages = stages_of(run)
    seen = measured(run, split, {name: own_stage(run, stages, name) for name in model.modalities})
    whole = whole_evidence(seen)
    modalities = modality_evidence(seen)
    interactions = interaction_evidence(seen)
    curve = balance(record.stages)
    metric = "f1_micro" if run.setting.multi_label else "accuracy"
    splits = model.fusion.splits or bool(model.heads)
    findings = findings_of(
        modalities,
        above_chance=whole["above_chance"],
        additive=model.fusion.splits,
        splits=splits,
        fusion=run.model.saved.stage.fusion.name,
        metric=metric,
        interactions=interactions,
        ratios=_last_ratios(curve),
        improving=_improving(record, stages),
    )
    return Diagnosis(
        revision=REVISION,
        stages=tuple(stage.hash for stage in record.stages),
        experiment=record.experiment,
        method=record.method,
        seed=record.seed,
        fold=record.fold,
        split=split,
        metric=metric,
        samples=len(seen.targets),
        left_out=len(dataset.splits[split]) - len(seen.targets),
        fusion=run.model.saved.stage.fusion.name,
        additive=model.fusion.splits,
        **whole,
        modalities=modalities,
        interactions=interactions,
        balance=curve,
        findings=findings,
        verdict=verdict(findings, modalities),
        notes=_notes(seen, curve, split, splits),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _last_ratios(curve: tuple[BalancePoint, ...]) -> Mapping[str, float]:
    return curve[-1].ratios if curve else {}


def _improving(record: Record, stages: Mapping[str, StageConfig]) -> list[str]:
    """The stages of several modalities that were still improving."""
    return [
        stage.name
        for stage in record.stages
        if len(stages[stage.name].modalities) > 1
        and still_rising(stage.curve, stage.still_improving, record.selection_metric)
    ]


def _notes(seen: Measured, curve: tuple[BalancePoint, ...], split: Split, splits: bool) -> tuple[str, ...]:
    """What a reader of the numbers must know."""
    found = []
    if split == "val":
        found.append(
            "Measured on validation, which also chose the epochs (and settings, and the threshold of several labels): "
            "levels are slightly high, test stays unseen."
        )
    if len(seen.present) > 1:
        found.append(
            "A modality that is left out is absent, as in data that lack it; a model that never met that in training "
            "can lose more than the modality tells."
        )
        if not splits:
            found.append("The fusion has no logits per modality: `inside` is the model given that modality alone.")
        if not curve:
            found.append("No stage trained several modalities together, so there are no curves of their balance.")
    if len(seen.present) > MAX_MODALITIES:
        found.append(
            f"Exact Shapley values take every subset of the modalities; they are computed for up to {MAX_MODALITIES}, "
            f"and this run has {len(seen.present)}."
        )
    return tuple(found)
