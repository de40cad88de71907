"""CREMA-D as its repository lays it out, with and without the lists of OGM-GE."""

from collections import Counter
from pathlib import Path

import pytest

from awase.data.datasets.cremad import ACTORS, CLASSES, clip_name, read

CLIPS = [
    f"{actor}_{take}" for actor in (1001, 1007, 1040, 1058, 1091) for take in ("DFA_ANG_XX", "IEO_HAP_LO", "TIE_NEU_XX")
]
TRAIN, TEST = CLIPS[0::3] + CLIPS[1::3][:4], CLIPS[2::3]


def write_media(root: Path, clips=CLIPS) -> None:
    for folder, ending in (("AudioWAV", "wav"), ("VideoFlash", "flv"), ("AudioMP3", "mp3")):
        (root / folder).mkdir(exist_ok=True)
        for clip in reversed(clips):
            (root / folder / f"{clip}.{ending}").write_bytes(b"1")


def write_lists(root: Path, train=TRAIN, test=TEST) -> None:
    """As OGM-GE has them: a byte order mark, CRLF, no header, no last line end."""
    for name, clips in (("train.csv", train), ("test.csv", test)):
        lines = "\r\n".join(f"{clip},{clip.split('_')[2]}" for clip in clips)
        (root / name).write_bytes(lines.encode("utf-8-sig"))
    (root / "stat.csv").write_bytes("\r\n".join(CLASSES).encode("utf-8-sig"))


def of(layout, clip):
    return next(row for row in layout.rows if row.id == clip)


def test_names_are_labels_and_actors(tmp_path):
    write_media(tmp_path)
    layout = read(tmp_path)
    assert [row.id for row in layout.rows] == sorted(CLIPS)
    row = of(layout, "1007_IEO_HAP_LO")
    assert (row.labels, row.group) == (("HAP",), "1007")
    assert row.files == {
        "audio": tmp_path / "AudioWAV" / "1007_IEO_HAP_LO.wav",
        "video": tmp_path / "VideoFlash" / "1007_IEO_HAP_LO.flv",
    }
    assert layout.classes == ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
    assert layout.absent == {"audio": (), "video": ()}
    assert "5 of 91 actors are there." in layout.notes


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("1001_DFA_ANG_XX", "1001_DFA_ANG_XX"),
        ("1001_dfa_ang_xx", "1001_DFA_ANG_XX"),
        ("1001_ITH_SAD_X", "1001_ITH_SAD_XX"),
        ("1001_IEO_SAD_HI", "1001_IEO_SAD_HI"),
        ("1000_DFA_ANG_XX", None),
        ("1092_DFA_ANG_XX", None),
        ("1001_DFA_JOY_XX", None),
        ("1001_ABC_ANG_XX", None),
        ("1001_DFA_ANG_XX_2", None),
    ],
)
def test_names_of_clips(stem, name):
    assert clip_name(stem) == name


def test_folds_are_by_actor_and_fold_0_is_the_test(tmp_path):
    write_media(tmp_path, [f"{actor}_DFA_ANG_XX" for actor in ACTORS])
    layout = read(tmp_path)
    assert sorted(Counter(row.fold for row in layout.rows).values()) == [18, 18, 18, 18, 19]
    assert {row.id for row in layout.rows if row.splits["honest"] == "test"} == {
        row.id for row in layout.rows if row.fold == 0
    }
    assert {row.splits["honest"] for row in layout.rows} == {"train", "test"}
    assert layout.default_splitting == "honest"
    assert {row.id: row.fold for row in read(tmp_path, seed=1).rows} != {row.id: row.fold for row in layout.rows}
    assert {row.fold for row in read(tmp_path, folds=7).rows} == set(range(7))
    for folds in (1, 92):
        with pytest.raises(ValueError, match="2 to 91"):
            read(tmp_path, folds=folds)
    # An actor's fold does not depend on who else is there.
    own = {row.group: row.fold for row in layout.rows}
    (tmp_path / "few").mkdir()
    write_media(tmp_path / "few")
    assert all(row.fold == own[row.group] for row in read(tmp_path / "few").rows)


def test_the_published_lists_share_their_actors_and_say_so(tmp_path):
    write_media(tmp_path)
    write_lists(tmp_path)
    layout = read(tmp_path)
    published = {row.id: row.splits["published"] for row in layout.rows}
    assert {clip for clip, split in published.items() if split == "train"} == set(TRAIN)
    assert {clip for clip, split in published.items() if split == "test"} == set(TEST)
    assert [clip for clip, split in published.items() if split is None] == ["1091_IEO_HAP_LO"]
    assert layout.published_counts == {"published": {"train": 6698, "test": 744}}
    assert any(note.startswith("5 of 5 actors are in both train and test") for note in layout.notes)
    assert any("1 clips are in neither list: 1091_IEO_HAP_LO" in note for note in layout.notes)


