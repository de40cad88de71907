"""MLA against its definition: a step per modality, the projection of the head's gradient, micro-batches."""

import pytest
import torch
from balancing_samples import (
    STEP,
    THREE,
    TWO,
    batch_of,
    context_of,
    model_of,
    part_of_step,
    parts_of,
    trained_steps,
    without,
)
from torch.nn import functional as F
from training_samples import CLASSES, DIM, Batches, TinyEncoder, make_loop, samples, state_of

from awase.balancing import Forward, build_rule
from awase.balancing.mla import Mla, projected
from awase.config import BalancingConfig
from awase.models.encode import presence
from awase.objectives import binary_cross_entropy, cross_entropy

RULE = BalancingConfig(name="mla")


def slow_projection(p: torch.Tensor, r: torch.Tensor, a: float) -> torch.Tensor:
    """Entry by entry, in float64."""
    p, r = p.double(), r.double()
    k = [sum(p[i, j] * r[j] for j in range(len(r))) for i in range(len(r))]
    denominator = a + sum(r[i] * k[i] for i in range(len(r)))
    changed = torch.stack(
        [torch.stack([p[i, j] - k[i] * k[j] / denominator for j in range(len(r))]) for i in range(len(r))]
    )
    return (changed / changed.square().sum().sqrt()).float()


def test_the_projection_is_its_definition_and_takes_the_mean_out():
    generator = torch.Generator().manual_seed(0)
    p = torch.eye(DIM)
    for a in (0.1, 0.03, 0.01):
        r = torch.randn(DIM, generator=generator)
        expected = slow_projection(p, r, a)
        p = projected(p, r, a)
        torch.testing.assert_close(p, expected)
        torch.testing.assert_close(p, p.T)
    r = torch.randn(DIM, generator=generator)
    gone = projected(torch.eye(DIM), r, 1e-6) @ r
    assert float(gone.norm()) < 1e-5 * float(r.norm())
    torch.testing.assert_close(projected(p, torch.zeros(DIM), 0.1), p / p.norm())


def slow_training(model, data: list, learning_rate: float, epochs: int, project: bool = True) -> None:
    """The published order of things with plain SGD: batch by batch, modality by modality."""
    p, first = torch.eye(DIM), True
    for _ in range(epochs):
        for number, batch in enumerate(data):
            for name in model.modalities:
                rows = batch.present[name]
                features = model.encoders[name](batch.inputs[name][rows]).pooled
                losses = F.cross_entropy(model.fusion.linear(features), batch.targets[rows], reduction="sum")
                model.zero_grad()
                (losses / len(batch)).backward()
                if not first and project:
                    mean = features.detach().mean(dim=0) if len(features) else torch.zeros(DIM)
                    p = slow_projection(p, mean, 0.1 ** (1 + number / len(data)))
                    model.fusion.linear.weight.grad @= p
                first = False
                with torch.no_grad():
                    for parameter in model.parameters():
                        if parameter.grad is not None:
                            parameter -= learning_rate * parameter.grad


@pytest.mark.parametrize("project", [True, False])
def test_training_is_the_slow_alternation(project):
    data = Batches(samples(21, absent=0.3), 5, shuffled=False)
    config = STEP.model_copy(update={"epochs": 2, "batch_size": 5, "select": "last"})
    model, slow = model_of("shared_head"), model_of("shared_head")
    rule = BalancingConfig(name="mla", options={"project": project})
    steps = trained_steps(model, rule, config, data)
    assert len(steps) == 2 * 2 * 5
    slow_training(slow, list(data.epoch(0)), 0.1, 2, project)
    for name, value in slow.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)  # twenty steps


def test_each_phase_reaches_one_encoder_and_the_head():
    steps = trained_steps(model_of("shared_head"), RULE, STEP)
    assert [{".".join(name.split(".")[:2]) for name in step} for step in steps] == [
        {"encoders.audio", "fusion.linear"},
        {"encoders.video", "fusion.linear"},
    ]


def test_an_encoder_sees_each_sample_once_a_step():
    model = model_of("shared_head", encoder=lambda width: TinyEncoder(width, norm=True))
    make_loop(model, STEP, parts_of(model), Batches(samples(23, absent=0.3), 23), rule=RULE).run()
    assert [int(model.encoders[name].norm.num_batches_tracked) for name in TWO] == [1, 1]


