"""OPM against its definition, one sample after the other."""

import math

import pytest
import torch
from balancing_samples import STEP, THREE, TWO, batch_of, context_of, model_of, part_of_step, trained_steps, without
from test_balancing_ogm_ge import slow_scores
from torch.nn import functional as F
from training_samples import DIM, Batches, forward_of, samples

from awase.balancing import build_rule
from awase.balancing.draws import streams_of, uniform_of
from awase.balancing.opm import Opm, drop_chances
from awase.config import BalancingConfig

ALWAYS = {"start_epoch": 0, "p_exe": 1.0}


def slow_chances(scores: dict[str, float], q_base: float, lam: float) -> dict[str, float]:
    chances = {}
    for name, score in scores.items():
        others = [value for other, value in scores.items() if other != name]
        ahead = math.tanh(max(score / (sum(others) / len(others)) - 1, 0)) if others else 0.0
        chances[name] = min(max(q_base * (1 + lam * ahead), 0), 1) if ahead > 0 else 0.0
    return chances


@pytest.mark.parametrize("lam", [0.0, 0.5, 9.0])
@pytest.mark.parametrize("scores", [(0.3, 0.7), (0.7, 0.3), (0.2, 0.5, 0.4), (0.9, 0.1, 0.11), (0.31, 0.31)])
def test_chances_are_their_definition(scores, lam):
    expected = slow_chances({str(n): score for n, score in enumerate(scores)}, 0.5, lam)
    torch.testing.assert_close(drop_chances(torch.tensor(scores), 0.5, lam), torch.tensor(list(expected.values())))


def test_what_is_not_known_or_equal_is_not_dropped():
    nan = torch.nan
    for scores in ((nan, nan), (nan, 0.5), (0.31, 0.31, 0.31), (0.0, 0.0)):
        assert drop_chances(torch.tensor(scores), 0.5, 0.5).tolist() == [0.0] * len(scores)
    some = drop_chances(torch.tensor([0.2, nan, 0.4]), 0.5, 0.5)
    torch.testing.assert_close(some, torch.tensor([0, 0, 0.5 * (1 + 0.5 * math.tanh(1))]))


def one_step(widths=TWO, p_exe: float = 1.0, scores=None, q_base: float = 0.6):
    """(model, batch, rule, forward) of a step in which the scores are known."""
    model, batch = model_of("concat", widths), batch_of(41, widths)
    rule = Opm(context_of(model, seed=3), q_base=q_base, p_exe=p_exe, start_epoch=0)
    rule.scores.copy_(torch.tensor(scores or ([0.2, 0.8] if len(widths) == 2 else [0.8, 0.1, 0.5])))
    rule.after_backward(6)  # nothing but the number of the step: 7 comes next
    rule.begin(0, None)
    forward, losses = part_of_step(rule, model, batch)
    return model, batch, rule, forward, losses


