"""From what a user names to an experiment: a built-in name, `FILE.py::FUNCTION`, or a manifest of their own."""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from awase.config import DataConfig, EncoderConfig, Experiment
from awase.data import inferred
from awase.experiments import EXPERIMENTS, ROOTED, SUITES, table
from awase.runner.overrides import apply_overrides

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def resolve_experiment(name: str, assignments: Sequence[str] = ()) -> Experiment:
    """The experiment that `name` means, with every `path.to.field=value` of `assignments` applied.

    Raises `ValueError` for a name that means none (listing the built-in ones) and for a wrong assignment,
    `FileNotFoundError` for a file that is not there.
    """
    if "::" in name:
        made = experiments_of(name)
        if len(made) > 1:
            raise ValueError(f"{name} returned {len(made)} experiments where one is asked for; name a function of one.")
        return apply_overrides(made[0], assignments)
    if name in EXPERIMENTS:
        return apply_overrides(EXPERIMENTS[name](), assignments)
    if name.endswith(TABLE_SUFFIXES):
        return _of_table(Path(name), assignments)
    if name in ROOTED:
        raise ValueError(f"{name!r} is on stores of yours: `awase run {name} --root DIR` runs it.")
    if name in SUITES:
        raise ValueError(
            f"{name!r} is several experiments on data sets of yours: `awase run {name} --root DIR` runs them; "
            "`awase data prepare` makes a table of one data set, which can be checked."
        )
    raise ValueError(
        f"There is no experiment {name!r}. Built-in: {', '.join((*EXPERIMENTS, *SUITES, *ROOTED))}. Or give "
        f"FILE.py::FUNCTION, or a table ({', '.join(TABLE_SUFFIXES)}) with a column per modality."
    )


def table_data(manifest: Path, assignments: Sequence[str]) -> DataConfig:
    """The data of a table: what the assignments say of its columns holds before its inputs are inferred."""
    inputs = [one for one in assignments if one.startswith("data.inputs.")]
    bare = Experiment(name=manifest.stem, data=DataConfig(manifest=manifest), methods=())
    columns = apply_overrides(bare, [one for one in assignments if one not in inputs]).data
    known = bare.model_copy(update={"data": inferred(columns)})
    return apply_overrides(known, inputs).data


def _of_table(manifest: Path, assignments: Sequence[str]) -> Experiment:
    if not manifest.is_file():
        raise FileNotFoundError(
            f"There is no table {manifest}; give the path of a CSV, TSV, JSON-lines or Parquet file."
        )
    of_data = [one for one in assignments if one.startswith("data.")]
    experiment = table(manifest, table_data(manifest, of_data))
    return apply_overrides(experiment, [one for one in assignments if one not in of_data])


def experiments_of(name: str) -> tuple[Experiment, ...]:
    """What the function of `FILE.py::FUNCTION` returns: an experiment, or several.

    Raises `ValueError` for a function that needs arguments or returns anything else, or two of one name.
    """
    function = load_object(name)
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise ValueError(f"{name} cannot be called without arguments ({error}); give all of them defaults.") from error
    made = function()
    several = made if isinstance(made, tuple) and made else (made,)
    for one in several:
        if not isinstance(one, Experiment):
            raise ValueError(f"{name} returned a {type(one).__name__}; it must return an awase.config.Experiment.")
    if len({one.name for one in several}) < len(several):
        raise ValueError(f"{name} returned experiments of one name; each gets a folder of its name.")
    return several


def load_object(reference: str) -> Callable[..., Any]:
    """The callable that `FILE.py::NAME` names. Raises `FileNotFoundError` or `ValueError` where there is none."""
    file, _, name = reference.partition("::")
    module = load_file(Path(file))
    found: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(found):
        own = (key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__)
        valid = ", ".join(key for key in own if callable(getattr(module, key)) and not key.startswith("_"))
        raise ValueError(f"{file} has no function {name!r}; it has: {valid or 'none'}.")
    return found


def load_file(file: Path) -> ModuleType:
    """The Python file as a module, loaded once per process; `ValueError` for one that is not Python."""
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file}.")
    if file.suffix != ".py":
        raise ValueError(f"{file} is no Python file; before `::` stands a file that ends in .py.")
    key = f"awase_user_{file.resolve().as_posix().replace('/', '_').replace('.', '_')}"
    if key not in sys.modules:
        sys.modules[key] = _executed(key, file)
    return sys.modules[key]


def _executed(key: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(key, file)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module  # dataclasses look their module up while it is loaded
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError) as error:
        raise ValueError(f"{file} cannot be loaded: {error}.") from error
    finally:
        del sys.modules[key]
    return module


def restored(experiment: Experiment) -> Experiment:
    """An experiment read from a record, with encoders named `FILE.py::NAME` loaded again."""
    encoders = {name: own_encoder(config) for name, config in experiment.encoders.items()}
    return experiment.model_copy(update={"encoders": encoders})


def own_encoder(config: EncoderConfig) -> EncoderConfig:
    """The configuration with an encoder named `FILE.py::NAME` loaded again; any other as it is."""
    if not isinstance(config.name, str) or "::" not in config.name:
        return config
    return config.model_copy(update={"name": load_object(config.name)})
