"""The loop: accumulation, resuming, selection, early stopping, what stays frozen, and losses that are no number."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from training_samples import Batches, assert_same, make_loop, metrics, plain, samples, state_of, tiny_model

from awase.config import SelectionConfig, TrainConfig
from awase.digest import tensors_digest
from awase.training.checkpoint import Checkpoint, CheckpointWriter, read_checkpoint
from awase.training.divergence import TrainingDivergedError
from awase.training.loop import Loop
from awase.training.parts import frozen_tensors, match_parts, trained_tensors

LOSS = SelectionConfig(metric="loss", direction="min")


def config(**changes) -> TrainConfig:
    return TrainConfig(**{"epochs": 3, "batch_size": 5, "learning_rate": 1e-2, **changes})


def curve_without_seconds(result) -> list[dict]:
    return [entry.model_dump(exclude={"seconds"}) for entry in result.curve]


# ---- one step ------------------------------------------------------------------------------------------------------


def test_one_step_of_sgd_is_its_closed_form():
    model = plain(tiny_model(norm=False))
    data = Batches(samples(13), 13, shuffled=False)
    reference = plain(tiny_model(norm=False))
    trained = match_parts(("*.head",), reference.parts())
    logits = reference.eval()(samples(13)).logits
    nn.functional.cross_entropy(logits, samples(13).targets).backward()
    training = config(epochs=1, optimiser="sgd", momentum=0.0, learning_rate=0.1, weight_decay=0.0, select="last")
    make_loop(model, training, ("*.head",), data).run()
    for name, value in trained_tensors(reference.parts(), trained).items():
        expected = value.detach() - 0.1 * value.grad
        torch.testing.assert_close(trained_tensors(model.parts(), trained)[name].detach(), expected)


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize(("num", "size", "accumulate"), [(24, 4, 3), (22, 4, 3), (10, 4, 5)])
def test_accumulation_equals_one_large_batch(optimiser, num, size, accumulate):
    """Equal batches, a last one that is smaller, and an epoch shorter than the accumulation."""
    models = [plain(tiny_model(norm=False)) for _ in range(2)]
    results = []
    for model, batch_size, times in zip(models, (size * accumulate, size), (1, accumulate), strict=True):
        training = config(optimiser=optimiser, batch_size=batch_size, accumulate=times, select="last", clip_norm=0.3)
        batches = Batches(samples(num, absent=0.3), batch_size)
        results.append(make_loop(model, training, batches=batches).run())
    torch.testing.assert_close(models[0].state_dict(), models[1].state_dict(), rtol=1e-4, atol=1e-6)  # order of sums
    assert results[0].curve[-1].train_loss == pytest.approx(results[1].curve[-1].train_loss, rel=1e-5)


def test_the_gradient_is_clipped_to_its_norm():
    model = plain(tiny_model(norm=False))
    before = state_of(model)
    training = config(epochs=1, optimiser="sgd", momentum=0.0, learning_rate=1.0, weight_decay=0.0, schedule="constant")
    loop = make_loop(model, training.model_copy(update={"clip_norm": 1e-3}), batches=Batches(samples(13), 13))
    loop.run()
    moved = torch.cat([(before[name] - value).flatten() for name, value in model.state_dict().items()])
    assert float(moved.norm()) == pytest.approx(1e-3, rel=1e-3)  # the clip adds 1e-6 to the norm


def test_the_training_loss_is_the_mean_over_samples():
    model = plain(tiny_model(norm=False))
    data = samples(13)
    before = metrics(model, data)["loss"]
    training = config(epochs=1, optimiser="sgd", learning_rate=1e-12, momentum=0.0)
    result = make_loop(model, training, batches=Batches(data, 5)).run()
    assert result.curve[0].train_loss == pytest.approx(before, rel=1e-5)


def test_the_curve_tells_the_rate_of_the_last_step():
    result = make_loop(tiny_model(), config(epochs=2, schedule="cosine")).run()
    steps = 2 * 5
    expected = [1e-2 * 0.5 * (1 + math.cos(math.pi * (5 * epoch + 4) / steps)) for epoch in range(2)]
    assert [entry.learning_rate for entry in result.curve] == pytest.approx(expected)


# ---- resuming ------------------------------------------------------------------------------------------------------

VARIANTS = {
    "adamw, average, dropout": config(average="ema", average_decay=0.7, warmup_epochs=0.5),
    "sgd, early stopping, clipping": config(epochs=5, optimiser="sgd", early_stopping=1, clip_norm=0.5),
    "accumulation, last": config(accumulate=2, select="last", schedule="step", step_epochs=1),
}


class Keeper(CheckpointWriter):
    """Writes checkpoints and keeps each as it is read from disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "checkpoint.safetensors")
        self.kept: list[Checkpoint] = []

    def save(self, tensors, facts) -> None:
        super().save(tensors, facts)
        self.wait()
        self.kept.append(read_checkpoint(self.path))