@pytest.mark.parametrize("widths", [TWO, THREE], ids=["two", "three"])
def test_a_step_drops_rescales_and_leaves_out_by_the_definition(widths):
    model, batch, rule, forward, losses = one_step(widths)
    names = list(widths)
    chances = slow_chances(dict(zip(names, [0.2, 0.8] if len(widths) == 2 else [0.8, 0.1, 0.5], strict=True)), 0.6, 0.5)
    theta = sum(DIM * q for q in chances.values()) / (DIM * len(names))
    slow = model_of("concat", widths)
    slices = dict(zip(names, slow.fusion.linear.weight.split(DIM, dim=1), strict=True))
    encoded = {name: value.pooled for name, value in slow.encode(batch).items()}
    expected, left_out = [], 0
    for row in range(len(batch)):
        logits, left = slow.fusion.linear.bias, False
        for number, name in enumerate(names):
            draw = uniform_of(torch.tensor([row]), torch.tensor(7), streams_of(3, len(names)))[number]
            kept = float(draw) >= chances[name]
            if not batch.present[name][row]:
                logits = logits + slices[name] @ slow.fusion.absent[name]
            elif kept:
                logits, left = logits + slices[name] @ (encoded[name][row] / (1 - theta)), True
        torch.testing.assert_close(forward.output.logits[row], logits)
        expected.append(F.cross_entropy(logits, batch.targets[row]) if left else torch.zeros(()))
        left_out += not left
    assert 0 < left_out < len(batch)
    torch.testing.assert_close(losses, torch.stack(expected).detach())
    # The gradient of the mean over those left: the loop divides by all, and the rule puts that right.
    (torch.stack(expected).sum() / (len(batch) - left_out)).backward()
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad /= len(batch)
    rule.after_backward(7)
    for name, parameter in slow.named_parameters():
        torch.testing.assert_close(model.get_parameter(name).grad, parameter.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_scores_are_of_features_that_nothing_was_dropped_from():
    model, batch, rule, _, _ = one_step()
    rule.after_backward(7)
    torch.testing.assert_close(rule.scores, torch.tensor(list(slow_scores(model, batch).values())))
    assert int(rule.step) == 8


def test_the_first_step_and_a_step_not_executed_drop_nothing():
    model, batch = model_of("concat"), batch_of(13)
    rule = Opm(context_of(model), **ALWAYS)
    rule.begin(0, None)
    forward, losses = part_of_step(rule, model, batch)
    torch.testing.assert_close(losses, F.cross_entropy(model(batch).logits, batch.targets, reduction="none").detach())
    _, batch, _, forward, losses = one_step(p_exe=0.0)
    torch.testing.assert_close(forward.output.logits, model_of("concat")(batch).logits)
    assert torch.equal(losses, forward.total.detach())


def test_steps_are_executed_and_features_dropped_as_often_as_said():
    model = model_of("concat")
    rule = Opm(context_of(model), p_exe=0.7, q_base=0.4, lam=0.0, start_epoch=0)
    rule.scores.copy_(torch.tensor([0.2, 0.8]))
    rule.begin(0, None)
    batch = batch_of(97)
    features = {name: torch.ones(97, DIM) for name in TWO}
    executed, dropped = 0, []
    for step in range(400):
        rule.step.fill_(step)
        edited, present = rule.on_encoded(features, dict.fromkeys(TWO), batch)
        assert all(value is None for value in present.values())
        if float(edited["audio"][0, 0]) != 1:
            executed += 1
            torch.testing.assert_close(edited["audio"], features["audio"] / 0.8)  # theta = 0.4 / 2
            dropped.append(float((edited["video"][:, 0] == 0).float().mean()))
    assert 0.6 < executed / 400 < 0.8
    assert abs(sum(dropped) / len(dropped) - 0.4) < 0.02


def test_a_modality_no_sample_has_keeps_its_score():
    model = model_of("concat")
    rule = Opm(context_of(model), **ALWAYS)
    rule.begin(0, None)
    part_of_step(rule, model, batch_of(13))
    rule.after_backward(0)
    before = rule.scores.clone()
    part_of_step(rule, model, without(batch_of(11, seed=2), "audio"))
    rule.after_backward(1)
    assert rule.scores[0] == before[0]
    assert rule.scores[1] != before[1]
    assert torch.equal(rule.totals, torch.zeros(6))


def test_a_step_of_which_nothing_is_left_has_no_gradient():
    model, batch = model_of("concat"), without(batch_of(11), "audio")
    rule = Opm(context_of(model), q_base=1.0, lam=0.0, **ALWAYS)
    rule.scores.copy_(torch.tensor([0.2, 0.8]))
    rule.begin(0, None)
    _, losses = part_of_step(rule, model, batch)
    rule.after_backward(0)
    assert torch.equal(losses, torch.zeros(11))
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in model.parameters() if p.grad is not None)


def test_two_micro_batches_are_one_batch():
    rule = BalancingConfig(name="opm", options=ALWAYS)
    steps = [
        trained_steps(
            model_of("sum"), rule, STEP.model_copy(update={"epochs": 3, "batch_size": size, "accumulate": times})
        )
        for size, times in ((24, 1), (12, 2))
    ]
    plain_steps = trained_steps(model_of("sum"), None, STEP.model_copy(update={"epochs": 3}))
    assert len(steps[0]) == len(steps[1]) == 3
    for one, two in zip(*steps, strict=True):
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-6, msg=name)  # order of sums
    name = "encoders.audio.layer.base.weight"
    torch.testing.assert_close(steps[0][0][name], plain_steps[0][name])
    assert not torch.equal(steps[0][1][name], plain_steps[1][name])


def test_before_its_first_epoch_it_is_plain_training():
    config = STEP.model_copy(update={"batch_size": 5, "epochs": 3})
    data = Batches(samples(21, absent=0.7), 5)
    rule = BalancingConfig(name="opm", options={"start_epoch": 2, "p_exe": 1.0})
    steps, plain_steps = (
        trained_steps(model_of("sum"), rule, config, data),
        trained_steps(model_of("sum"), None, config, data),
    )
    same = [all(torch.equal(a[name], b[name]) for name in a) for a, b in zip(plain_steps, steps, strict=True)]
    assert same[:10] == [True] * 10
    assert not all(same[10:])


def test_own_heads_give_the_scores_of_a_fusion_without_split():
    model, batch = model_of("mlp", own_heads=True), batch_of(13)
    rule = Opm(context_of(model), **ALWAYS)
    rule.begin(0, None)
    rule.observe(rule.statistics(forward_of(model, batch, rule)))
    torch.testing.assert_close(
        rule.totals[:2] / rule.totals[2:4], torch.tensor(list(slow_scores(model, batch).values()))
    )


@pytest.mark.parametrize(
    ("fusion", "options", "words"),
    [
        ("mlp", {}, ["'opm'", "does not split", "bottleneck, concat, late_mean, prompts, shared_head, sum"]),
        ("concat", {"q_base": 1.5}, ["q_base", "[0, 1]", "1.5"]),
        ("concat", {"p_exe": -0.1}, ["p_exe", "-0.1"]),
        ("concat", {"lam": -1.0}, ["lam", "-1.0"]),
        ("concat", {"start_epoch": -1}, ["start_epoch", "-1"]),
        ("concat", {"q": 0.5}, ["no option q", "q_base, lam, p_exe, start_epoch"]),
    ],
)
def test_wrong_requests_are_sentences(fusion, options, words):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        build_rule(BalancingConfig(name="opm", options=options), context_of(model_of(fusion)))
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
