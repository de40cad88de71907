"""AGM against its definition: forward passes on inputs of zeros, every order of the modalities, sample by sample."""

import itertools
import math

import pytest
import torch
from gradient_rules import (
    ONE_STEP,
    THREE,
    TWO,
    Keeper,
    assert_close,
    classifier,
    mixed,
    rows,
    trained,
)
from process_pair import noted
from torch import Tensor
from torch.nn import functional as F
from training_samples import CLASSES, Batches, assert_same, forward_of, make_loop, picked, rule_context, state_of

from awase.balancing import Forward, build_rule
from awase.balancing.agm import Agm, sets_of, shapley_matrix
from awase.config import BalancingConfig, TrainConfig
from awase.fusion.rows import encode_zeros
from awase.models import Classifier
from awase.models.encode import presence
from awase.objectives import binary_cross_entropy
from awase.types import Batch, Encoded

RULE = BalancingConfig(name="agm", options={"alpha": 0.7})
MODALITIES = pytest.mark.parametrize("modalities", [TWO, THREE], ids=["two", "three"])
FUSIONS = ["concat", "sum", "late_mean", "mlp"]


def value_of(model: Classifier, batch: Batch, row: int, members: tuple[str, ...]) -> Tensor:
    """The logits of one sample when every modality that is not among the members has an input of zeros."""
    here = [name for name in model.modalities if batch.present[name][row]]
    if not set(members) & set(here):
        return torch.zeros(CLASSES)
    features, present = {}, {}
    for name, encoder in model.encoders.items():
        inside = name in members
        inputs = batch.inputs[name][row : row + 1] if inside else torch.zeros_like(batch.inputs[name][row : row + 1])
        pooled = encoder(inputs).pooled
        features[name] = pooled if inside else pooled.detach()
        present[name] = torch.tensor([name in here])
    return model.decide(features, present)[0][0]


def shares_of(model: Classifier, batch: Batch, row: int) -> dict[str, Tensor]:
    """The mean over all orders of the modalities a sample has of what each adds to those before it."""
    here = [name for name in model.modalities if batch.present[name][row]]
    shares = {name: torch.zeros(CLASSES) for name in model.modalities}
    orders = list(itertools.permutations(here))
    for order in orders:
        for place, name in enumerate(order):
            added = value_of(model, batch, row, order[: place + 1]) - value_of(model, batch, row, order[:place])
            shares[name] = shares[name] + added / len(orders)
    return shares


def slow(model: Classifier, batches: list[Batch], alpha: float) -> tuple[list[dict[str, Tensor]], list[dict]]:
    """The gradient and the factors of every iteration of a model that stays as it is."""
    tau, seen = dict.fromkeys(model.modalities, 0.0), dict.fromkeys(model.modalities, 0)
    gradients, factors = [], []
    for batch in batches:
        shares = [shares_of(model, batch, row) for row in range(len(batch))]
        errors = {}
        for name in model.modalities:
            own = [
                float(F.cross_entropy(shares[row][name].detach(), batch.targets[row]))
                for row in range(len(batch))
                if batch.present[name][row]
            ]
            if own:
                errors[name] = sum(own) / len(own)
        kappa = {}
        for name in errors:
            others = [m for m in errors if m != name]
            r = math.exp(sum(errors[m] for m in others) / len(others) - errors[name]) if others else 1.0
            known = [m for m in others if seen[m]]
            optimum = 1.0
            if known and seen[name]:
                optimum = math.exp(sum(tau[m] for m in known) / len(known) - tau[name])
            kappa[name] = math.exp(alpha * min(optimum - r, 10.0))
        for name, error in errors.items():
            seen[name] += 1
            tau[name] += (error - tau[name]) / seen[name]
        model.zero_grad()
        for row in range(len(batch)):
            z = sum(shares[row].values())
            leaf = z.detach().requires_grad_()
            (upstream,) = torch.autograd.grad(F.cross_entropy(leaf, batch.targets[row]), leaf)
            sum((kappa.get(name, 1.0) * share * upstream).sum() for name, share in shares[row].items()).backward()
        gradients.append({name: p.grad / len(batch) for name, p in model.named_parameters() if p.grad is not None})
        factors.append(kappa)
        model.zero_grad()
    return gradients, factors