def test_micro_batches_are_one_batch():
    steps = [
        trained_steps(
            model_of("shared_head"),
            RULE,
            STEP.model_copy(update={"epochs": 2, "batch_size": size, "accumulate": times}),
            Batches(samples(47, absent=0.3), size),
        )
        for size, times in ((24, 1), (12, 2))
    ]
    assert len(steps[0]) == len(steps[1]) == 2 * 2 * 2
    for one, two in zip(*steps, strict=True):
        assert set(one) == set(two)
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5, msg=name)  # order of sums


def test_three_modalities_take_turns_and_an_absent_one_changes_no_encoder():
    model = model_of("shared_head", THREE)
    rule = Mla(context_of(model, steps_per_epoch=7))
    assert rule.phases() == ("audio", "text", "video")
    batch = without(batch_of(13, THREE), "text")
    for step, phase in enumerate(rule.phases()):
        model.zero_grad()
        rule.begin(0, phase)
        seen = rule.view(batch)
        assert set(seen.inputs) == set(seen.present) == {phase}
        assert seen.complete == batch.complete & {phase}
        _, losses = part_of_step(rule, model, batch)
        rule.after_backward(step)
        reached = {name for name in THREE if any(p.grad is not None for p in model.encoders[name].parameters())}
        assert reached == ({phase} if phase != "text" else set())
        rows = batch.present[phase]
        logits = model.fusion.linear(model.encode(batch)[phase].pooled)
        expected = F.cross_entropy(logits, batch.targets, reduction="none").detach() * rows
        torch.testing.assert_close(losses, expected)
    assert bool(rule.projection.isfinite().all())
    assert torch.equal(rule.totals, torch.zeros(DIM + 1))


@pytest.mark.parametrize(("step", "a"), [(2, 0.1 ** (1 + 1 / 5)), (9, 0.1 ** (1 + 4 / 5)), (10, 0.1), (13, 0.1**1.2)])
def test_the_schedule_begins_anew_each_epoch_and_is_the_same_in_all_phases_of_a_batch(step, a):
    model = model_of("shared_head")
    rule = Mla(context_of(model, steps_per_epoch=5))
    mean = torch.arange(float(DIM))
    rule.observe(torch.cat([3 * mean, torch.tensor([3.0])]))
    rule.after_backward(step)
    torch.testing.assert_close(rule.projection, slow_projection(torch.eye(DIM), mean, a))


@pytest.mark.parametrize("multi_label", [False, True])
def test_distributions_and_several_labels_are_trained_on_the_loss_of_the_stage(multi_label):
    loss = binary_cross_entropy if multi_label else cross_entropy
    targets = torch.rand(13, CLASSES, generator=torch.Generator().manual_seed(5))
    targets = (targets > 0.5).float() if multi_label else targets.softmax(dim=1)
    model, batch = model_of("shared_head", multi_label=multi_label), batch_of(13, targets=targets)
    rule = Mla(context_of(model, multi_label=multi_label, sample_loss=loss))
    rule.begin(0, "video")
    seen = rule.view(batch)
    output = model(seen)
    fused = loss(output.logits, targets)
    forward = Forward(seen, output, presence(seen, model.modalities), loss, fused, fused)
    logits = model.fusion.linear(model.encoders["video"](batch.inputs["video"]).pooled)
    torch.testing.assert_close(rule.losses(forward), loss(logits, targets))


def test_the_projection_survives_in_the_state_and_the_head_is_not_part_of_it():
    rule = build_rule(RULE, context_of(model_of("shared_head")))
    assert set(rule.state_dict()) == {"projection"}
    assert list(rule.parameters()) == []
    before = state_of(rule.context.model)
    rule.after_backward(0)
    assert torch.equal(rule.projection, torch.eye(DIM))
    assert all(torch.equal(before[name], value) for name, value in rule.context.model.state_dict().items())


@pytest.mark.parametrize(
    ("fusion", "widths", "options", "words"),
    [
        ("concat", TWO, {}, ["'mla'", "'shared_head'"]),
        ("shared_head", {"audio": 5}, {}, ["only audio", "two or more"]),
        ("shared_head", TWO, {"alpha": 0.1}, ["no option alpha", "project"]),
    ],
)
def test_wrong_requests_are_sentences(fusion, widths, options, words):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        build_rule(BalancingConfig(name="mla", options=options), context_of(model_of(fusion, widths)))
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
