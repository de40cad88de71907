"""Errors as single sentences for standard error."""

import sys
from typing import Any, cast

import typer

# Typer brings its own copy of click or uses the installed one, by version: this is the common class of usage errors.
UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])


def usage_sentence(error: Any) -> str:
    """What was wrong with the arguments (a `UsageError`), and where the right ones are described."""
    where = "awase" if error.ctx is None else error.ctx.command_path
    return f"{_ended(error.format_message())} See `{where} --help`."


def sentence(error: Exception) -> str:
    """What the error says, in one line: of a configuration the first field that is wrong, of a file its name."""
    text = _configuration(error) or _file(error)
    if text is None:
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return _ended(" ".join(text.split()) or type(error).__name__)


def _configuration(error: Exception) -> str | None:
    if "pydantic" not in sys.modules:
        return None
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return None
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{error.title}: {place + ' = ' if place else ''}{first['input']!r} is refused: {first['msg']}"


def _file(error: Exception) -> str | None:
    if not isinstance(error, OSError) or error.strerror is None:
        return None
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
