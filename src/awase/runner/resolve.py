"""From what a user names to an experiment: a built-in name, `FILE.py::FUNCTION`, or a manifest of their own."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from awase.config import EncoderConfig, Experiment
from awase.experiments import EXPERIMENTS, table

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def resolve_experiment(name: str) -> Experiment:
    """The experiment that `name` means.

    Raises `ValueError` for a name that means none (listing the built-in ones), `FileNotFoundError` for a file that is
    not there.
    """
    if "::" in name:
        made = load_object(name)()
        if not isinstance(made, Experiment):
            raise ValueError(f"{name} returned a {type(made).__name__}; it must return an awase.config.Experiment.")
        return made
    if name in EXPERIMENTS:
        return EXPERIMENTS[name]()
    if name.endswith(TABLE_SUFFIXES):
        if not Path(name).is_file():
            raise FileNotFoundError(
                f"There is no table {name}; give the path of a CSV, TSV, JSON-lines or Parquet file."
            )
        return table(Path(name))
    raise ValueError(
        f"There is no experiment {name!r}. Built-in: {', '.join(EXPERIMENTS)}. Or give FILE.py::FUNCTION, or a table "
        f"({', '.join(TABLE_SUFFIXES)}) with a column per modality."
    )


def load_object(reference: str) -> Callable[..., Any]:
    """The object that `FILE.py::NAME` names. Raises `FileNotFoundError` or `ValueError` where there is none."""
    file, _, name = reference.partition("::")
    module = load_file(Path(file))
    if not hasattr(module, name):
        valid = ", ".join(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise ValueError(f"{file} has no {name!r}; it has: {valid}.")
    found: Callable[..., Any] = getattr(module, name)
    return found


def load_file(file: Path) -> ModuleType:
    """The Python file as a module, loaded once per process."""
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file}.")
    key = f"awase_user_{file.resolve().as_posix().replace('/', '_').replace('.', '_')}"
    if key not in sys.modules:
        spec = importlib.util.spec_from_file_location(key, file)
        assert spec is not None, "a .py file has a loader"
        assert spec.loader is not None, "a .py file has a loader"
        module = importlib.util.module_from_spec(spec)
        sys.modules[key] = module
        spec.loader.exec_module(module)
    return sys.modules[key]


def restored(experiment: Experiment) -> Experiment:
    """An experiment read from a record, with encoders named `FILE.py::NAME` loaded again."""
    encoders = {
        name: config.model_copy(update={"name": load_object(config.name)})
        if isinstance(config.name, str) and "::" in config.name
        else config
        for name, config in experiment.encoders.items()
    }
    checked: dict[str, EncoderConfig] = encoders
    return experiment.model_copy(update={"encoders": checked})
