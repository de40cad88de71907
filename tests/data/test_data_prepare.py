"""From official layouts of real media to manifests, and from these to tensors."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from media_files import grey_frames, tone, write_video

from awase.config import ImageInput, TextInput
from awase.data import LAYOUTS, open_dataset, open_source
from awase.data.columns import Draw
from awase.data.datasets.layout import Layout, LayoutRow
from awase.data.prepare import prepare
from awase.data.prepared import prepared_data, read_description

LEVELS = [20, 90, 160]


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def small(config):
    """The configuration with pictures and sounds of a size for tests."""
    inputs = {
        "video": config.inputs["video"].model_copy(update={"height": 16, "width": 24}),
        "audio": config.inputs["audio"].model_copy(update={"window_s": 0.3}),
    }
    return config.model_copy(update={"inputs": inputs})


def opened(config, tmp_path):
    return open_dataset(config, cache=tmp_path / "cache", cache_gib=1.0, tokenizers={}, threads=1)


AVE_LISTS = {
    "trainSet.txt": [f"{label}&train{n:06d}&good&0&10" for n, label in enumerate(["Bark", "Violin, fiddle"] * 3)]
    + ["Bark&test0000001&good&0&5"],
    "valSet.txt": ["Bark&val00000001&good&0&10", "Violin, fiddle&val00000002&good&0&10"],
    "testSet.txt": ["Bark&test0000001&good&5&10", "Violin, fiddle&gone0000001&good&0&10"],
}


@pytest.fixture
def ave(tmp_path: Path) -> Path:
    """A small AVE of real clips, one of them missing."""
    root = tmp_path / "data" / "AVE_Dataset"
    (root / "AVE").mkdir(parents=True)
    for name, lines in AVE_LISTS.items():
        (root / name).write_bytes("\r\n".join(lines).encode("utf-8-sig"))
        for line in lines:
            video = line.split("&")[1]
            if not video.startswith("gone"):
                write_video(root / "AVE" / f"{video}.mp4", grey_frames(LEVELS), audio=tone(440, 0.3, 8000))
    return root


def test_ave_becomes_a_manifest_that_opens(ave, tmp_path):
    out = tmp_path / "out"
    description = prepare("ave", ave.parent, out)
    rows = rows_of(out)
    assert list(rows[0]) == ["id", "clip", "label", "group", "split", "split_published", "split_honest"]
    assert rows[1] == {
        "id": "train000001_0_10",
        "clip": str(ave / "AVE" / "train000001.mp4"),
        "label": "Violin, fiddle",
        "group": "train000001",
        "split": "train",
        "split_published": "train",
        "split_honest": "train",
    }
    assert [row["split_honest"] for row in rows] == ["train"] * 6 + [""] + ["val"] * 2 + ["test"] * 2
    assert [row["split"] for row in rows] == [row["split_honest"] for row in rows]
    assert description == read_description(out)
    assert description["splittings"]["published"] == {
        "counts": {"train": 7, "val": 2, "test": 2, "none": 0},
        "published": {"train": 3339, "val": 402, "test": 402},
        "leaks": {"count": 1, "groups": {"test0000001": ["train", "test"]}},
    }
    assert description["splittings"]["honest"]["leaks"]["count"] == 0
    assert description["absent"] == {"clip": ["gone0000001_0_10"]}
    assert (description["rows"], len(description["classes"]), description["format_version"]) == (11, 28, 1)

    config = prepared_data(out)
    assert (config.split_column, config.group_column, config.fold_column, config.start_column) == (
        *("split", "group"),
        *(None, None),
    )
    dataset = opened(small(config), tmp_path)
    assert {split: len(member) for split, member in dataset.splits.items()} == {"train": 6, "val": 2, "test": 1}
    assert dataset.classes == tuple(description["classes"])
    assert dataset.targets[:2].tolist() == [2, 7]
    assert dataset.summary["shared_between_splits"]["groups"]["count"] == 0
    frames = dataset.columns["video"].tensor(dataset.splits["test"], Draw(0, None))
    assert frames.shape == (1, 3, 3, 16, 24)
    expected = torch.tensor(LEVELS) / 127.5 - 1
    torch.testing.assert_close(frames.mean((0, 2, 3, 4)), expected, atol=0.04, rtol=0)  # coding is lossy: 5 of 255
    assert dataset.columns["audio"].tensor(dataset.splits["test"], Draw(0, None)).shape[:3] == (1, 1, 257)

    published = opened(small(prepared_data(out, "published")), tmp_path)
    assert published.summary["shared_between_splits"]["groups"]["count"] == 1
    assert len(published.splits["train"]) == 7


def test_events_have_their_times_in_the_manifest(ave, tmp_path):
    prepare("ave", ave, tmp_path / "out", {"part": "event"})
    rows = rows_of(tmp_path / "out")
    assert (rows[6]["start"], rows[6]["end"], rows[9]["start"]) == ("0.0", "5.0", "5.0")
    config = prepared_data(tmp_path / "out")
    assert (config.start_column, config.end_column) == ("start", "end")
    assert read_description(tmp_path / "out")["options"] == {"part": "event"}


def test_paths_below_the_folder_written_to_are_relative(ave, tmp_path):
    prepare("ave", ave, ave.parent)
    assert rows_of(ave.parent)[0]["clip"] == "AVE_Dataset/AVE/train000000.mp4"
    moved = ave.parent.rename(tmp_path / "moved")
    assert len(opened(small(prepared_data(moved)), tmp_path).splits["train"]) == 6


def test_cremad_has_separate_files_and_folds(tmp_path):
    root = tmp_path / "CREMA-D"
    for folder in ("AudioWAV", "VideoFlash"):
        (root / folder).mkdir(parents=True)
    clips = [f"{actor}_DFA_{emotion}_XX" for actor in range(1001, 1014) for emotion in ("ANG", "SAD")]
    for clip in clips:
        soundfile.write(root / "AudioWAV" / f"{clip}.wav", tone(440, 0.3, 16_000), 16_000)
        write_video(root / "VideoFlash" / f"{clip}.flv", grey_frames(LEVELS), codec="flv1")
    (root / "VideoFlash" / f"{clips[0]}.flv").unlink()
    (root / "train.csv").write_text("\n".join(f"{clip},{clip[9:12]}" for clip in clips[:-5]))
    (root / "test.csv").write_text("\n".join(f"{clip},{clip[9:12]}" for clip in clips[-5:]))
    out = tmp_path / "out"
    description = prepare("cremad", root, out)
    assert list(rows_of(out)[0]) == [
        *("id", "audio", "video", "label", "group", "fold"),
        *("split", "split_published", "split_honest"),
    ]
    assert description["splittings"]["published"]["leaks"]["count"] == 1, "actor 1011 is in both lists"
    assert description["splittings"]["honest"]["leaks"]["count"] == 0
    assert description["absent"] == {"audio": [], "video": ["1001_DFA_ANG_XX"]}
    assert sum(description["folds"].values()) == 26

    config = small(prepared_data(out))
    assert config.fold_column == "fold"
    dataset = opened(config, tmp_path)
    groups = {split: {dataset.rows.groups[row] for row in member} for split, member in dataset.splits.items()}
    assert groups["test"] == {row["group"] for row in rows_of(out) if row["fold"] == "0"}
    assert groups["train"].isdisjoint(groups["test"] | groups["val"])
    assert dataset.summary["validation"]["by"] == "group"
    row = np.array([rows_of(out).index(next(row for row in rows_of(out) if row["id"] == "1005_DFA_SAD_XX"))])
    frames = dataset.columns["video"].tensor(row, Draw(0, None))
    torch.testing.assert_close(frames.mean((0, 2, 3, 4)), torch.tensor(LEVELS) / 127.5 - 1, atol=0.04, rtol=0)
    fold = opened(config.model_copy(update={"fold": 2}), tmp_path)
    tested = {fold.rows.groups[row] for row in fold.splits["test"]}
    assert tested == {row["group"] for row in rows_of(out) if row["fold"] == "2"}
    assert dataset.classes == ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")


def test_kinetics_sounds_opens_with_padded_and_plain_names(tmp_path):
    root = tmp_path / "ks"
    (root / "clips").mkdir(parents=True)
    names = [f"video{n:06d}" for n in range(11)]
    train = "\r\n".join(f"{name}_{n:06d}_{n + 10:06d},10,{n % 2}" for n, name in enumerate(names[:8]))
    test = "\r\n".join(f"{name}_{n},10,{n % 2}" for n, name in enumerate(names[8:], 8))
    (root / "my_train.txt").write_bytes(train.encode())
    (root / "my_test.txt").write_bytes(test.encode())
    for n, name in enumerate(names):
        path = root / "clips" / (f"{name}_{n}.mp4" if n % 3 else f"{name}_{n:06d}_{n + 10:06d}.mp4")
        write_video(path, grey_frames(LEVELS), audio=tone(440, 0.3, 8000))
    prepare("kinetics_sounds", root, tmp_path / "out")
    dataset = opened(small(prepared_data(tmp_path / "out")), tmp_path)
    assert {split: len(member) for split, member in dataset.splits.items()} == {"train": 7, "val": 1, "test": 3}
    assert dataset.summary["missing"]["video"]["count"] == 0
    assert len(dataset.classes) == 31


# ---- manifests of any layout -----------------------------------------------------------------------------------------


def layout_of(rows, **changes) -> Layout:
    parts = {
        "name": "posters",
        "rows": tuple(rows),
        "classes": ("a", "b", "c, d"),
        "class_order": "as given",
        "multi_label": True,
        "inputs": {"image": ImageInput(column="image"), "text": TextInput(column="text")},
        "default_splitting": "fold2",
        "published_counts": {},
        "absent": {},
    }
    return Layout(**{**parts, **changes})


def posters(folder: Path) -> list[LayoutRow]:
    def row(name, labels, split1, split2, fold=None, group=None, files=True):
        return LayoutRow(
            id=name,
            labels=labels,
            files={"image": folder / "images" / f"{name}.jpg"} if files else {},
            texts={"text": f'He said "{name}, go";\r\nthen nothing'},
            splits={"fold1": split1, "fold2": split2},
            group=group,
            fold=fold,
        )

    return [
        row("p1", ("a", "c, d"), "train", "test", fold=2, group="g1"),
        row("p2", (), "test", "train", fold=1, group="g1"),
        row("p3", ("b",), "test", None, group="g2"),
        row("p4", ("b",), "train", "train", files=False),
        row("p5", ("b",), "train", "train", group="g3"),
    ]


@pytest.fixture
def given(monkeypatch, tmp_path):
    """Lets `prepare("ave")` read a layout made by the test."""

    def use(layout):
        monkeypatch.setitem(LAYOUTS, "ave", lambda root, **options: layout)

    return use


def test_several_labels_texts_folds_and_splittings_survive_the_csv(given, tmp_path):
    given(layout_of(posters(tmp_path), absent={"image": ("p1", "p5")}))
    description = prepare("ave", tmp_path, tmp_path / "out")
    rows = {row["id"]: row for row in rows_of(tmp_path / "out")}
    assert rows["p1"] | {"image": ""} == {
        "id": "p1",
        "image": "",
        "text": 'He said "p1, go";\r\nthen nothing',
        "label": "a|c, d",
        "group": "g1",
        "fold": "2",
        "split": "test",
        "split_fold1": "train",
        "split_fold2": "test",
    }
    assert (rows["p2"]["label"], rows["p3"]["split"], rows["p3"]["fold"]) == ("", "", "none")
    assert rows["p4"]["group"] == "p4", "a row without a group is its own"
    assert rows["p4"]["image"] == ""
    assert description["splittings"]["fold1"]["leaks"] == {"count": 1, "groups": {"g1": ["train", "test"]}}
    assert description["folds"] == {"1": 1, "2": 1}
    config = prepared_data(tmp_path / "out", "fold1")
    assert (config.task, config.label_separator, config.split_column) == ("multi_label", "|", "split_fold1")
    source = open_source(config)
    assert source.rows.labels == (("a", "c, d"), (), ("b",), ("b",), ("b",))
    assert source.rows.splits == ("train", "test", "test", "train", "train")
    assert source.rows.folds == ("2", "1", "none", "none", "none")
    assert source.read(0, "text") == 'He said "p1, go";\r\nthen nothing'


def test_rows_without_any_file_can_be_dropped(given, tmp_path):
    given(layout_of(posters(tmp_path), absent={"image": ("p1", "p5")}))
    description = prepare("ave", tmp_path, tmp_path / "out", drop_missing=True)
    assert [row["id"] for row in rows_of(tmp_path / "out")] == ["p2", "p3", "p4"]
    assert (description["dropped"], description["absent"], description["rows"]) == (["p1", "p5"], {"image": []}, 3)
    assert description["splittings"]["fold1"]["counts"] == {"train": 1, "val": 0, "test": 2, "none": 0}


def test_preparing_again_replaces_both_files(given, tmp_path):
    rows = posters(tmp_path)
    given(layout_of(rows))
    prepare("ave", tmp_path, tmp_path / "out")
    given(layout_of(rows[:2]))
    prepare("ave", tmp_path, tmp_path / "out")
    assert (len(rows_of(tmp_path / "out")), read_description(tmp_path / "out")["rows"]) == (2, 2)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dataset.json", "manifest.csv"]


def test_a_manifest_of_somebody_else_is_kept(given, tmp_path):
    given(layout_of(posters(tmp_path)))
    (tmp_path / "manifest.csv").write_text("mine\n", encoding="utf-8")
    with pytest.raises(FileExistsError, match=r"manifest\.csv is there already.*another folder"):
        prepare("ave", tmp_path, tmp_path)
    assert (tmp_path / "manifest.csv").read_text(encoding="utf-8") == "mine\n"


def test_a_data_set_without_any_file_is_refused(given, tmp_path):
    rows = posters(tmp_path)[:3]
    given(layout_of(rows, absent={"image": ("p1", "p2", "p3")}))
    with pytest.raises(FileNotFoundError, match=r"None of the media files of the 3 rows.*p1\.jpg"):
        prepare("ave", tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_label_with_the_separator_is_refused(given, tmp_path):
    row = posters(tmp_path)[0]
    given(layout_of([LayoutRow(row.id, ("a|b",), row.files, row.texts, row.splits)]))
    with pytest.raises(ValueError, match=r"'a\|b'.*joins labels"):
        prepare("ave", tmp_path, tmp_path / "out")


def test_without_a_folder_it_is_prepared_by_name_and_single_labels_stay_single(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given(layout_of(posters(tmp_path), multi_label=False))
    prepare("ave", tmp_path)
    config = prepared_data(Path("prepared/ave"))
    assert (config.task, config.label_separator, config.classes) == ("single_label", None, ("a", "b", "c, d"))
    with pytest.raises(KeyError, match=r"no splitting 'fold3'.*fold1, fold2"):
        prepared_data(Path("prepared/ave"), "fold3")


def test_descriptions_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no dataset\.json.*awase data prepare"):
        prepared_data(tmp_path)
    (tmp_path / "dataset.json").write_text('{"format_version": 1', encoding="utf-8")
    with pytest.raises(ValueError, match=r"dataset\.json is not JSON"):
        prepared_data(tmp_path)
    for document in ({"format_version": 2}, []):
        (tmp_path / "dataset.json").write_text(json.dumps(document), encoding="utf-8")
        with pytest.raises(ValueError, match=r"format version (2|None); this version of awase reads 1"):
            prepared_data(tmp_path)
