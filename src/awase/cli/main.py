"""`awase`: the command line's entry, its errors and exit codes."""

import sys
from collections.abc import Callable, Sequence

import typer

from awase.cli import caches, compare, data, doctor, evaluate, listing, predict, report, run

app = typer.Typer(
    name="awase",
    no_args_is_help=True,
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
    "compare": compare.compare,
    "list": listing.listing,
    "doctor": doctor.doctor,
}
for _name, _function in COMMANDS.items():
    app.command(_name)(_function)
app.add_typer(data.app, name="data")
app.add_typer(caches.app, name="cache")

DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line. Exit codes: 0 done, 1 the run failed, 2 the request was wrong, 130 interrupted."""
    sys.exit(execute(arguments))


def execute(arguments: Sequence[str] | None = None) -> int:
    """The exit code of one command; errors a user can mend are one sentence on standard error."""
    try:
        app(args=None if arguments is None else list(arguments), standalone_mode=True)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else FAILED
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on from here.", file=sys.stderr)
        return INTERRUPTED
    except (ArithmeticError, RuntimeError, AssertionError) as error:
        if isinstance(error, AssertionError):
            raise
        print(f"awase: the run failed: {error}", file=sys.stderr)
        return FAILED
    except (ValueError, LookupError, OSError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"awase: {text}", file=sys.stderr)
        return REFUSED
    return DONE
