"""`awase doctor`: what this machine can do."""

from typing import Annotated, Any

import typer

from awase.cli.output import print_json


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Show versions, devices, what can be decoded, and why not."""
    facts = _facts()
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        print(f"{name}:")
        for key, entry in value.items():
            print(f"  {key}: {entry}")


def _facts() -> dict[str, dict[str, Any]]:
    import torch

    from awase.runner.provenance import hardware, versions
    from awase.runner.setting import resolve_device

    device = resolve_device("auto")
    return {
        "versions": versions(),
        "hardware": hardware(device),
        "decoding": _decoding(),
        "torch": {"cuda": torch.version.cuda or "none", "gpus": torch.cuda.device_count()},
    }


def _decoding() -> dict[str, str]:
    found = {}
    try:
        import av

        codecs = [name for name in ("h264", "hevc", "vp9", "av1", "mpeg4", "aac", "mp3", "opus") if _has(av, name)]
        found["video and audio (PyAV)"] = ", ".join(codecs)
    except ImportError as error:
        found["video and audio (PyAV)"] = f"no: {error}"
    try:
        import soundfile

        found["audio (soundfile)"] = ", ".join(sorted(soundfile.available_formats()))
    except (ImportError, OSError) as error:
        found["audio (soundfile)"] = f"no: {error}"
    return found


def _has(av: Any, codec: str) -> bool:
    try:
        av.Codec(codec, "r")
    except (ValueError, av.error.FFmpegError):
        return False
    return True
