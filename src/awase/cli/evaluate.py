"""`awase evaluate`: a finished run on one of its splits: without some modalities, or under another protocol."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from awase.cli.output import print_json

if TYPE_CHECKING:
    from awase.runner.space_again import Request, Rescored


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    split: Annotated[
        str, typer.Option(help="train, val or test; of retrieval val, test or an evaluation set.")
    ] = "test",
    without: Annotated[list[str] | None, typer.Option(help="Take this modality away (repeatable).")] = None,
    direction: Annotated[
        list[str] | None, typer.Option(help="Retrieval: text->video, text->audio+video, ... (repeatable).")
    ] = None,
    stage: Annotated[str | None, typer.Option(help="Retrieval: after this stage; default the last.")] = None,
    score: Annotated[str | None, typer.Option(help="Retrieval: dot or cosine; default as trained.")] = None,
    post: Annotated[
        str | None,
        typer.Option(
            help="Retrieval: none, query_bank, dynamic_query_bank, transductive_inverted_softmax, "
            "transductive_dual_softmax or transductive_sinkhorn."
        ),
    ] = None,
    beta: Annotated[float | None, typer.Option(help="Retrieval: of --post; default chosen on validation.")] = None,
    same_caption: Annotated[
        bool, typer.Option("--same-caption", help="Retrieval: every item with the same caption is right.")
    ] = False,
    gallery_without_missing: Annotated[
        bool, typer.Option("--gallery-without-missing", help="Retrieval: leave out what is missing, on both sides.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    cache: Annotated[Path | None, typer.Option(help="The cache the run used.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure a finished run again; a look at the test split is written into its record.

    A retrieval run is scored from the embeddings that it saved, under the protocol asked for.
    """
    from awase.runner.again import evaluate_run
    from awase.runner.space_again import Request, is_space

    of_retrieval = {
        "direction": tuple(direction or ()),
        "stage": stage,
        "score": score,
        "post": post,
        "beta": beta,
        "same-caption": same_caption,
        "gallery-without-missing": gallery_without_missing,
    }
    if is_space(run):
        if without:
            raise ValueError("A retrieval run compares single modalities already; name a --direction, not --without.")
        request = Request(
            split=split,
            stage=stage,
            directions=tuple(direction or ()),
            score=score,
            post=post or "none",
            beta=beta,
            same_caption=same_caption,
            gallery_without_missing=gallery_without_missing,
        )
        _print_space(run, request, device, as_json)
        return
    given = [f"--{name}" for name, value in of_retrieval.items() if value]
    if given:
        raise ValueError(f"{', '.join(given)} is for retrieval runs; the run in {run} decides between classes.")
    metrics = evaluate_run(run, split, tuple(without or ()), device=device, cache=cache)
    if as_json:
        print_json({"run": str(run), "split": split, "without": without or [], "metrics": metrics})
        return
    for name, value in metrics.items():
        print(f"{name:>12}  {value:.4f}")


def _print_space(run: Path, request: "Request", device: str, as_json: bool) -> None:
    from awase.runner.setting import resolve_device
    from awase.runner.space_again import rescore

    found = rescore(run, request, device=resolve_device(device))
    if as_json:
        print_json({"run": str(run), "split": request.split, "directions": [one.to_dict() for one in found]})
        return
    if found[0].protocol.transductive:
        print("Transductive: the score of a query depends on the other queries. Not comparable with other numbers.\n")
    for one in found:
        print(_line(one))
    print()
    for one in found:
        print(_protocol(one))


def _line(one: "Rescored") -> str:
    shown = [f"{name} {100 * value:.1f} %" for name, value in one.metrics.items() if name.startswith("R@")]
    shown += [f"{name} {one.metrics[name]:.1f}" for name in ("MedR", "MedR_all", "MeanR")]
    return f"{one.direction:>24}  {'  '.join(shown)}"


def _protocol(one: "Rescored") -> str:
    bank = "" if one.bank is None else f" The bank are the queries of {one.bank}."
    beta = "" if one.beta is None else f" Beta {one.beta:.4g}."
    return f"{one.protocol.sentence}{bank}{beta}"
