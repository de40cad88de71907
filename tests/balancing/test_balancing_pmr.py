"""PMR against its definition, one sample and one class after the other."""

import pytest
import torch
from balancing_samples import STEP, THREE, TWO, batch_of, context_of, model_of, part_of_step, trained_steps, without
from torch.nn import functional as F
from training_samples import CLASSES, DIM, Batches, forward_of, samples

from awase.balancing import build_rule
from awase.balancing.pmr import Pmr, behind
from awase.config import BalancingConfig

ALPHA = 1.3
WIDTHS = pytest.mark.parametrize("widths", [TWO, THREE], ids=["two", "three"])


def shares_of(batch, row: int) -> torch.Tensor:
    target = batch.targets[row]
    return F.one_hot(target, CLASSES).float() if target.dim() == 0 else target


def slow_prototypes(model, batches, classes=range(CLASSES)) -> dict[str, dict[int, torch.Tensor]]:
    """The weighted mean of the features of each class, sample by sample; no entry for a class that was not seen."""
    found = {}
    for name in model.modalities:
        found[name] = {}
        for k in classes:
            total, weight = torch.zeros(DIM, dtype=torch.float64), 0.0
            for batch in batches:
                with torch.no_grad():
                    features = model.encode(batch)[name].pooled.double()
                for row in range(len(batch)):
                    if batch.present[name][row]:
                        share = float(shares_of(batch, row)[k])
                        total, weight = total + share * features[row], weight + share
            if weight > 0:
                found[name][k] = (total / weight).float()
    return found


def slow_log_probabilities(model, batch, name: str, row: int, prototypes) -> torch.Tensor:
    """log softmax over the classes with a prototype of minus the distance, -inf for the others."""
    feature = model.encode(batch)[name].pooled[row]
    known = prototypes[name]
    logits = torch.full((CLASSES,), -torch.inf)
    logits = torch.stack(
        [-(feature - known[k]).square().sum().sqrt() if k in known else logits[k] for k in range(CLASSES)]
    )
    return logits.log_softmax(dim=0)


def slow_losses(model, batch, prototypes, soft: bool, entropy_weight: float = 0.0):
    """(losses of the samples, scores) by the definition."""
    logs = {
        (name, row): slow_log_probabilities(model, batch, name, row, prototypes)
        for name in model.modalities
        for row in range(len(batch))
        if batch.present[name][row]
    }
    scores = {}
    for name in model.modalities:
        total = weight = 0.0
        for row in range(len(batch)):
            if (name, row) in logs:
                for k in prototypes[name]:
                    share = float(shares_of(batch, row)[k])
                    total, weight = total + share * float(logs[name, row].detach()[k].exp()), weight + share
        if weight > 0:
            scores[name] = total / weight
    best = max(scores.values())
    leader = next(name for name, score in scores.items() if score == best)
    weights = {name: (min(best / score - 1, 1.0) if soft else 1.0) for name, score in scores.items() if score < best}
    logits = model(batch).logits
    losses = []
    for row in range(len(batch)):
        share = shares_of(batch, row)
        loss = -(share * logits[row].log_softmax(dim=0)).sum()
        for name, weight in weights.items():
            if (name, row) in logs:
                loss = loss - ALPHA * weight * sum(share[k] * logs[name, row][k] for k in prototypes[name])
        if (leader, row) in logs and weights:
            p = logs[leader, row][torch.tensor(sorted(prototypes[leader]))]
            loss = loss + entropy_weight * max(weights.values()) * (p.exp() * p).sum()
        losses.append(loss)
    return torch.stack(losses), scores


def after_an_epoch(rule, model, batches) -> None:
    """The rule at the beginning of the second epoch, after these batches in the first."""
    rule.begin(0, None)
    for batch in batches:
        rule.observe(rule.statistics(forward_of(model, batch, rule)))
    rule.on_epoch_end(0)
    rule.begin(1, None)


@WIDTHS
@pytest.mark.parametrize("mixed", [False, True])
def test_prototypes_are_the_means_of_the_classes_over_the_epoch(widths, mixed):
    model = model_of("concat", widths)
    generator = torch.Generator().manual_seed(5)
    targets = [torch.rand(n, CLASSES, generator=generator).softmax(dim=1) if mixed else None for n in (13, 7)]
    batches = [batch_of(n, widths, n, t) for n, t in zip((13, 7), targets, strict=True)]
    rule = Pmr(context_of(model))
    after_an_epoch(rule, model, batches)
    slow = slow_prototypes(model, batches)
    for name, found in zip(widths, rule.prototypes.split(DIM, dim=1), strict=True):
        for k in range(CLASSES):
            torch.testing.assert_close(found[k], slow[name][k])
    assert bool(rule.known.all())
    assert torch.equal(rule.sums, torch.zeros_like(rule.sums))
    assert torch.equal(rule.counts, torch.zeros(3, len(widths)))


