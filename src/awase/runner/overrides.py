"""Changes of a configuration by dotted path, checked against its types."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from awase.config import Experiment


def apply_overrides(experiment: Experiment, assignments: Sequence[str]) -> Experiment:
    """The experiment with every `path.to.field=value` applied in order.

    Raises `ValueError` for an assignment without `=`, an unknown field (listing the valid ones) or a bad value.
    """
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise ValueError(
                f"{assignment!r} is no assignment; write path.to.field=value, for example joint.epochs=30."
            )
        experiment = _assigned(experiment, path, text)
    return experiment


def _assigned(experiment: Experiment, path: str, text: str) -> Experiment:
    """The value is what its JSON says, or the text itself where only that fits (a label called `7`)."""
    problem = ""
    for value in (_parse(text), text):
        try:
            changed: Experiment = _replaced(experiment, path.split("."), value, path)
            return changed
        except ValidationError as error:
            problem = problem or error.errors()[0]["msg"]
    raise ValueError(f"{path}={text!r}: {problem}.")


def _replaced(value: Any, keys: list[str], new: Any, path: str) -> Any:
    if not keys:
        return new
    key, rest = keys[0], keys[1:]
    if isinstance(value, BaseModel):
        return _replaced_field(value, key, rest, new, path)
    if isinstance(value, Mapping):
        if rest and key not in value:
            raise ValueError(f"{path}: there is no {key!r}; valid names: {', '.join(map(str, value)) or 'none'}.")
        return {**value, key: _replaced(value.get(key), rest, new, path)}
    if isinstance(value, tuple):
        if not key.isdigit() or int(key) >= len(value):
            raise ValueError(f"{path}: {key!r} is no position in a list of {len(value)}; the first is 0.")
        items = list(value)
        items[int(key)] = _replaced(items[int(key)], rest, new, path)
        return tuple(items)
    raise ValueError(f"{path}: {value!r} has no fields, so {key!r} cannot be set in it.")


def _replaced_field(model: BaseModel, key: str, rest: list[str], new: Any, path: str) -> Any:
    fields = type(model).model_fields
    if key not in fields:
        raise ValueError(f"{path}: there is no field {key!r}; valid names: {', '.join(fields)}.")
    current = {name: getattr(model, name) for name in fields}
    return type(model).model_validate({**current, key: _replaced(current[key], rest, new, path)})


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def changed_settings(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with dotted changes: `{"training.learning_rate": 1e-4}` sets one entry of `settings["training"]`."""
    result = TypeAdapter(dict[str, Any]).validate_python(dict(settings))
    for path, value in changes.items():
        key, _, rest = path.partition(".")
        result[key] = changed_settings(result.get(key) or {}, {rest: value}) if rest else value
    return result
