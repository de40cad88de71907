"""Fusions against the mean, sum and linear layer of one sample at a time."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from awase.fusion import FUSIONS, Concat, LateMean, Sum, build_fusion, needs_heads

DIMS = {"audio": 5, "text": 3, "video": 7}
CLASSES, ROWS = 4, 11
LATE = [name for name, kind in FUSIONS.items() if not kind.mixes and name != "shared_head"]
"""Fusions after the encoders, of features of different sizes."""


def numbers(seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Features and head logits of every modality."""
    generator = torch.Generator().manual_seed(seed)
    features = {name: torch.randn(ROWS, dim, generator=generator) for name, dim in DIMS.items()}
    logits = {name: 3 * torch.randn(ROWS, CLASSES, generator=generator) for name in DIMS}
    return features, logits


def dims_of(fusion: str) -> dict[str, int]:
    """The modalities of a fusion: all, or the two that one takes in which one conditions the other."""
    return {name: DIMS[name] for name in ("audio", "video")} if fusion in ("film", "gated") else DIMS


def some_present() -> dict[str, Tensor | None]:
    """All of text, some of audio and video."""
    rows = torch.arange(ROWS)
    return {"audio": rows % 2 == 0, "text": None, "video": rows % 3 != 0}


def has(present: dict[str, Tensor | None], name: str, row: int) -> bool:
    mask = present[name]
    return mask is None or bool(mask[row])


EVERYONE: dict[str, Tensor | None] = dict.fromkeys(DIMS)
WEIGHTS = {"audio": 0.7, "text": 1.9, "video": 0.4}
TEMPERATURES = {"audio": 0.5, "text": 2.0, "video": 1.3}


def slow_mean(logits, present, of, multi_label, weights=None, temperatures=None):
    """The definition, one sample and one modality after the other."""
    rows = []
    for row in range(ROWS):
        total, weight = torch.zeros(CLASSES, dtype=torch.float64), 0.0
        for name in DIMS:
            if not has(present, name, row):
                continue
            w = 1.0 if weights is None else weights[name]
            score = logits[name][row].double() / (1.0 if temperatures is None else temperatures[name])
            if of == "probabilities":
                score = score.sigmoid() if multi_label else score.softmax(dim=0)
            total, weight = total + w * score, weight + w
        mean = total / weight
        if of == "probabilities":
            mean = (mean / (1 - mean)).log() if multi_label else mean.log()
        rows.append(mean)
    return torch.stack(rows).float()


@pytest.mark.parametrize("present", [EVERYONE, some_present()], ids=["complete", "some absent"])
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("of", ["logits", "probabilities"])
@pytest.mark.parametrize(("weights", "temperatures"), [(None, None), (WEIGHTS, None), (WEIGHTS, TEMPERATURES)])
def test_late_mean_is_the_mean_over_what_each_sample_has(present, multi_label, of, weights, temperatures):
    features, logits = numbers()
    fusion = LateMean(DIMS, CLASSES, multi_label, of, weights, temperatures)
    fused, own = fusion(features, logits, present)
    torch.testing.assert_close(fused, slow_mean(logits, present, of, multi_label, weights, temperatures))
    assert all(torch.equal(own[name], logits[name]) for name in DIMS)


def test_complete_late_mean_is_exactly_the_mean_of_the_stack():
    features, logits = numbers()
    fused, _ = LateMean(DIMS, CLASSES)(features, logits, EVERYONE)
    assert torch.equal(fused, torch.stack(list(logits.values())).sum(dim=0) / 3)


def test_presence_of_all_is_the_same_as_none_given():
    features, logits = numbers()
    everyone = {name: torch.ones(ROWS, dtype=torch.bool) for name in DIMS}
    for name in LATE:
        torch.manual_seed(0)
        fusion = build_fusion(name, dims_of(name), CLASSES, {})
        assert torch.equal(fusion(features, logits, everyone)[0], fusion(features, logits, EVERYONE)[0])


