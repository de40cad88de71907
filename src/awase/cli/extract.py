"""`awase extract`: features of frozen encoders from films and recordings."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from awase.cli.output import print_json

_SHOWN = 20


def extract(
    source: Annotated[Path, typer.Argument(help="A folder of films, a table with a column of films, or a .txt list.")],
    out: Annotated[Path, typer.Option(help="Folder for the features.")],
    stream: Annotated[
        list[str] | None, typer.Option(help="2d, 3d, audio or encoder (repeatable); default 2d and audio.")
    ] = None,
    network: Annotated[str, typer.Option(help="For 2d: a ResNet of torchvision, or timm/NAME.")] = "resnet152",
    film_network: Annotated[str, typer.Option(help="For 3d: r3d_18, mc3_18 or r2plus1d_18.")] = "r3d_18",
    film_pixels: Annotated[
        str, typer.Option(help="For 3d: published (minus the Kinetics mean, 0 to 255) or torchvision.")
    ] = "published",
    weights: Annotated[
        list[str] | None, typer.Option(help="A file of weights, as FILE or STREAM=FILE (repeatable).")
    ] = None,
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Fetch the published weights.")] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read pickled weights of others; only their tensors are used.")
    ] = False,
    encoder: Annotated[str | None, typer.Option(help="For the stream encoder: its name (awase list encoders).")] = None,
    encoder_kind: Annotated[str, typer.Option(help="What it sees: image, video or audio.")] = "image",
    encoder_options: Annotated[str, typer.Option(help="Its options, as a JSON object.")] = "{}",
    window_s: Annotated[float, typer.Option(help="For the stream encoder: seconds per feature.")] = 1.0,
    short_side: Annotated[int, typer.Option(help="For 2d: pixels of the shorter side.")] = 224,
    dtype: Annotated[str, typer.Option(help="Of the features: float16 or float32.")] = "float16",
    normalise: Annotated[bool, typer.Option(help="Scale every feature to length one.")] = True,
    padding: Annotated[str, typer.Option(help="For audio, beyond the ends: reflect or constant.")] = "reflect",
    batch: Annotated[int, typer.Option(help="Pictures per pass of a network, all of one film.")] = 32,
    column: Annotated[
        str | None, typer.Option(help="Column of films; default video, video_path, clip or path.")
    ] = None,
    id_column: Annotated[str | None, typer.Option(help="Column of ids; default id, if there is one.")] = None,
    start_column: Annotated[str | None, typer.Option(help="Column of starts in seconds; default start.")] = None,
    end_column: Annotated[str | None, typer.Option(help="Column of ends in seconds; default end.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder that films are relative to; default the table's.")] = None,
    shard: Annotated[str, typer.Option(help="This process's share: 2/5 is the second of five.")] = "1/1",
    workers: Annotated[int, typer.Option(help="Films at a time.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads of torch for each of them.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0, ...")] = "auto",
    seed: Annotated[int, typer.Option(help="Of random weights.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove features that are there, and begin.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Extract features of frozen encoders; the same command continues where it was interrupted.

    Beside the features, extract.json says what they are made with, and which films have none and why. The exit code is
    0 if any film has features, else 1.
    """
    import torch

    from awase.runner.extract.items import Columns, Shard, find_items
    from awase.runner.extract.networks import Weights
    from awase.runner.extract.streams import ExtractSettings, build_streams, random_networks
    from awase.runner.extract.work import extract as extract_items
    from awase.runner.setting import resolve_device

    streams = tuple(stream or ("2d", "audio"))
    files = _weight_files(weights or [], streams)
    if pretrained and files:
        raise ValueError("Give files of weights or --pretrained, not both.")
    networks = [name for name in streams if name in ("2d", "3d")]
    settings = ExtractSettings(
        picture_network=network,
        film_network=film_network,
        weights={name: Weights(files.get(name), pretrained, allow_pickle, seed) for name in networks},
        film_pixels=film_pixels,
        short_side=short_side,
        normalise=normalise,
        dtype=dtype,
        batch=batch,
        padding=padding,
        encoder=_encoder(encoder, encoder_kind, encoder_options, window_s, files.get("encoder", pretrained)),
        seed=seed,
        device=resolve_device(device),
        allow_pickle=allow_pickle,
    )
    share = Shard.parse(shard)
    items = find_items(source, Columns(column, id_column, start_column, end_column), root)
    torch.set_num_threads(threads)
    built = build_streams(streams, settings)
    for name in random_networks(built):
        print(
            f"awase: the weights of {name} are RANDOM: these features have learnt nothing. Give --weights FILE or "
            "--pretrained for real ones.",
            file=sys.stderr,
        )
    progress = None if quiet else _tell
    facts = extract_items(items, out, built, shard=share, workers=workers, overwrite=overwrite, progress=progress)
    if as_json:
        print_json({**facts, "random": random_networks(built)})
    else:
        print(_described(facts))
    if facts["items"] and facts["computed"] + facts["skipped"] == 0:
        raise typer.Exit(1)


def _weight_files(given: Sequence[str], streams: tuple[str, ...]) -> dict[str, Path]:
    """Stream -> file."""
    files = {}
    networks = [name for name in streams if name != "audio"]
    for text in given:
        name, separator, file = text.partition("=")
        if not separator:
            if len(networks) != 1:
                raise ValueError(f"Several streams have weights ({', '.join(networks)}): write --weights STREAM=FILE.")
            name, file = networks[0], text
        if name not in networks:
            raise ValueError(f"--weights {text} is refused: {name!r} is not among the streams {', '.join(networks)}.")
        files[name] = Path(file)
    return files


def _encoder(name: str | None, kind: str, options: str, window_s: float, pretrained: Path | bool) -> Any:
    if name is None:
        return None
    import json

    from awase.config import EncoderConfig
    from awase.runner.extract.streams import EncoderSettings

    try:
        parsed = json.loads(options)
    except json.JSONDecodeError as error:
        raise ValueError(f"--encoder-options {options!r} is not a JSON object: {error}.") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"--encoder-options {options!r} is not a JSON object.")
    source = pretrained if isinstance(pretrained, bool) else str(pretrained)
    return EncoderSettings(EncoderConfig(name=name, options=parsed, pretrained=source), kind, window_s)


def _tell(done: int, total: int) -> None:
    """A line for every hundredth part."""
    if done == total or done % max(1, total // 100) == 0:
        print(f"extract: {done} of {total} films", file=sys.stderr)


def _described(facts: dict[str, Any]) -> str:
    absent, broken = facts["absent"], facts["broken"]
    lines = [
        f"{facts['items']} items: {facts['computed']} features computed, {facts['skipped']} were there, "
        f"{len(absent)} absent, {len(broken)} broken"
    ]
    for what, entries in (("absent", absent), ("broken", broken)):
        lines += [f"{what}: {entry['id']}, {entry['stream']} ({entry['reason']})" for entry in entries[:_SHOWN]]
        if len(entries) > _SHOWN:
            lines.append(f"and {len(entries) - _SHOWN} more {what}, which the record lists")
    return "\n".join([*lines, f"Record: {facts['record']}"])
