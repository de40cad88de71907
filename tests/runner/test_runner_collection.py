"""A table embedded into a folder, and what is found in it: the slow search stands here."""

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.calls import assert_refused, call
from safetensors.torch import load_file
from tiny_spaces import mcn_of, reading_rows, readings_data, small_encoders, space_experiment, train, write_rows

from awase import Collection, Space
from awase.runner import collection_embed, collection_nearest
from awase.runner.collection_embed import TableColumns, embed_table
from awase.runner.collection_files import read_header
from awase.runner.collection_nearest import nearest
from awase.runner.folder import RefusedError

GAPS = {"a": 5, "text": 7}
LOSSES = {"dot": "mms", "cosine": "info_nce"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("collections")


@pytest.fixture(scope="module")
def runs(place) -> dict[str, Path]:
    """Score -> folder of a run with it."""
    table = write_rows(place / "train.jsonl", reading_rows())
    methods = [mcn_of(label=score, loss=loss) for score, loss in LOSSES.items()]
    train(space_experiment(readings_data(table), *methods, encoders=small_encoders()), place / "out", place / "cache")
    return {score: place / "out" / score / "seed-0" for score in LOSSES}


@pytest.fixture(scope="module")
def spaces(place, runs) -> dict[str, Space]:
    return {score: Space.from_pretrained(run, device="cpu", cache=place / "cache") for score, run in runs.items()}


@pytest.fixture(scope="module")
def table(place) -> Path:
    """29 new rows with gaps; row 0 and the whole second shard of 7 have nothing at all."""
    rows = reading_rows(GAPS, {"new": 29})
    for number in (0, *range(7, 14)):
        rows[number] |= {"a": None, "b": None, "text": None}
    return write_rows(place / "new.jsonl", rows)


@pytest.fixture(scope="module")
def collections(place, runs, spaces, table) -> dict[str, Collection]:
    found = {}
    for score, space in spaces.items():
        folder = place / f"collection-{score}"
        embed_table(space, runs[score], table, folder, columns=TableColumns(start="start", end="end"), shard_rows=7)
        found[score] = Collection.open(folder)
        found[score].use(space)
    return found


def slow_scores(space: Space, table: Path, query: torch.Tensor, gallery: tuple[str, ...]) -> dict[str, float]:
    """id -> score of everything that can be compared, in float64, one item at a time."""
    embedded = space.embed(table)
    scores = {}
    for row, name in enumerate(embedded.ids):
        there = [m for m in gallery if embedded.present[m][row]]
        vectors = [embedded.embeddings[m][row].double() for m in there]
        if space.cosine and there:
            unit = query.double() / query.double().norm()
            scores[name] = float(sum(v / v.norm() for v in vectors) @ unit) / len(there)
        elif not space.cosine and len(there) == len(gallery):
            scores[name] = float(sum(vectors) @ query.double())
    return scores


@pytest.mark.parametrize("score", LOSSES)
@pytest.mark.parametrize("gallery", [("a",), ("b",), ("a", "b")])
def test_search_finds_what_the_slow_search_finds(score, gallery, collections, spaces, table):
    query = spaces[score].embed([{"text": "rain snow 3"}]).embeddings["text"][0]
    expected = slow_scores(spaces[score], table, query, gallery)
    assert len(set(expected.values())) == len(expected), "a tie would make the order a matter of luck"
    for k in (1, 5, 100):
        found = collections[score].search("rain snow 3", within=gallery, k=k, index="exact")
        order = sorted(expected, key=lambda name: -expected[name])
        assert [hit.item.id for hit in found.hits] == order[:k]
        assert [hit.score for hit in found.hits] == pytest.approx([expected[name] for name in order[:k]], rel=1e-5)
        assert (found.query, found.gallery, found.score) == ("text", gallery, score)
        assert (found.num_items, found.missing) == (29, 29 - len(expected))
    assert len(expected) < 29


def test_all_other_modalities_are_searched_in_where_none_is_named(collections):
    assert collections["dot"].search("rain").gallery == ("a", "b")
    assert collections["dot"].search("[1.0, 2.0, 3.0]", of="a").gallery == ("b", "text")


def test_items_carry_their_cells_and_times(collections, table):
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    for hit in collections["cosine"].search("rain", k=29).hits:
        row = rows[hit.row]
        assert (hit.item.id, hit.item.start_s, hit.item.end_s) == (row["id"], row["start"], row["end"])
        assert hit.item.cells == row


def test_shards_do_not_change_a_number(collections, spaces, table, runs, place):
    embed_table(spaces["dot"], runs["dot"], table, place / "whole", columns=TableColumns(start="start", end="end"))
    whole = Collection.open(place / "whole")
    whole.use(spaces["dot"])
    assert whole.header.num_shards == 1
    one, many = (c.search("snow", k=29, index="exact") for c in (whole, collections["dot"]))
    assert [hit.row for hit in one.hits] == [hit.row for hit in many.hits]
    assert [hit.score for hit in one.hits] == pytest.approx([hit.score for hit in many.hits], rel=1e-5)


# ---- resuming ----------------------------------------------------------------------------------------------------


def test_what_was_interrupted_goes_on_and_ends_with_the_same_files(spaces, runs, table, tmp_path, monkeypatch):
    def run(folder):
        return embed_table(spaces["dot"], runs["dot"], table, folder, shard_rows=7)

    run(tmp_path / "whole")
    write, written = collection_embed.write_shard, []

    def stopping(folder, shard, *rest):
        if shard == 3 and len(written) < 4:
            written.append(shard)
            raise KeyboardInterrupt
        written.append(shard)
        write(folder, shard, *rest)

    monkeypatch.setattr(collection_embed, "write_shard", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "half")
    with pytest.raises(ValueError, match=r"3 of 5 shards"):
        Collection.open(tmp_path / "half")
    run(tmp_path / "half")
    assert written == [0, 1, 2, 3, 3, 4]
    whole, half = (sorted((tmp_path / name / "shards").iterdir()) for name in ("whole", "half"))
    assert [path.name for path in whole] == [path.name for path in half]
    assert len(whole) == 10
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(whole, half, strict=True))
    before = {path: path.stat().st_mtime_ns for path in half}
    run(tmp_path / "half")
    assert before == {path: path.stat().st_mtime_ns for path in half}


