"""Activation checkpointing changes neither outputs nor gradients nor batch statistics."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from awase.config import EncoderConfig
from awase.encoders import BlockEncoder, build_encoder

_CASES: list[tuple[dict[str, Any], str, tuple[int, ...]]] = [
    ({"name": "small_cnn", "options": {"width": 3, "dim": 5}}, "video", (3, 1, 13, 17)),
    ({"name": "small_transformer", "options": {"dim": 6, "num_heads": 2, "vocabulary_size": 31}}, "text", (5,)),
    ({"name": "resnet18"}, "image", (3, 33, 33)),
]


def _inputs(kind: str, shape: tuple[int, ...]) -> Any:
    if kind == "text":
        ids = torch.randint(2, 31, (3, *shape), generator=torch.Generator().manual_seed(1))
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("config", "kind", "shape"), _CASES, ids=["cnn", "transformer", "resnet"])
def test_checkpointing_changes_no_bit(config: dict[str, Any], kind: str, shape: tuple[int, ...]) -> None:
    plain = build_encoder(EncoderConfig(**config), kind=kind, input_shape=shape, seed=1).train()
    recomputed = copy.deepcopy(plain)
    assert isinstance(recomputed, BlockEncoder)
    recomputed.enable_checkpointing()
    for encoder in (plain, recomputed):
        torch.manual_seed(7)  # dropout
        encoder(_inputs(kind, shape)).pooled.square().sum().backward()
    for (name, a), (_, b) in zip(plain.named_parameters(), recomputed.named_parameters(), strict=True):
        assert a.grad is not None
        assert torch.equal(a.grad, b.grad), name
    for (name, a), (_, b) in zip(plain.named_buffers(), recomputed.named_buffers(), strict=True):
        assert torch.equal(a, b), name


def test_checkpointing_keeps_fewer_activations() -> None:
    def kept(checkpointing: bool) -> int:
        config = EncoderConfig(name="mlp", options={"width": 7, "depth": 5})
        encoder = build_encoder(config, kind="array", input_shape=(3,), seed=0).train()
        if checkpointing:
            encoder.enable_checkpointing()
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            encoder(torch.randn(11, 3))
        return sum(sizes)

    assert kept(True) < kept(False) / 2


def test_a_copy_of_an_encoder_shares_nothing_with_it() -> None:
    encoder = build_encoder(EncoderConfig(name="resnet18"), kind="image", input_shape=(3, 33, 33), seed=1).eval()
    twin = copy.deepcopy(encoder)
    before = encoder(_inputs("image", (3, 33, 33))).pooled
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(encoder(_inputs("image", (3, 33, 33))).pooled, before)
    assert twin(_inputs("image", (3, 33, 33))).pooled.abs().max() == 0


def test_the_momentum_of_batch_norms_is_restored() -> None:
    config = EncoderConfig(name="small_cnn", options={"width": 3, "dim": 5})
    encoder = build_encoder(config, kind="image", input_shape=(1, 8, 8), seed=0).train()
    assert isinstance(encoder, BlockEncoder)
    encoder.enable_checkpointing()
    encoder(torch.randn(3, 1, 8, 8)).pooled.sum().backward()
    assert {m.momentum for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}
