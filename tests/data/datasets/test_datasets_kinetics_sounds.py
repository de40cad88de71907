"""Kinetics-Sounds from numbered lists, from Kinetics' own csv, and from folders named by class."""

from collections import Counter
from pathlib import Path

import pytest

from awase.data.datasets.kinetics_sounds import read
from awase.data.datasets.kinetics_sounds_classes import CLASSES_31, CLASSES_34, chosen_classes, spelt
from awase.data.datasets.kinetics_sounds_lists import clip_key, form_of

# An id may begin with a hyphen, and end in an underscore and digits like the seconds after it.
TRAIN = [("--4-0ihtnBU", 58, 4), ("-00nar1n_12", 33, 13), ("abcdefghij_", 0, 30), ("leakingvid0", 7, 0)]
TEST = [("-3Mwkq-7TV4", 2, 23), ("-W0NQfZwNgE", 139, 25), ("leakingvid0", 40, 0)]


def ogm_ge(root: Path, train=TRAIN, test=TEST) -> None:
    """Padded seconds with an end in train, unpadded ones in test, CRLF, no last line end."""
    padded = "\r\n".join(f"{name}_{start:06d}_{start + 10:06d},10,{label}" for name, start, label in train)
    (root / "my_train.txt").write_bytes(b"\xef\xbb\xbf" + padded.encode())
    plain = "\r\n".join(f"{name}_{start},10,{label}" for name, start, label in test)
    (root / "my_test.txt").write_bytes(plain.encode())


def clip(root: Path, name: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"1")
    return path


def of(layout, row_id: str):
    return next(row for row in layout.rows if row.id == row_id)


# ---- names and lists -------------------------------------------------------------------------------------------------


def test_the_lists_of_classes():
    assert (len(CLASSES_31), len(CLASSES_34)) == (31, 34)
    assert set(CLASSES_34) - set(CLASSES_31) == {"typing", "fingerpicking", "patting"}
    for classes in (CLASSES_31, CLASSES_34):
        # With spaces and with underscores the order is the same, so that the numbers do not depend on the spelling.
        assert list(classes) == sorted(classes)
        assert list(classes) == sorted(classes, key=lambda name: name.replace(" ", "_"))
    assert CLASSES_31[4] == "dribbling basketball"


def test_names_of_the_paper_and_of_folders_are_those_of_kinetics(tmp_path):
    assert spelt(" Playing_Bass_Guitar ") == "playing bass guitar"
    assert spelt("mowing the lawn by pushing lawnmower") == "mowing lawn"
    assert chosen_classes("stomping, tickling") == ("stomping grapes", "tickling")
    own = tmp_path / "classes.txt"
    own.write_bytes(b"\xef\xbb\xbftickling\r\nbowling")
    assert chosen_classes(own) == chosen_classes(str(own)) == ("tickling", "bowling")
    assert chosen_classes(("b", "a")) == ("b", "a")
    for wrong, words in (("27", "31, 34"), (("a", "A"), "'a' twice|a twice"), (("a",), "1 classes")):
        with pytest.raises(ValueError, match=words):
            chosen_classes(wrong)


@pytest.mark.parametrize(
    ("stem", "key"),
    [
        ("-3Mwkq-7TV4_000002_000012", "-3Mwkq-7TV4_2"),
        ("-3Mwkq-7TV4_2", "-3Mwkq-7TV4_2"),
        ("abcdefghij__000000_000010", "abcdefghij__0"),
        ("-00nar1n_12_33", "-00nar1n_12_33"),
        ("-00nar1n_12", None),
        ("poster", None),
    ],
)
def test_padded_and_plain_seconds_have_one_key(stem, key):
    assert clip_key(stem) == key


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("\ufeff-3Mwkq-7TV4_2,10,23\r\n", "ogm_ge"),
        ("label,youtube_id,time_start,time_end,split\nbowling,-3Mwkq-7TV4,2,12,train\n", "kinetics400"),
        ('"label","youtube_id","time_start","time_end","split","is_cc"\n', "kinetics400"),
        ("-3Mwkq-7TV4_000002_000012 300 23\n", "balance_benchmark"),
        ("-3Mwkq-7TV4_000002_000012.mp4 23\n", "balance_benchmark"),
        ("a table of something else,1\n", None),
        ("clip,label,split\n", None),
        ("", None),
    ],
)
def test_the_form_is_told_by_the_first_line(tmp_path, text, form):
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8")
    assert form_of(path) == form


