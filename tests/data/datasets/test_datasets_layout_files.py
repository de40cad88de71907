"""Documents with a byte order mark, folders with any case."""

from pathlib import Path

import pytest
from layout_fixtures import write

from awase.data.datasets.layout_files import entries, find, listing, need, one_line, read_json


@pytest.mark.parametrize(("bom", "crlf"), [(False, False), (True, True)])
def test_a_byte_order_mark_is_no_content(tmp_path: Path, bom: bool, crlf: bool) -> None:
    assert read_json(write(tmp_path / "d.json", '{"a":\n"é"}\n', bom=bom, crlf=crlf)) == {"a": "é"}


def test_documents_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes('"é"'.encode("latin-1"))
    for path in (tmp_path / "latin.json", write(tmp_path / "bad.json", "{")):
        with pytest.raises(ValueError, match=rf"{path.name} is not JSON in UTF-8"):
            read_json(path)


def test_space_becomes_one_space() -> None:
    assert one_line(" a\r\n  b\t") == "a b"


def test_names_are_found_whatever_their_case_and_sorted(tmp_path: Path) -> None:
    for name in ("b/Inner", "B2", "a", ".hidden"):
        write(tmp_path / "Top" / name, "")
    top = tmp_path / "Top"
    assert find(tmp_path, ["nosuch", "top/B/inner"]) == top / "b" / "Inner"
    assert find(tmp_path, ["."]) == tmp_path
    assert find(tmp_path, ["top/a/b"]) is None
    assert [path.name for path in listing(top)] == ["B2", "a", "b"]
    assert [path.name for path in listing(top, folders=True)] == ["b"]
    assert [path.name for path in listing(top, folders=False)] == ["B2", "a"]
    assert list(entries(top)) == ["b2", "a", "b"]
    assert entries(tmp_path / "nosuch") == {}
    with pytest.raises(FileNotFoundError, match=r"has no lists: looked for x, y/z\."):
        need(tmp_path, ["x", "y/z"], "lists")
