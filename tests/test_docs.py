"""What the pages in `docs/` show works: their Python runs, their commands parse, their names and links exist."""

import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from docs_examples import write_examples

from awase.adapters import PRESETS
from awase.cli.main import app
from awase.data.spectrograms import PRESETS as REPRESENTATIONS
from awase.encoders import ENCODERS
from awase.experiments import EXPERIMENTS
from awase.fusion import FUSIONS
from awase.methods import METHODS, method_settings
from awase.runner.resolve import resolve_experiment

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)\n```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
COMMANDS = typer.main.get_command(app)


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """(mark, body) of every fenced block of a language; the mark stands in a comment on the line before."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [(match["mark"] or "", match["body"]) for match in found if match["language"] == language]


def command_lines(text: str) -> Iterator[list[str]]:
    """The arguments of every `awase ...` in a block; a backslash joins lines, a comment ends one."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words[:1] == ["awase"]:
            yield words[1:]


def commands() -> list[tuple[str, list[str]]]:
    return [(page.name, words) for page in PAGES for _, body in blocks(page, "bash") for words in command_lines(body)]


def parsed(command: Any, name: str, words: list[str]) -> Any:
    """The context that the words make of a command or of a group's subcommand; usage errors are raised."""
    context = command.make_context(name, list(words))
    if not hasattr(command, "commands"):
        return context
    rest = [*context._protected_args, *context.args] if hasattr(context, "_protected_args") else context.args
    return parsed(command.commands[rest[0]], f"{name} {rest[0]}", rest[1:])


MARKED = [page for page in PAGES if any(mark == "run" for mark, _ in blocks(page, "python"))]


@pytest.mark.parametrize("page", MARKED, ids=lambda page: page.stem)
def test_marked_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """All marked blocks of a page run one after the other, as one script, beside the files the page speaks of."""
    found = blocks(page, "python")
    script = "\n".join(body for mark, body in found if mark == "run")
    files = {mark.removeprefix("file: "): body for mark, body in found if mark.startswith("file: ")}
    write_examples(tmp_path)
    for name, body in files.items():
        (tmp_path / name).write_text(body + "\n", encoding="utf-8")
    (tmp_path / "page.py").write_text(script + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert runpy.run_path("page.py").keys() > {"__name__", "__file__"}


def test_marks_are_known_and_python_is_python():
    found = [(mark, body) for page in PAGES for mark, body in blocks(page, "python")]
    assert {mark.partition(":")[0] for mark, _ in found} <= {"", "run", "file"}
    for _, body in found:
        compile(body, "a block of a page", "exec")


def test_commands_exist_with_their_options():
    found = commands()
    assert len(found) > 20, "the pages show commands"
    for page, words in found:
        try:
            parsed(COMMANDS, "awase", words)
        except (typer.BadParameter.__mro__[1], ValueError, KeyError) as error:  # the class of all usage errors
            pytest.fail(f"{page}: awase {shlex.join(words)}: {error}")


def test_assignments_in_commands_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of built-in experiments and of the tables and files that the pages bring with them."""
    write_examples(tmp_path)
    for page in PAGES:
        for mark, body in blocks(page, "python"):
            if mark.startswith("file: "):
                (tmp_path / mark.removeprefix("file: ")).write_text(body, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for page, words in commands():
        known = len(words) > 1 and (words[1] in EXPERIMENTS or Path(words[1].partition("::")[0]).is_file())
        if words[0] == "run" and known:
            values = parsed(COMMANDS, "awase", words).params
            experiment = resolve_experiment(values["name"], values["assignments"] or [])
            chosen = experiment.restricted(methods=values["method"])
            assert chosen.methods, f"{page}: {words}"


def test_links_lead_somewhere():
    broken = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("methods.md", [*METHODS, *(setting for name in METHODS for setting in method_settings(name))]),
        ("methods.md", list(FUSIONS)),
        ("encoders.md", list(ENCODERS)),
        ("adapters.md", list(PRESETS)),
        ("your_data.md", list(REPRESENTATIONS)),
        ("command_line.md", list(COMMANDS.commands)),
    ],
    ids=["methods", "fusions", "encoders", "adapters", "representations", "commands"],
)
def test_every_name_is_described(page: str, names: list[str]):
    text = (DOCS / page).read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}`" not in text and f"`awase {name}" not in text] == []