# ---- numbered lists --------------------------------------------------------------------------------------------------


def test_padded_and_plain_lists_find_padded_and_plain_files(tmp_path):
    ogm_ge(tmp_path)
    found = {
        "--4-0ihtnBU_000058": clip(tmp_path, "train/dribbling basketball/--4-0ihtnBU_000058_000068.mp4"),
        "-00nar1n_12_000033": clip(tmp_path, "flat/-00nar1n_12_33.mp4"),
        "-3Mwkq-7TV4_000002": clip(tmp_path, "val/singing/-3Mwkq-7TV4_000002_000012.mp4"),
        "-W0NQfZwNgE_000139": clip(tmp_path, "flat/-W0NQfZwNgE_139_149.mp4"),
    }
    clip(tmp_path, "flat/leakingvid0_000008_000018.mp4")  # another part of that video
    layout = read(tmp_path)
    assert [row.id for row in layout.rows] == [f"{name}_{start:06d}" for name, start, _ in TRAIN + TEST]
    assert {row.id: row.files["clip"] for row in layout.rows if row.id in found} == found
    assert layout.absent == {"clip": ("abcdefghij__000000", "leakingvid0_000007", "leakingvid0_000040")}
    assert of(layout, "abcdefghij__000000").files["clip"] == tmp_path / "abcdefghij__000000_000010.mp4"
    assert any("1 media files are in no list" in note and "leakingvid0_8" in note for note in layout.notes)


def test_numbers_are_the_31_classes_in_order(tmp_path):
    ogm_ge(tmp_path)
    layout = read(tmp_path)
    assert [row.labels[0] for row in layout.rows] == [CLASSES_31[label] for _, _, label in TRAIN + TEST]
    assert layout.rows[0].labels == ("dribbling basketball",)
    assert layout.published_counts == {"published": {"train": 14_799, "test": 2597}}
    assert layout.facts["num_classes"] == 31
    assert layout.notes[0].startswith("31 classes.")
    assert layout.class_order == "alphabetical"
    assert any("take" in note and "in order" in note for note in layout.notes)


def test_a_video_in_both_lists_is_taken_out_of_the_honest_train(tmp_path):
    ogm_ge(tmp_path)
    layout = read(tmp_path)
    assert Counter(row.splits["published"] for row in layout.rows) == {"train": 4, "test": 3}
    assert of(layout, "leakingvid0_000007").splits == {"published": "train", "honest": None}
    assert of(layout, "leakingvid0_000040").splits == {"published": "test", "honest": "test"}
    assert any(note.startswith("1 videos are in more than one published split") for note in layout.notes)
    assert any(note.startswith("No validation is published") for note in layout.notes)


def test_labels_are_compared_with_folders_named_by_class(tmp_path):
    ogm_ge(tmp_path)
    clip(tmp_path, "tickling/abcdefghij__000000_000010.mp4")
    clip(tmp_path, "clips/-3Mwkq-7TV4_000002_000012.mp4")  # no class is called so
    assert not any("another class" in note for note in read(tmp_path).notes)
    clip(tmp_path, "Playing_Drums/--4-0ihtnBU_000058_000068.mp4")
    note = next(note for note in read(tmp_path).notes if "another class" in note)
    assert note.startswith("1 of 2 clips")
    assert "'dribbling basketball'" in note
    assert "'playing drums'" in note


