"""AVE as its zip lays it out, and as copies of it do."""

from collections import Counter
from pathlib import Path

import pytest

from awase.data.datasets.ave import CLASSES, read

TRAIN = [
    "Church bell&-leVhma9zaA&good&0&10",
    "Male speech, man speaking&0PRVVZXqqv4&good&1&10",
    "Bark&sharedtest1&good&0&3",
    "Bark&sharedval01&good&2&5",
    "Rodents, rats, mice&twoevents_1&good&0&4",
    "Bark&twoevents_1&good&4&10",
]
VAL = ["Bark&sharedval01&good&6&9", "Frying (food)&onlyval0001&good&0&10"]
TEST = ["Truck&sharedtest1&good&5&10", "Church bell&missing0001&good&0&10", "Bark&onlytest001&good&0&10"]
VIDEOS = ("-leVhma9zaA", "0PRVVZXqqv4", "sharedtest1", "sharedval01", "twoevents_1", "onlyval0001", "onlytest001")


def write_lists(folder: Path, header: str = "", ends: str = "\n", mark: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (("trainSet.txt", TRAIN), ("valSet.txt", VAL), ("testSet.txt", TEST)):
        text = ends.join([*([header] if header else []), *lines])
        (folder / name).write_bytes((mark + text).encode("utf-8"))


def write_videos(folder: Path, names=VIDEOS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in reversed(names):
        (folder / f"{name}.mp4").write_bytes(b"1")


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The zip unpacked: everything in `AVE_Dataset/`."""
    write_lists(tmp_path / "AVE_Dataset")
    write_videos(tmp_path / "AVE_Dataset" / "AVE")
    return tmp_path


def splits_of(layout, name):
    return {row.id: row.splits[name] for row in layout.rows}


def test_every_line_is_a_row(unpacked):
    layout = read(unpacked)
    assert [row.id for row in layout.rows][:3] == ["-leVhma9zaA_0_10", "0PRVVZXqqv4_1_10", "sharedtest1_0_3"]
    assert len(layout.rows) == len(TRAIN) + len(VAL) + len(TEST)
    assert layout.rows[1].labels == ("Male speech, man speaking",)
    assert {row.group for row in layout.rows} == {*VIDEOS, "missing0001"}
    assert layout.rows[0].files == {"clip": unpacked / "AVE_Dataset" / "AVE" / "-leVhma9zaA.mp4"}
    assert Counter(splits_of(layout, "published").values()) == {"train": 6, "val": 2, "test": 3}
    assert layout.published_counts == {"published": {"train": 3339, "val": 402, "test": 402}}


def test_the_honest_splitting_takes_the_leaks_out_of_train_and_lists_them(unpacked):
    layout = read(unpacked)
    assert layout.default_splitting == "honest"
    published, honest = splits_of(layout, "published"), splits_of(layout, "honest")
    removed = [row for row in published if published[row] != honest[row]]
    assert removed == ["sharedtest1_0_3", "sharedval01_2_5"]
    assert [honest[row] for row in removed] == [None, None]
    assert layout.facts["removed_from_honest"] == removed
    note = next(note for note in layout.notes if "more than one published split" in note)
    assert "2 videos" in note
    assert "train and test: 1, train and val: 1" in note
    for split in ("val", "test"):
        kept = {row.group for row in layout.rows if row.splits["honest"] == split}
        assert kept.isdisjoint(row.group for row in layout.rows if row.splits["honest"] == "train")


def test_missing_videos_stay_and_are_listed(unpacked):
    layout = read(unpacked)
    assert layout.absent == {"clip": ("missing0001_0_10",)}
    row = next(row for row in layout.rows if row.group == "missing0001")
    assert row.files["clip"] == unpacked / "AVE_Dataset" / "AVE" / "missing0001.mp4"
    assert any(note.startswith("1 of 11 rows have no usable file") for note in layout.notes)


@pytest.mark.parametrize("header", ["", "Category&VideoID&Quality&StartTime&EndTime"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_headers_marks_and_line_ends_change_nothing(unpacked, tmp_path, header, ends, mark):
    expected = read(unpacked)
    write_lists(unpacked / "AVE_Dataset", header, ends, mark)
    layout = read(unpacked)
    assert (layout.rows, layout.classes, layout.absent) == (expected.rows, expected.classes, expected.absent)


def test_the_inner_folder_and_lists_elsewhere_are_the_same_data(unpacked, tmp_path_factory):
    expected = read(unpacked)
    inner = read(unpacked / "AVE_Dataset")
    assert inner.rows == expected.rows
    lists = tmp_path_factory.mktemp("lists")
    write_lists(lists)
    videos = tmp_path_factory.mktemp("videos")
    write_videos(videos / "somewhere")
    apart = read(videos, annotations=lists)
    assert [(row.id, row.labels, row.splits) for row in apart.rows] == [
        (row.id, row.labels, row.splits) for row in expected.rows
    ]
    assert apart.rows[0].files["clip"] == videos / "somewhere" / "-leVhma9zaA.mp4"


def test_a_row_shows_the_video_or_its_event(unpacked):
    video, event = read(unpacked), read(unpacked, part="event")
    assert {(row.start_s, row.end_s) for row in video.rows} == {(None, None)}
    assert [(row.start_s, row.end_s) for row in event.rows][:2] == [(0.0, 10.0), (1.0, 10.0)]
    assert (video.inputs["audio"].window_s, event.inputs["audio"].window_s) == (10.0, None)
    with pytest.raises(ValueError, match=r"part = 'sound'.*video, event"):
        read(unpacked, part="sound")


def test_classes_are_the_official_28_in_their_order(unpacked):
    layout = read(unpacked)
    assert layout.classes == CLASSES
    assert (len(CLASSES), len(set(CLASSES))) == (28, 28)
    assert (CLASSES[0], CLASSES[1], CLASSES[-1]) == ("Church bell", "Male speech, man speaking", "Mandolin")
    assert tuple(sorted(CLASSES)) != CLASSES
    assert "Annotations.txt" in layout.class_order
    assert layout.facts["drawn_from"] == ["AudioSet"]
    assert any("AudioSet" in note for note in layout.notes)


def test_lines_of_annotations_that_no_list_has_are_in_no_split(unpacked):
    lines = ["Category&VideoID&Quality&StartTime&EndTime", *TRAIN, *VAL, *TEST, "Flute&unlisted001&good&0&10"]
    (unpacked / "AVE_Dataset" / "Annotations.txt").write_text("\r\n".join(lines), encoding="utf-8")
    layout = read(unpacked)
    assert len(layout.rows) == 12
    assert layout.rows[-1].splits == {"published": None, "honest": None}
    assert "1 lines of Annotations.txt are in none of the three lists; they are in no split." in layout.notes


def test_a_line_that_is_there_twice_is_two_rows_with_two_ids(unpacked):
    path = unpacked / "AVE_Dataset" / "trainSet.txt"
    path.write_text("\n".join([*TRAIN, TRAIN[0], TEST[2]]), encoding="utf-8")
    layout = read(unpacked)
    assert {"-leVhma9zaA_0_10", "-leVhma9zaA_0_10_2", "onlytest001_0_10_2"} <= {row.id for row in layout.rows}
    assert any(note.startswith("2 lines occur more than once") for note in layout.notes)
    # Rows of train come before those of test: the first is the one that leaks.
    honest = splits_of(layout, "honest")
    assert (honest["onlytest001_0_10"], honest["onlytest001_0_10_2"]) == (None, "test")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Bark&abc&good&0", r"trainSet\.txt.*category&video&quality&start&end"),
        ("Bark&abc&good&zero&10", r"trainSet\.txt.*'Bark&abc&good&zero&10'"),
        ("Barking&abc&good&0&10", r"'Barking'.*none of the 28"),
    ],
)
def test_lines_of_another_form_are_refused(unpacked, line, words):
    (unpacked / "AVE_Dataset" / "trainSet.txt").write_text(line, encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        read(unpacked)


def test_a_folder_without_the_lists_is_refused_with_what_was_looked_for(unpacked, tmp_path):
    (unpacked / "AVE_Dataset" / "valSet.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no valSet\.txt.*trainSet\.txt, valSet\.txt, testSet\.txt"):
        read(tmp_path)
