"""Label files as they come: byte order marks, line ends, case, files that are empty or only pointers."""

import pytest

from awase.data.datasets.official_files import (
    MediaFiles,
    check_choice,
    files_below,
    first_line,
    locate,
    named,
    read_cells,
    read_lines,
    some,
    unique_ids,
    unusable,
)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("last", ["", "end"])
def test_lines_are_the_same_whatever_their_ends(tmp_path, ends, mark, last):
    text = ends.join(["Café&a", "", "  b&c  "]) + (ends if last else "")
    path = tmp_path / "list.txt"
    path.write_bytes(mark + text.encode())
    assert read_lines(path) == ["Café&a", "b&c"]
    assert first_line(path) == "Café&a"


def test_cells_may_be_quoted(tmp_path):
    path = tmp_path / "list.csv"
    path.write_bytes(b'\xef\xbb\xbf"a, b", 1 \r\n\r\n,\r\nc,2')
    assert read_cells(path) == [["a, b", "1"], ["c", "2"]]


def test_other_bytes_are_refused_by_name(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes("Café".encode("latin-1"))
    with pytest.raises(ValueError, match=r"list\.txt is not UTF-8"):
        read_lines(path)
    assert first_line(path).startswith("Caf")


def test_an_empty_file_has_no_lines(tmp_path):
    path = tmp_path / "empty.txt"
    path.write_bytes(b"\xef\xbb\xbf\r\n")
    assert (read_lines(path), read_cells(path), first_line(path)) == ([], [], "")


def test_files_are_listed_in_one_order_without_hidden_ones_and_loops(tmp_path):
    for name in ("b/z.txt", "b/a.txt", "a/c/d.txt", "top.txt", ".hidden/x.txt", "a/._d.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "linked.txt").write_bytes(b"1")
    (tmp_path / "elsewhere").symlink_to(outside)
    found = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path)]
    assert found == ["top.txt", "b/a.txt", "b/z.txt", "elsewhere/linked.txt", "a/c/d.txt"]
    with pytest.raises(FileNotFoundError, match="no folder"):
        files_below(tmp_path / "nosuch")


def test_the_least_deep_file_of_a_name_is_taken_in_any_case(tmp_path):
    (tmp_path / "copy").mkdir()
    for name in ("copy/trainset.txt", "TRAINSET.TXT"):
        (tmp_path / name).write_bytes(b"1")
    assert named(files_below(tmp_path), "trainSet.txt") == tmp_path / "TRAINSET.TXT"
    assert named(files_below(tmp_path), "valSet.txt") is None


def test_media_are_found_by_stem_exactly_and_then_in_any_case(tmp_path):
    for name in ("AbC.mp4", "abc.mp4", "Xyz.MP4", "both.flv", "both.mp4", "u/same.mp4", "v/same.mp4", "no.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"1")
    media = MediaFiles(files_below(tmp_path), (".flv", ".mp4"))
    assert media.find("AbC") == tmp_path / "AbC.mp4"
    assert media.find("abc") == tmp_path / "abc.mp4"
    assert media.find("ABC") is None, "two files have that name, and the wrong one must not be taken"
    assert media.find("xYZ") == tmp_path / "Xyz.MP4"
    assert media.find("both") == tmp_path / "both.flv"
    assert media.find("same") == tmp_path / "u" / "same.mp4"
    assert media.find("no") is None
    assert (media.doubled, len(media)) == (("same",), 5)
    assert media.notes(["AbC", "abc", "XYZ", "same"]) == (
        "1 media files lie there more than once; the first by path was taken.",
        "1 media files are in no list and were left out: both.",
    )
    assert MediaFiles([], (".mp4",)).notes(["a"]) == ()


def test_empty_files_and_pointers_count_as_absent(tmp_path):
    contents = {"good": b"1" * 7, "none": b"", "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"}
    for name, content in contents.items():
        (tmp_path / f"{name}.wav").write_bytes(content)
    large = tmp_path / "large.wav"
    large.write_bytes(contents["pointer"] + b"\0" * 1024)
    assert unusable(large) is None
    media = MediaFiles(files_below(tmp_path), (".wav",))
    rows = {"r1": "good", "r2": "none", "r3": "pointer", "r4": "gone", "r5": "gone"}
    found = locate(rows, media, lambda key: tmp_path / "AudioWAV" / f"{key}.wav")
    assert found.paths["r1"] == tmp_path / "good.wav"
    assert found.paths["r4"] == tmp_path / "AudioWAV" / "gone.wav"
    assert list(found.absent) == ["r2", "r3", "r4", "r5"]
    (note,) = found.notes("audio")
    assert "4 of 5 rows" in note
    assert "not there: 2, empty: 1, a git-lfs pointer; run `git lfs pull`: 1" in note
    assert locate({"r1": "good"}, media, lambda key: tmp_path).notes("audio") == ()


def test_ids_become_unique_and_keep_their_order():
    assert unique_ids(["a", "b", "a", "a"]) == ("a", "b", "a_2", "a_3")
    assert unique_ids(["a", "a", "a_2"]) == ("a", "a_3", "a_2")
    assert unique_ids(["a_2", "a", "a", "a_2"]) == ("a_2", "a", "a_3", "a_2_2")


def test_long_lists_are_cut_and_choices_are_checked():
    assert some(["a", "b", "c"], 2) == "a, b and 1 more"
    assert some(["a", "b"], 2) == "a, b"
    check_choice("part", "video", ("video", "event"))
    with pytest.raises(ValueError, match=r"part = 'sound'.*video, event"):
        check_choice("part", "sound", ("video", "event"))
