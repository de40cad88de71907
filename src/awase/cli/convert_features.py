"""`awase convert howto100m`, `youcook2`, `msrvtt`: feature files that others published, to our own."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from awase.cli.output import print_json

_SHOWN = 10
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Pickle = Annotated[bool, typer.Option("--allow-pickle", help="Read pickles (of numbers and texts only).")]
Frames = Annotated[int | None, typer.Option(help="Longest audio that is kept, in frames of 10 ms.")]
Features = Annotated[Path | None, typer.Option(help="Folder of *_2d and *_3d files by id, or a .pth.")]
Audio = Annotated[Path | None, typer.Option(help="Folder of *_spec.npz files.")]


def howto100m(
    videos: Annotated[Path, typer.Argument(help="List of videos: csv or txt with path, video_path or video_id.")],
    out: Annotated[Path, typer.Option(help="Folder of the store; each call adds a shard.")],
    features: Annotated[Path, typer.Option(help="Folder of the 2D and 3D features.")],
    captions: Annotated[Path, typer.Option(help="json or pickle of all videos, or a folder of VIDEO.csv.")],
    audio: Audio = None,
    shard: Annotated[str, typer.Option(help="Share i of n of the list, from 0, for example 0/4.")] = "0/1",
    tolerance_s: Annotated[float, typer.Option(help="By how many seconds streams may differ in length.")] = 10.0,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first video that cannot be used.")] = False,
    allow_pickle: Pickle = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make a shard of a memory-mapped store of features; the same command continues where it was interrupted."""
    from awase.data.features import Published, import_howto100m

    report = import_howto100m(
        Published(videos, features, captions, audio),
        out,
        shard=_share(shard),
        allow_pickle=allow_pickle,
        problems="error" if strict else "exclude",
        tolerance_s=tolerance_s,
        progress=None if quiet else _tell,
    )
    if as_json:
        print_json(report | {"store": str(out)})
    else:
        print("\n".join(_imported(report, out)))


def youcook2(
    path: Annotated[Path, typer.Argument(help="Pickle, folder with clips.json, annotations json, csv or json list.")],
    out: Annotated[Path, typer.Option(help="New folder for the evaluation set.")],
    split: Annotated[str, typer.Option(help="Split of the annotations.")] = "val",
    features: Features = None,
    audio: Audio = None,
    gallery: Annotated[Path | None, typer.Option(help="List of the clips that count, for a pickle.")] = None,
    audio_frames: Frames = None,
    allow_pickle: Pickle = False,
    as_json: Json = False,
) -> None:
    """Make an evaluation set of the clips of YouCook2."""
    from awase.data.datasets.retrieval_files import FeatureFiles
    from awase.data.datasets.youcook2 import AUDIO_FRAMES, convert_youcook2

    description = convert_youcook2(
        path,
        out,
        split=split,
        files=FeatureFiles(features, audio),
        gallery=gallery,
        allow_pickle=allow_pickle,
        audio_frames=AUDIO_FRAMES if audio_frames is None else audio_frames,
    )
    _say(description, out, as_json)


def msrvtt(
    path: Annotated[Path, typer.Argument(help="Pickle, folder with clips.json, csv, official json or json list.")],
    out: Annotated[Path, typer.Option(help="New folder for the evaluation set.")],
    split: Annotated[
        str, typer.Option(help="1k-A, 1k-B, 9k, 7k, 1k-B-train, full-train, full-val, full-test.")
    ] = "1k-A",
    lists: Annotated[Path | None, typer.Option(help="Folder of the split lists.")] = None,
    sentences: Annotated[Path | None, typer.Option(help="csv or json with the captions.")] = None,
    features: Features = None,
    audio: Audio = None,
    audio_frames: Frames = None,
    allow_pickle: Pickle = False,
    as_json: Json = False,
) -> None:
    """Make an evaluation set of the clips of MSR-VTT."""
    from awase.data.datasets.msrvtt import AUDIO_FRAMES, convert_msrvtt
    from awase.data.datasets.retrieval_files import FeatureFiles

    description = convert_msrvtt(
        path,
        out,
        split=split,
        lists=lists,
        sentences=sentences,
        files=FeatureFiles(features, audio),
        allow_pickle=allow_pickle,
        audio_frames=AUDIO_FRAMES if audio_frames is None else audio_frames,
    )
    _say(description, out, as_json)


COMMANDS = {"howto100m": howto100m, "youcook2": youcook2, "msrvtt": msrvtt}


def _share(text: str) -> tuple[int, int]:
    number, slash, count = text.partition("/")
    if not slash or not number.isdecimal() or not count.isdecimal():
        raise ValueError(f"--shard {text!r} is no share; write i/n, for example 0/4.")
    return int(number), int(count)


def _tell(done: int, total: int) -> None:
    if done == total or done % max(1, total // 100) == 0:
        print(f"{done} of {total} videos", file=sys.stderr)


def _imported(report: dict[str, Any], out: Path) -> list[str]:
    captions = report.get("captions", {})
    lines = [f"{report['kept']} of {report['listed']} videos, {captions.get('kept', 0)} captions: {out}"]
    lines += [f"captions {name}: {count}" for name, count in captions.items() if name != "kept" and count]
    lines += [
        f"videos {name.replace('_', ' ')}: {len(ids)}" for name, ids in report.items() if name.startswith("without_")
    ]
    excluded = report.get("excluded", [])
    lines += [f"left out: {entry['id']} ({entry['reason']})" for entry in excluded[:_SHOWN]]
    if len(excluded) > _SHOWN:
        lines.append(f"and {len(excluded) - _SHOWN} more, all in report.json")
    return lines


def _say(description: dict[str, Any], out: Path, as_json: bool) -> None:
    if as_json:
        print_json(description | {"folder": str(out)})
        return
    having = ", ".join(f"{name} {count}" for name, count in description["with"].items())
    print(f"{description['name']} {description.get('split', '')}: {description['clips']} clips of "
          f"{description['videos']} videos (published: {description['published_gallery']}): {out}")  # fmt: skip
    print(f"clips with {having}")
    print(
        f"{description['distinct_captions']} different captions; R@1 at most "
        f"{description['ceiling_text_to_clip']:.1f} % from text, {description['ceiling_clip_to_text']:.1f} % to text"
    )
