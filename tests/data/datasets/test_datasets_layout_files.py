"""Text with any line ends, folders with any case."""

from pathlib import Path

import pytest
from layout_fixtures import write

from awase.data.datasets.layout_files import (
    check_choice,
    entries,
    find,
    listing,
    need,
    one_line,
    read_cells,
    read_json,
    read_lines,
    some,
)


@pytest.mark.parametrize(("bom", "crlf"), [(False, False), (True, True)])
def test_marks_and_line_ends_are_no_content(tmp_path: Path, bom: bool, crlf: bool) -> None:
    path = write(tmp_path / "a.csv", 'a,"b, ""c""\nd",é\n\n 1 ,2,3', bom=bom, crlf=crlf)
    breaks = "\r\n" if crlf else "\n"
    assert read_cells(path) == [["a", f'b, "c"{breaks}d', "é"], [" 1 ", "2", "3"]]
    assert read_lines(write(tmp_path / "l.txt", "x \n\n y", bom=bom, crlf=crlf)) == ["x", "y"]
    assert read_json(write(tmp_path / "d.json", '{"a":\n1}', bom=bom, crlf=crlf)) == {"a": 1}


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("é".encode("latin-1"))
    with pytest.raises(ValueError, match="latin is not UTF-8"):
        read_lines(tmp_path / "latin")
    with pytest.raises(ValueError, match=r"bad.json is not JSON"):
        read_json(write(tmp_path / "bad.json", "{"))


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


def test_choices_are_checked_and_lists_are_short() -> None:
    check_choice("form", "a", ("a", "b"))
    with pytest.raises(ValueError, match=r"form = 'c' is refused; use one of a, b"):
        check_choice("form", "c", ("a", "b"))
    assert some(["a", "b", "c"], 2) == "a, b and 1 more"
    assert some(["a", "b"], 2) == "a, b"
    assert one_line(" a\r\n  b\t") == "a b"
