"""`awase headroom`: are adapters per pair of modalities worth it on this data?"""

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from awase.cli.output import print_json

if TYPE_CHECKING:
    from awase.config import Experiment
    from awase.report.groups import Group


def headroom(
    name: Annotated[str, typer.Argument(help="A retrieval experiment, FILE.py::FUNCTION, or a table of your own.")],
    root: Annotated[Path | None, typer.Option(help="Folder with the stores, for the mcn experiments.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Only these seeds (repeatable).")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="path.to.field=value of the experiment named (repeatable).")
    ] = None,
    split: Annotated[str, typer.Option(help="test, val, or an evaluation set.")] = "test",
    k: Annotated[int, typer.Option(min=1, help="R@k, the k of the answer; the runs are the same for every k.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs; default runs/<experiment>-headroom.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Where decoded media and trained stages are kept.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    threads: Annotated[int | None, typer.Option(help="Threads of torch; part of what a result depends on.")] = None,
    workers: Annotated[int, typer.Option(help="Threads that prepare batches.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the stages and their sizes; train nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Train every pair of modalities alone, together and with adapters, and say whether adapters are worth it."""
    from awase.cli.progress import narrate
    from awase.cli.run import write_page
    from awase.config import Runtime
    from awase.data import inferred
    from awase.experiments.headroom import headroom as experiment_of
    from awase.report.headroom import headroom_of
    from awase.report.headroom_text import render_headroom
    from awase.runner.plan import describe_plan
    from awase.runner.run import known_splits, run_experiment
    from awase.runner.suite import resolve_experiments

    work = (Runtime().cache if cache is None else cache) / "prepared"
    found = resolve_experiments(name, assignments or [], root=root, work=work)
    if len(found) > 1:
        raise ValueError(f"{name} is {len(found)} experiments, and headroom is asked of one; name a function of one.")
    experiment = experiment_of(found[0]).restricted(seeds=seed)
    fields: dict[str, Any] = {"device": device, "dtype": dtype, "threads": threads, "workers": workers}
    fields |= {"command": shlex.join(["awase", *sys.argv[1:]])} | ({} if cache is None else {"cache": cache})
    runtime = Runtime.model_validate(fields)
    if dry_run:
        print(describe_plan(experiment, runtime))
        return
    splits = known_splits(experiment, runtime)
    if split not in splits:
        raise ValueError(f"{experiment.name} is not scored on {split!r}; it is on {', '.join(splits)}.")
    folder = out or Path("runs") / experiment.name
    with narrate(quiet):
        run_experiment(experiment, runtime, folder)
    write_page(folder)
    answer = headroom_of(_groups(experiment, folder), tuple(inferred(experiment.data).inputs), split, k=k)
    if as_json:
        print_json({"experiment": experiment.name, "metric": f"R@{k}", **asdict(answer)})
    else:
        print(render_headroom(answer))
    print(f"The runs are in {folder}; see {folder / 'report.html'}", file=sys.stderr)


def _groups(experiment: "Experiment", folder: Path) -> dict[str, "Group"]:
    """The runs by method, of this experiment's seeds and folds alone."""
    from awase.report import load
    from awase.report.groups import Group

    folds, groups = experiment.folds or (None,), {}
    for method in experiment.methods:
        runs = load([folder / method.title])
        own = [run for run in runs if run.record.seed in experiment.seeds and run.record.fold in folds]
        groups[method.title] = Group(method.title, tuple(own))
    return groups
