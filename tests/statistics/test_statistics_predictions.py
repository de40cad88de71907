from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from awase.statistics import (
    Predictions,
    align,
    compare,
    concatenate,
    correct,
    item_scores,
    label_counts,
    read_predictions,
    score_seeds,
    write_predictions,
)


def make(ids: str, seed: int = 0, *, many: bool = False, groups: bool = True) -> Predictions:
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng([ord(name) for name in ids])
    n = len(ids)
    logits = rng.normal(size=(n, 5)).astype(np.float32)
    audio = logits + 1
    audio[0] = np.nan
    targets = (truth.random((n, 5)) < 0.4).astype(np.int8) if many else np.array([ord(name) % 5 for name in ids])
    predicted = (logits > 0).astype(np.int8) if many else logits.argmax(axis=1)
    names = tuple(f"g{name}" for name in ids) if groups else None
    return Predictions(tuple(ids), ("test",) * n, targets, predicted, logits, {"audio": audio}, names)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("groups", [False, True])
def test_file_gives_back_what_was_written(tmp_path: Path, many: bool, groups: bool):
    written = make("abcdefg", many=many, groups=groups)
    write_predictions(tmp_path / "deep" / "predictions.parquet", written)
    read = read_predictions(tmp_path / "deep")
    assert (read.ids, read.splits, read.groups) == (written.ids, written.splits, written.groups)
    for name in ("targets", "predicted", "logits"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
    np.testing.assert_array_equal(read.modality_logits["audio"], written.modality_logits["audio"])
    assert read.targets.dtype == written.targets.dtype
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["predictions.parquet"]


def test_columns_are_named_for_readers_of_the_file(tmp_path: Path):
    write_predictions(tmp_path / "p.parquet", make("abc"))
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column_names == ["id", "split", "target", "predicted", "logits", "logits_audio", "group"]
    assert table["logits_audio"].null_count == 1
    assert table.schema.field("logits").type == pa.list_(pa.float32())


def test_other_files_are_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"holds no predictions\.parquet"):
        read_predictions(tmp_path)
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="format version none"):
        read_predictions(tmp_path / "x.parquet")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "p.parquet"
    write_predictions(path, make("abc"))
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space"):
        write_predictions(path, make("abcd"))
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_rows_must_agree_in_number():
    with pytest.raises(ValueError, match="as many rows"):
        Predictions(("a", "b"), ("test",), np.zeros(2), np.zeros(2), np.zeros((2, 3)))


def test_align_orders_by_the_first_and_counts_the_rest():
    first, second = make("abcde", 1), make("xdbca", 2)
    aligned, left_out = align([first, second])
    assert [part.ids for part in aligned] == [tuple("abcd")] * 2
    assert left_out == 2
    np.testing.assert_array_equal(aligned[1].logits[3], second.logits[1])
    np.testing.assert_array_equal(aligned[1].modality_logits["audio"][0], second.modality_logits["audio"][4])


def test_align_refuses_strangers_doubles_and_other_labels():
    with pytest.raises(ValueError, match="in common"):
        align([make("abc"), make("xyz")])
    with pytest.raises(ValueError, match="twice"):
        align([make("abc"), make("aba")])
    with pytest.raises(ValueError, match="disagree"):
        align([make("abc", many=True), make("abcd", many=True)])


def test_folds_stand_side_by_side():
    joined = concatenate([make("abc", 1), make("de", 2, groups=False)])
    assert joined.ids == tuple("abcde")
    assert joined.groups is None
    assert joined.logits.shape == (5, 5)
    with pytest.raises(ValueError, match="two folds"):
        concatenate([make("abc"), make("cd")])


def test_of_split_keeps_its_rows():
    joined = make("abc")
    mixed = Predictions(joined.ids, ("val", "test", "val"), joined.targets, joined.predicted, joined.logits)
    assert mixed.of_split("val").ids == ("a", "c")
    assert mixed.of_split("test").ids == ("b",)


def test_correct_is_pessimistic():
    logits = np.array([[2.0, 1.0], [1.0, 1.0], [0.0, 3.0], [-np.inf, -np.inf]])
    assert correct(logits, np.array([0, 0, 0, 1])).tolist() == [True, False, False, False]
    with pytest.raises(ValueError, match="NaN"):
        correct(np.array([[np.nan, 1.0]]), np.array([1]))
    with pytest.raises(ValueError, match="between 0 and 1"):
        correct(np.zeros((1, 2)), np.array([2]))
    with pytest.raises(ValueError, match="between 0 and 1"):
        correct(np.zeros((1, 2)), np.array([-1]))


def test_label_counts():
    counts = label_counts(np.array([[1, 1, 0, 0]]), np.array([[1, 0, 1, 0]]))
    assert [part.tolist() for part in counts] == [[[1, 0, 0, 0]], [[0, 1, 0, 0]], [[0, 0, 1, 0]]]


def test_item_scores_sum_to_the_metric():
    one, many = make("abcdefghijk"), make("abcdefghijk", many=True)
    assert item_scores(one, "accuracy").per_seed()[0] == (one.predicted == one.targets).mean()
    assert item_scores(one, "f1_micro").per_seed()[0] == pytest.approx((one.predicted == one.targets).mean())
    assert item_scores(many, "accuracy").per_seed()[0] == (many.predicted == many.targets).all(axis=1).mean()
    hits = (many.predicted & many.targets).sum()
    assert item_scores(many, "f1_micro").per_seed()[0] == 2 * hits / (many.predicted.sum() + many.targets.sum())
    assert item_scores(one, "loss") is None


def test_compare_pairs_shared_seeds_and_samples():
    a = {seed: make("abcdefg", seed) for seed in (0, 1, 5)}
    b = {seed: make("gfedcbx", seed + 10) for seed in (1, 5, 7)}
    difference, left_out = compare(a, b, "accuracy")
    assert (difference.seeds, difference.items, left_out) == (2, 6, 2)
    slow = 0.0
    for seed in (1, 5):
        for name in "abcdefg"[1:]:
            i, j = a[seed].ids.index(name), b[seed].ids.index(name)
            slow += int(a[seed].predicted[i] == a[seed].targets[i]) - int(b[seed].predicted[j] == b[seed].targets[j])
    assert difference.difference == pytest.approx(slow / 12)


def test_compare_refuses_what_it_cannot_pair():
    with pytest.raises(ValueError, match="share no seed"):
        compare({0: make("abc")}, {1: make("abc")}, "accuracy")
    with pytest.raises(ValueError, match="cannot be compared by sample"):
        compare({0: make("abc")}, {0: make("abc")}, "loss")


def test_score_seeds_stacks_in_the_order_of_seeds():
    runs = {seed: make("abcdefg", seed) for seed in (3, 2)}
    scored = score_seeds(runs, "accuracy")
    assert scored.seeds == (2, 3)
    np.testing.assert_array_equal(scored.scores.numerators[1], runs[3].predicted == runs[3].targets)
    assert scored.groups == tuple(f"g{name}" for name in "abcdefg")
    assert score_seeds(runs, "f1_macro") is None