def test_what_stands_in_absent_rows_does_not_matter():
    present = some_present()
    features, logits = numbers()
    other_features, other_logits = numbers(1)
    for name, mask in present.items():
        if mask is not None:
            other_features[name] = torch.where(mask[:, None], features[name], other_features[name])
            other_logits[name] = torch.where(mask[:, None], logits[name], other_logits[name])
        else:
            other_features[name], other_logits[name] = features[name], logits[name]
    for name in LATE:
        torch.manual_seed(0)
        fusion = build_fusion(name, dims_of(name), CLASSES, {})
        assert torch.equal(fusion(features, logits, present)[0], fusion(other_features, other_logits, present)[0])


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("of", ["logits", "probabilities"])
def test_a_sample_without_any_modality_gets_zeros(of, multi_label):
    features, logits = numbers()
    for value in logits.values():
        value.requires_grad_()
    nobody = torch.ones(ROWS, dtype=torch.bool)
    nobody[2] = False
    fused, _ = LateMean(DIMS, CLASSES, multi_label, of, WEIGHTS, TEMPERATURES)(
        features, logits, dict.fromkeys(DIMS, nobody)
    )
    assert torch.equal(fused[2], torch.zeros(CLASSES))
    fused.square().sum().backward()
    for value in logits.values():
        assert torch.equal(value.grad[2], torch.zeros(CLASSES))
        assert bool(value.grad.isfinite().all())


def test_probabilities_stay_finite_where_everyone_is_certain():
    features, _ = numbers()
    certain = torch.full((ROWS, CLASSES), -500.0)
    certain[:, 0] = 500.0
    logits = dict.fromkeys(DIMS, certain)
    for multi_label in (False, True):
        fused, _ = LateMean(DIMS, CLASSES, multi_label, "probabilities")(features, logits, EVERYONE)
        assert bool(fused.isfinite().all())
        assert fused.argmax(dim=1).tolist() == [0] * ROWS


def test_gradient_of_the_late_mean_couples_the_modalities():
    """dL/dz_m = (softmax(z) - y) / M for the summed cross-entropy of the mean."""
    features, logits = numbers()
    targets = torch.arange(ROWS) % CLASSES
    for value in logits.values():
        value.requires_grad_()
    fused, _ = LateMean(DIMS, CLASSES)(features, logits, EVERYONE)
    F.cross_entropy(fused, targets, reduction="sum").backward()
    expected = (fused.detach().softmax(dim=1) - F.one_hot(targets, CLASSES)) / 3
    for value in logits.values():
        torch.testing.assert_close(value.grad, expected)


def test_gradient_divides_by_the_modalities_that_are_there():
    features, logits = numbers()
    present = some_present()
    for value in logits.values():
        value.requires_grad_()
    fused, _ = LateMean(DIMS, CLASSES)(features, logits, present)
    fused.sum().backward()
    for row in range(ROWS):
        count = sum(has(present, name, row) for name in DIMS)
        for name in DIMS:
            share = 1 / count if has(present, name, row) else 0.0
            torch.testing.assert_close(logits[name].grad[row], torch.full((CLASSES,), share))


def test_sum_adds_the_modalities_that_are_there():
    features, logits = numbers()
    present = some_present()
    fused, own = Sum(DIMS, CLASSES)(features, logits, present)
    for row in range(ROWS):
        expected = sum(logits[name][row] for name in DIMS if has(present, name, row))
        torch.testing.assert_close(fused[row], expected)
    assert own is logits
    nothing = dict.fromkeys(DIMS, torch.zeros(ROWS, dtype=torch.bool))
    assert torch.equal(Sum(DIMS, CLASSES)(features, logits, nothing)[0], torch.zeros(ROWS, CLASSES))


def test_concat_is_one_linear_layer_and_the_sum_of_its_parts():
    torch.manual_seed(0)
    fusion = Concat(DIMS, CLASSES)
    features, _ = numbers()
    fused, own = fusion(features, {}, EVERYONE)
    joined = torch.cat([features[name] for name in DIMS], dim=1)
    torch.testing.assert_close(fused, joined @ fusion.linear.weight.T + fusion.linear.bias)
    assert torch.equal(fused, torch.stack([own[name] for name in DIMS]).sum(dim=0))
    start = 0
    for name, dim in DIMS.items():
        weight = fusion.linear.weight[:, start : start + dim]
        torch.testing.assert_close(own[name], features[name] @ weight.T + fusion.linear.bias / 3)
        start += dim