def test_a_list_of_fields_with_spaces_between(tmp_path):
    (tmp_path / "train.csv").write_text("-3Mwkq-7TV4_000002_000012 300 3\n-W0NQfZwNgE_139.mp4 12 0", encoding="utf-8")
    (tmp_path / "val.csv").write_text("abcdefghij__0 300 1\n", encoding="utf-8")
    (tmp_path / "test.csv").write_text("--4-0ihtnBU_58 300 2\n", encoding="utf-8")
    layout = read(tmp_path, classes="d, c, b, a")
    assert {row.id: (row.labels[0], row.splits["published"]) for row in layout.rows} == {
        "-3Mwkq-7TV4_000002": ("a", "train"),
        "-W0NQfZwNgE_000139": ("d", "train"),
        "abcdefghij__000000": ("c", "val"),
        "--4-0ihtnBU_000058": ("b", "test"),
    }
    assert (layout.classes, layout.published_counts) == (("d", "c", "b", "a"), {})
    assert "as given" in layout.class_order


def test_numbers_that_the_classes_do_not_explain_are_refused(tmp_path):
    ogm_ge(tmp_path)
    with pytest.raises(ValueError, match=r"class number 4, but there are 2"):
        read(tmp_path, classes="bowling, tickling")
    with pytest.raises(ValueError, match=r"'34' is refused.*number the 31"):
        read(tmp_path, classes="34")
    (tmp_path / "my_test.txt").write_text("-3Mwkq-7TV4_2,10,23\nnoclip,10,3\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"my_test\.txt.*'noclip'"):
        read(tmp_path)


# ---- Kinetics' own csv -----------------------------------------------------------------------------------------------


def kinetics(folder: Path, **splits: list[tuple[str, str, int]]) -> None:
    for split, rows in splits.items():
        lines = ["label,youtube_id,time_start,time_end,split"]
        lines += [f'"{label}",{name},{start},{start + 9},{split}' for label, name, start in rows]
        folder.mkdir(exist_ok=True)
        (folder / f"{split}.csv").write_bytes(("\r\n".join(lines)).encode("utf-8-sig"))


ROWS = {
    "train": [("bowling", "-3Mwkq-7TV4", 2), ("abseiling", "-W0NQfZwNgE", 139), ("tickling", "abcdefghij_", 0)],
    "validate": [("tickling", "--4-0ihtnBU", 58), ("bowling", "-00nar1n_12", 33)],
}


def test_kinetics_rows_of_other_classes_are_not_rows(tmp_path):
    kinetics(tmp_path, **ROWS, test=[("bowling", "leakingvid0", 3)])
    layout = read(tmp_path)
    assert {row.id: row.labels[0] for row in layout.rows} == {
        "-3Mwkq-7TV4_000002": "bowling",
        "abcdefghij__000000": "tickling",
        "--4-0ihtnBU_000058": "tickling",
        "-00nar1n_12_000033": "bowling",
        "leakingvid0_000003": "bowling",
    }
    assert [row.splits["published"] for row in layout.rows] == ["train", "train", "val", "val", "test"]
    assert of(layout, "-3Mwkq-7TV4_000002").files["clip"] == tmp_path / "-3Mwkq-7TV4_000002_000011.mp4"
    assert layout.facts["form"] == "kinetics400"
    assert read(tmp_path, classes="34").classes == CLASSES_34


def test_validation_is_the_test_where_kinetics_has_no_test(tmp_path):
    kinetics(tmp_path / "annotations", **ROWS)
    layout = read(tmp_path)
    assert Counter(row.splits["honest"] for row in layout.rows) == {"train": 2, "test": 2}
    assert "The lists have no test; their validation is the test." in layout.notes
    assert any(note.startswith("29 classes have no clip") for note in layout.notes)


def test_numbered_lists_come_first_and_the_form_can_be_named(tmp_path):
    ogm_ge(tmp_path)
    kinetics(tmp_path / "k400", **ROWS)
    automatic = read(tmp_path)
    assert automatic.facts["form"] == "ogm_ge"
    assert any("kinetics400 are there too" in note for note in automatic.notes)
    assert read(tmp_path, form="kinetics400").facts["form"] == "kinetics400"
    lists = read(tmp_path, annotations=tmp_path / "k400")
    assert (lists.facts["form"], len(lists.rows)) == ("kinetics400", 4)
    one = read(tmp_path, annotations=tmp_path / "k400" / "train.csv")
    assert len(one.rows) == 2


def test_rows_that_do_not_fit_the_header_are_refused(tmp_path):
    (tmp_path / "train.csv").write_text(
        "label,youtube_id,time_start,time_end,split\nbowling,-3Mwkq-7TV4,two,12,train\n", encoding="utf-8"
    )
    with pytest.raises(ValueError, match=r"train\.csv.*'two'"):
        read(tmp_path)


# ---- folders ---------------------------------------------------------------------------------------------------------


def many(root: Path, below: str = "") -> None:
    for label in ("bowling", "Playing_Drums", "abseiling"):
        for number in range(13):
            clip(root, f"{below}{label}/{label[:4]}{number:07d}_000001_000011.mp4")
    clip(root, f"{below}bowling/bowl{3:07d}_000020_000030.mp4")


def test_without_lists_the_folders_name_the_classes_and_test_is_drawn_by_video(tmp_path):
    many(tmp_path)
    layout = read(tmp_path)
    assert Counter(row.labels[0] for row in layout.rows) == {"bowling": 14, "playing drums": 13}
    assert {name for row in layout.rows for name in row.splits} == {"honest"}
    splits = {row.id: row.splits["honest"] for row in layout.rows}
    videos = {}
    for row in layout.rows:
        videos.setdefault(row.group, set()).add(row.splits["honest"])
    assert all(len(found) == 1 for found in videos.values()), "two clips of one video are in one split"
    tests = Counter(row.group[:4] for row in layout.rows if row.splits["honest"] == "test")
    assert tests["Play"] == 2
    assert tests["bowl"] in (2, 3)
    assert {row.id: row.splits["honest"] for row in read(tmp_path, seed=1).rows} != splits
    assert {row.id: row.splits["honest"] for row in read(tmp_path).rows} == splits
    assert sum(row.splits["honest"] == "test" for row in read(tmp_path, test_fraction=0.5).rows) >= 12
    assert any("drawn by video with seed 0" in note for note in layout.notes)
    assert layout.published_counts == {}


def test_folders_named_by_split_are_the_published_splitting(tmp_path):
    clip(tmp_path, "Train/bowling/-3Mwkq-7TV4_000002_000012.mp4")
    clip(tmp_path, "validation/bowling/-W0NQfZwNgE_000139_000149.mp4")
    clip(tmp_path, "test/tickling/abcdefghij__000000_000010.webm")
    layout = read(tmp_path)
    assert {row.group: row.splits["published"] for row in layout.rows} == {
        "-3Mwkq-7TV4": "train",
        "-W0NQfZwNgE": "val",
        "abcdefghij_": "test",
    }


def test_what_is_not_there_is_said(tmp_path):
    clip(tmp_path, "abseiling/-3Mwkq-7TV4_000002_000012.mp4")
    with pytest.raises(FileNotFoundError, match=r"no lists of Kinetics-Sounds: looked for my_train\.txt"):
        read(tmp_path)
    kinetics(tmp_path, train=[("abseiling", "-3Mwkq-7TV4", 2)])
    with pytest.raises(ValueError, match="name no clip of the classes"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match="of the form ogm_ge"):
        read(tmp_path, form="ogm_ge")
    with pytest.raises(ValueError, match=r"form = 'csv'.*balance_benchmark"):
        read(tmp_path, form="csv")
    with pytest.raises(ValueError, match="test_fraction = 1"):
        read(tmp_path, test_fraction=1.0)
