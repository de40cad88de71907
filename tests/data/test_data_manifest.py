"""A manifest as a source: rows, paths, clips, fingerprints, and the inputs inferred from its columns."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from media_files import grey_frames, tone, write_manifest, write_video
from PIL import Image

from awase.config import ArrayInput, AudioInput, DataConfig, FlowInput, ImageInput, TextInput, VideoInput
from awase.data.manifest import ManifestSource, fingerprint_path
from awase.data.source import MediaError


def source(path: Path, **options: object) -> ManifestSource:
    return ManifestSource(
        DataConfig.model_validate({"manifest": path, "inputs": {"text": TextInput(column="text")}, **options})
    )


ROWS: list[dict[str, object]] = [
    {"id": "a", "text": "hi", "label": "x", "split": "training", "speaker": "s1", "part": 0, "from": 0.5, "to": 1},
    {"id": "b", "text": "", "label": "y", "split": "dev", "speaker": "s1", "part": 1, "from": "", "to": ""},
    {"id": "c", "text": "yo", "label": "x", "split": "Test", "speaker": "s2", "part": 1, "from": 0, "to": 2},
]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "m.csv", ROWS)


def test_rows_are_read(manifest: Path) -> None:
    rows = source(manifest, group_column="speaker", fold_column="part").rows
    assert rows.ids == ("a", "b", "c")
    assert rows.labels == (("x",), ("y",), ("x",))
    assert rows.splits == ("train", "val", "test")
    assert rows.groups == ("s1", "s1", "s2")
    assert rows.folds == ("0", "1", "1")


def test_ids_default_to_row_numbers_and_must_be_unique(tmp_path: Path) -> None:
    plain = write_manifest(tmp_path / "p.csv", [{k: v for k, v in row.items() if k != "id"} for row in ROWS])
    assert source(plain).rows.ids == ("row-000001", "row-000002", "row-000003")
    assert source(plain, id_column=None).rows.ids[0] == "row-000001"
    with pytest.raises(ValueError, match=r"no column 'name', which was asked for as the id"):
        source(plain, id_column="name")
    twice = write_manifest(tmp_path / "t.csv", [*ROWS, ROWS[1]])
    with pytest.raises(ValueError, match=r"1 ids occur more than once in column 'id': 'b'"):
        source(twice)


def test_split_files_replace_the_split_column(tmp_path: Path, manifest: Path) -> None:
    other = write_manifest(tmp_path / "o.csv", [{"id": "d", "text": "t", "label": "y"}])
    made = source(Path("unused"), manifest=None, split_files={"train": manifest, "Test": other})
    assert made.rows.splits == ("train", "train", "train", "test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"manifest": None}, "say --set data.manifest=FILE"),
        ({"label": ("genre",)}, "no column 'genre', which was asked for as the label; it has 'id', 'text', 'label'"),
        ({"split_column": "fold"}, "no column 'fold', which was asked for as the split"),
        ({"group_column": "from"}, r"1 rows have no value in column 'from' \(the group\), the first is row 2"),
        ({"start_column": "label"}, "Row 1 has 'x' in column 'label'; it holds seconds"),
        (
            {"inputs": {"video": VideoInput(column="clip")}},
            "no column 'clip', which was asked for as the input 'video'",
        ),
        ({"split_files": {"holdout": "x.csv"}}, "'holdout' is not a split"),
    ],
)
def test_what_cannot_be_is_said(manifest: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source(manifest, **options)


def test_paths_are_relative_to_the_manifest_or_absolute(tmp_path: Path) -> None:
    folder, far = tmp_path / "set", tmp_path / "far"
    for place, level in ((folder / "images", 10), (far, 20)):
        place.mkdir(parents=True)
        Image.fromarray(np.full((4, 4, 3), level, dtype=np.uint8)).save(place / "p.png")
    rows = [
        {"label": "x", "split": "train", "image": name}
        for name in ("images/p.png", far / "p.png", "../far/p.png", "gone.png")
    ]
    made = source(
        write_manifest(folder / "m.csv", rows), inputs={"image": ImageInput(column="image", height=4, width=4)}
    )
    assert [int(np.max(made.read(row, "image"))) for row in range(3)] == [10, 20, 20]
    assert made.fingerprint(1) == made.fingerprint(2) != made.fingerprint(0)
    with pytest.raises(MediaError, match=r"no such file"):
        made.read(3, "image")
    assert made.path(0, "image") == folder / "images" / "p.png"


def test_start_and_end_choose_the_clip(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.arange(4000, dtype=np.float32) / 8000, 8000, subtype="FLOAT")
    rows = [
        {"label": "x", "split": "train", "audio": "a.wav", "from": a, "to": b}
        for a, b in ((0.1, 0.2), ("", 0.2), (0.3, ""))
    ]
    inputs = {"audio": AudioInput(column="audio", sample_rate_hz=8000)}
    made = source(write_manifest(tmp_path / "m.csv", rows), inputs=inputs, start_column="from", end_column="to")
    lengths = [
        len(made.read(row, "audio") or "") if isinstance(made.read(row, "audio"), str) else made.read(row, "audio").size
        for row in range(3)
    ]  # type: ignore[union-attr]
    assert lengths == [800, 1600, 1600]
    assert len({made.fingerprint(row) for row in range(3)}) == 3


def test_fingerprints_follow_content_and_text(tmp_path: Path, manifest: Path) -> None:
    made = source(manifest)
    assert len({made.fingerprint(row) for row in range(3)}) == 3
    copy = write_manifest(tmp_path / "other_name.csv", [dict(row, label="z") for row in ROWS])
    assert [source(copy).fingerprint(row) for row in range(3)] == [made.fingerprint(row) for row in range(3)]


def test_a_file_is_known_by_size_beginning_middle_and_end(tmp_path: Path) -> None:
    content = bytearray(300_000)
    prints = set()
    for place in (None, 0, 150_000, 299_999):
        changed = bytearray(content)
        if place is not None:
            changed[place] = 1
        (tmp_path / "f").write_bytes(changed)
        prints.add(fingerprint_path(tmp_path / "f"))
    (tmp_path / "f").write_bytes(content + b"\0")
    prints.add(fingerprint_path(tmp_path / "f"))
    assert len(prints) == 5
    assert fingerprint_path(tmp_path / "none") == "missing"
    assert fingerprint_path(tmp_path) != "missing"


def test_inputs_are_inferred_from_names_and_files(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", grey_frames([0] * 3), audio=tone(300, 0.3, 8000))
    np.save(tmp_path / "d.npy", np.zeros((2, 5)))
    (tmp_path / "flow").mkdir()
    row = {
        "id": "a", "label": "x", "split": "train", "title": "t", "front_clip": "v.mp4", "side_clip": "v.mp4",
        "Photo": "p.PNG", "depth": "d.npy", "optical_flow": "flow", "speaker": "s", "note": "free",
    }  # fmt: skip
    made = source(write_manifest(tmp_path / "m.csv", [row]), inputs={}, group_column="speaker").inputs
    assert made == {
        "text": TextInput(column="title"),
        "video": VideoInput(column="front_clip"),
        "side_clip": VideoInput(column="side_clip"),
        "image": ImageInput(column="Photo"),
        "depth": ArrayInput(column="depth", shape=(2, 5)),
        "flow": FlowInput(column="optical_flow"),
        "audio": AudioInput(column="front_clip"),
    }


def test_a_column_of_sound_and_a_mute_video_are_told_apart(tmp_path: Path) -> None:
    write_video(tmp_path / "mute.mp4", grey_frames([0] * 3))
    mute = write_manifest(tmp_path / "m.csv", [{"label": "x", "split": "train", "clip": "mute.mp4"}])
    assert list(source(mute, inputs={}).inputs) == ["video"]
    sound = write_manifest(
        tmp_path / "s.csv", [{"label": "x", "split": "train", "video": "mute.mp4", "audio": "other.mp4"}]
    )
    assert source(sound, inputs={}).inputs["audio"] == AudioInput(column="audio")


def test_nothing_to_infer_says_what_would_work(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "m.csv", [{"id": "a", "label": "x", "split": "train", "remark": "free"}])
    with pytest.raises(ValueError, match=r"No column of the manifest .* looks like an input: name them in data.inputs"):
        source(path, inputs={})
