import pytest

from awase.evaluation.balance import balance, discrepancy_ratios, still_rising
from awase.records import Epoch, StageRecord


def epoch(number: int, metric: float = 0.5, **fields: dict[str, float]) -> Epoch:
    return Epoch(epoch=number, train_loss=1, val_loss=1, val_metric=metric, learning_rate=1e-3, seconds=0.1, **fields)


def stage(name: str, *curve: Epoch) -> StageRecord:
    return StageRecord(
        name=name, hash=name, reused=False, trained_parts=(), trainable_parameters=1, total_parameters=1, seconds=1,
        peak_memory_mib=1, best_epoch=0, still_improving=False, curve=curve, guards={}, probes={},
    )  # fmt: skip


def test_ratios_are_each_one_over_the_mean_of_the_others():
    assert discrepancy_ratios({"audio": 0.3, "video": 0.9}) == pytest.approx({"audio": 1 / 3, "video": 3})
    found = discrepancy_ratios({"a": 0.2, "b": 0.4, "c": 0.6})
    assert found == pytest.approx({"a": 0.2 / 0.5, "b": 0.4 / 0.4, "c": 0.6 / 0.3})
    assert discrepancy_ratios({"audio": 0.3}) == {}
    assert set(discrepancy_ratios({"audio": 0.3, "video": 0.0})) == {"video"}


def test_only_epochs_with_several_modalities_have_a_balance():
    alone = stage("audio", epoch(0, target_scores={"audio": 0.5}, gradient_norms={"audio": 1.0}))
    scores = {"audio": 0.3, "video": 0.9}
    joint = stage("joint", epoch(0, target_scores=scores, gradient_norms={"audio": 1.0}), epoch(1))
    mixed = stage("mlp", epoch(0, gradient_norms={"audio": 1.0, "video": 2.0}))
    found = balance([alone, joint, mixed])
    assert [(point.stage, point.epoch) for point in found] == [("joint", 0), ("mlp", 0)]
    assert found[0].ratios == discrepancy_ratios(scores)
    assert found[1].ratios == {}


def test_rising_needs_two_points_in_the_last_quarter():
    def curve(*metrics: float) -> list[Epoch]:
        return [epoch(number, metric) for number, metric in enumerate(metrics)]

    assert still_rising(curve(0.5, 0.6, 0.7, 0.73), True, "accuracy")
    assert not still_rising(curve(0.5, 0.6, 0.7, 0.71), True, "accuracy")
    assert not still_rising(curve(0.5, 0.6, 0.7, 0.73), False, "accuracy")
    assert still_rising(curve(0.5, 0.6, 0.7, 0.71), True, "loss")
    assert still_rising(curve(0.5), True, "accuracy")