def run(model: Classifier, batch: Batch, size: int, fusion: str = "concat", rule: BalancingConfig = RULE, **changes):
    config = ONE_STEP.model_copy(update={"batch_size": size, **changes})
    loop = make_loop(model, config, trained(fusion), Batches(batch, size, shuffled=False), rule=rule)
    return noted(loop), loop


def parts_of(batch: Batch, size: int) -> list[Batch]:
    order = torch.arange(len(batch))
    return [picked(batch, order[first : first + size]) for first in range(0, len(batch), size)]


@pytest.mark.parametrize("absent", [0.0, 0.4])
@pytest.mark.parametrize("fusion", FUSIONS)
@MODALITIES
def test_three_steps_are_the_definition(modalities, fusion, absent):
    model, batch = classifier(modalities, fusion), rows(14, modalities, absent)
    expected, factors = slow(model, parts_of(batch, 5), 0.7)
    assert len({round(value, 3) for kappa in factors for value in kappa.values()}) > 3
    found, _ = run(model, batch, 5, fusion)
    for got, wanted in zip(found, expected, strict=True):
        assert_close(got, wanted, rtol=1e-4, atol=1e-6)  # sums in another order


@pytest.mark.parametrize("fusion", ["film", "gated"])
def test_fusions_in_which_one_conditions_the_other_can_be_balanced(fusion):
    model, batch = classifier(TWO, fusion), rows(10, TWO, 0.3)
    expected, _ = slow(model, parts_of(batch, 5), 0.7)
    found, _ = run(model, batch, 5, fusion)
    for got, wanted in zip(found, expected, strict=True):
        assert_close(got, wanted, rtol=1e-4, atol=1e-6)


def forward_and_rule(modalities, fusion="concat", absent=0.0, num=13) -> tuple[Forward, Agm, Classifier]:
    model = classifier(modalities, fusion)
    parts = tuple(part for part in model.parts())
    rule = build_rule(RULE, rule_context(model, parts))
    assert isinstance(rule, Agm)
    rule.begin(0, None)
    return forward_of(model, rows(num, modalities, absent), rule), rule, model


@pytest.mark.parametrize("absent", [0.0, 0.4])
@pytest.mark.parametrize("fusion", FUSIONS)
@MODALITIES
def test_shares_add_up_to_the_logits(modalities, fusion, absent):
    forward, rule, _ = forward_and_rule(modalities, fusion, absent)
    rule.statistics(forward)
    torch.testing.assert_close(rule._shares.sum(dim=0), forward.output.logits, rtol=1e-5, atol=1e-5)
    for position, name in enumerate(modalities):
        lacking = ~forward.batch.present[name]
        own = rule._shares[position][lacking]
        torch.testing.assert_close(own, torch.zeros_like(own))  # a difference of equal logits


def test_two_modalities_have_the_published_shares():
    forward, rule, model = forward_and_rule(TWO)
    rule.statistics(forward)
    features = {name: value.pooled for name, value in forward.output.encoded.items()}
    zero = {name: model.encoders[name](torch.zeros(1, model.encoders[name].layer.base.in_features)) for name in TWO}
    zero = {name: value.pooled.expand(13, -1) for name, value in zero.items()}
    present = dict.fromkeys(TWO)
    z = model.decide(features, present)[0]
    without_audio = model.decide({"audio": zero["audio"], "video": features["video"]}, present)[0]
    without_video = model.decide({"audio": features["audio"], "video": zero["video"]}, present)[0]
    torch.testing.assert_close(rule._shares[0], 0.5 * (z - without_audio + without_video))
    torch.testing.assert_close(rule._shares[1], 0.5 * (z - without_video + without_audio))


def test_the_loss_is_that_of_the_fused_logits_whatever_the_factors():
    model, batch = classifier(THREE), rows(13, THREE, 0.3)
    expected = float(F.cross_entropy(model(batch).logits, batch.targets).detach())
    _, loop = run(model, batch, 13)
    assert loop.progress.curve[0]["train_loss"] == pytest.approx(expected, rel=1e-6)


def test_with_alpha_zero_it_is_plain_training():
    """But for the gradient through inputs of zeros, of which there is none."""
    model, batch = classifier(THREE, "sum"), rows(13, THREE, 0.3)
    (plain,), _ = run(model, batch, 13, "sum", None)
    (found,), _ = run(model, batch, 13, "sum", BalancingConfig(name="agm", options={"alpha": 0.0}))
    assert_close(found, plain, rtol=1e-4, atol=1e-6)