def test_prototypes_move_by_the_momentum_and_classes_that_an_epoch_misses_keep_theirs():
    model = model_of("concat")
    rule = Pmr(context_of(model), momentum=0.25)
    first = batch_of(13, targets=torch.arange(13) % 2)  # nothing of the last class
    second = batch_of(11, seed=1, targets=torch.arange(11) % 2 + 1)  # nothing of the first
    after_an_epoch(rule, model, [first])
    old = slow_prototypes(model, [first])
    assert rule.known.tolist() == [[True, True], [True, True], [False, False]]
    rule.observe(rule.statistics(forward_of(model, second, rule)))
    rule.on_epoch_end(1)
    new = slow_prototypes(model, [second])
    for name, found in zip(TWO, rule.prototypes.split(DIM, dim=1), strict=True):
        torch.testing.assert_close(found[0], old[name][0])
        torch.testing.assert_close(found[1], 0.75 * new[name][1] + 0.25 * old[name][1])
        torch.testing.assert_close(found[2], new[name][2])


def test_the_first_epoch_is_plain_training():
    model, batch = model_of("concat"), batch_of(13)
    rule = Pmr(context_of(model))
    rule.begin(0, None)
    forward, losses = part_of_step(rule, model, batch)
    assert torch.equal(losses, forward.total.detach())


@WIDTHS
@pytest.mark.parametrize(("soft", "entropy"), [(False, 0.0), (True, 0.0), (True, 0.3)])
@pytest.mark.parametrize("mixed", [False, True])
def test_losses_and_gradients_are_their_definition(widths, soft, entropy, mixed):
    model = model_of("concat", widths)
    targets = torch.rand(17, CLASSES, generator=torch.Generator().manual_seed(5)).softmax(dim=1) if mixed else None
    epoch, batch = [batch_of(13, widths, 1)], batch_of(17, widths, 2, targets)
    rule = Pmr(context_of(model), alpha=ALPHA, soft=soft, entropy_weight=entropy)
    after_an_epoch(rule, model, epoch)
    _, losses = part_of_step(rule, model, batch)
    found = {name: p.grad for name, p in model.named_parameters()}
    slow = model_of("concat", widths)
    expected, _ = slow_losses(slow, batch, slow_prototypes(slow, epoch), soft, entropy)
    torch.testing.assert_close(losses, expected.detach())
    expected.sum().backward()
    for name, parameter in slow.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5, msg=name)  # two orders of sums


def test_distances_are_not_squared_and_small_ones_are_exact():
    model = model_of("concat")
    rule = Pmr(context_of(model))
    batch = batch_of(13)
    after_an_epoch(rule, model, [batch])
    forward = forward_of(model, batch, rule)
    with torch.no_grad():
        rule.prototypes[1, :DIM] = forward.output.encoded["audio"].pooled[4] + 1e-4  # a distance of 1e-4 sqrt(11)
        rule.prototypes[2, :DIM] = forward.output.encoded["audio"].pooled[4]
    similarity = rule._compare(forward)["audio"][4]
    torch.testing.assert_close(similarity[1], torch.tensor(-1e-4 * DIM**0.5), rtol=1e-2, atol=0)  # of the summand
    assert float(similarity.detach()[2]) == 0
    similarity[2].backward()
    gradients = [p.grad for p in model.encoders["audio"].parameters()]
    assert all(bool(g.isfinite().all()) for g in gradients if g is not None)


def test_a_class_without_prototype_takes_no_part():
    model = model_of("concat")
    epoch, batch = [batch_of(13, targets=torch.arange(13) % 2)], batch_of(17, seed=2)
    assert bool((batch.targets == 2).any())
    rule = Pmr(context_of(model), alpha=ALPHA)
    after_an_epoch(rule, model, epoch)
    forward, losses = part_of_step(rule, model, batch)
    expected, scores = slow_losses(model, batch, slow_prototypes(model, epoch, range(2)), False)
    torch.testing.assert_close(losses, expected.detach())
    torch.testing.assert_close(rule._scores, torch.tensor(list(scores.values())))
    unknown = batch.targets == 2
    assert torch.equal(losses[unknown], forward.total.detach()[unknown])
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("soft", [False, True])
def test_a_modality_that_nobody_had_or_has_is_left_out(soft):
    model = model_of("concat", THREE)
    rule = Pmr(context_of(model), soft=soft)
    after_an_epoch(rule, model, [without(batch_of(13, THREE), "text")])
    assert not bool(rule.known[:, 1].any())
    forward, losses = part_of_step(rule, model, batch_of(11, THREE, 3))
    assert bool(rule._scores[1].isnan())
    assert bool((losses > forward.total.detach()).any())
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
    rule.begin(2, None)
    _, losses = part_of_step(rule, model, without(without(batch_of(11, THREE, 3), "text"), "audio"))
    assert bool(losses.isfinite().all())


