"""A table in words, before it is Markdown or LaTeX."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plain:
    """A title, column titles, rows whose first cell names them, and sentences below."""

    title: str
    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
