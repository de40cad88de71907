import numpy as np
import pytest
import torch

from awase.evaluation import conditions, drop_plan, restrict
from awase.types import Batch


def batch() -> Batch:
    audio = torch.tensor([True, True, False, True, True])
    return Batch(
        ids=tuple("abcde"),
        index=torch.tensor([7, 2, 5, 0, 3]),
        inputs={"audio": torch.ones(5, 3), "text": {"input_ids": torch.ones(5, 2, dtype=torch.int64)}},
        present={"audio": audio, "text": torch.ones(5, dtype=torch.bool)},
        complete=frozenset({"text"}),
        targets=torch.arange(5),
        keys=torch.arange(5) * 10,
    )


def test_drop_plan_has_the_stated_share_and_never_takes_all():
    plan = drop_plan(20011, ("video", "audio", "text"), 0.5, seed=3)
    table = np.stack(list(plan.values()))
    assert not table.all(axis=0).any()
    # expected 0.5 - 0.5**3 / 3; five standard errors of 60033 coin flips
    np.testing.assert_allclose(table.mean(), 0.5 - 0.125 / 3, atol=5 * 0.5 / np.sqrt(60033))
    assert all(abs(row.mean() - table.mean()) < 0.02 for row in table)


def test_drop_plan_is_a_function_of_its_arguments():
    there, back = drop_plan(97, ("a", "b"), 0.25, 0), drop_plan(97, ("b", "a"), 0.25, 0)
    assert all(np.array_equal(there[name], back[name]) for name in ("a", "b"))
    assert not np.array_equal(there["a"], drop_plan(97, ("a", "b"), 0.25, 1)["a"])


def test_drop_plan_edges():
    assert not np.stack(list(drop_plan(13, ("a", "b"), 0.0, 0).values())).any()
    all_but_one = np.stack(list(drop_plan(13, ("a", "b", "c"), 1.0, 0).values()))
    assert (all_but_one.sum(axis=0) == 2).all()
    assert not drop_plan(13, ("a",), 1.0, 0)["a"].any()
    assert drop_plan(0, ("a", "b"), 0.5, 0)["a"].shape == (0,)
    with pytest.raises(ValueError, match=r"1\.5"):
        drop_plan(3, ("a",), 1.5, 0)


def test_conditions_name_what_stays():
    plans = conditions(("audio", "text"), (0.25,), 11, seed=0)
    assert list(plans) == ["full", "only:audio", "only:text", "without:audio", "without:text", "missing:0.25"]
    assert plans["only:audio"] == {"text": False}
    assert plans["without:audio"] == {"audio": False}
    assert (plans["missing:0.25"]["audio"] | plans["missing:0.25"]["text"]).all()
    assert list(conditions(("audio",), (0.25,), 11)) == ["full"]


def test_restrict_without_a_plan_is_the_same_batch():
    whole = batch()
    assert restrict(whole, {}) == (whole, 0)


def test_restrict_leaves_out_samples_with_nothing_left():
    seen, left_out = restrict(batch(), {"text": False})
    assert left_out == 1
    assert seen.ids == ("a", "b", "d", "e")
    assert seen.complete == frozenset({"audio"})
    assert seen.index.tolist() == [7, 2, 0, 3]
    assert seen.targets.tolist() == [0, 1, 3, 4]
    assert seen.keys.tolist() == [0, 10, 30, 40]
    assert not seen.present["text"].any()
    assert seen.inputs["text"]["input_ids"].tolist() == [[0, 0]] * 4
    assert seen.inputs["audio"].shape == (4, 3)


def test_restrict_looks_rows_up_by_index():
    stays = np.zeros(8, dtype=bool)
    stays[[2, 3, 5]] = True
    seen, left_out = restrict(batch(), {"audio": stays})
    assert left_out == 0
    assert seen.present["audio"].tolist() == [False, True, False, False, True]
    assert seen.inputs["audio"][:, 0].tolist() == [0, 1, 0, 0, 1]
    assert seen.complete == frozenset({"text"})


def test_restrict_may_leave_nothing():
    seen, left_out = restrict(batch(), {"audio": False, "text": False})
    assert (len(seen), left_out) == (0, 5)


def test_restrict_refuses_strangers():
    with pytest.raises(KeyError, match="no modality 'video'"):
        restrict(batch(), {"video": False})
