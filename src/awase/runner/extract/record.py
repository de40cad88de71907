"""`extract.json`: which settings the features in a folder have, and of which items there are none and why."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awase.digest import json_digest
from awase.files import write_text
from awase.runner.extract.items import Item, Shard
from awase.runner.extract.streams import Stream
from awase.runner.folder import RefusedError

FORMAT_VERSION = 1
_RANDOM = "These features are of random weights: they have learnt nothing."


@dataclass(frozen=True)
class Outcome:
    """What became of one stream of one item: `rows`, the shape of the array written, or why there is none.

    `absent`: the file is sound but has no such track.
    """

    shape: tuple[int, ...] | None = None
    absent: str | None = None
    broken: str | None = None


def record_path(out: Path, shard: Shard) -> Path:
    """`extract.json`, or `extract-2-of-5.json` of a share: every process writes its own file."""
    return out / ("extract.json" if shard.count == 1 else f"extract-{shard.number}-of-{shard.count}.json")


def read_records(out: Path) -> dict[Path, dict[str, Any]]:
    """The records of the folder by file. Raises `RefusedError` for one of another format."""
    found = {}
    for file in sorted([*out.glob("extract.json"), *out.glob("extract-*-of-*.json")]):
        record = json.loads(file.read_text(encoding="utf-8"))
        if record.get("format_version") != FORMAT_VERSION:
            raise RefusedError(f"{file} is of another version of this library; choose another folder with --out.")
        found[file] = record
    return found


def check(records: Mapping[Path, Mapping[str, Any]], streams: list[Stream], items: list[Item]) -> None:
    """Raises `RefusedError` where a record has other settings of a stream, or an item of another file or part of it."""
    for file, record in records.items():
        for stream in streams:
            known = record["streams"].get(stream.name)
            if known is not None and known["digest"] != json_digest(stream.settings):
                raise RefusedError(
                    f"{file.parent} holds {stream.name!r} features of other settings "
                    f"({differences(known['settings'], stream.settings)}); choose another folder, or --overwrite them."
                )
        for item in items:
            facts = record["items"].get(item.path)
            if facts is not None and facts != item.facts():
                raise RefusedError(
                    f"{file.parent} holds features of {item.path!r} from another source "
                    f"({differences(facts, item.facts())}); choose another folder, or --overwrite them."
                )


def differences(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The names that differ, with the value that is known."""
    names = sorted(name for name in {*known, *wanted} if known.get(name) != wanted.get(name))
    return ", ".join(f"{name} is {known.get(name)!r} there" for name in names)


def write_record(
    out: Path, shard: Shard, streams: list[Stream], items: list[Item], outcomes: Mapping[str, Mapping[str, Outcome]]
) -> dict[str, Any]:
    """Adds the items, and what became of them (stream -> path -> outcome), to this process's record."""
    file = record_path(out, shard)
    before = read_records(out).get(file, {"items": {}, "streams": {}})
    now = {
        stream.name: _stream_record(stream, before["streams"].get(stream.name, {}), outcomes.get(stream.name, {}))
        for stream in streams
    }
    record = {
        "format_version": FORMAT_VERSION,
        "items": _sorted({**before["items"], **{item.path: item.facts() for item in items}}),
        "streams": _sorted({**before["streams"], **now}),
    }
    write_text(file, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return record


def forget(out: Path, shard: Shard, items: list[Item], streams: list[Stream]) -> None:
    """Takes the streams out of this process's record (without shares: out of every record).

    Items go with them unless another stream has features of them.
    """
    for file, record in read_records(out).items():
        if shard.count > 1 and file != record_path(out, shard):
            continue
        for stream in streams:
            record["streams"].pop(stream.name, None)
        used = {path for stream in record["streams"].values() for path in stream["shapes"]}
        for item in items:
            if item.path not in used:
                record["items"].pop(item.path, None)
        if record["streams"]:
            write_text(file, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        else:
            file.unlink()


def _stream_record(stream: Stream, before: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    is_random = str(stream.settings.get("weights", "")).startswith("random")
    kept = {
        what: {path: value for path, value in before.get(what, {}).items() if path not in outcomes}
        for what in ("shapes", "absent", "broken")
    }
    return {
        "digest": json_digest(stream.settings),
        "settings": stream.settings,
        "notice": _RANDOM if is_random else None,
        "file": f"{{path}}/{{id}}{stream.suffix}",
        "key": stream.key,
        "shapes": _sorted({**kept["shapes"], **{p: list(o.shape) for p, o in outcomes.items() if o.shape is not None}}),
        "absent": _sorted({**kept["absent"], **{p: o.absent for p, o in outcomes.items() if o.absent is not None}}),
        "broken": _sorted({**kept["broken"], **{p: o.broken for p, o in outcomes.items() if o.broken is not None}}),
    }


def _sorted(entries: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(entries.items()))
