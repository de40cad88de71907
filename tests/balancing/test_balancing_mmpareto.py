"""MMPareto against its definition: one loss at a time by autograd, one long vector per encoder."""

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
from training_samples import CLASSES, DIM, Batches, assert_same, make_loop, rule_context, state_of

from awase.balancing import Forward, build_rule
from awase.balancing.mmpareto import combined_gradients, pareto_weight
from awase.config import BalancingConfig, TrainConfig
from awase.models import Classifier
from awase.models.encode import presence
from awase.models.parts import part_of
from awase.objectives import binary_cross_entropy
from awase.types import Batch

RULE = BalancingConfig(name="mmpareto")
MODALITIES = pytest.mark.parametrize("modalities", [TWO, THREE], ids=["two", "three"])


def model_of(modalities: tuple[str, ...], heads: str = "random", fusion: str = "concat") -> Classifier:
    """Own heads that agree with the fusion's part of their modality, or are its negative, or are random."""
    model = classifier(modalities, fusion, own_heads=True)
    slices = (
        dict(zip(modalities, model.fusion.linear.weight.split(DIM, dim=1), strict=True)) if heads != "random" else {}
    )
    with torch.no_grad():
        for name, weight in slices.items():
            model.heads[name].weight.copy_(weight if heads == "agree" else -3 * weight)
    return model


def losses_of(model: Classifier, batch: Batch) -> dict[str, Tensor]:
    """The mean losses, with a forward pass of their own, one sample after the other."""
    output = model(batch)
    sums = {"": torch.zeros(()), **{name: torch.zeros(()) for name in model.modalities}}
    for row in range(len(batch)):
        target = batch.targets[row]
        sums[""] = sums[""] + F.cross_entropy(output.logits[row], target)
        for name in model.modalities:
            if batch.present[name][row]:
                own = model.heads[name](output.encoded[name].pooled[row])
                sums[name] = sums[name] + F.cross_entropy(own, target)
    return {name: value / len(batch) for name, value in sums.items()}


def gradient(loss: Tensor, model: Classifier, keep) -> dict[str, Tensor]:
    chosen = {name: p for name, p in model.named_parameters() if keep(part_of(name))}
    found = torch.autograd.grad(loss, list(chosen.values()), retain_graph=True, allow_unused=True)
    return {
        name: torch.zeros_like(p) if value is None else value
        for (name, p), value in zip(chosen.items(), found, strict=True)
    }


def slow(model: Classifier, batch: Batch, gamma: float = 1.5) -> tuple[dict[str, Tensor], list[str]]:
    """The gradient of a step, and for each modality whether its two gradients agree."""
    losses = losses_of(model, batch)
    result = gradient(sum(losses.values()), model, lambda part: part == "fusion" or part.endswith(".head"))
    branches = []
    for name in model.modalities:
        a, b = (
            gradient(losses[key], model, lambda part, n=name: part in (f"{n}.encoder", f"{n}.adapter"))
            for key in ("", name)
        )
        long_a, long_b = (torch.cat([value.flatten() for value in g.values()]).double() for g in (a, b))
        w = 0.5
        if F.cosine_similarity(long_a, long_b, dim=0) <= 0:
            w = float(((long_b - long_a) @ long_b) / (long_a - long_b).square().sum())
            w = min(max(w, 0.0), 1.0)
        branches.append("agree" if w == 0.5 else "conflict")
        for key in a:
            g = 2 * w * a[key] + 2 * (1 - w) * b[key]
            factor = max(1.0, float((a[key] + b[key]).norm() / g.norm())) if float(g.norm()) > 0 else 1.0
            result[key] = gamma * factor * g
    return result, branches


def fast(model: Classifier, batch: Batch, rule: BalancingConfig = RULE, size: int = 100, times: int = 1):
    config = ONE_STEP.model_copy(update={"batch_size": size, "accumulate": times})
    batches = Batches(batch, size, shuffled=False)
    (found,) = noted(make_loop(model, config, trained("concat", own_heads=True), batches, rule=rule))
    return found


@MODALITIES
@pytest.mark.parametrize("absent", [0.0, 0.4])
@pytest.mark.parametrize("heads", ["agree", "conflict", "random"])
def test_a_step_is_the_definition(modalities, heads, absent):
    model, batch = model_of(modalities, heads), rows(13, modalities, absent)
    expected, branches = slow(model, batch)
    if heads != "random":
        assert set(branches) == {heads}
    assert_close(fast(model, batch), expected, rtol=1e-4, atol=1e-6)  # sums in another order, and a quotient of norms


