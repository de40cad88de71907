"""OGM-GE against its definition, one sample and one parameter after the other."""

import math
from dataclasses import replace

import pytest
import torch
from balancing_samples import (
    STEP,
    THREE,
    TWO,
    ConvEncoder,
    batch_of,
    context_of,
    model_of,
    part_of_step,
    trained_steps,
    without,
)
from torch.nn import functional as F
from training_samples import CLASSES, Batches, rule_context, samples

from awase.balancing import build_rule
from awase.balancing.ogm_ge import OgmGe, coefficients
from awase.config import BalancingConfig

ALPHA = 0.7
QUIET = BalancingConfig(name="ogm_ge", options={"alpha": ALPHA, "noise": False})


@torch.no_grad()
def slow_scores(model, batch) -> dict[str, float]:
    """The mean softmax probability of the target that each modality's own logits give, over samples that have it."""
    logits = model(batch).modality_logits
    scores = {}
    for name in model.modalities:
        found = []
        for row in range(len(batch)):
            if not batch.present[name][row]:
                continue
            probabilities = logits[name][row].double().softmax(dim=0)
            target = batch.targets[row]
            weights = F.one_hot(target, CLASSES).double() if target.dim() == 0 else target.double()
            found.append(float((weights * probabilities).sum()))
        if found:
            scores[name] = sum(found) / len(found)
    return scores


def slow_factors(scores: dict[str, float], alpha: float, several: str) -> dict[str, float]:
    factors = {}
    for name, score in scores.items():
        others = [value for other, value in scores.items() if other != name]
        if not others:
            ratio = 1.0
        elif several == "min":
            ratio = score / min(scores.values())
        else:
            ratio = sum(score / other for other in others) / len(others)
        factors[name] = 1 - math.tanh(alpha * ratio) if ratio > 1 else 1.0
    return factors


@pytest.mark.parametrize("several", ["min", "mean"])
@pytest.mark.parametrize("scores", [(0.3, 0.7), (0.7, 0.3), (0.2, 0.5, 0.4), (0.9, 0.1, 0.11), (0.31, 0.31, 0.6)])
def test_factors_are_their_definition(scores, several):
    expected = slow_factors({str(n): score for n, score in enumerate(scores)}, ALPHA, several)
    seen = torch.ones(len(scores), dtype=torch.bool)
    found = coefficients(torch.tensor(scores), seen, ALPHA, several)
    torch.testing.assert_close(found, torch.tensor(list(expected.values())))


@pytest.mark.parametrize("several", ["min", "mean"])
def test_ties_and_modalities_nobody_has_are_not_damped(several):
    everyone = torch.ones(3, dtype=torch.bool)
    third = torch.full((3,), 0.31)
    assert coefficients(third, everyone, ALPHA, several).tolist() == [1, 1, 1]
    unseen = torch.tensor([True, False, True])
    found = coefficients(torch.tensor([0.6, 0.0, 0.3]), unseen, ALPHA, several)
    torch.testing.assert_close(found, torch.tensor([1 - math.tanh(ALPHA * 2), 1, 1]))
    alone = torch.tensor([False, True, False])
    assert coefficients(torch.tensor([0.0, 0.5, 0.0]), alone, ALPHA, several).tolist() == [1, 1, 1]
    nothing = coefficients(torch.tensor([0.0, 0.5, 0.0]), everyone, ALPHA, several)
    assert nothing.tolist() == [1, 0, 1]  # infinitely better than the others; 0 / 0 is no comparison


@pytest.mark.parametrize("fusion", ["concat", "sum"])
def test_one_step_damps_the_encoders_weights_of_the_stronger_modality_alone(fusion):
    data = samples(23, absent=0.3)
    (plain_step,) = trained_steps(model_of(fusion), None)
    (step,) = trained_steps(model_of(fusion), QUIET)
    factors = slow_factors(slow_scores(model_of(fusion), data), ALPHA, "min")
    assert min(factors.values()) < 0.9
    assert max(factors.values()) == 1
    assert set(step) == set(plain_step)
    for name, gradient in plain_step.items():
        kind, modality, *_ = name.split(".")
        inside = kind == "encoders" and gradient.dim() >= 2
        torch.testing.assert_close(step[name], gradient * (factors[modality] if inside else 1.0), msg=name)


