"""Which parts learn, in which mode they and the others are, and what counts as frozen."""

import pytest
import torch
from torch import nn
from training_samples import samples, tiny_model

from awase.digest import tensors_digest
from awase.training.parts import freeze_except, frozen_tensors, match_parts, set_modes, trained_tensors

PARTS = ("audio.encoder", "audio.adapter", "audio.head", "video.encoder", "video.head", "fusion")


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("audio.encoder",), ("audio.encoder",)),
        (("*.head", "audio.adapter"), ("audio.adapter", "audio.head", "video.head")),
        (("*.head", "audio.head"), ("audio.head", "video.head")),
        (("audio.*", "fusion"), ("audio.encoder", "audio.adapter", "audio.head", "fusion")),
        ((), ()),
    ],
)
def test_patterns_choose_parts_in_their_own_order(patterns, expected):
    assert match_parts(patterns, PARTS) == expected


@pytest.mark.parametrize("pattern", ["text.head", "*.heads", "AUDIO.head", "head", ""])
def test_a_pattern_that_matches_nothing_lists_the_parts(pattern):
    with pytest.raises(ValueError, match="No part matches") as caught:
        match_parts(("fusion", pattern), PARTS)
    assert repr(pattern) in str(caught.value)
    assert ", ".join(sorted(PARTS)) in str(caught.value)


def test_only_the_trained_parts_learn():
    model = tiny_model()
    chosen = freeze_except(model, ("audio.adapter", "video.head"))
    assert set(chosen) == {"encoders.audio.layer.lora.1.weight", "heads.video.weight", "heads.video.bias"}
    assert {name for name, p in model.named_parameters() if p.requires_grad} == set(chosen)
    assert set(freeze_except(model, ("audio.head",))) == {"heads.audio.weight", "heads.audio.bias"}
    assert freeze_except(model, ()) == {}


def modes(module: nn.Module) -> set[bool]:
    return {part.training for part in module.modules()}


def test_an_encoder_that_learns_is_in_training_and_a_frozen_one_is_not():
    model = tiny_model()
    set_modes(model, ("audio.encoder", "audio.head"))
    assert modes(model.encoders["audio"]) == modes(model.heads["audio"]) == {True}
    assert modes(model.encoders["video"]) == modes(model.heads["video"]) == {False}


def test_an_adapter_learns_with_its_dropout_while_its_encoder_stands_still():
    model = tiny_model()
    set_modes(model, ("audio.adapter", "audio.head"))
    audio = model.encoders["audio"]
    assert modes(audio.layer.lora) == {True}
    assert modes(audio.norm) == modes(audio.dropout) == modes(audio.layer.base) == {False}
    assert modes(model.encoders["video"]) == {False}
    before = {name: value.clone() for name, value in audio.named_buffers()}
    model(samples(13))
    assert all(torch.equal(value, before[name]) for name, value in audio.named_buffers())


def test_the_modes_of_an_earlier_stage_do_not_stay():
    model = tiny_model("concat")
    set_modes(model, ("audio.encoder", "video.encoder", "fusion"))
    assert modes(model.fusion) == {True}
    set_modes(model, ())
    assert modes(model) == {False}


def test_every_tensor_is_either_trained_or_frozen():
    model = tiny_model()
    trained = ("audio.encoder", "video.head")
    frozen, learned = frozen_tensors(model.parts(), trained), trained_tensors(model.parts(), trained)
    assert not set(frozen) & set(learned)
    assert set(frozen) | set(learned) == set(model.state_dict())
    assert "encoders.audio.norm.running_mean" in learned
    assert "encoders.video.norm.running_mean" in frozen


def test_the_digest_of_the_frozen_sees_buffers():
    model = tiny_model()
    trained = ("audio.head",)
    before = tensors_digest(frozen_tensors(model.parts(), trained))
    model.train()
    model(samples(13))
    assert tensors_digest(frozen_tensors(model.parts(), trained)) != before
    model = tiny_model()
    with torch.no_grad():
        model.heads["audio"].weight.add_(1)
    assert tensors_digest(frozen_tensors(model.parts(), trained)) == before
