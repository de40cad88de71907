"""`awase`: the command line's entry, its errors and exit codes."""

import os
import sys
from collections.abc import Callable, Sequence

import typer

from awase.cli import (
    caches,
    compare,
    convert,
    data,
    diagnose,
    doctor,
    embed,
    evaluate,
    export,
    extract,
    headroom,
    listing,
    merge,
    predict,
    report,
    run,
    search,
)
from awase.cli.group import Group
from awase.cli.sentences import UsageError, sentence, usage_sentence

app = typer.Typer(
    name="awase",
    cls=Group,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Learning from several modalities at once: every encoder its own, joined by small adapters.",
)

COMMANDS: dict[str, Callable[..., None]] = {
    "run": run.run,
    "report": report.report,
    "evaluate": evaluate.evaluate,
    "predict": predict.predict,
    "embed": embed.embed,
    "search": search.search,
    "compare": compare.compare,
    "diagnose": diagnose.diagnose,
    "headroom": headroom.headroom,
    "extract": extract.extract,
    "export": export.export,
    "merge": merge.merge,
    "list": listing.listing,
    "doctor": doctor.doctor,
}
for _name, _function in COMMANDS.items():
    app.command(_name)(_function)
app.add_typer(data.app, name="data")
app.add_typer(caches.app, name="cache")
app.add_typer(convert.app, name="convert")

DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line. Exit codes: 0 done, 1 the run failed, 2 the request was wrong, 130 interrupted."""
    sys.exit(execute(arguments))


def execute(arguments: Sequence[str] | None = None) -> int:
    """The exit code of one command; errors a user can mend are one sentence on standard error."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(args=given or ["--help"], prog_name="awase", standalone_mode=False)
    except UsageError as error:
        return _ended(REFUSED, usage_sentence(error))
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in `awase list ... | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except AssertionError:
        raise
    except (ArithmeticError, RuntimeError) as error:
        return _ended(FAILED, f"the run failed: {sentence(error)}")
    except (ValueError, LookupError, OSError) as error:
        return _ended(REFUSED, sentence(error))
    if code == INTERRUPTED:
        return _ended(INTERRUPTED, "interrupted; the same command goes on from here.")
    return code if isinstance(code, int) else DONE


def _ended(code: int, text: str) -> int:
    print(f"awase: {text}", file=sys.stderr)
    return code
