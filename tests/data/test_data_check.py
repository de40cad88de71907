"""`awase data check`: what is counted, and which problems are said."""

import json
from pathlib import Path

from media_files import grey_frames, tone, write_manifest, write_video
from small_set import INPUTS, NUM_ROWS, split_of, write_set

from awase.config import DataConfig
from awase.data import check_manifest


def test_a_sound_set_has_no_problems(tmp_path: Path) -> None:
    found = check_manifest(DataConfig(manifest=write_set(tmp_path), inputs=INPUTS), threads=1)
    assert json.loads(json.dumps(found)) == found
    assert found["problems"] == []
    assert found["rows"] == NUM_ROWS
    assert {split: each["count"] for split, each in found["splits"].items()} == {"train": 23, "val": 7, "test": 11}
    assert found["splits"]["train"]["imbalance"] == 8 / 7
    assert {name: each["count"] for name, each in found["unreadable"].items()} == dict.fromkeys(INPUTS, 0)
    assert found["durations_s"]["audio"] == {"min": 0.05, "median": 0.05, "max": 0.05}
    assert found["durations_s"]["image"] is None


def test_problems_are_said_and_do_not_stop_the_check(tmp_path: Path) -> None:
    labels = {row: "rare" for row in range(NUM_ROWS) if split_of(row) == "test"}
    path = write_set(tmp_path, label=labels, audio={0: "gone.wav", 9: ""})
    found = check_manifest(DataConfig(manifest=path, inputs=INPUTS), threads=2)
    assert len(found["problems"]) == 1
    assert "1 classes are in test but in no training row: 'rare'" in found["problems"][0]
    assert found["unreadable"]["audio"]["by_reason"] == {"no such file": 1, "empty cell": 1}
    assert found["unreadable"]["audio"]["rows"][0] == {"id": "id0", "reason": "no such file"}


def test_an_empty_split_is_a_problem(tmp_path: Path) -> None:
    path = write_set(tmp_path, split=dict.fromkeys(range(NUM_ROWS), "train"))
    found = check_manifest(DataConfig(manifest=path, inputs=INPUTS))
    assert "The split 'test' is empty" in found["problems"][0]
    assert found["splits"] == {}


def test_videos_are_measured_and_their_absent_sound_is_counted(tmp_path: Path) -> None:
    write_video(tmp_path / "sound.mp4", grey_frames([0] * 10), audio=tone(300, 1.0, 8000))
    write_video(tmp_path / "mute.mp4", grey_frames([0] * 20))
    (tmp_path / "broken.mp4").write_bytes((tmp_path / "sound.mp4").read_bytes()[:100])
    rows: list[dict[str, object]] = [
        {"label": "ab"[k % 2], "split": ("train", "train", "val", "val", "test", "test")[k], "clip": f"{name}.mp4"}
        for k, name in enumerate(["sound", "mute", "sound", "mute", "sound", "broken"])
    ]
    found = check_manifest(DataConfig(manifest=write_manifest(tmp_path / "m.csv", rows)))
    assert set(found["inputs"]) == {"video", "audio"}
    assert found["unreadable"]["audio"]["by_reason"]["no audio track"] == 2
    assert found["unreadable"]["video"]["count"] == 1
    assert found["durations_s"]["video"] == {"min": 1.0, "median": 1.5, "max": 2.0}
    assert found["shared_between_splits"]["contents"]["count"] == 2
