"""What makes inputs and rows unusable, and what becomes of rows that lack a modality."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from awase.config import AudioInput, Input, TimeShift, VideoInput
from awase.data.source import Rows
from awase.data.spectrograms import WAVEFORM, plan_of
from awase.data.transforms import ALLOWED

Reasons = dict[str, dict[int, str]]
"""Modality -> row -> why it is absent."""
_SHOWN = 10


def check_inputs(inputs: Mapping[str, Input]) -> None:
    """Raises `ValueError` for an unknown representation, and for a transform that its input cannot have."""
    for modality, setting in inputs.items():
        if isinstance(setting, AudioInput) and setting.representation != WAVEFORM:
            plan_of(setting.representation, setting.sample_rate_hz)
        for transform in (*setting.augment, *setting.corrupt):
            _check_transform(modality, setting, transform.name)
            if isinstance(transform, TimeShift) and isinstance(setting, VideoInput) and setting.window_s is None:
                raise ValueError(
                    f"time_shift of {modality!r} needs frames a known time apart; set its window_s (seconds)."
                )


def _check_transform(modality: str, setting: Input, name: str) -> None:
    allowed = ALLOWED[setting.kind]
    if isinstance(setting, AudioInput) and setting.representation == WAVEFORM:
        allowed = tuple(other for other in allowed if other != "spec_augment")
    if name not in allowed:
        raise ValueError(
            f"{modality!r} is {setting.kind} and cannot have the transform {name!r}; "
            f"it can have {', '.join(allowed) or 'none'}."
        )


def drop_rows(
    rows: Rows, splits: Mapping[str, np.ndarray], reasons: Reasons, policy: Literal["mask", "drop", "error"]
) -> tuple[dict[str, np.ndarray], dict[int, str]]:
    """The splits without excluded rows, and per excluded row the reason.

    `mask` excludes rows that have no modality at all, `drop` rows that lack any, `error` raises `ValueError` with their
    ids. A modality that no training row has, and a split that is left empty, raise `ValueError` too.
    """
    members = np.concatenate(list(splits.values()))
    lacking = {row: [name for name, absent in reasons.items() if row in absent] for row in members.tolist()}
    _check_modalities(rows, splits["train"], reasons)
    if policy == "error":
        _check_complete(rows, {row: names for row, names in lacking.items() if names}, reasons)
    needed = 1 if policy == "drop" else len(reasons)
    excluded = {
        row: "; ".join(f"{name}: {reasons[name][row]}" for name in names)
        for row, names in lacking.items()
        if len(names) >= needed
    }
    kept = {split: member[[row not in excluded for row in member.tolist()]] for split, member in splits.items()}
    for split, member in kept.items():
        if len(member) == 0:
            raise ValueError(f"Every row of the split {split!r} was excluded; for example {_examples(rows, excluded)}.")
    return kept, excluded


def _check_modalities(rows: Rows, train: np.ndarray, reasons: Reasons) -> None:
    for name, absent in reasons.items():
        if all(row in absent for row in train.tolist()):
            examples = _examples(rows, {row: absent[row] for row in train.tolist()})
            raise ValueError(f"No training row has a usable {name!r}; for example {examples}.")


def _check_complete(rows: Rows, lacking: Mapping[int, list[str]], reasons: Reasons) -> None:
    if lacking:
        texts = {row: "; ".join(f"{name}: {reasons[name][row]}" for name in names) for row, names in lacking.items()}
        raise ValueError(
            f"{len(lacking)} rows lack a modality: {_examples(rows, texts)}. "
            "Repair them, or say --set data.missing=mask or data.missing=drop."
        )


def _examples(rows: Rows, reasons: Mapping[int, str]) -> str:
    shown = [f"{rows.ids[row]!r} ({reason})" for row, reason in list(reasons.items())[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else "")
