"""The points at which the loop calls a balancing rule: their order, what they may change, and that they resume."""

from dataclasses import replace

import pytest
import torch
from training_samples import Batches, assert_same, make_loop, plain, samples, state_of, tiny_model

from awase.balancing import Rule, build_rule
from awase.config import BalancingConfig, SelectionConfig, TrainConfig
from awase.training.checkpoint import CheckpointWriter, read_checkpoint

TRAINING = TrainConfig(epochs=2, batch_size=5, optimiser="sgd", momentum=0.0, learning_rate=0.1, schedule="constant")
LOSS = SelectionConfig(metric="loss", direction="min")


class Noted(Rule):
    """Writes down every call; two phases; a counter as state; one gradient of its own beside the parameters'."""

    def __init__(self, context) -> None:
        super().__init__(context)
        self.calls: list[tuple] = []
        self.register_buffer("steps", torch.zeros(()))
        self.own = torch.zeros(3)

    def phases(self):
        return ("first", "second")

    def begin(self, epoch, phase):
        self.calls.append(("begin", epoch, phase))
        self.own = torch.zeros(3)

    def on_encoded(self, features, present, batch):
        self.calls.append(("on_encoded", len(batch)))
        return features, present

    def statistics(self, forward):
        return torch.tensor([float(len(forward.batch))])

    def observe(self, total):
        self.calls.append(("observe", float(total)))

    def losses(self, forward):
        self.calls.append(("losses",))
        return 2 * forward.total

    def backward(self, forward, losses):
        self.calls.append(("backward",))
        super().backward(forward, losses)
        self.own += len(losses)

    def extra_gradients(self):
        return [self.own]

    def after_backward(self, step):
        self.calls.append(("after_backward", step, self.own.tolist()))
        self.steps += 1

    def on_epoch_end(self, epoch):
        self.calls.append(("on_epoch_end", epoch))


def with_rule(loop, kind=Noted):
    rule = kind(loop.work.rule.context)
    forward = loop.work.forward

    def edited(batch):
        made = forward(batch)
        rule.on_encoded({}, made.present, batch)
        return made

    loop.work = replace(loop.work, rule=rule, forward=edited)
    return rule


def test_the_hooks_are_called_in_their_order_with_what_they_are_promised():
    loop = make_loop(tiny_model(), TRAINING.model_copy(update={"accumulate": 2}), batches=Batches(samples(13), 5))
    rule = with_rule(loop)
    loop.run()
    micro = [("on_encoded", 5), ("observe", 5.0), ("losses",), ("backward",)]
    last = [("on_encoded", 3), ("observe", 3.0), ("losses",), ("backward",)]
    expected, step = [], 0
    for epoch in range(2):
        for group in ([*micro, *micro], last):
            for phase in ("first", "second"):
                expected += [("begin", epoch, phase), *group, ("after_backward", step, [1.0, 1.0, 1.0])]
                step += 1
        expected.append(("on_epoch_end", epoch))
    assert rule.calls == expected
    assert loop.progress.optimiser_step == step == 8


def test_each_phase_is_an_optimiser_step_on_what_the_rule_made_of_the_loss():
    class Doubled(Noted):
        def phases(self):
            return (None, None)

    model, by_hand = plain(tiny_model(norm=False)), plain(tiny_model(norm=False))
    batches = Batches(samples(5), 5, shuffled=False)
    training = TRAINING.model_copy(update={"epochs": 1, "weight_decay": 0.0})
    loop = make_loop(model, training, batches=batches)
    with_rule(loop, Doubled)
    loop.run()
    (batch,) = batches.epoch(0)
    for _ in range(2):
        loss = 2 * torch.nn.functional.cross_entropy(by_hand(batch).logits, batch.targets)
        by_hand.zero_grad()
        loss.backward()
        with torch.no_grad():
            for name, parameter in by_hand.named_parameters():
                if parameter.grad is not None and not name.startswith("fusion") and ".lora." not in name:
                    parameter -= 0.1 * parameter.grad
    trained = [name for name in state_of(model) if ".lora." not in name]
    for name in trained:
        torch.testing.assert_close(state_of(model)[name], state_of(by_hand)[name])


def test_the_schedule_counts_the_steps_of_all_phases():
    training = TRAINING.model_copy(update={"schedule": "cosine", "epochs": 3})
    plain_loop = make_loop(tiny_model(), training, batches=Batches(samples(13), 5))
    loop = make_loop(tiny_model(), training, batches=Batches(samples(13), 5))
    with_rule(loop)
    rates, of_phases = (one.run().curve[-1].learning_rate for one in (plain_loop, loop))
    assert of_phases < rates  # its last step is the 18th of 18, not the 9th of 9: further down the same half wave
    assert of_phases == pytest.approx(0.1 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * 17 / 18))).item(), rel=1e-5)


def test_the_state_of_a_rule_is_resumed_from_any_checkpoint(tmp_path):
    kept = []

    class Keeper(CheckpointWriter):
        def save(self, tensors, facts):
            super().save(tensors, facts)
            self.wait()
            kept.append(read_checkpoint(self.path))

    class Drifting(Rule):
        """The more steps were taken, the larger the loss: whoever forgets the count trains something else."""

        def __init__(self, context) -> None:
            super().__init__(context)
            self.register_buffer("steps", torch.zeros(()))

        def losses(self, forward):
            return forward.total * (1 + self.steps)

        def after_backward(self, step):
            self.steps += 1

    whole, writer = tiny_model(), Keeper(tmp_path / "checkpoint.safetensors")
    torch.manual_seed(3)
    loop = make_loop(whole, TRAINING, writer=writer, checkpoint_every_s=0.0, selection=LOSS)
    rule = with_rule(loop, Drifting)
    result = loop.run()
    writer.close()
    assert float(rule.steps) == 10
    for checkpoint in kept:
        torch.manual_seed(99)
        model = tiny_model()
        again = make_loop(model, TRAINING, selection=LOSS)
        resumed = with_rule(again, Drifting)
        curve = again.run(checkpoint).curve
        assert float(resumed.steps) == 10
        assert_same(state_of(model), state_of(whole))
        assert [e.gradient_norms for e in curve] == [e.gradient_norms for e in result.curve]
        assert [e.target_scores for e in curve] == [e.target_scores for e in result.curve]


def test_a_rule_that_does_not_exist_is_answered_with_those_that_do():
    with pytest.raises(ValueError, match=r"no balancing rule 'ogm'; valid names: "):
        build_rule(BalancingConfig(name="ogm"), make_loop(tiny_model(), TRAINING).work.rule.context)


def test_random_numbers_of_a_step_depend_on_seed_and_step_alone():
    context = make_loop(tiny_model(), TRAINING).work.rule.context
    draws = {
        (seed, step): torch.randn(3, generator=Rule(replace(context, seed=seed)).generator(step, "cpu")).tolist()
        for seed in (0, 1)
        for step in (0, 1, 7)
    }
    assert len({tuple(values) for values in draws.values()}) == 6
    again = Rule(replace(context, seed=1)).generator(7, "cpu")
    assert torch.randn(3, generator=again).tolist() == draws[1, 7]