def test_another_table_model_or_division_is_refused(spaces, runs, table, tmp_path):
    embed_table(spaces["dot"], runs["dot"], table, tmp_path / "c", shard_rows=7)
    other = write_rows(tmp_path / "other.jsonl", reading_rows({}, {"new": 29}))
    cases = [
        ("table_digest", spaces["dot"], runs["dot"], other, 7),
        ("weights", spaces["cosine"], runs["cosine"], table, 7),
        ("shard_rows", spaces["dot"], runs["dot"], table, 8),
    ]
    for word, space, run, file, rows in cases:
        with pytest.raises(RefusedError, match=word):
            embed_table(space, run, file, tmp_path / "c", shard_rows=rows)


def test_a_collection_is_searched_with_its_own_model_alone(collections, spaces, runs, place):
    with pytest.raises(ValueError, match="another model"):
        collections["dot"].use(spaces["cosine"])
    again = Collection.open(place / "collection-dot")
    with pytest.raises(ValueError, match="--run"):
        again.space(runs["cosine"], device="cpu", cache=place / "cache")
    assert again.space(device="cpu", cache=place / "cache").modalities == ("a", "b", "text")


def test_folders_without_a_collection(tmp_path, place):
    with pytest.raises(FileNotFoundError, match="awase embed"):
        Collection.open(tmp_path)
    header = json.loads((place / "collection-dot" / "collection.json").read_text())
    (tmp_path / "collection.json").write_text(json.dumps({**header, "format_version": 2}))
    with pytest.raises(ValueError, match="format version 2; this awase reads 1"):
        Collection.open(tmp_path)
    (tmp_path / "collection.json").write_text("[]")
    with pytest.raises(ValueError, match="damaged"):
        read_header(tmp_path)


def test_embeddings_are_float32_and_absent_ones_are_marked(collections, spaces, table):
    tensors = load_file(collections["dot"].folder / "shards" / "000001.safetensors")
    assert not any(tensors[f"present|{name}"].any() for name in ("a", "b", "text"))
    first = load_file(collections["dot"].folder / "shards" / "000000.safetensors")
    assert {value.dtype for name, value in first.items() if name.startswith("embedding")} == {torch.float32}
    assert first["present|a"].tolist() == [number % 5 != 0 for number in range(7)]
    embedded = spaces["dot"].embed(table)
    torch.testing.assert_close(first["embedding|a"][1:5], embedded.embeddings["a"][:4])


# ---- queries -----------------------------------------------------------------------------------------------------


def test_queries_that_cannot_be_meant(collections):
    collection = collections["dot"]
    cases = [
        ({"query": "rain", "of": "smell"}, "smell is no choice .* a, b, text"),
        ({"query": "rain", "within": ["smell"]}, "smell is no choice"),
        ({"query": "rain", "within": ["a", "a"]}, "each once"),
        ({"query": "[1.0, 2.0]", "of": "a"}, "cannot be read as a"),
        ({"query": " ", "of": "text"}, "cannot be read as text"),
        ({"query": "rain", "k": 0}, "1 or more"),
        ({"query": "rain", "index": "tree"}, "auto, exact, faiss"),
    ]
    for arguments, words in cases:
        with pytest.raises(ValueError, match=words):
            collection.search(**arguments)
    with pytest.raises(FileNotFoundError, match=r"nosuch\.npy"):
        collection.search("nosuch.npy", of="a")


def test_a_file_is_a_query_of_the_modality_named(collections, tmp_path):
    np.save(tmp_path / "q.npy", np.array([1, 2, 3], dtype=np.float32))
    with pytest.raises(ValueError, match=r"could be of a, b .* --from"):
        collections["dot"].search(tmp_path / "q.npy")
    by_file = collections["dot"].search(tmp_path / "q.npy", of="a", k=3)
    assert by_file == collections["dot"].search("[1.0, 2.0, 3.0]", of="a", k=3)


