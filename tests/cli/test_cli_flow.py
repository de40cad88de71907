"""`awase data flow`: what it writes, how it continues, and tables it cannot use."""

import csv
import json
import shutil
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from calls import assert_refused, call, files

from awase.config import DataConfig
from awase.data import open_dataset


def write_film(path: Path, level: int) -> Path:
    """Three frames, 24 x 32, of a bright square that moves two pixels to the right per frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, options={"qscale": "1"})
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for k in range(3):
            frame = np.full((24, 32, 3), 20, dtype=np.uint8)
            frame[8:16, 8 + 2 * k : 16 + 2 * k] = level
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Ten films of two classes; the film of row 3 is broken, row 4 has none."""
    rows = []
    for number in range(10):
        path = tmp_path / "films" / f"{number}.avi"
        write_film(path, 150 + 10 * number)
        label, split = "ab"[number % 2], "train" if number < 6 else "val" if number < 8 else "test"
        rows.append([f"clip {number}", f"films/{number}.avi", f"{label}, x", split])
    (tmp_path / "films" / "3.avi").write_bytes(b"RIFF")
    rows[4][1] = ""
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "video", "label", "split"], *rows])
    return tmp_path / "t.csv"


@pytest.mark.parametrize("form", ["jpg", "npy"])
def test_a_table_gets_a_column_of_flow_that_can_be_opened(table: Path, form: str) -> None:
    out = table.parent / "flow"
    result = call("data", "flow", table, "--out", out, "--form", form, "--workers", 2, "--quiet")
    assert (result.code, result.err) == (0, "")
    first, *others = result.out.splitlines()
    assert first == "10 films: 8 computed, 0 were there, 2 without flow"
    assert others[0].startswith("without flow: clip 3 (")
    assert others[1:] == ["without flow: clip 4 (empty cell)", f"Table with the column flow: {table.parent}/t_flow.csv"]
    with (table.parent / "t_flow.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    ending = "" if form == "jpg" else ".npy"
    assert [row["flow"] for row in rows[2:5]] == [f"flow/clip_2{ending}", "", ""]
    assert rows[2]["label"] == "a, x"
    config = DataConfig(manifest=table.parent / "t_flow.csv", missing="mask")
    data = open_dataset(config, cache=table.parent / "cache", cache_gib=0.1, tokenizers={}, threads=1)
    assert data.inputs["flow"].kind == "flow"
    batch = next(data.loader("test", batch_size=2).epoch(0))
    assert batch.inputs["flow"].shape == (2, 10, 2, 224, 224)
    assert 1.0 < 20 * batch.inputs["flow"][:, :, 0].amax() < 3.5


def test_the_same_command_computes_what_is_not_there(table: Path) -> None:
    command = ("data", "flow", table, "--out", table.parent / "flow", "--json", "--quiet")
    first = json.loads(call(*command).out)
    assert (first["computed"], first["skipped"]) == (8, 0)
    before = (table.parent / "flow" / "clip_5" / "u" / "frame000001.jpg").stat().st_mtime_ns
    shutil.rmtree(table.parent / "flow" / "clip_2")
    write_film(table.parent / "films" / "3.avi", 200)
    second = json.loads(call(*command).out)
    assert (second["films"], second["computed"], second["skipped"]) == (10, 2, 7)
    assert second["broken"] == [{"id": "clip 4", "reason": "empty cell"}]
    assert (table.parent / "flow" / "clip_5" / "u" / "frame000001.jpg").stat().st_mtime_ns == before
    names = files(table.parent / "flow" / "clip_2")
    assert names == [f"{side}/frame00000{k}.jpg" for side in ("u", "v") for k in (1, 2)]
    assert not list((table.parent / "flow").glob(".*"))


def test_flow_of_other_settings_is_not_mixed_in(table: Path) -> None:
    command = ("data", "flow", table, "--out", table.parent / "flow", "--quiet")
    assert call(*command).code == 0
    assert_refused(call(*command, "--bound", 10), "holds flow of other settings (bound_px 20.0)")


def test_progress_is_told_on_standard_error(table: Path) -> None:
    result = call("data", "flow", table, "--out", table.parent / "flow")
    assert result.err.splitlines()[-1] == "flow: 10 of 10 films"


def test_a_part_in_seconds_is_respected(table: Path) -> None:
    text = table.read_text().replace("split\n", "split,from,to\n")
    lines = [line if number == 0 else f"{line},0.0,0.2" for number, line in enumerate(text.splitlines())]
    table.write_text("\n".join(lines) + "\n")
    out = table.parent / "flow"
    assert call("data", "flow", table, "--out", out, "--start-column", "from", "--end-column", "to").code == 0
    assert files(out / "clip_5") == ["u/frame000001.jpg", "v/frame000001.jpg"]


def test_a_table_without_any_film_fails(table: Path) -> None:
    for path in (table.parent / "films").iterdir():
        path.unlink()
    result = call("data", "flow", table, "--out", table.parent / "flow", "--quiet")
    assert result.code == 1
    assert "10 films: 0 computed, 0 were there, 10 without flow" in result.out
    assert "(no such file)" in result.out


def test_a_long_list_is_cut_in_words_and_whole_in_json(table: Path) -> None:
    rows = [f"row{number},films/none.avi,a,train" for number in range(23)]
    table.write_text("\n".join([*table.read_text().splitlines(), *rows]) + "\n")
    command = ("data", "flow", table, "--out", table.parent / "flow", "--quiet")
    lines = call(*command).out.splitlines()
    assert [line for line in lines if line.startswith("and ")] == ["and 5 more, which --json lists"]
    assert len(json.loads(call(*command, "--json").out)["broken"]) == 25


def test_json_lines_stay_json_lines(table: Path) -> None:
    path = table.parent / "lines.jsonl"
    record = {"id": "é", "video": "films/1.avi", "label": ["a", "b"]}
    path.write_text(json.dumps(record) + "\n")
    facts = json.loads(call("data", "flow", path, "--out", table.parent / "flow", "--json", "--quiet").out)
    assert facts["manifest"] == str(table.parent / "lines_flow.jsonl")
    assert json.loads((table.parent / "lines_flow.jsonl").read_text()) == {**record, "flow": "flow/é"}


def test_requests_that_cannot_be_met(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("data", "flow", table, "--out", table.parent / "flow")
    assert_refused(call(*command, "--method", "farneback"), "use one of dis, tvl1")
    assert_refused(call(*command, "--form", "png"), "use one of jpg, npy")
    assert_refused(call(*command, "--workers", 0), "workers = 0 is refused")
    assert_refused(call(*command, "--column", "film"), "has no column 'film'")
    assert_refused(call("data", "flow", "nosuch.csv", "--out", "flow"), "nosuch.csv")
    assert_refused(call("data", "flow", table), "--out")
    text = table.read_text()
    table.write_text(text.replace("id,video,label", "id,video,flow"))
    assert_refused(call(*command), "already has a column 'flow'")
    table.write_text(text.replace("clip 1,", "clip_2,").replace("clip 2,", "clip 2,"))
    assert_refused(call(*command), "would be the file name 'clip_2'")
    table.write_text(text)
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert_refused(call(*command), "pip install 'awase[flow]'")
    assert not (table.parent / "flow").exists()
