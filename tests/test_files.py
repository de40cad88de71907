"""Files appear whole or not at all."""

import errno
from pathlib import Path

import pytest

from awase.files import whole_file, whole_folder, write_text


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"
    with whole_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_who_reads_the_old_file_reads_it_to_its_end(tmp_path):
    write_text(tmp_path / "x", "old")
    with (tmp_path / "x").open() as reader:
        write_text(tmp_path / "x", "new")
        assert reader.read() == "old"
    assert (tmp_path / "x").read_text() == "new"


def test_text_is_utf_8_whatever_its_script(tmp_path):
    write_text(tmp_path / "x", "合わせ\n")
    assert (tmp_path / "x").read_bytes() == "合わせ\n".encode()


@pytest.mark.parametrize("error", [ValueError("ours"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_after_an_error_the_old_file_stays(tmp_path, error):
    path = tmp_path / "x"
    write_text(path, "old")

    def interrupted() -> None:
        with whole_file(path) as temporary:
            temporary.write_text("new, but only ha")
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_a_sentence(tmp_path):
    path = tmp_path / "x"
    sentence = r"Could not write .*x \(No space left on device\); free space or choose another folder\."
    with pytest.raises(OSError, match=sentence) as caught, whole_file(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.errno == errno.ENOSPC
    assert not path.exists()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"Could not write .*file/x"):
        write_text(tmp_path / "file" / "x", "text")


def test_an_error_of_another_kind_keeps_its_words(tmp_path):
    with pytest.raises(OSError, match=r"^no number$"), whole_file(tmp_path / "x"):
        raise OSError("no number")


def test_nothing_written_is_nothing_there(tmp_path):
    with pytest.raises(OSError, match="Could not write"), whole_file(tmp_path / "x"):
        pass
    assert list(Path(tmp_path).iterdir()) == []


def test_a_folder_appears_whole(tmp_path):
    path = tmp_path / "new" / "folder"
    with whole_folder(path) as temporary:
        (temporary / "file").write_text("half")
        assert not path.exists()
    assert [file.name for file in path.iterdir()] == ["file"]
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(FileExistsError, match="There is already a"), whole_folder(path):
        pass
    assert (path / "file").read_text() == "half"


@pytest.mark.parametrize("error", [ValueError("ours"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_after_an_error_there_is_no_folder(tmp_path, error):
    def interrupted() -> None:
        with whole_folder(tmp_path / "x") as temporary:
            (temporary / "file").write_text("half")
            raise error

    with pytest.raises(type(error)) as caught:
        interrupted()
    assert list(tmp_path.iterdir()) == []
    if isinstance(error, OSError):
        assert "free space or choose another folder" in str(caught.value)
