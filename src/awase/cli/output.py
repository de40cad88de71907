"""One JSON document on standard output."""

import json
import math
from typing import Any


def print_json(document: Any) -> None:
    """Prints the document on one line; numbers that JSON does not have (NaN, infinities) become null."""
    print(json.dumps(_plain(document), allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