def test_mixed_targets_are_distributions_over_classes():
    model, batch = classifier(TWO), mixed(rows(13, TWO, 0.3))
    (expected,), _ = slow(model, [batch], 0.7)
    (found,), _ = run(model, batch, 13)
    assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_several_labels_have_their_own_loss():
    _, rule, model = forward_and_rule(TWO)
    batch = rows(13, TWO, 0.3)
    labels = (torch.randn(13, CLASSES, generator=torch.Generator().manual_seed(1)) > 0).float()
    labelled = Batch(batch.ids, batch.index, batch.inputs, batch.present, batch.complete, labels)
    output = model(labelled)
    fused = binary_cross_entropy(output.logits, labels)
    forward = Forward(labelled, output, presence(batch, TWO), binary_cross_entropy, fused, fused)
    rule.begin(0, None)
    total = rule.statistics(forward)
    shares = [shares_of(model, labelled, row) for row in range(13)]
    for position, name in enumerate(TWO):
        own = [
            float(binary_cross_entropy(shares[row][name].detach()[None], labels[row : row + 1]))
            for row in range(13)
            if batch.present[name][row]
        ]
        assert float(total[position]) == pytest.approx(sum(own), rel=1e-5)
        assert float(total[2 + position]) == len(own)
    rule.observe(total)
    torch.testing.assert_close(rule.losses(forward), fused)


def test_a_modality_that_no_sample_of_a_batch_has_keeps_its_mean():
    model, batch = classifier(THREE), rows(12, THREE)
    gone = torch.arange(12) < 8
    batch.present["text"] &= ~gone
    batch = Batch(batch.ids, batch.index, batch.inputs, batch.present, frozenset({"audio", "video"}), batch.targets)
    expected, _ = slow(model, parts_of(batch, 4), 0.7)
    found, loop = run(model, batch, 4)
    for got, wanted in zip(found, expected, strict=True):
        assert_close(got, wanted, rtol=1e-4, atol=1e-6)
    assert loop.work.rule.counts.tolist() == [3, 1, 3]


def test_a_micro_batch_is_an_iteration():
    """kappa is known only after all of a batch has been seen, so accumulation is not one large batch, but this."""
    model, batch = classifier(TWO), rows(12, TWO, 0.3)
    expected, _ = slow(model, parts_of(batch, 4), 0.7)
    (found,), loop = run(model, batch, 4, accumulate=3)
    mean = {name: sum(one[name] for one in expected) / 3 for name in expected[0]}
    assert_close(found, mean, rtol=1e-4, atol=1e-6)
    assert loop.work.rule.counts.tolist() == [3, 3]


def test_each_encoder_runs_once_per_micro_batch_and_once_per_step_on_one_row_of_zeros():
    model, batch = classifier(THREE, noisy=True), rows(12, THREE)
    shown: list[tuple[str, int, bool, bool]] = []
    for name, encoder in model.encoders.items():
        encoder.register_forward_pre_hook(
            lambda module, args, n=name: shown.append((n, len(args[0]), module.training, bool(args[0].any())))
        )
    config = ONE_STEP.model_copy(update={"batch_size": 4, "accumulate": 3})
    loop = make_loop(model, config, trained("concat"), Batches(batch, 4), rule=RULE)
    loop.work.set_modes()
    shown.clear()
    loop._train_epoch()
    for name in THREE:
        own = [entry[1:] for entry in shown if entry[0] == name]
        assert sorted(own) == sorted([(4, True, True)] * 3 + [(1, False, False)])


def test_batch_norm_does_not_learn_from_inputs_of_zeros():
    models = [classifier(TWO, noisy=True) for _ in range(2)]
    for model, rule in zip(models, (RULE, None), strict=True):
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        run(model, rows(13, TWO), 13, rule=rule)
    for name in TWO:
        for kind in ("running_mean", "running_var", "num_batches_tracked"):
            key = f"encoders.{name}.norm.{kind}"
            assert torch.equal(models[0].state_dict()[key], models[1].state_dict()[key])
        assert models[0].encoders[name].norm.training