@pytest.mark.parametrize("widths", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("several", ["min", "mean"])
def test_scores_are_over_the_samples_that_have_the_modality(widths, several):
    model, batch = model_of("concat", widths), batch_of(29, widths)
    rule = OgmGe(context_of(model), alpha=ALPHA, noise=False, several=several)
    rule.begin(0, None)
    part_of_step(rule, model, batch)
    before = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    rule.after_backward(0)
    factors = slow_factors(slow_scores(model, batch), ALPHA, several)
    for modality in widths:
        name = f"encoders.{modality}.layer.base.weight"
        torch.testing.assert_close(model.get_parameter(name).grad, before[name] * factors[modality])


def test_targets_that_are_distributions_give_the_expected_probability():
    targets = torch.rand(29, CLASSES, generator=torch.Generator().manual_seed(3)).softmax(dim=1)
    model, batch = model_of("sum"), batch_of(29, targets=targets)
    rule = OgmGe(context_of(model))
    rule.begin(0, None)
    part_of_step(rule, model, batch)
    sums, counts = rule.totals
    torch.testing.assert_close(sums / counts, torch.tensor(list(slow_scores(model, batch).values())))


def test_several_labels_give_the_mean_probability_of_what_is_true():
    targets = (torch.rand(29, CLASSES, generator=torch.Generator().manual_seed(3)) > 0.6).float()
    model, batch = model_of("sum"), batch_of(29, targets=targets)
    rule = OgmGe(context_of(model, multi_label=True))
    rule.begin(0, None)
    part_of_step(rule, model, batch)
    with torch.no_grad():
        logits = model(batch).modality_logits
    for number, name in enumerate(TWO):
        slow = [
            sum(float(z.sigmoid() if y > 0.5 else 1 - z.sigmoid()) for z, y in zip(*pair, strict=True)) / CLASSES
            for pair, here in zip(zip(logits[name], targets, strict=True), batch.present[name], strict=True)
            if here
        ]
        assert float(rule.totals[0, number] / rule.totals[1, number]) == pytest.approx(sum(slow) / len(slow), rel=1e-5)


def test_a_step_without_a_modality_is_plain():
    model = model_of("concat")
    rule = OgmGe(context_of(model), noise=False)
    rule.begin(0, None)
    part_of_step(rule, model, without(batch_of(13), "audio"))
    before = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    rule.after_backward(0)
    assert all(torch.equal(model.get_parameter(name).grad, value) for name, value in before.items())


@pytest.mark.parametrize("noise", [False, True])
def test_two_micro_batches_are_one_batch(noise):
    rule = BalancingConfig(name="ogm_ge", options={"noise": noise})
    steps = [
        trained_steps(model_of("concat"), rule, STEP.model_copy(update={"batch_size": size, "accumulate": times}))
        for size, times in ((24, 1), (12, 2))
    ]
    assert len(steps[0]) == len(steps[1]) == 1
    for name, value in steps[0][0].items():
        torch.testing.assert_close(steps[1][0][name], value, rtol=1e-4, atol=1e-6, msg=name)  # order of sums


def test_noise_has_the_deviation_of_the_gradient_before_it_was_damped_in_every_encoder():
    widths = {"audio": 211, "video": 223}  # many numbers per tensor, so that deviations are known to a few percent
    batch = batch_of(29, widths)
    found = {}
    for noise in (False, True):
        model = model_of("concat", widths)
        rule = OgmGe(context_of(model), alpha=ALPHA, noise=noise)
        rule.begin(0, None)
        part_of_step(rule, model, batch)
        before = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        rule.after_backward(5)
        found[noise] = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    drawn = []
    for name, gradient in before.items():
        added = found[True][name] - found[False][name]
        if name.startswith("encoders.") and gradient.dim() >= 2:
            scaled = added / gradient.std()
            assert abs(float(scaled.mean())) < 0.1, name
            assert 0.93 < float(scaled.std()) < 1.07, name
            drawn.append(scaled.flatten()[:1000])
        else:
            assert torch.equal(found[True][name], found[False][name]), name
    assert len(drawn) == 4
    correlations = torch.corrcoef(torch.stack(drawn)) - torch.eye(4)
    assert float(correlations.abs().max()) < 0.15


def test_noise_depends_on_seed_and_step_alone():
    def gradient(step: int, seed: int = 0) -> torch.Tensor:
        torch.manual_seed(step)
        model = model_of("concat")
        rule = OgmGe(context_of(model, seed=seed))
        rule.begin(0, None)
        part_of_step(rule, model, batch_of(13))
        rule.after_backward(step)
        return model.get_parameter("encoders.audio.layer.base.weight").grad

    assert torch.equal(gradient(3), gradient(3))
    assert not torch.equal(gradient(3), gradient(4))
    assert not torch.equal(gradient(3), gradient(3, seed=1))


def test_a_tensor_of_one_number_gets_next_to_no_noise():
    model = model_of("concat", {"audio": 1, "video": 7})
    model.encoders["audio"].layer.lora[1] = torch.nn.Linear(1, 1, bias=False)
    rule = OgmGe(context_of(model))
    rule.begin(0, None)
    part_of_step(rule, model, batch_of(13, {"audio": 1, "video": 7}))
    parameter = model.encoders["audio"].layer.lora[1].weight
    before, model.encoders["video"].layer.base.weight.grad = parameter.grad.clone(), None
    rule.after_backward(0)
    assert abs(float(parameter.grad - before)) <= abs(float(before))
    assert bool(parameter.grad.isfinite().all())


@pytest.mark.parametrize(("epoch", "acts"), [(0, False), (1, True), (2, True), (3, False)])
def test_it_acts_from_the_first_to_the_last_epoch_named(epoch, acts):
    model = model_of("concat")
    rule = OgmGe(context_of(model), start_epoch=1, end_epoch=2)
    rule.begin(epoch, None)
    part_of_step(rule, model, batch_of(13))
    before = model.get_parameter("encoders.video.layer.base.weight").grad.clone()
    rule.after_backward(0)
    changed = not torch.equal(model.get_parameter("encoders.video.layer.base.weight").grad, before)
    assert changed is acts
    assert torch.equal(rule.totals, torch.zeros(2, 2))


def test_the_scope_of_a_convolutional_encoder_is_its_convolutions_and_of_another_all_its_weights():
    conv, other = model_of("concat", encoder=ConvEncoder), model_of("concat")
    chosen = {
        (kind, scope): [
            name.removeprefix("encoders.audio.")
            for name, p in model.named_parameters()
            if any(p is one for one in OgmGe(context_of(model), scope=scope).weights["audio"])
        ]
        for kind, model in (("conv", conv), ("other", other))
        for scope in ("auto", "conv", "all_weights")
        if (kind, scope) != ("other", "conv")
    }
    assert chosen == {
        ("conv", "auto"): ["first.weight", "second.weight"],
        ("conv", "conv"): ["first.weight", "second.weight"],
        ("conv", "all_weights"): ["first.weight", "second.weight", "linear.weight"],
        ("other", "auto"): ["layer.base.weight", "layer.lora.1.weight"],
        ("other", "all_weights"): ["layer.base.weight", "layer.lora.1.weight"],
    }


def test_what_does_not_learn_is_left_alone():
    model = model_of("concat")
    rule = OgmGe(rule_context(model, ("audio.adapter", "fusion")))
    assert [tuple(p.shape) for p in rule.weights["audio"]] == [(11, 5)]
    assert rule.weights["video"] == []
    rule.begin(0, None)
    part_of_step(rule, model, batch_of(13))
    rule.after_backward(0)


def test_own_heads_stand_in_for_a_fusion_without_split():
    model = model_of("mlp", own_heads=True)
    rule = build_rule(QUIET, context_of(model))
    rule.begin(0, None)
    batch = batch_of(13)
    part_of_step(rule, model, batch)
    sums, counts = rule.totals
    torch.testing.assert_close(sums / counts, torch.tensor(list(slow_scores(model, batch).values())))


def test_an_epoch_through_the_loop_is_finite_and_leaves_nothing_behind():
    config = STEP.model_copy(update={"batch_size": 5, "epochs": 2})
    steps = trained_steps(model_of("sum"), BalancingConfig(name="ogm_ge"), config, Batches(samples(21, absent=0.7), 5))
    assert len(steps) == 10
    assert all(bool(value.isfinite().all()) for step in steps for value in step.values())


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("mlp", {}, ["'ogm_ge'", "bottleneck, concat, late_mean, prompts, shared_head, sum", "own_heads=True"]),
        ("one", {}, ["only audio", "two or more"]),
        ("concat", {"alpha": -1.0}, ["alpha", "0 or above", "-1.0"]),
        ("concat", {"scope": "heads"}, ["auto, conv, all_weights", "'heads'"]),
        ("concat", {"several": "max"}, ["min, mean", "'max'"]),
        ("concat", {"scope": "conv"}, ["'conv'", "'audio'", "all_weights"]),
        ("concat", {"start_epoch": 5, "end_epoch": 4}, ["start_epoch to end_epoch", "5 to 4"]),
        ("concat", {"beta": 1.0}, ["no option beta", "alpha, start_epoch, end_epoch, noise, scope, several"]),
    ],
)
def test_wrong_requests_are_sentences(model, options, words):
    built = model_of("concat", {"audio": 5}) if model == "one" else model_of(model)
    with pytest.raises(ValueError, match=r"\.$") as caught:
        build_rule(BalancingConfig(name="ogm_ge", options=options), context_of(built))
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


def test_micro_batches_of_no_sample_count_for_nothing():
    rule = OgmGe(context_of(model_of("concat")))
    rule.begin(0, None)
    assert torch.equal(rule.statistics(None), torch.zeros(4))
    rule.active = False
    assert rule.statistics(None) is None
    assert replace(rule.context, seed=1).seed == 1
