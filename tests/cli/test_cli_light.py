"""What answers without the heavy libraries, and what is said about this machine."""

import json
import subprocess
import sys

import pytest
from calls import call

import awase
from awase.data import LAYOUTS
from awase.encoders import ENCODERS
from awase.experiments import EXPERIMENTS
from awase.fusion import FUSIONS
from awase.methods import METHODS

HEAVY = ("torch", "pydantic", "transformers", "timm", "numpy", "av", "sklearn", "pyarrow", "matplotlib")


def imported_by(code: str) -> list[str]:
    """The heavy libraries that a fresh Python has imported after the code."""
    report = f"import sys; print(*[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return done.stderr.split()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        [],
        ["run", "--help"],
        ["diagnose", "--help"],
        ["headroom", "--help"],
        ["embed", "--help"],
        ["search", "--help"],
        ["data", "--help"],
        ["data", "check", "--help"],
        ["data", "prepare", "--help"],
        ["data", "flow", "--help"],
        ["extract", "--help"],
        ["export", "--help"],
        ["merge", "--help"],
        ["nosuch"],
        ["run", "--nosuch"],
    ],
)
def test_help_and_misspelt_commands_import_nothing_heavy(arguments):
    code = "from awase.cli.main import execute\nimport contextlib, io\nwith contextlib.redirect_stderr(io.StringIO()):"
    assert imported_by(f"{code}\n    execute({arguments})") == []


def test_the_package_imports_nothing_heavy():
    assert imported_by("import awase; awase.__version__; dir(awase)") == []
    assert {"Model", "load_model"} <= set(dir(awase))
    with pytest.raises(AttributeError, match=r"'nosuch'.*Model"):
        awase.nosuch  # noqa: B018


def test_help_names_every_command():
    result = call("--help")
    assert (result.code, result.err) == (0, "")
    for name in (
        "run",
        "report",
        "evaluate",
        "predict",
        "embed",
        "search",
        "compare",
        "diagnose",
        "headroom",
        "extract",
        "export",
        "merge",
        "list",
        "doctor",
        "data",
        "cache",
    ):
        assert f"\n  {name} " in result.out
    assert call().out == result.out
    assert "--dry-run" in call("run", "--help").out


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("experiments", EXPERIMENTS),
        ("methods", METHODS),
        ("encoders", ENCODERS),
        ("fusions", FUSIONS),
        ("datasets", ("manifest", "digits", "scenes", "howto100m", *LAYOUTS)),
        ("decisions", ("temperatures",)),
    ],
)
def test_lists_have_every_name_with_a_line_about_it(what, names):
    result = call("list", what, "--json")
    assert (result.code, result.err) == (0, "")
    found = {entry["name"]: entry["about"] for entry in json.loads(result.out)[what]}
    assert set(names) <= set(found)
    assert all(found.values()), found
    text = call("list", what).out
    assert all(f"{name} " in text for name in names)


def test_doctor_tells_versions_devices_and_decoders():
    result = call("doctor", "--json")
    assert (result.code, result.err) == (0, "")
    facts = json.loads(result.out)
    assert set(facts) == {"versions", "hardware", "decoding", "torch"}
    assert {"python", "torch", "transformers"} <= set(facts["versions"])
    assert "h264" in facts["decoding"]["video and audio (PyAV)"]
    assert "WAV" in facts["decoding"]["audio (soundfile)"]
    assert facts["versions"]["torch"] in call("doctor").out
