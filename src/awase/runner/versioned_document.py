"""JSON files of this program that say in which version of their format they are."""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

Document = TypeVar("Document", bound=BaseModel)


def read_versioned_document(file: Path, kind: type[Document], version: int, *, damaged: str, again: str) -> Document:
    """The document in `file`, whose `format_version` is `version`.

    Raises `ValueError` for a file that is none, saying what is `damaged`, and for another version, saying what to do
    `again`.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        found = document.get("format_version")
        if found == version:
            return kind.model_validate(document)
    except (json.JSONDecodeError, AttributeError, ValidationError) as error:
        raise ValueError(f"{file} is damaged or {damaged}") from error
    raise ValueError(f"{file} has format version {found}; this awase reads {version}: {again}.")
