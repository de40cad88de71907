"""A folder that `awase data prepare` wrote, as the data of an experiment."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from awase.config import DataConfig, Input

FORMAT_VERSION = 1
MANIFEST = "manifest.csv"
DESCRIPTION = "dataset.json"
LABEL_SEPARATOR = "|"
NO_FOLD = "none"
"""The fold of a row that no fold tests."""


def read_description(folder: Path) -> dict[str, Any]:
    """Returns `dataset.json` of a prepared folder.

    Raises `FileNotFoundError` where there is none and `ValueError` for one that is broken or of another version.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} is no prepared data set: it has no {DESCRIPTION}. Run `awase data prepare NAME --root DIR "
            f"--out {folder}`."
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); prepare the data set again.") from error
    version = document.get("format_version") if isinstance(document, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path} is of format version {version}; this version of awase reads {FORMAT_VERSION}. Prepare the data "
            "set again."
        )
    assert isinstance(document, dict)
    return document


def prepared_data(folder: Path, splitting: str | None = None) -> DataConfig:
    """Returns the data configuration of a prepared folder, its inputs as the comparisons in print read them.

    `splitting` is the name of one of its splittings; without it, the default one. Change single fields with
    `model_copy(update=...)`. Raises `KeyError` for a splitting that it does not have, and as `read_description`.
    """
    document = read_description(folder)
    splittings = document["splittings"]
    if splitting is not None and splitting not in splittings:
        raise KeyError(
            f"{document['name']} in {folder} has no splitting {splitting!r}; valid names: {', '.join(splittings)}."
        )
    columns, multi_label = document["columns"], document["multi_label"]
    return DataConfig(
        manifest=folder / document["manifest"],
        inputs=TypeAdapter(dict[str, Input]).validate_python(document["inputs"]),
        label=("label",),
        label_separator=LABEL_SEPARATOR if multi_label else None,
        task="multi_label" if multi_label else "single_label",
        classes=tuple(document["classes"]),
        split_column="split" if splitting is None else f"split_{splitting}",
        group_column="group" if columns["group"] else None,
        fold_column="fold" if columns["fold"] else None,
        start_column="start" if columns["times"] else None,
        end_column="end" if columns["times"] else None,
    )