def test_a_conflict_takes_the_smallest_combination_and_not_the_sum():
    """The gradient of one parameter of a conflicting pair is neither the sum's nor of its direction."""
    model, batch = model_of(TWO, "conflict"), rows(13, TWO)
    found = fast(model, batch)["encoders.audio.layer.base.weight"].flatten()
    losses = losses_of(model, batch)
    plain = gradient(sum(losses.values()), model, lambda part: part == "audio.encoder")
    assert float(F.cosine_similarity(found, plain["encoders.audio.layer.base.weight"].flatten(), dim=0)) < 0.9


def test_gamma_multiplies_the_encoders_alone():
    model, batch = model_of(TWO), rows(13, TWO)
    one = fast(model, batch, BalancingConfig(name="mmpareto", options={"gamma": 1.0}))
    three = fast(model, batch, BalancingConfig(name="mmpareto", options={"gamma": 3.0}))
    expected = {name: value * (3 if name.startswith("encoders.") else 1) for name, value in one.items()}
    assert_close(three, expected)


def test_mixed_targets_are_distributions_over_classes():
    model, batch = model_of(THREE), mixed(rows(13, THREE, 0.3))
    assert_close(fast(model, batch), slow(model, batch)[0], rtol=1e-4, atol=1e-6)


def test_several_labels_have_their_own_loss():
    model = model_of(TWO)
    batch = rows(13, TWO)
    labels = (torch.randn(13, CLASSES, generator=torch.Generator().manual_seed(1)) > 0).float()
    context = rule_context(
        model,
        ("audio.encoder", "video.encoder", "fusion", "audio.head", "video.head"),
        sample_loss=binary_cross_entropy,
        multi_label=True,
    )
    rule = build_rule(RULE, context)
    output = model(batch)
    fused = binary_cross_entropy(output.logits, labels)
    labelled = Batch(batch.ids, batch.index, batch.inputs, batch.present, batch.complete, labels)
    forward = Forward(labelled, output, presence(batch, TWO), binary_cross_entropy, fused, fused)
    rule.backward(forward, rule.losses(forward))
    for extra in rule.extra_gradients():
        extra.div_(1.0)
    own = binary_cross_entropy(model.heads["audio"](model(batch).encoded["audio"].pooled), labels).sum()
    expected = gradient(own, model, lambda part: part == "audio.head")
    assert_close({name: dict(model.named_parameters())[name].grad for name in expected}, expected)
    rule.after_backward(0)


def test_two_micro_batches_are_one_batch():
    model, batch = model_of(THREE, "conflict"), rows(12, THREE, 0.4)
    assert_close(fast(model, batch, size=4, times=3), fast(model, batch, size=12), rtol=1e-4, atol=1e-6)


def test_two_backward_passes_and_no_more():
    model, batch = model_of(THREE), rows(13, THREE)
    passes = []

    def watch(name: str):
        def hook(_module, _inputs, output: Tensor) -> None:
            if output.requires_grad:  # not in validation
                output.register_hook(lambda _: passes.append(name))

        return hook

    for name, encoder in model.encoders.items():
        encoder.layer.register_forward_hook(watch(name))
    fast(model, batch)
    assert sorted(passes) == sorted([*THREE, *THREE])


def test_the_loss_is_that_of_all_heads():
    model, batch = model_of(THREE, "random"), rows(13, THREE, 0.4)
    loop = make_loop(model, ONE_STEP, trained("concat", True), Batches(batch, 13), rule=RULE)
    (entry,) = loop.run().curve
    expected = sum(losses_of(model, batch).values()).item()
    assert entry.train_loss == pytest.approx(expected, rel=1e-5)


def test_a_modality_that_no_sample_has_moves_nothing():
    model = model_of(TWO)
    before = state_of(model)
    training = ONE_STEP.model_copy(update={"learning_rate": 0.1, "weight_decay": 0.0})
    batches = Batches(rows(13, TWO, absent=1.1), 13)
    make_loop(model, training, trained("concat", True), batches, rule=RULE).run()
    moved = {name.split(".")[1] for name, value in state_of(model).items() if not torch.equal(value, before[name])}
    assert moved == {"video", "linear", "absent"}  # the stand-in for audio learns


