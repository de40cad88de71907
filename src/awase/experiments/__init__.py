"""Whole experiments: functions that return the configuration of a comparison."""

from collections.abc import Callable

from awase.config import Experiment
from awase.experiments.builtin import (
    demo,
    digits,
    digits_speakers,
    scenes_redundant,
    scenes_stream,
    scenes_synergy,
    scenes_unique,
)
from awase.experiments.mcn import ROOTED
from awase.experiments.mmlora_tables import SUITES
from awase.experiments.table import table

EXPERIMENTS: dict[str, Callable[[], Experiment]] = {
    "demo": demo,
    "digits": digits,
    "digits.speakers": digits_speakers,
    "scenes.redundant": scenes_redundant,
    "scenes.stream": scenes_stream,
    "scenes.synergy": scenes_synergy,
    "scenes.unique": scenes_unique,
}

__all__ = ["EXPERIMENTS", "ROOTED", "SUITES", "table"]