def test_equal_scores_are_in_the_order_of_the_table_over_shards():
    shards = [(torch.ones(3, 2), torch.tensor([True, False, True])), (torch.ones(2, 2), torch.ones(2).bool())]
    rows, scores, compared = nearest(torch.ones(2), shards, 9, index="exact")
    assert (rows.tolist(), scores.tolist(), compared) == ([0, 2, 3, 4], [2.0] * 4, 4)
    rows, scores, compared = nearest(torch.ones(2), [(torch.ones(3, 2), torch.zeros(3).bool())], 2, index="exact")
    assert (rows.tolist(), scores.tolist(), compared) == ([], [], 0)
    with pytest.raises(ValueError, match="NaN"):
        nearest(torch.ones(2), [(torch.full((3, 2), torch.nan), torch.ones(3).bool())], 2, index="exact")


class FlatInnerProduct:
    """What the tests need of faiss.IndexFlatIP."""

    def __init__(self, dim: int) -> None:
        self.vectors = np.empty((0, dim), dtype=np.float32)

    def add(self, vectors: np.ndarray) -> None:
        assert vectors.dtype == np.float32
        assert vectors.flags["C_CONTIGUOUS"]
        self.vectors = np.concatenate([self.vectors, vectors])

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores = queries @ self.vectors.T
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, order, axis=1), order


def check_faiss(collections) -> None:
    for collection in collections.values():
        for k in (3, 29):
            exact, faiss, auto = (collection.search("rain", k=k, index=name) for name in ("exact", "faiss", "auto"))
            assert [hit.row for hit in faiss.hits] == [hit.row for hit in exact.hits]
            assert [hit.score for hit in faiss.hits] == pytest.approx([hit.score for hit in exact.hits], rel=1e-5)
            assert (faiss.missing, auto) == (exact.missing, faiss)


def test_faiss_finds_the_same(collections):
    pytest.importorskip("faiss", reason="FAISS is optional: search is exact without it")
    check_faiss(collections)


def test_what_stands_in_for_faiss_finds_the_same(collections, monkeypatch):
    module = types.ModuleType("faiss")
    module.IndexFlatIP = FlatInnerProduct
    monkeypatch.setitem(sys.modules, "faiss", module)
    monkeypatch.setattr(collection_nearest, "find_spec", lambda name: name == "faiss")
    check_faiss(collections)


def test_faiss_that_is_not_there_is_said(collections, monkeypatch):
    monkeypatch.setattr(collection_nearest, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install faiss-cpu"):
        collections["dot"].search("rain", index="faiss")
    assert collections["dot"].search("rain", index="auto").hits


# ---- the command line --------------------------------------------------------------------------------------------


def test_embed_and_search_on_the_command_line(runs, table, place, tmp_path):
    cache = ("--device", "cpu", "--cache", place / "cache")
    out = tmp_path / "c"
    times = ("--start-column", "start", "--end-column", "end")
    made = call("embed", runs["dot"], table, "--out", out, "--shard-rows", 11, *times, *cache)
    assert (made.code, made.out) == (0, f"29 items: {out}\n")
    assert "22 of 29 rows" in made.err
    found = call("search", "rain snow", out, "--in", "b", "-k", 3, *cache)
    assert found.code == 0, found.err
    lines = found.out.splitlines()
    assert len(lines) == 5
    assert " r" in lines[0]
    assert lines[0].endswith(" s")
    assert lines[-2] == "dot product of text with b; 21 of 29 items compared"
    assert lines[-1] == "8 items lack what was searched in"
    told = json.loads(call("search", "rain snow", out, "--in", "b", "-k", 30, "--json", *cache).out)
    assert [hit["id"] for hit in told["hits"][:3]] == [line.split()[1] for line in lines[:3]]
    assert (told["score"], told["items"], told["missing"], told["asked"]) == ("dot", 29, 8, 30)
    assert len(told["hits"]) == 21
    all_of_them = call("search", "rain", out, "-k", 99, "--index", "exact", *cache)
    assert "99 were asked for; these are all" in all_of_them.out
    assert_refused(call("embed", runs["cosine"], table, "--out", out, *cache), "another table or model")
    assert_refused(call("search", "rain", out, "--run", runs["cosine"], *cache), "embedded by another model")
    assert_refused(call("search", "rain", tmp_path, *cache), "awase embed")


def test_the_times_of_the_training_are_those_of_new_rows(place, tmp_path):
    table = write_rows(tmp_path / "timed.jsonl", reading_rows())
    data = readings_data(table, start_column="start", end_column="end")
    train(space_experiment(data, mcn_of(), encoders=small_encoders()), tmp_path / "out", place / "cache")
    run = tmp_path / "out" / "mcn" / "seed-0"
    space = Space.from_pretrained(run, device="cpu", cache=place / "cache")
    header = embed_table(space, run, table, tmp_path / "c")
    assert (header.start_column, header.end_column) == ("start", "end")
    bare = write_rows(tmp_path / "bare.jsonl", [{"id": "x", "text": "rain"}])
    assert embed_table(space, run, bare, tmp_path / "d").start_column is None
