"""Which items there are and whose they are; what is written, left alone, refused and reported."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from small_films import tree, write_film

from awase.data.media import Clip
from awase.runner.extract.items import Columns, Item, Shard, find_items
from awase.runner.extract.streams import ExtractSettings, Stream, build_streams
from awase.runner.extract.work import extract
from awase.runner.folder import RefusedError


@pytest.fixture(scope="module")
def streams() -> list[Stream]:
    return build_streams(("2d", "audio"), ExtractSettings(picture_network="resnet18", short_side=32))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven films in two folders: the fourth is broken, the fifth is silent, the sixth is a recording alone."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(4):
        write_film(folder / "a" / f"f{number}.mp4", 1.2 + number, seed=number)
    (folder / "a" / "f3.mp4").write_bytes((folder / "a" / "f3.mp4").read_bytes()[:300])
    write_film(folder / "b" / "f4.mkv", 1.3, seed=4, sound=False)
    write_film(folder / "b" / "f5.webm.mp4", 0.2, seed=5)
    import soundfile

    soundfile.write(folder / "b" / "f6.wav", np.random.default_rng(6).normal(scale=0.1, size=9000), 8000)
    (folder / "b" / "notes.txt").write_text("no film")
    return folder


def test_features_lie_in_the_published_layout(films: Path, tmp_path: Path, streams: list[Stream]) -> None:
    facts = extract(find_items(films), tmp_path / "out", streams)
    assert (facts["items"], facts["computed"], facts["skipped"]) == (7, 10, 0)
    assert {(e["id"], e["stream"]) for e in facts["broken"]} == {("a/f3", "2d"), ("a/f3", "audio")}
    assert facts["absent"] == [
        {"id": "b/f6", "stream": "2d", "reason": "has no video track"},
        {"id": "b/f4", "stream": "audio", "reason": "has no audio track"},
    ]
    names = {name for name in tree(tmp_path / "out") if name.endswith(".npz")}
    assert {"a/f0/f0_2d.npz", "a/f0/f0_spec.npz", "b/f4/f4_2d.npz", "b/f6/f6_spec.npz"} <= names
    assert len(names) == 10
    with np.load(tmp_path / "out" / "a/f2/f2_2d.npz") as archive:
        assert (archive["features"].shape, archive["features"].dtype) == ((3, 512), np.float16)
    with np.load(tmp_path / "out" / "b/f6/f6_spec.npz") as archive:
        assert archive["arr_0"].shape == (40, 113)
    assert (tmp_path / "out" / "paths.csv").read_text().split() == [
        *("path", "a/f0", "a/f1", "a/f2", "b/f4", "b/f5.webm", "b/f6")
    ]
    record = json.loads((tmp_path / "out" / "extract.json").read_text())
    assert record["streams"]["2d"]["shapes"]["a/f2"] == [3, 512]
    assert "random" in record["streams"]["2d"]["notice"]
    assert record["streams"]["audio"]["notice"] is None
    assert set(record["streams"]["2d"]["broken"]) == {"a/f3"}
    assert record["items"]["b/f4"] == {"source": "b/f4.mkv", "start_s": None, "end_s": None}
    assert str(films) not in json.dumps(record), "a record says nothing about this machine"


def test_a_second_call_computes_what_is_not_there(films: Path, tmp_path: Path, streams: list[Stream]) -> None:
    items = find_items(films)
    extract(items, tmp_path, streams)
    whole = tree(tmp_path)
    kept = tmp_path / "a/f1/f1_2d.npz"
    time = kept.stat().st_mtime_ns
    (tmp_path / "a/f0/f0_2d.npz").unlink()
    (tmp_path / "b/f4/f4_2d.npz").unlink()
    (tmp_path / "a/f0/.f0_2d.npz.99999.tmp").write_bytes(b"half")
    facts = extract(items, tmp_path, streams)
    assert (facts["computed"], facts["skipped"]) == (2, 8)
    assert tree(tmp_path) == whole
    assert kept.stat().st_mtime_ns == time


def test_workers_and_shares_give_the_same_bytes(films: Path, tmp_path: Path, streams: list[Stream]) -> None:
    items = find_items(films)
    extract(items, tmp_path / "whole", streams)
    extract(items, tmp_path / "two", streams, workers=2)
    assert tree(tmp_path / "two") == tree(tmp_path / "whole")
    counts = [extract(items, tmp_path / "shares", streams, shard=Shard(n, 3))["items"] for n in (1, 2, 3)]
    assert sum(counts) == 7
    assert max(counts) < 7
    joined, whole = tree(tmp_path / "shares"), tree(tmp_path / "whole")
    assert {k: v for k, v in joined.items() if k.endswith(".npz")} == {
        k: v for k, v in whole.items() if k.endswith(".npz")
    }
    assert "extract.json" not in joined
    facts = extract(items, tmp_path / "shares", streams)
    assert facts["computed"] == 0
    assert tree(tmp_path / "shares")["extract.json"] == whole["extract.json"]


def test_a_share_depends_on_the_path_alone() -> None:
    items = [Item(f"p/{n}", Path(), "x") for n in range(97)]
    shares = [Shard(n, 5).of(items) for n in range(1, 6)]
    assert sorted(item.path for share in shares for item in share) == sorted(item.path for item in items)
    assert all(shares)
    assert Shard(2, 5).of(items[50:]) == [item for item in shares[1] if item in items[50:]]
    # Processes on other machines, and of later versions, must agree: these are the first ones of today.
    assert [item.path for item in shares[0]][:4] == ["p/9", "p/15", "p/20", "p/22"]


def test_other_settings_are_refused_or_replace(films: Path, tmp_path: Path, streams: list[Stream]) -> None:
    items = [item for item in find_items(films) if item.id in ("f0", "f1")]
    extract(items, tmp_path, streams)
    (other,) = build_streams(("2d",), ExtractSettings(picture_network="resnet18", short_side=40))
    before = tree(tmp_path)
    with pytest.raises(RefusedError, match=r"'2d' features of other settings \(short_side is 32 there\).*--overwrite"):
        extract(items, tmp_path, [other])
    with pytest.raises(RefusedError, match="short_side"):
        extract(items, tmp_path, [other], shard=Shard(1, 2))
    assert tree(tmp_path) == before
    facts = extract(items, tmp_path, [other], overwrite=True)
    assert (facts["computed"], facts["skipped"]) == (2, 0)
    after = tree(tmp_path)
    assert after["a/f0/f0_spec.npz"] == before["a/f0/f0_spec.npz"]
    assert after["a/f0/f0_2d.npz"] != before["a/f0/f0_2d.npz"]
    assert set(json.loads(after["extract.json"])["streams"]) == {"2d", "audio"}


def test_an_overwriting_that_is_interrupted_never_mixes(
    films: Path, tmp_path: Path, streams: list[Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [item for item in find_items(films) if item.id in ("f0", "f1")]
    extract(items, tmp_path, streams[:1])
    (other,) = build_streams(("2d",), ExtractSettings(picture_network="resnet18", short_side=40))

    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(items, tmp_path, [other], overwrite=True, progress=interrupted)
    with pytest.raises(RefusedError):
        extract(items, tmp_path, streams[:1])
    extract(items, tmp_path, [other])
    extract(items, tmp_path / "fresh", [other])
    fresh = tree(tmp_path / "fresh")
    assert {name: tree(tmp_path)[name] for name in fresh} == fresh


def test_another_source_of_the_same_name_is_refused(films: Path, tmp_path: Path, streams: list[Stream]) -> None:
    item = Item("x", films, "a/f1.mp4", Clip(0.0, 1.0))
    extract([item], tmp_path, streams)
    with pytest.raises(RefusedError, match=r"'x' from another source \(end_s is 1.0 there\)"):
        extract([Item("x", films, "a/f1.mp4", Clip(0.0, 2.0))], tmp_path, streams)
    extract([Item("y", films, "a/f1.mp4")], tmp_path, streams)  # further items are welcome
    assert set(json.loads((tmp_path / "extract.json").read_text())["items"]) == {"x", "y"}


def test_a_damaged_feature_file_is_named(films: Path, tmp_path: Path, streams: list[Stream]) -> None:
    items = find_items(films)[:1]
    extract(items, tmp_path, streams)
    (tmp_path / "a/f0/f0_2d.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"f0_2d.npz is not a file of features"):
        extract(items, tmp_path, streams)


def test_a_share_in_use_is_refused(films: Path, tmp_path: Path, streams: list[Stream]) -> None:
    items = find_items(films)[:1]

    def again(done: int, total: int) -> None:
        with pytest.raises(RefusedError, match=f"process {os.getpid()}"):
            extract(items, tmp_path, streams)

    extract(items, tmp_path, streams, progress=again)


def test_tables_name_films_ids_and_parts(films: Path, tmp_path: Path, streams: list[Stream]) -> None:
    table = tmp_path / "t.csv"
    table.write_text("id,video,start,end\nq1,a/f2.mp4,0.5,1.5\nq2,a/f2.mp4,1.5,\nq3,,,\nq4,a/none.mp4,,\n")
    items = find_items(table, root=films)
    assert [(item.path, item.clip) for item in items[:2]] == [("q1", Clip(0.5, 1.5)), ("q2", Clip(1.5, None))]
    facts = extract(items, tmp_path / "out", streams)
    with np.load(tmp_path / "out/q1/q1_2d.npz") as first, np.load(tmp_path / "out/q2/q2_2d.npz") as second:
        assert (len(first["features"]), len(second["features"])) == (1, 2)
    reasons = {(entry["id"], entry["reason"]) for entry in facts["broken"]}
    assert reasons == {("q3", "empty cell"), ("q4", "no such file")}


def test_lists_of_paths_without_endings(films: Path, tmp_path: Path) -> None:
    for name in ("l.txt", "l.csv"):
        (tmp_path / name).write_text("path\nNone/a/f0\nb/f4\nb/f5.webm\n")
        items = find_items(tmp_path / name, root=films)
        assert [item.path for item in items] == ["a/f0", "b/f4", "b/f5"]
        assert items[1].file == films / "b/f4.mkv"
    named = find_items(tmp_path / "l.csv", Columns(film="path"), films)
    assert named == items


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("id,video\n../x,a.mp4\n", Columns(), "outside of the output folder"),
        ("id,video\n/x,a.mp4\n", Columns(), "outside of the output folder"),
        ("id,video\nx,a.mp4\nx,b.mp4\n", Columns(), "wanted by several"),
        ("video\na.mp4\na.mkv\n", Columns(), "wanted by several"),
        ("id,film\nx,a.mp4\n", Columns(), "--column"),
        ("id,video,start\nx,a.mp4,soon\n", Columns(), "'soon' in column 'start'"),
        ("id,video\nx,a.mp4\n", Columns(start="begin"), "no column 'begin'"),
        ("video\na.mp4\n", Columns(id="name"), "no column 'name'"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, columns: Columns, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        find_items(tmp_path / "t.csv", columns)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0"])
def test_shares_there_are_not(text: str) -> None:
    with pytest.raises(ValueError, match=r"share"):
        Shard.parse(text)


def test_an_empty_folder_has_no_films(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no films"):
        find_items(tmp_path)
