"""FiLM and the gate against their definitions, one sample at a time, gradients included."""

import pytest
import torch
from torch import Tensor

from awase.fusion import Film, build_fusion, needs_heads
from awase.fusion.conditioned import roles

DIMS = {"video": 7, "audio": 5}
CLASSES, ROWS = 3, 11
PRESENT = {"video": torch.arange(ROWS) % 3 != 0, "audio": torch.arange(ROWS) % 2 == 0}
EVERYONE: dict[str, Tensor | None] = dict.fromkeys(DIMS)


def made(name: str, **options: object):
    """The fusion with learned vectors that are not zero, and features that need a gradient."""
    torch.manual_seed(0)
    fusion = build_fusion(name, DIMS, CLASSES, options)
    for vector in fusion.absent.values():
        torch.nn.init.normal_(vector)
    features = {key: torch.randn(ROWS, dim, requires_grad=True) for key, dim in DIMS.items()}
    return fusion, features


def slow(fusion, features, present) -> Tensor:
    """One sample after the other, written out with weights and biases."""
    rows = []
    for row in range(ROWS):
        x = {
            key: features[key][row] if present[key] is None or present[key][row] else fusion.absent[key] for key in DIMS
        }
        c, h = x[fusion.conditioning], x[fusion.conditioned]
        if isinstance(fusion, Film):
            both = fusion.modulation.weight @ c + fusion.modulation.bias
            inner = both[: len(h)] * h + both[len(h) :]
        else:
            u = fusion.gate.weight @ c + fusion.gate.bias
            w = fusion.value.weight @ h + fusion.value.bias
            inner = w / (1 + torch.exp(-u))
        rows.append(fusion.output.weight @ inner + fusion.output.bias)
    return torch.stack(rows)


@pytest.mark.parametrize("present", [EVERYONE, PRESENT], ids=["complete", "some absent"])
@pytest.mark.parametrize("conditioning", [None, "video"])
@pytest.mark.parametrize("name", ["film", "gated"])
def test_logits_and_gradients_are_those_of_the_definition(name, conditioning, present):
    fusion, features = made(name, conditioning=conditioning)
    leaves = [*features.values(), *fusion.parameters()]
    weights = torch.randn(ROWS, CLASSES)
    fused, split = fusion(features, {}, present)
    expected = slow(fusion, features, present)
    assert split == {}
    torch.testing.assert_close(fused, expected)
    got = torch.autograd.grad((fused * weights).sum(), leaves, allow_unused=True)
    wanted = torch.autograd.grad((expected * weights).sum(), leaves, allow_unused=True)
    for one, other in zip(got, wanted, strict=True):
        zero = torch.zeros(())
        torch.testing.assert_close(zero if one is None else one, zero if other is None else other)


@pytest.mark.parametrize("name", ["film", "gated"])
def test_audio_conditions_unless_told_otherwise(name):
    assert (made(name)[0].conditioning, made(name)[0].conditioned) == ("audio", "video")
    assert made(name, conditioning="video")[0].conditioned == "audio"
    assert build_fusion(name, {"text": 3, "flow": 2}, CLASSES, {}).conditioning == "text"


@pytest.mark.parametrize("name", ["film", "gated"])
def test_there_is_no_split_and_no_head(name):
    fusion, _ = made(name)
    assert not fusion.splits
    assert not fusion.mixes
    assert not needs_heads(name)


def test_the_gate_is_as_wide_as_what_it_gates_or_as_told():
    assert made("gated")[0].gate.out_features == 7
    assert made("gated", conditioning="video")[0].value.out_features == 5
    assert made("gated", hidden=13)[0].output.in_features == 13


@pytest.mark.parametrize("name", ["film", "gated"])
def test_it_is_not_additive(name):
    """f(a, v) - f(a, 0) - f(0, v) + f(0, 0) is zero for an additive fusion."""
    fusion, features = made(name)
    gone = torch.zeros(ROWS, dtype=torch.bool)

    def say(audio, video):
        return fusion(features, {}, {"audio": audio, "video": video})[0]

    mixed = say(None, None) - say(None, gone) - say(gone, None) + say(gone, gone)
    assert float(mixed.detach().abs().max()) > 1e-2


@pytest.mark.parametrize(
    ("dims", "options", "words"),
    [
        ({"audio": 3}, {}, ["two modalities", "1: audio", "concat, sum, late_mean or mlp"]),
        ({"audio": 3, "text": 5, "video": 2}, {}, ["two modalities", "3: audio, text, video"]),
        (DIMS, {"conditioning": "smell"}, ["'smell'", "video, audio"]),
        (DIMS, {"hiden": 3}, ["hiden", "conditioning"]),
    ],
)
@pytest.mark.parametrize("name", ["film", "gated"])
def test_wrong_requests_are_sentences(name, dims, options, words):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        build_fusion(name, dims, CLASSES, options)
    assert [word for word in [f"'{name}'", *words] if word not in str(caught.value)] == []


def test_a_gate_of_no_width_is_refused():
    with pytest.raises(ValueError, match=r"1 or more; this is 0\.$"):
        build_fusion("gated", DIMS, CLASSES, {"hidden": 0})


def test_roles_name_both():
    assert roles("film", {"text": 1, "image": 2}, None) == ("text", "image")
    assert roles("film", {"text": 1, "image": 2}, "image") == ("image", "text")
