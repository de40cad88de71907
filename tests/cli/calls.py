"""Calls of the command line in this process, and small tables of numbers and words to call it on."""

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from awase.cli.main import execute

INPUTS = {
    "reading": {"kind": "array", "column": "reading", "shape": [3]},
    "text": {"kind": "text", "column": "text", "max_tokens": 5},
}
SPLITS = ("train",) * 13 + ("val",) * 5 + ("test",) * 7


@dataclass(frozen=True)
class Call:
    """Exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def call(*arguments: object) -> Call:
    """What `awase` with these arguments ends with."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = execute([str(argument) for argument in arguments])
    return Call(code, out.getvalue(), err.getvalue())


def assert_refused(result: Call, *words: str, code: int = 2) -> None:
    """One sentence on standard error that has all the words, nothing on standard output."""
    assert (result.code, result.out) == (code, ""), result
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("awase: ")
    assert lines[0].endswith(".")
    missing = [word for word in words if word not in lines[0]]
    assert missing == [], lines[0]


def files(folder: Path) -> list[str]:
    """The files below a folder, without locks."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if not name.endswith((".lock", ".lock.pid")))


Change = Callable[[list[dict[str, str]]], None]


def reading_rows(splits: Sequence[str] = SPLITS) -> list[dict[str, str]]:
    """Three numbers and two words per row; both tell the label."""
    generator = np.random.default_rng(5)
    rows = []
    for number, split in enumerate(splits):
        label = ("no", "yes")[number % 2]
        values = generator.normal(size=3) + (2.0 if label == "yes" else -2.0)
        text = f"{'bright' if label == 'yes' else 'dark'} {number}"
        reading = json.dumps([round(float(value), 3) for value in values])
        rows.append({"id": f"r{number}", "reading": reading, "text": text, "label": label, "split": split})
    return rows


def write_jsonl(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """The rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run_arguments(table: Path, folder: Path, *more: object, method: str | None = "joint") -> list[object]:
    """`awase run` of one quick method on a table of readings, results and cache in `folder`."""
    chosen = [] if method is None else ["--method", method]
    return [
        *("run", table, "--quiet", "--seed", 0, "--device", "cpu", "--threads", 1, *chosen),
        *("--out", folder / "out", "--cache", folder / "cache", "--set", f"data.inputs={json.dumps(INPUTS)}"),
        *("--set", "unimodal.epochs=1", "--set", "joint.epochs=1", "--set", "probe=false", "--set", "missing_rates=[]"),
        *more,
    ]