def test_an_input_of_named_tensors_has_masks_of_ones():
    seen = {}

    class Words(torch.nn.Module):
        def forward(self, inputs: dict[str, Tensor]) -> Encoded:
            seen.update(inputs)
            return Encoded(inputs["input_ids"].float())

    words = {"input_ids": torch.full((5, 3), 7), "attention_mask": torch.zeros(5, 3, dtype=torch.long)}
    assert torch.equal(encode_zeros(Words(), words).pooled, torch.zeros(1, 3))
    assert torch.equal(seen["attention_mask"], torch.ones(1, 3, dtype=torch.long))


def test_the_difference_of_the_ratios_is_bounded():
    _, rule, _ = forward_and_rule(TWO)
    rule.means.copy_(torch.tensor([0.0, 4.0]))
    rule.counts.fill_(1)
    rule.observe(torch.tensor([5.0, 5.0, 5.0, 5.0]))  # both errors are one: r = 1, while tau says e^4
    assert rule._factors[0].item() == pytest.approx(math.exp(0.7 * 10))
    assert rule._factors[1].item() == pytest.approx(math.exp(0.7 * (math.exp(-4) - 1)))


def test_resuming_from_every_checkpoint_gives_the_same_bits(tmp_path):
    training = TrainConfig(epochs=2, batch_size=5, learning_rate=1e-2)
    parts, batches = trained("concat"), Batches(rows(23, THREE), 5)
    keeper = Keeper(tmp_path)
    torch.manual_seed(7)
    whole = classifier(THREE, noisy=True)
    loop = make_loop(whole, training, parts, batches, rule=RULE, writer=keeper, checkpoint_every_s=0.0)
    loop.run()
    keeper.close()
    assert len(keeper.kept) == 10
    for checkpoint in keeper.kept:
        assert {"rule|means", "rule|counts"} <= set(checkpoint.tensors)
        torch.manual_seed(99)
        model = classifier(THREE, noisy=True)
        again = make_loop(model, training, parts, batches, rule=RULE)
        again.run(checkpoint)
        assert_same(state_of(model), state_of(whole))
        assert_same(again.work.rule.state_dict(), loop.work.rule.state_dict())


# ---- Shapley values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num", [2, 3, 5])
def test_weights_are_the_mean_over_all_orders(num):
    generator = torch.Generator().manual_seed(num)
    sets = sets_of(num)
    values = {members: float(torch.randn((), generator=generator)) for members in sets}
    values[(False,) * num] = 0.0
    found = shapley_matrix(num) @ torch.tensor([values[members] for members in sets])
    orders = list(itertools.permutations(range(num)))
    for own in range(num):
        total = 0.0
        for order in orders:
            before = order[: order.index(own)]
            without = tuple(place in before for place in range(num))
            total += values[tuple(place in (*before, own) for place in range(num))] - values[without]
        assert float(found[own]) == pytest.approx(total / len(orders), abs=1e-5)


# ---- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modalities", "options", "parts", "words"),
    [
        (("audio",), {}, ("*.encoder", "fusion"), ["two or more", "audio"]),
        (TWO, {"alpha": -1.0}, ("*.encoder", "fusion"), ["0 or above", "-1.0"]),
        (TWO, {}, ("audio.encoder", "fusion"), ["encoders that learn", "video"]),
        (TWO, {"alfa": 1}, ("*.encoder", "fusion"), ["alfa", "alpha"]),
    ],
)
def test_what_it_cannot_balance_is_refused_when_built(modalities, options, parts, words):
    model = classifier(modalities)
    with pytest.raises(ValueError, match=r"\.$") as caught:
        make_loop(model, ONE_STEP, parts, rule=BalancingConfig(name="agm", options=options))
    assert [word for word in words if word not in str(caught.value)] == []


def test_modalities_that_meet_inside_the_encoders_are_refused(monkeypatch):
    model = classifier(TWO)
    monkeypatch.setattr(type(model.fusion), "mixes", True)
    with pytest.raises(ValueError, match=r"meet inside them\.$"):
        build_rule(RULE, rule_context(model, ("audio.encoder", "video.encoder", "fusion")))


def test_a_process_without_samples_gives_zeros():
    _, rule, _ = forward_and_rule(TWO)
    assert rule.statistics(None).tolist() == [0, 0, 0, 0]
