"""Tables are read the same from every format, and broken ones are refused in words."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from awase.data.table import read_split_tables, read_table

CELLS = {"id": ["a", "b", "c"], "text": ["one, two", 'say "hi"', None], "label": ["x", "ünï", "x"]}
CSV = 'id,text,label\na,"one, two",x\nb,"say ""hi""",ünï\nc,,x\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", CSV.encode()),
        ("bom.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("crlf.csv", CSV.replace("\n", "\r\n").encode()),
        ("no_last_line_end.csv", CSV.rstrip("\n").encode()),
        ("blank_lines.csv", (CSV.replace("\nb", "\n\nb") + "\n\n").encode()),
        ("spaces.csv", CSV.replace("c,,x", "c,  ,x").encode()),
        ("semicolons.csv", 'id;text;label\na;one, two;x\nb;"say ""hi""";ünï\nc;;x\n'.encode()),
        ("tabs.tsv", 'id\ttext\tlabel\na\tone, two\tx\nb\t"say ""hi"""\tünï\nc\t\tx\n'.encode()),
    ],
)
def test_separated_text_in_every_dress_gives_the_same_cells(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    table = read_table(tmp_path / name)
    assert table.columns == CELLS
    assert len(table) == 3
    assert table.folders == (tmp_path,) * 3


def test_json_lines_and_parquet_give_the_same_cells(tmp_path: Path) -> None:
    rows = [dict(zip(CELLS, cells, strict=True)) for cells in zip(*CELLS.values(), strict=True)]
    lines = [json.dumps({name: cell for name, cell in row.items() if cell is not None}) for row in rows]
    (tmp_path / "t.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    pyarrow.parquet.write_table(pyarrow.table(CELLS), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.jsonl").columns == CELLS
    assert read_table(tmp_path / "t.parquet").columns == CELLS


def test_a_quoted_cell_may_hold_line_breaks(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b'id,text\r\na,"two\r\nlines"\r\n')
    assert read_table(tmp_path / "t.csv").columns["text"] == ["two\r\nlines"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "no rows"),
        ("t.csv", b"id,label\n", "no rows"),
        ("t.csv", b"id,label\na,x,y\n", "Row 1 .* 3 cells but the header has 2"),
        ("t.csv", b"id,id\na,b\n", "two columns named 'id'"),
        ("t.csv", b'id,label\na,"x"y\n', "not a table of quoted"),
        ("t.csv", b"id,label\na,\xff\n", "not UTF-8"),
        ("t.xlsx", b"PK", "ending '.xlsx'; use one of .csv, .tsv, .jsonl, .parquet"),
        ("t.jsonl", b'{"id": 1}\n{"id": \n', "Line 2 .* is not JSON"),
        ("t.jsonl", b"[1]\n", "Line 1 .* not a JSON object"),
        ("t.parquet", b"nonsense", "not a Parquet file"),
    ],
)
def test_broken_tables_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / name)


def test_a_missing_manifest_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"--set data.manifest=FILE"):
        read_table(tmp_path / "none.csv")


def test_a_missing_column_lists_the_existing_ones(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(CSV, encoding="utf-8")
    with pytest.raises(ValueError, match=r"no column 'clip', .* as the clip; it has 'id', 'text', 'label'"):
        read_table(tmp_path / "t.csv").column("clip", "the clip")


def test_split_files_keep_their_own_folders_and_may_lack_columns(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "a.csv").write_text("id,label\n1,x\n2,y\n")
    (tmp_path / "far" / "b.csv").write_text("id,text\n3,hello\n")
    table = read_split_tables({"train": tmp_path / "a.csv", "test": tmp_path / "far" / "b.csv"})
    assert table.columns == {"id": ["1", "2", "3"], "label": ["x", "y", None], "text": [None, None, "hello"]}
    assert table.folders == (tmp_path, tmp_path, tmp_path / "far")
    assert table.origins == ("train", "train", "test")