def test_concat_puts_the_learned_vector_where_a_modality_is_absent():
    torch.manual_seed(0)
    fusion = Concat(DIMS, CLASSES)
    assert all(torch.equal(vector, torch.zeros(DIMS[name])) for name, vector in fusion.absent.items())
    with torch.no_grad():
        for vector in fusion.absent.values():
            vector.normal_()
    features, _ = numbers()
    present = some_present()
    fused, _ = fusion(features, {}, present)
    for row in range(ROWS):
        parts = [features[name][row] if has(present, name, row) else fusion.absent[name] for name in DIMS]
        torch.testing.assert_close(fused[row], fusion.linear(torch.cat(parts)))
    fused.sum().backward()
    assert fusion.absent["audio"].grad.abs().sum() > 0
    assert fusion.absent["text"].grad is None


@pytest.mark.parametrize("present", [EVERYONE, some_present()], ids=["complete", "some absent"])
def test_mlp_is_two_layers_on_features_with_zeros_for_the_absent_and_has_no_split(present):
    fusion = build_fusion("mlp", DIMS, CLASSES, {"hidden": 19})
    features = {name: torch.randn(ROWS, dim) for name, dim in DIMS.items()}
    fused, split = fusion(features, {}, present)
    assert split == {}
    first, _, second = fusion.layers
    assert first.out_features == 19
    for row in range(ROWS):
        parts = [features[m][row] if has(present, m, row) else torch.zeros(DIMS[m]) for m in DIMS]
        hidden = (first.weight @ torch.cat(parts) + first.bias).clamp_min(0)
        torch.testing.assert_close(fused[row], second.weight @ hidden + second.bias)


def test_mlp_is_not_additive_where_concat_is():
    """f(a, v) - f(a, 0) - f(0, v) + f(0, 0) is zero for an additive fusion."""
    torch.manual_seed(0)
    features, _ = numbers()
    gone = torch.zeros(ROWS, dtype=torch.bool)

    def say(fusion, audio, video):
        return fusion(features, {}, {"audio": audio, "text": None, "video": video})[0]

    for name, additive in (("mlp", False), ("concat", True)):
        fusion = build_fusion(name, DIMS, CLASSES, {})
        mixed = say(fusion, None, None) - say(fusion, None, gone) - say(fusion, gone, None) + say(fusion, gone, gone)
        assert (float(mixed.detach().abs().max()) < 1e-5) is additive


def test_fusions_say_whether_they_need_heads():
    assert {name: needs_heads(name) for name in FUSIONS} == {
        "late_mean": True,
        "concat": False,
        "sum": True,
        "mlp": False,
        "film": False,
        "gated": False,
        "bottleneck": False,
        "mmbt": False,
        "prompts": True,
        "shared_head": False,
    }
    assert needs_heads("no such fusion")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("flim", {}, ["'flim'", "bottleneck, concat, film, gated, late_mean, mlp, mmbt, prompts, shared_head, sum"]),
        ("late_mean", {"off": 1}, ["off", "of, weights, temperatures"]),
        ("sum", {"of": "logits"}, ["of", "none"]),
        ("late_mean", {"of": "votes"}, ["'votes'", "'logits'", "'probabilities'"]),
        ("late_mean", {"weights": {"audio": 1.0}}, ["weights", "audio, text, video"]),
        (
            "late_mean",
            {"temperatures": {**TEMPERATURES, "smell": 1.0}},
            ["temperatures", "smell", "audio, text, video"],
        ),
        ("late_mean", {"temperatures": {**TEMPERATURES, "audio": 0.0}}, ["above 0"]),
        ("late_mean", {"weights": {**WEIGHTS, "audio": -1.0}}, ["0 or above"]),
    ],
)
def test_wrong_names_and_values_are_sentences(name, options, words):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        build_fusion(name, DIMS, CLASSES, options)
    assert all(word in str(caught.value) for word in words)


def test_options_reach_the_fusion():
    fusion = build_fusion("late_mean", DIMS, CLASSES, {"of": "probabilities", "weights": WEIGHTS}, multi_label=True)
    assert isinstance(fusion, LateMean)
    assert (fusion.of, fusion.weights, fusion.multi_label) == ("probabilities", WEIGHTS, True)
    assert math.isclose(sum(fusion.temperatures.values()), 3)