@pytest.fixture
def keeper(tmp_path):
    keeper = Keeper(tmp_path)
    yield keeper
    keeper.close()


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_resuming_from_every_checkpoint_gives_the_same_bits(variant, keeper):
    training = VARIANTS[variant]
    torch.manual_seed(7)
    whole = tiny_model()
    result = make_loop(whole, training, writer=keeper, checkpoint_every_s=0.0, selection=LOSS).run()
    steps = -(-5 // training.accumulate)
    assert len(keeper.kept) == len(result.curve) * steps
    assert {c.facts["progress"]["batch"] for c in keeper.kept} >= {0, training.accumulate}
    for checkpoint in keeper.kept:
        torch.manual_seed(99)
        model = tiny_model()
        again = make_loop(model, training, selection=LOSS).run(checkpoint)
        assert_same(state_of(model), state_of(whole))
        assert curve_without_seconds(again) == curve_without_seconds(result)
        assert (again.best_epoch, again.still_improving) == (result.best_epoch, result.still_improving)


def test_a_resumed_run_that_stops_again_is_resumed_again(tmp_path):
    training = VARIANTS["adamw, average, dropout"]
    torch.manual_seed(7)
    whole = tiny_model()
    make_loop(whole, training, selection=LOSS).run()

    class KilledError(Exception):
        pass

    def die() -> None:
        steps.append(1)
        if len(steps) % 4 == 0:
            raise KilledError

    steps: list[int] = []
    path = tmp_path / "checkpoint" / "checkpoint.safetensors"
    torch.manual_seed(7)
    for _ in range(20):
        model, writer = tiny_model(), CheckpointWriter(path)
        loop = make_loop(model, training, writer=writer, checkpoint_every_s=0.0, selection=LOSS, on_step=die)
        try:
            loop.run(read_checkpoint(path))
        except KilledError:
            writer.close()
            torch.manual_seed(len(steps))
            continue
        writer.close()
        break
    assert len(steps) > 12
    assert_same(state_of(model), state_of(whole))


def test_a_finished_checkpoint_trains_no_more(keeper):
    training = config()
    whole = tiny_model()
    make_loop(whole, training, writer=keeper, checkpoint_every_s=1e9).run()
    assert [c.facts["progress"]["epoch"] for c in keeper.kept] == [1, 2, 3]
    model, steps = tiny_model(), []
    make_loop(model, training, on_step=lambda: steps.append(1)).run(keeper.kept[-1])
    assert steps == []
    assert_same(state_of(model), state_of(whole))


def test_resuming_tells_the_epochs_again(keeper):
    training, told = config(), []
    result = make_loop(tiny_model(), training, writer=keeper, checkpoint_every_s=1e9).run()
    make_loop(tiny_model(), training, on_epoch=lambda epoch: told.append(epoch.epoch)).run(keeper.kept[1])
    assert told == [entry.epoch for entry in result.curve]


# ---- losses that are no number -------------------------------------------------------------------------------------


def poisoned(loop, at_step: int, rows: slice, until_step: int = 10**9):
    """The loop with losses that are not finite for some samples from one optimiser step on."""

    def forward(batch):
        made = original(batch)
        value = made.total
        if at_step <= loop.progress.optimiser_step < until_step:
            value = value * torch.ones_like(value).index_fill(0, torch.arange(len(value))[rows], torch.nan)
        return replace(made, total=value)

    original = loop.work.forward
    loop.work = replace(loop.work, forward=forward)
    return loop


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    model, writer = tiny_model(), CheckpointWriter(path)
    batches = Batches(samples(23), 5)
    loop = make_loop(model, config(), batches=batches, writer=writer, checkpoint_every_s=0.0)
    third_of_the_second_epoch = list(batches.epoch(1))[2]
    with pytest.raises(TrainingDivergedError) as caught:
        poisoned(loop, 7, slice(1, 3)).run()
    writer.close()
    message = str(caught.value)
    assert "optimiser step 7 of epoch 1" in message
    assert f"the samples {', '.join(third_of_the_second_epoch.ids[1:3])}." in message
    checkpoint = read_checkpoint(path)
    assert checkpoint is not None
    assert checkpoint.facts["progress"]["optimiser_step"] == 7
    assert all(bool(value.isfinite().all()) for value in checkpoint.tensors.values() if value.is_floating_point())
    resumed = make_loop(tiny_model(), config(), batches=batches).run(checkpoint)
    assert len(resumed.curve) == 3


@pytest.mark.parametrize("every_s", [0.0, 1e9])
def test_losses_that_are_looked_at_late_still_name_the_step_and_keep_the_checkpoint(tmp_path, every_s):
    """On a GPU losses are looked at seldom; before a checkpoint they always are, and at the end of an epoch."""
    path = tmp_path / "checkpoint.safetensors"
    writer, batches = CheckpointWriter(path), Batches(samples(23), 5)
    loop = make_loop(tiny_model(), config(), batches=batches, writer=writer, checkpoint_every_s=every_s)
    loop.losses.late = True  # as on a GPU
    third_of_the_second_epoch = list(batches.epoch(1))[2]
    sentence = (
        rf"The loss is not finite at optimiser step 7 of epoch 1 for the samples {third_of_the_second_epoch.ids[0]}\."
    )
    with pytest.raises(TrainingDivergedError, match=sentence):
        poisoned(loop, 7, slice(0, 1), until_step=8).run()
    writer.close()
    assert read_checkpoint(path).facts["progress"]["optimiser_step"] == (7 if every_s == 0 else 5)


def test_weights_that_are_no_number_are_not_kept(tmp_path):
    """A finite loss with a gradient that is not: the next step would show it, but after the checkpoint."""
    path = tmp_path / "checkpoint.safetensors"
    model, writer = tiny_model(), CheckpointWriter(path)
    loop = make_loop(model, config(), writer=writer, checkpoint_every_s=0.0)

    def spoil() -> None:
        if loop.progress.optimiser_step == 3:
            with torch.no_grad():
                model.heads["audio"].weight[0, 0] = torch.inf

    loop.settings = replace(loop.settings, on_step=spoil)
    with pytest.raises(TrainingDivergedError, match=r"heads.audio.weight is not finite after optimiser step 3"):
        loop.run()
    writer.close()
    assert read_checkpoint(path).facts["progress"]["optimiser_step"] == 2


# ---- which epoch is kept -------------------------------------------------------------------------------------------


def scripted(values: list[float], direction: str = "max", **changes):
    """The loop with a validation that gives these values, and the weights as they were at each of them."""
    model, seen = tiny_model(), []
    loop = make_loop(
        model, config(epochs=len(values), **changes), selection=SelectionConfig(metric="score", direction=direction)
    )

    def validate() -> dict[str, float]:
        seen.append(state_of(model))
        return {"score": values[len(seen) - 1], "loss": 0.0}

    loop.work = replace(loop.work, validate=validate)
    return model, seen, loop


@pytest.mark.parametrize(
    ("values", "direction", "best"),
    [
        ([0.2, 0.5, 0.4], "max", 1),
        ([0.2, 0.5, 0.4], "min", 0),
        ([0.3, 0.5, 0.5], "max", 1),
        ([0.3, 0.3, 0.3], "min", 0),
        ([math.nan, 0.1, 0.3], "max", 2),
        ([0.2, math.nan, 0.1], "max", 0),
    ],
)
def test_the_best_epoch_is_kept_and_the_first_among_equals(values, direction, best):
    model, seen, loop = scripted(values, direction)
    result = loop.run()
    assert result.best_epoch == best
    assert_same(state_of(model), seen[best])


def test_the_last_epoch_is_kept_when_asked():
    model, seen, loop = scripted([0.9, 0.5, 0.4], select="last")
    result = loop.run()
    assert result.best_epoch == 0
    assert_same(state_of(model), seen[2])


@pytest.mark.parametrize(
    ("values", "patience", "trained"),
    [
        ([0.5, 0.4, 0.3, 0.9], 2, 3),
        ([0.5, 0.4, 0.6, 0.5, 0.9], 2, 5),
        ([0.5, 0.4, 0.9], 1, 2),
        ([0.1, 0.2, 0.3], 1, 3),
        ([0.5, 0.4, 0.3, 0.2], None, 4),
    ],
)
def test_early_stopping_waits_for_its_patience(values, patience, trained):
    _, _, loop = scripted(values, early_stopping=patience)
    assert len(loop.run().curve) == trained


@pytest.mark.parametrize(
    ("values", "improving"),
    [
        ([0.1, 0.2, 0.3], True),
        ([0.1, 0.3, 0.2], False),
        ([0.1], False),
        ([0.1 * n for n in range(20)], True),
        ([0.1 * n for n in range(19)] + [0.0], True),  # the last tenth of 20 epochs is two
        ([0.1 * n for n in range(18)] + [0.0, 0.0], False),
    ],
)
def test_still_improving_is_said_when_the_best_is_in_the_last_tenth(values, improving):
    _, _, loop = scripted(values)
    assert loop.run().still_improving is improving


def test_a_run_that_stopped_early_was_not_improving():
    _, _, loop = scripted([0.1, 0.2, 0.1, 0.3], early_stopping=1)
    result = loop.run()
    assert (len(result.curve), result.still_improving) == (3, False)


def test_validation_and_the_kept_weights_are_those_of_the_average():
    model, seen, loop = scripted([0.2, 0.5, 0.4], average="ema", average_decay=0.5)
    raw = []
    loop.settings = replace(loop.settings, on_epoch=lambda epoch: raw.append(state_of(model)))
    loop.run()
    assert_same(state_of(model), seen[1])
    assert not torch.equal(raw[1]["heads.audio.weight"], seen[1]["heads.audio.weight"])


def test_what_an_objective_remembers_is_not_averaged_and_what_it_learns_is():
    learned = {
        "encoders.audio.w": nn.Parameter(torch.ones(3)),
        "objective.log_temperature": nn.Parameter(torch.ones(())),
    }
    trained = {**learned, "encoders.audio.mean": torch.zeros(5), "objective.memory.queue": torch.zeros(7, 2)}
    _, _, loop = scripted([0.1, 0.2])
    loop = Loop(trained, frozenset(), config(average="ema", epochs=2), loop.work, loop.settings)
    assert set(loop.average.tensors) == {*learned, "encoders.audio.mean"}
    trained["objective.memory.queue"] += 1
    loop._validate()
    assert bool((trained["objective.memory.queue"] == 1).all())


# ---- what stays as it was ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "train",
    [("*.head",), ("audio.adapter", "*.head"), ("*.adapter",), ("audio.encoder",), ("fusion",)],
    ids=" ".join,
)
@pytest.mark.parametrize("average", ["none", "ema"])
def test_frozen_parts_are_bit_identical_afterwards(train, average):
    model = tiny_model("concat" if train == ("fusion",) else "late_mean")
    trained = match_parts(train, model.parts())
    before, learned = state_of(model), trained_tensors(model.parts(), trained)
    digest = tensors_digest(frozen_tensors(model.parts(), trained))
    start = {name: value.detach().clone() for name, value in learned.items()}
    make_loop(model, config(average=average), train).run()
    assert tensors_digest(frozen_tensors(model.parts(), trained)) == digest
    for name, value in model.state_dict().items():
        if name not in learned:
            assert torch.equal(value, before[name]), name
    assert any(not torch.equal(value, start[name]) for name, value in learned.items())


def test_a_batch_that_nothing_learns_from_is_no_error():
    """Only audio's adapter learns, and no sample of the batch has audio."""
    model = tiny_model()
    data = samples(13, absent=1.0)
    before = state_of(model)
    result = make_loop(model, config(weight_decay=0.0), ("audio.adapter",), Batches(data, 5)).run()
    assert_same(state_of(model), before)
    assert len(result.curve) == 3
