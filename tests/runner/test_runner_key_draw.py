"""Some keys per step: which they are, that their losses are all keys' in the mean, and that the others stand still."""

from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from space_samples import Shares, loop_of, model_of, rows_of, stage_of, step_of
from tiny_spaces import TRAINING, reading_rows, readings_data, small_encoders, space_experiment, train, write_rows
from torch import Tensor
from watched_runs import stopped_and_repeated

from awase.config import CombinationsConfig, MethodConfig, StageConfig
from awase.models import Retrieval
from awase.runner.key_draw import KeyDraw, drawn
from awase.runner.space_files import read_embeddings
from awase.runner.space_scores import contrastive_loss
from awase.runner.space_state import SpaceState
from awase.runner.space_work import SpaceStep

KEYS = ("a+v", "a+t", "t+v", "a+t+v")


def stage(count: int | None, **changes: Any) -> StageConfig:
    fields = {"keys": list(KEYS), "keys_per_step": count, "tether": 0.5, **changes}
    return stage_of(loss="info_nce", learn_temperature=True, clustering=None, combinations=fields)


def gradients(model: Retrieval, step: SpaceStep) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    step(rows_of(12, absent=0.2)).total.sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_mean_over_all_draws_is_the_loss_of_all_keys(count: int) -> None:
    model = model_of(stage(count))
    for name, parameter in model.named_parameters():
        if ".lora." in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(len(name)))
    every = gradients(model, step_of(model, stage(None)))
    some = step_of(model, stage(count))
    assert some.draw is not None
    total = dict.fromkeys(every, 0.0)
    draws = list(combinations(KEYS, count))
    for keys in draws:
        some.draw.now = keys
        found = gradients(model, some)
        reached = {key for key in KEYS for name in found if f".lora.{key}." in name}
        assert reached == set(keys), "other keys have no gradient at all"
        total = {name: value + found.get(name, 0.0) / len(draws) for name, value in total.items()}
    for name, value in every.items():
        torch.testing.assert_close(total[name], value, rtol=1e-4, atol=1e-4)  # sums of float32 in another order


def test_passes_of_other_keys_are_not_computed() -> None:
    model, some = model_of(stage(1)), step_of(model_of(stage(1)), stage(1))
    assert some.draw is not None
    assert set(some(rows_of(12)).output.keyed) == set(some.draw.now)
    assert set(model(rows_of(12)).keyed) == set(KEYS)
    few = step_of(model, stage(None, learn=["a+t", "a+v"]))
    assert set(few(rows_of(12)).output.keyed) == {"a+t", "a+v"}


def test_every_set_is_drawn_equally_often_and_the_step_says_which() -> None:
    found = Counter(drawn(KEYS, 2, f"start|{step}") for step in range(6000))
    assert set(found) == set(combinations(KEYS, 2))
    assert all(abs(count - 1000) < 130 for count in found.values())  # 4.5 standard deviations of 29
    config = stage(2).retrieval
    assert config is not None
    assert config.combinations is not None
    one, other = (KeyDraw(config.combinations, stage(2), seed) for seed in (0, 1))
    again = KeyDraw(config.combinations, stage(2).model_copy(update={"name": "other"}), 0)
    steps = range(50)
    torch.manual_seed(3)
    assert [one.at(step) for step in steps] == [again.at(step) for step in steps]
    assert [one.at(step) for step in steps] != [other.at(step) for step in steps]


def test_keys_that_are_not_drawn_do_not_move() -> None:
    """Not by decay, and not by the momentum of earlier steps."""
    made = stage(1)
    made = made.model_copy(update={"training": made.training.model_copy(update={"weight_decay": 0.5, "epochs": 4})})
    model = model_of(made)
    loop = loop_of(model, made, Shares(rows_of(20), 6))
    before: dict[str, Tensor] = {}
    moved: list[set[str]] = []
    step = loop.optimiser.step

    def watch() -> None:
        before.update({name: p.detach().clone() for name, p in loop.parameters.items()})
        step()
        now = {name for name, p in loop.parameters.items() if not torch.equal(p, before[name])}
        moved.append({key for key in KEYS for name in now if f".lora.{key}." in name})

    loop.optimiser.step = watch
    loop.run()
    draw = step_of(model, made).draw
    assert draw is not None
    assert moved == [set(draw.at(number)) for number in range(16)]
    assert len({key for keys in moved for key in keys}) > 2