@pytest.mark.parametrize(
    ("scores", "hard", "soft", "lead"),
    [
        ((0.4, 0.5), (1, 0), (0.25, 0), (0, 0.25)),
        ((0.5, 0.2), (0, 1), (0, 1), (1, 0)),
        ((0.5, 0.5), (0, 0), (0, 0), (0, 0)),
        ((0.5, 0.25, 0.4), (0, 1, 1), (0, 1, 0.25), (1, 0, 0)),
        ((float("nan"), 0.5, 0.4), (0, 0, 1), (0, 0, 0.25), (0, 0.25, 0)),
        ((0.5, float("nan")), (0, 0), (0, 0), (0, 0)),
    ],
)
def test_weights_of_those_behind(scores, hard, soft, lead):
    torch.testing.assert_close(behind(torch.tensor(scores), False)[0], torch.tensor(hard).float())
    weights, leading = behind(torch.tensor(scores), True)
    torch.testing.assert_close(weights, torch.tensor(soft).float())
    torch.testing.assert_close(leading, torch.tensor(lead).float())


@pytest.mark.parametrize(
    ("epoch", "collects", "compares"),
    [(0, True, False), (1, True, False), (2, True, True), (4, False, True), (5, False, False)],
)
def test_it_acts_in_its_epochs_and_collects_as_long_as_it_will_compare(epoch, collects, compares):
    model = model_of("concat")
    rule = Pmr(context_of(model), start_epoch=2, end_epoch=4)
    rule.begin(epoch, None)
    assert (rule.collects, rule.compares) == (collects, compares)
    forward = forward_of(model, batch_of(7), rule)
    statistics = rule.statistics(forward)
    nothing = rule.statistics(None)
    if not (collects or compares):
        assert statistics is None
        assert nothing is None
        assert torch.equal(rule.losses(forward), forward.total)
        before = rule.prototypes.clone()
        rule.on_epoch_end(epoch)
        assert torch.equal(rule.prototypes, before)
    else:
        assert nothing.shape == statistics.shape
        assert torch.equal(nothing, torch.zeros_like(nothing))


def test_entropy_ends_after_its_epochs():
    model, batch = model_of("concat"), batch_of(13)
    losses = {}
    for weight in (0.0, 0.4):
        rule = Pmr(context_of(model), soft=True, entropy_weight=weight, entropy_epochs=2)
        after_an_epoch(rule, model, [batch_of(13, seed=3)])
        for epoch in (1, 2):
            rule.begin(epoch, None)
            losses[weight, epoch] = part_of_step(rule, model, batch)[1]
    assert not torch.equal(losses[0.0, 1], losses[0.4, 1])
    assert torch.equal(losses[0.0, 2], losses[0.4, 2])


def test_training_through_the_loop_differs_from_plain_training_from_the_second_epoch_on():
    config = STEP.model_copy(update={"batch_size": 5, "epochs": 2, "accumulate": 2})
    data = Batches(samples(21, absent=0.7), 5)
    plain_steps = trained_steps(model_of("mlp"), None, config, data)
    steps = trained_steps(model_of("mlp"), BalancingConfig(name="pmr"), config, data)
    assert len(steps) == len(plain_steps) == 6
    same = [all(torch.equal(a[name], b[name]) for name in a) for a, b in zip(plain_steps, steps, strict=True)]
    assert same[:3] == [True] * 3
    assert not any(same[3:])


@pytest.mark.parametrize(
    ("widths", "options", "facts", "words"),
    [
        ({"audio": 5}, {}, {}, ["only audio", "two or more"]),
        (TWO, {}, {"multi_label": True}, ["'pmr'", "one label per sample"]),
        (TWO, {"alpha": -0.5}, {}, ["0 or above", "alpha=-0.5"]),
        (TWO, {"momentum": 1.0}, {}, ["[0, 1)", "1.0"]),
        (TWO, {"start_epoch": -1}, {}, ["counted from 0", "-1 to 100"]),
        (TWO, {"hard": True}, {}, ["no option hard", "alpha, start_epoch, end_epoch, momentum, soft"]),
    ],
)
def test_wrong_requests_are_sentences(widths, options, facts, words):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        build_rule(BalancingConfig(name="pmr", options=options), context_of(model_of("concat", widths), **facts))
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
