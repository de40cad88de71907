"""Captions: forms, order, what is dropped, and pickles that may not run anything."""

import base64
import json
import os
import pickle
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from awase.data.features.captions import caption_source, checked_captions
from awase.data.features.pickles import read_pickle

COLUMNS = {"start": [4.68, 0.0, 3.0], "end": [6.0, 3.5, 4.68], "text": ["c", "a", None]}


def test_order_and_counts():
    found = checked_captions(COLUMNS)
    assert found.start_ms.tolist() == [0, 3000, 4680]
    assert found.end_ms.tolist() == [3500, 4680, 6000]
    assert found.texts == ("a", "", "c")
    assert (found.overlapping, found.moved, found.dropped) == (1, 3, 0)


def test_unusable_times_are_dropped():
    start, end = [0.0, float("nan"), -1.0, 5.0, 7.0], [1.0, 2.0, 3.0, 4.0, float("inf")]
    found = checked_captions({"start": start, "end": end, "text": list("abcde")})
    assert (found.texts, found.dropped) == (("a",), 4)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"start": [0], "end": [1]}, "no text"),
        ({"start": [0], "end": [1, 2], "text": ["a"]}, "differ in length"),
        ({"start": ["x"], "end": [1], "text": ["a"]}, "not numbers"),
    ],
)
def test_broken_columns(columns: dict, words: str):
    with pytest.raises(ValueError, match=words):
        checked_captions(columns)


def test_the_three_forms_agree(tmp_path: Path):
    (tmp_path / "c.json").write_text(json.dumps({"v": COLUMNS}), encoding="utf-8")
    (tmp_path / "c.pickle").write_bytes(pickle.dumps({"v": COLUMNS | {"start": np.array(COLUMNS["start"])}}))
    (tmp_path / "folder").mkdir()
    rows = "start,end,text\n4.68,6.0,c\n0.0,3.5,a\n3.0,4.68,\n"
    (tmp_path / "folder" / "v.csv").write_text("\ufeff" + rows.replace("\n", "\r\n"), encoding="utf-8")
    for name in ("c.json", "c.pickle", "folder"):
        source = caption_source(tmp_path / name, allow_pickle=True)
        found = source("v")
        assert found is not None
        assert (found.texts, found.start_ms.tolist()) == (("a", "", "c"), [0, 3000, 4680])
        assert source("w") is None


def test_pickles_need_permission(tmp_path: Path):
    (tmp_path / "c.pickle").write_bytes(pickle.dumps({}))
    with pytest.raises(ValueError, match="--allow-pickle"):
        caption_source(tmp_path / "c.pickle")


class Evil:
    def __reduce__(self) -> tuple:
        return os.system, ("touch evil",)


def test_a_pickle_cannot_run_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.pickle").write_bytes(pickle.dumps([Evil()]))
    with pytest.raises(ValueError, match="system"):
        read_pickle(tmp_path / "c.pickle", allow_pickle=True)
    assert not (tmp_path / "evil").exists()


def test_numbers_and_tensors_come_back(tmp_path: Path):
    content = [{"a": np.arange(3, dtype=np.float16), "t": torch.arange(6.0).half().reshape(2, 3)[:, 1:], "s": "é"},
               OrderedDict(o=np.array(["x", None], dtype=object), f=np.float32(2.5))]  # fmt: skip
    for protocol in (2, 4, 5):
        (tmp_path / "c.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
        found = read_pickle(tmp_path / "c.pkl", allow_pickle=True)
        assert np.array_equal(found[0]["a"], content[0]["a"])
        assert torch.equal(found[0]["t"], content[0]["t"])
        assert found[1]["o"].tolist() == ["x", None]


def test_a_pickle_that_is_cut_short(tmp_path: Path):
    (tmp_path / "c.pkl").write_bytes(pickle.dumps({"a": np.zeros(11)})[:-9])
    with pytest.raises(ValueError, match="cannot be read"):
        read_pickle(tmp_path / "c.pkl", allow_pickle=True)


PANDAS_TABLE = (
    "c-n1}&2H2%5XU#!1PUsGg7`dC95|Fqxb{%NiXsFAg6O@noW#3{>Nt_@(5^%!ICN>HxpjD#z7t0t0LETc>;gX6<77U5<N1G%zWoRX"
    "ejOtO9}zY>u1ao_qSYc9Yu*TiD=)a^FTH(^kH6qCZb8JFiALC5cCVEcT5)NThATc1+90eymu+$IZhoh5xbr)L$vQWGLJ+RAUUhYG"
    "AO*`^jCWRj(@hiR(>J}eHP@O?DJ|2YXqB<LFRb&7y(hwDO730GF&&)XZjj?w+{3LjNW(OoVYLBqX{ViQ1;X(*o}JGB4<XpWEX&^f"
    "q~*7CU@<@2eK=TIYoqzOKDyXE`TpVJ<_O6R*7Ck4JVlMfM%IP!08}$@>C@2d)wSwIb<1H@w--=>hk5|v`xTT=f1x~cDEsv80jD|T"
    "DCk~2qV&V%0yA_j_f}_8iX&l?oEw_tRi?xtd+ojvU$q1A!uB&QY0mgB<B%>-eD&B^t}Vh)s1hNv;>dawh?G-D*3Vp<PvQRm5Hwd4"
    "$FS$lrMlJIta_CWATqY?s1s)hG6J7XxQ*mSGb1HB!i6eXBP{pG`}FACTGAV-_!1jSKJn&VE@gXYSlM?p5^e>PJQpOkQ`3|9egUy;"
    "DTe"
)
"""`pickle.dumps({"v": DataFrame({"start": [0.0, 3.0], "end": [3.5, 4.68], "text": ["a", "b"]})}, 4)` by pandas 2.3.3,
compressed, in base 85."""


def test_a_pandas_table_needs_no_pandas(tmp_path: Path):
    (tmp_path / "c.pickle").write_bytes(zlib.decompress(base64.b85decode(PANDAS_TABLE)))
    found = caption_source(tmp_path / "c.pickle", allow_pickle=True)("v")
    assert found is not None
    assert (found.start_ms.tolist(), found.end_ms.tolist()) == ([0, 3000], [3500, 4680])
    assert found.texts == ("a", "b")
