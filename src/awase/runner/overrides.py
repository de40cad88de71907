"""Changes of a configuration by dotted path, checked against its types."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from awase.config import Experiment
from awase.data import inferred
from awase.encoders import default_encoder

FREE = ("settings", "options")
"""Fields whose entries are known only to what they are given to, which checks them."""


def apply_overrides(experiment: Experiment, assignments: Sequence[str]) -> Experiment:
    """The experiment with every `path.to.field=value` applied in order.

    `encoders.MODALITY...` begins from the modality's default encoder where the experiment names none, and
    `unimodal_overrides.MODALITY...` from no changes. Raises `ValueError` for an assignment without `=`, an unknown
    field or modality (listing the valid ones) or a bad value.
    """
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise ValueError(
                f"{assignment!r} is no assignment; write path.to.field=value, for example joint.epochs=30."
            )
        experiment = _assigned(_with_defaults(experiment, path), path, text)
    return experiment


def _with_defaults(experiment: Experiment, path: str) -> Experiment:
    """The experiment with the entry of a modality written out that it has only by default."""
    field, _, rest = path.partition(".")
    modality, dot, _ = rest.partition(".")
    if field not in ("encoders", "unimodal_overrides") or not dot or modality in getattr(experiment, field):
        return experiment
    inputs = experiment.data.inputs or inferred(experiment.data).inputs
    if modality not in inputs:
        raise ValueError(f"{path}: there is no modality {modality!r}; valid names: {', '.join(inputs)}.")
    entry: Any = default_encoder(inputs[modality].kind) if field == "encoders" else {}
    return experiment.model_copy(update={field: {**getattr(experiment, field), modality: entry}})


def _assigned(experiment: Experiment, path: str, text: str) -> Experiment:
    """The value is what its JSON says, the text itself (a label called `7`), or a list of it (`a,b`): what fits."""
    problem = ""
    for value in (_parse(text), text, text.split(",")):
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
    if key in FREE and len(rest) > 1:
        current[key] = {rest[0]: {}, **current[key]}
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
