"""`awase run`: train and evaluate every method of an experiment."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


def run(
    name: Annotated[
        str, typer.Argument(help="A built-in experiment or suite, FILE.py::FUNCTION, or a table of your own.")
    ],
    root: Annotated[Path | None, typer.Option(help="Folder with a folder per data set, for the mmlora tables.")] = None,
    published_splits: Annotated[
        bool, typer.Option("--published-splits", help="Of the mmlora tables: the published splits, for comparison.")
    ] = False,
    seed: Annotated[list[int] | None, typer.Option(help="Only these seeds (repeatable).")] = None,
    fold: Annotated[list[int] | None, typer.Option(help="Only these folds (repeatable).")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only these methods, by label (repeatable).")] = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", help="path.to.field=value (repeatable).")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results; default runs/<experiment>.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Where decoded media and trained stages are kept.")] = None,
    cache_gib: Annotated[float, typer.Option(help="Most that decoded media may take in the cache, GiB.")] = 50.0,
    clip_cache_gib: Annotated[
        float,
        typer.Option(help="Most that features of frozen encoders on clips of stores may take there, GiB; 0: none."),
    ] = 50.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    threads: Annotated[int | None, typer.Option(help="Threads of torch; part of what a result depends on.")] = None,
    workers: Annotated[int, typer.Option(help="Threads that prepare batches.")] = 0,
    checkpoint_every_s: Annotated[float, typer.Option(help="Seconds between checkpoints.")] = 60.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the stages and their sizes; train nothing.")
    ] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read pickled weights of others; only their tensors are used.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")] = False,
) -> None:
    """Train and evaluate every method of an experiment; the same command continues what was interrupted."""
    from awase import report
    from awase.cli.progress import narrate
    from awase.config import Runtime
    from awase.experiments import SUITES
    from awase.runner.plan import describe_plan
    from awase.runner.run import check_experiment, run_experiment
    from awase.runner.suite import resolve_experiments, restricted

    work = (Runtime().cache if cache is None else cache) / "prepared"
    found = resolve_experiments(name, assignments or [], root=root, work=work, published_splits=published_splits)
    experiments = restricted(found, seeds=seed, folds=fold, methods=method)
    runtime = Runtime.model_validate(
        {
            "device": device,
            "dtype": dtype,
            "threads": threads,
            "workers": workers,
            "checkpoint_every_s": checkpoint_every_s,
            "cache_gib": cache_gib,
            "clip_cache_gib": clip_cache_gib,
            "command": shlex.join(["awase", *sys.argv[1:]]),
            "allow_pickle": allow_pickle,
            **({} if cache is None else {"cache": cache}),
        }
    )
    if dry_run:
        print("\n".join(describe_plan(experiment, runtime) for experiment in experiments))
        return
    several = name in SUITES or len(found) > 1
    folder = out or Path("runs") / (name.rpartition("::")[2] if several else experiments[0].name)
    records = 0
    with narrate(quiet):
        for experiment in experiments[1:]:  # the first is checked when it is run
            check_experiment(experiment, runtime)
        for experiment in experiments:
            records += len(run_experiment(experiment, runtime, folder / experiment.name if several else folder))
            write_page(folder)
    print(report.render_markdown(report.load([folder])))
    print(f"{records} runs are done; see {folder / 'report.html'}", file=sys.stderr)


def write_page(folder: Path) -> None:
    """Writes `report.html` of the runs below the folder."""
    from awase import report
    from awase.files import write_text

    write_text(folder / "report.html", report.render_html(report.load([folder])))
