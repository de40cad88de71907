from collections import Counter
from pathlib import Path

import pytest

from awase.data.datasets.recordings import Recording, find_recordings, speakers_of, split_recordings

SPEAKERS = ("ann", "bob", "cy", "dee")
ALL = [Recording(Path(f"{d}_{s}_{t}.wav"), d, s, t) for d in range(10) for s in SPEAKERS for t in range(13)]


def test_files_are_found_by_name_here_or_in_wav(tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    names = ["7_ann_12.wav", "wav/7_ann_2.wav", "0_bob_0.wav", "._0_bob_0.wav", "x_bob_0.wav", "12_bob_0.wav", "a.txt"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    found = [(r.path.name, r.digit, r.speaker, r.take) for r in find_recordings(tmp_path)]
    assert found == [("0_bob_0.wav", 0, "bob", 0), ("7_ann_2.wav", 7, "ann", 2), ("7_ann_12.wav", 7, "ann", 12)]


def test_a_folder_without_recordings_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(FileNotFoundError, match=f"{folder} holds no recordings"):
            find_recordings(folder)


def test_official_split_goes_by_takes() -> None:
    splits = split_recordings(ALL, None)
    assert {split: {r.take for r in part} for split, part in splits.items()} == {
        "train": {10, 11, 12},
        "val": {5, 6, 7, 8, 9},
        "test": {0, 1, 2, 3, 4},
    }
    assert Counter(r.speaker for r in splits["test"]) == dict.fromkeys(SPEAKERS, 50)


@pytest.mark.parametrize(("held_out", "following"), [("ann", "bob"), ("cy", "dee"), ("dee", "ann")])
def test_the_next_speaker_validates_for_the_one_held_out(held_out: str, following: str) -> None:
    splits = split_recordings(ALL, held_out)
    assert speakers_of(splits["test"]) == [held_out]
    assert speakers_of(splits["val"]) == [following]
    assert speakers_of(splits["train"]) == sorted(set(SPEAKERS) - {held_out, following})
    assert sum(map(len, splits.values())) == len(ALL)


def test_unknown_or_too_few_speakers_are_refused() -> None:
    with pytest.raises(KeyError, match="'eve'; the speakers are ann, bob, cy, dee"):
        split_recordings(ALL, "eve")
    with pytest.raises(ValueError, match="three or more; there are ann, bob"):
        split_recordings([r for r in ALL if r.speaker in ("ann", "bob")], "ann")


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    contents = {"a": b"one", "b": b"one", "c": b"two"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    a, b, c, none = (Recording(tmp_path / name, 0, name, 0).fingerprint() for name in "abcd")
    assert a == b
    assert a != c
    assert none == "missing"