def test_frozen_encoders_stay_and_their_heads_learn():
    model, batch = model_of(TWO), rows(13, TWO)
    expected, _ = slow(model, batch)
    parts = ("audio.encoder", "fusion", "*.head")
    (found,) = noted(make_loop(model, ONE_STEP, parts, Batches(batch, 13, shuffled=False), rule=RULE))
    assert {part_of(name) for name in found} == {"audio.encoder", "fusion", "audio.head", "video.head"}
    rest = {name: value for name, value in found.items() if part_of(name) != "audio.encoder"}
    others = {name: value for name, value in expected.items() if not name.startswith("encoders.")}
    assert_close(rest, others, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_resuming_from_every_checkpoint_gives_the_same_bits(tmp_path, accumulate):
    training = TrainConfig(epochs=2, batch_size=5, learning_rate=1e-2, accumulate=accumulate)
    parts, batches = trained("concat", True), Batches(rows(23, THREE), 5)
    keeper = Keeper(tmp_path)
    torch.manual_seed(7)
    whole = classifier(THREE, own_heads=True, noisy=True)
    make_loop(whole, training, parts, batches, rule=RULE, writer=keeper, checkpoint_every_s=0.0).run()
    keeper.close()
    assert len(keeper.kept) == 2 * -(-5 // accumulate)
    for checkpoint in keeper.kept:
        torch.manual_seed(99)
        model = classifier(THREE, own_heads=True, noisy=True)
        make_loop(model, training, parts, batches, rule=RULE).run(checkpoint)
        assert_same(state_of(model), state_of(whole))


# ---- the closed form -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_no_weight_of_a_grid_gives_a_smaller_vector(seed):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(7, generator=generator)
    b = torch.randn(7, generator=generator) - 2 * a
    assert float(a @ b) < 0
    w = float(pareto_weight(a @ a, a @ b, b @ b))
    grid = [float((t * a + (1 - t) * b).norm()) for t in torch.linspace(0, 1, 1001).tolist()]
    assert float((w * a + (1 - w) * b).norm()) <= min(grid) + 1e-6


@pytest.mark.parametrize(
    ("aa", "ab", "bb", "expected"),
    [
        (1.0, 0.5, 9.0, 0.5),  # they agree
        (1.0, -1.0, 1.0, 0.5),  # opposite and of one length
        (1.0, 0.0, 3.0, 0.75),  # orthogonal: not above zero
        (0.0, 0.0, 3.0, 1.0),
        (3.0, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.5),
    ],
)
def test_weights_of_known_pairs(aa, ab, bb, expected):
    assert float(pareto_weight(*(torch.tensor(value) for value in (aa, ab, bb)))) == pytest.approx(expected)


def test_opposite_gradients_of_one_length_give_zero_and_no_nan():
    a = [torch.tensor([1.0, 2.0]), torch.tensor([3.0])]
    for found in combined_gradients(a, [-value for value in a], 1.5):
        assert torch.equal(found, torch.zeros_like(found))


def test_what_is_combined_is_not_changed():
    a, b = [torch.randn(3), torch.randn(2, 2)], [torch.randn(3), torch.randn(2, 2)]
    before = [value.clone() for value in (*a, *b)]
    combined_gradients(a, b, 1.5)
    assert all(torch.equal(one, other) for one, other in zip((*a, *b), before, strict=True))
    assert combined_gradients([], [], 1.5) == []


# ---- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fusion", "own_heads", "options", "parts", "words"),
    [
        ("concat", False, {}, ("*.encoder", "fusion"), ["own_heads=true", "concat, mlp, film, gated"]),
        ("sum", False, {}, ("*.encoder", "*.head"), ["own_heads=true"]),
        ("late_mean", False, {}, ("*.encoder", "*.head"), ["own_heads=true"]),
        ("concat", True, {"gamma": 0.0}, ("*.encoder", "fusion"), ["above 0", "0.0"]),
        ("concat", True, {}, ("fusion", "*.head"), ["encoders that learn"]),
        ("concat", True, {"gama": 1}, ("*.encoder", "fusion"), ["gama", "gamma"]),
    ],
)
def test_what_it_cannot_balance_is_refused_when_built(fusion, own_heads, options, parts, words):
    model = classifier(TWO, fusion, own_heads=own_heads)
    with pytest.raises(ValueError, match=r"\.$") as caught:
        make_loop(model, ONE_STEP, parts, rule=BalancingConfig(name="mmpareto", options=options))
    assert [word for word in words if word not in str(caught.value)] == []


def test_modalities_that_meet_inside_the_encoders_are_refused(monkeypatch):
    model = classifier(TWO, own_heads=True)
    monkeypatch.setattr(type(model.fusion), "mixes", True)
    with pytest.raises(ValueError, match=r"meet inside them\.$"):
        build_rule(RULE, rule_context(model, ("audio.encoder", "fusion")))