def test_batches_of_one_optimiser_step_have_the_same_keys() -> None:
    made = stage(1)
    made = made.model_copy(update={"training": made.training.model_copy(update={"accumulate": 2})})
    model = model_of(made)
    loop = loop_of(model, made, Shares(rows_of(20), 6))
    seen: list[tuple[str, ...]] = []
    forward = loop.work.forward

    def watch(batch: Any) -> Any:
        found = forward(batch)
        seen.append(tuple(found.output.keyed))
        return found

    object.__setattr__(loop.work, "forward", watch)
    loop.run()
    draw = step_of(model, made).draw
    assert draw is not None
    assert seen == [draw.at(number // 2) for number in range(12)]


def test_wrong_numbers_are_refused() -> None:
    for count in (0, 5):
        with pytest.raises(ValueError, match=r"greater than or equal to 1|use 1 to 4, or leave keys_per_step out"):
            CombinationsConfig(keys=KEYS, keys_per_step=count)
    with pytest.raises(ValueError, match="There are 2 keys that learn"):
        CombinationsConfig(keys=KEYS, learn=KEYS[:2], keys_per_step=3)


# ---- whole runs --------------------------------------------------------------------------------------------------


def test_resumed_runs_end_with_the_same_bits_and_validation_takes_all_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_rows(tmp_path / "rows.jsonl", reading_rows({"a": 5}))
    settings = {
        "retrieval": {"space": {"dim": 13}, "loss": "info_nce", "clustering": None},
        "combination": {"adapter": {"rank": 2}, "keys_per_step": 2},
    }
    method = MethodConfig(method="pair_adapters", settings=settings)
    joint = TRAINING.model_copy(update={"epochs": 3, "select": "last"})
    made = space_experiment(readings_data(table), method, encoders=small_encoders(), joint=joint)
    (whole,) = train(made, tmp_path / "whole", tmp_path / "a", checkpoint_every_s=0)
    (half,) = stopped_and_repeated(
        lambda: train(made, tmp_path / "half", tmp_path / "b", checkpoint_every_s=0), monkeypatch
    )
    expected, found = (
        load_file(tmp_path / cache / "stages" / record.stages[-1].hash / "model.safetensors")
        for record, cache in ((whole, "a"), (half, "b"))
    )
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())

    embedded = read_embeddings(tmp_path / "whole" / "pair_adapters" / "seed-0", "combinations", "val")
    keys = ["a+b", "a+text", "b+text", "a+b+text"]
    assert set(embedded.keyed) == set(keys)
    retrieval = {**settings["retrieval"], "pairs": {}, "combinations": {"keys": keys}}
    plain = StageConfig.model_validate(
        {"name": "s", "modalities": ["a", "b", "text"], "train": [], "retrieval": retrieval, "training": joint}
    )
    assert plain.retrieval is not None
    loss = contrastive_loss(embedded, plain, SpaceState(plain.retrieval, 0))
    assert whole.stages[-1].curve[-1].val_loss == pytest.approx(loss, rel=1e-5)


def test_shuffled_keys_are_exchanged_within_each_modality_anew_in_every_step() -> None:
    """Every adapter has the gradient of the losses that its embeddings went into, and over steps all are exchanged."""
    made = stage(None, shuffle_keys=True, tether=0.0)
    model = model_of(made)
    for name, parameter in model.named_parameters():
        if ".lora." in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(len(name)))
    step = step_of(model, made)
    assert step.draw is not None
    batch = rows_of(9)
    output = model(batch)
    partners: dict[tuple[str, str], set[str]] = {}
    for number in range(60):
        step.draw.begin(number)
        found = step.draw.exchanged(output.keyed)
        assert found.keys() == output.keyed.keys()
        for name in ("a", "v", "t"):
            keys = [key for key in KEYS if name in key.split("+")]
            taken = [next(k for k in keys if found[key][name] is output.keyed[k][name]) for key in keys]
            assert sorted(taken) == sorted(keys)
            for key, other in zip(keys, taken, strict=True):
                partners.setdefault((name, key), set()).add(other)
        again = step.draw.exchanged(output.keyed)
        assert all(again[key][name] is value for key, values in found.items() for name, value in values.items())
    assert all(others == {k for k in KEYS if name in k.split("+")} for (name, _), others in partners.items())
    plain = step_of(model, stage(None, tether=0.0))(batch).terms
    differ = dict.fromkeys((f"combination {key}" for key in KEYS), False)
    for number in range(9):
        step.draw.begin(number)
        terms = step(batch).terms
        differ = {name: one or not torch.allclose(terms[name], plain[name]) for name, one in differ.items()}
        torch.testing.assert_close(terms["a+v"], plain["a+v"])
    assert all(differ.values())