def test_without_both_lists_there_is_no_published_splitting(tmp_path):
    write_media(tmp_path)
    write_lists(tmp_path)
    (tmp_path / "test.csv").unlink()
    layout = read(tmp_path)
    assert {name for row in layout.rows for name in row.splits} == {"honest"}
    assert layout.published_counts == {}
    assert any("one alone makes no splitting" in note for note in layout.notes)


def test_lists_elsewhere_with_a_header_and_tables_of_something_else(tmp_path):
    root, lists = tmp_path / "CREMA-D", tmp_path / "lists"
    root.mkdir()
    lists.mkdir()
    write_media(root)
    (root / "train.csv").write_text("name,value\nx,1\n", encoding="utf-8")
    write_lists(lists)
    (lists / "train.csv").write_text("clip,label\n" + "\n".join(f"{clip},{clip[9:12]}" for clip in TRAIN))
    assert {name for row in read(root).rows for name in row.splits} == {"honest"}
    layout = read(root, annotations=lists)
    assert Counter(row.splits["published"] for row in layout.rows) == {"train": 9, "test": 5, None: 1}


def test_odd_lines_are_counted_or_refused(tmp_path):
    write_media(tmp_path)
    write_lists(tmp_path, train=[*TRAIN, TEST[0]])
    path = tmp_path / "train.csv"
    path.write_text(path.read_text(encoding="utf-8-sig").replace("1007_DFA_ANG_XX,ANG", "1007_DFA_ANG_XX,SAD"))
    layout = read(tmp_path)
    assert of(layout, "1007_DFA_ANG_XX").labels == ("ANG",)
    assert of(layout, TEST[0]).splits["published"] == "test"
    assert any("1 clips are listed with another emotion" in note for note in layout.notes)
    assert any("1 clips are in both lists" in note for note in layout.notes)
    path.write_text("1007_DFA_ANG_XX,JOY\n")
    with pytest.raises(ValueError, match=r"train\.csv.*1007_DFA_ANG_XX,JOY"):
        read(tmp_path)


def test_clips_that_only_the_official_list_knows_are_missing_rows(tmp_path):
    write_media(tmp_path)
    lines = ['"Stimulus_Number","Filename"', *(f'{n},"{clip}"' for n, clip in enumerate([*CLIPS, "1002_WSI_FEA_XX"]))]
    (tmp_path / "SentenceFilenames.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "AudioWAV" / "1001_DFA_ANG_XX.wav").unlink()
    pointer = tmp_path / "VideoFlash" / "1091_TIE_NEU_XX.flv"
    pointer.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n")
    layout = read(tmp_path)
    assert len(layout.rows) == len(CLIPS) + 1
    assert layout.absent == {
        "audio": ("1001_DFA_ANG_XX", "1002_WSI_FEA_XX"),
        "video": ("1002_WSI_FEA_XX", "1091_TIE_NEU_XX"),
    }
    assert of(layout, "1001_DFA_ANG_XX").files["audio"] == tmp_path / "AudioWAV" / "1001_DFA_ANG_XX.wav"
    assert any("git lfs pull" in note for note in layout.notes)
    assert "SentenceFilenames.csv names 16 clips of 7442." in layout.notes


def test_endings_are_not_mixed_and_other_names_are_left_out(tmp_path):
    (tmp_path / "clips").mkdir()
    for name in ("1001_DFA_ANG_XX.mp4", "1001_DFA_ANG_XX.MP3", "1040_ITH_SAD_X.WAV", "trailer.mp4"):
        (tmp_path / "clips" / name).write_bytes(b"1")
    layout = read(tmp_path)
    assert layout.facts["endings"] == {"audio": ".wav", "video": ".mp4"}
    assert of(layout, "1001_DFA_ANG_XX").files == {
        "audio": tmp_path / "AudioWAV" / "1001_DFA_ANG_XX.wav",
        "video": tmp_path / "clips" / "1001_DFA_ANG_XX.mp4",
    }
    assert layout.absent == {"audio": ("1001_DFA_ANG_XX",), "video": ("1040_ITH_SAD_XX",)}
    assert of(layout, "1040_ITH_SAD_XX").files["audio"].name == "1040_ITH_SAD_X.WAV"
    assert any("1 media files are not named like a clip and were left out: trailer.mp4." in n for n in layout.notes)
    (tmp_path / "clips" / "1040_ITH_SAD_X.WAV").unlink()
    assert read(tmp_path).facts["endings"]["audio"] == ".mp3"


def test_converted_films_count_where_the_official_ones_are_pointers(tmp_path):
    write_media(tmp_path)
    for clip in CLIPS:
        (tmp_path / "VideoFlash" / f"{clip}.flv").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "VideoFlash" / f"{CLIPS[0]}.mp4").write_bytes(b"1")
    layout = read(tmp_path)
    assert layout.facts["endings"]["video"] == ".mp4"
    assert len(layout.absent["video"]) == len(CLIPS) - 1


def test_a_folder_without_clips_is_refused(tmp_path):
    (tmp_path / "AudioWAV").mkdir()
    with pytest.raises(FileNotFoundError, match=r"not CREMA-D.*AudioWAV.*VideoFlash"):
        read(tmp_path)
