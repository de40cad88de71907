"""Split projections compute what the fused ones did, and are layers that are really called."""

import copy
from typing import Any

import pytest
import timm
import torch
from torch import nn

from awase.encoders.split_attention import SplitMultiheadAttention, SplitProjection, split_attention

_TINY = {"depth": 2, "embed_dim": 24, "num_heads": 3, "img_size": 32, "num_classes": 0}


@pytest.mark.parametrize("qkv_bias", [True, False])
def test_vision_transformer_gives_the_same_output(qkv_bias: bool) -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", qkv_bias=qkv_bias, **_TINY).eval()
    images = torch.randn(2, 3, 32, 32)
    before = model(images)
    assert split_attention(model) == ["blocks.0.attn.qkv", "blocks.1.attn.qkv"]
    torch.testing.assert_close(model(images), before)
    split = model.blocks[0].attn.qkv
    assert isinstance(split, SplitProjection)
    assert (split.q.bias is not None) == qkv_bias
    assert "blocks.1.attn.qkv.v.weight" in model.state_dict()


def test_each_third_is_the_projection_of_its_name() -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", **_TINY)
    fused = copy.deepcopy(model.blocks[0].attn.qkv)
    split_attention(model)
    split = model.blocks[0].attn.qkv
    for i, layer in enumerate((split.q, split.k, split.v)):
        assert torch.equal(layer.weight, fused.weight[24 * i : 24 * (i + 1)])
        assert torch.equal(layer.bias, fused.bias[24 * i : 24 * (i + 1)])


def test_a_second_split_finds_nothing() -> None:
    model = timm.create_model("vit_tiny_patch16_224", **_TINY)
    split_attention(model)
    assert split_attention(model) == []


@pytest.mark.parametrize("family", ["beit", "eva"])
def test_a_bias_kept_apart_from_the_projection_moves_into_it(family: str) -> None:
    torch.manual_seed(0)
    if family == "eva":
        model = timm.create_model("eva02_tiny_patch14_224", depth=2, img_size=28, num_classes=0)
    else:
        model = timm.create_model("beit_base_patch16_224", **_TINY)
    model.eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith(("q_bias", "v_bias")):
                parameter.normal_()
    images = torch.randn(2, 3, *model.patch_embed.img_size)
    before = model(images)
    parameters = sum(p.numel() for p in model.parameters())
    split_attention(model)
    torch.testing.assert_close(model(images), before)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_interleaved_layouts_stay_fused(caplog: pytest.LogCaptureFixture) -> None:
    class Interleaved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(5, 15)
            self.head_first = True

    class OnlyKeysAndValues(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(6, 12)

    for module in (Interleaved(), OnlyKeysAndValues()):
        assert split_attention(module) == []
        assert isinstance(module.qkv, nn.Linear)
    assert "stays so" in caplog.text


def _fused(**options: Any) -> nn.MultiheadAttention:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(12, 3, **options)
    if attention.in_proj_bias is not None:
        nn.init.normal_(attention.in_proj_bias)
    return attention


def _split(fused: nn.MultiheadAttention) -> SplitMultiheadAttention:
    holder = nn.ModuleDict({"attention": copy.deepcopy(fused)})
    assert split_attention(holder) == ["attention"]
    split = holder["attention"]
    assert isinstance(split, SplitMultiheadAttention)
    return split


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("masks", ["none", "bool", "float", "padding", "both", "per head"])
def test_multihead_attention_gives_the_same_output(batch_first: bool, need_weights: bool, masks: str) -> None:
    fused = _fused(batch_first=batch_first).eval()
    split = _split(fused)
    q, k = torch.randn(2, 5, 12), torch.randn(2, 7, 12)
    if not batch_first:
        q, k = q.transpose(0, 1), k.transpose(0, 1)
    forbid = torch.zeros(5, 7, dtype=torch.bool)
    forbid[1, 3:] = True
    padding = torch.zeros(2, 7, dtype=torch.bool)
    padding[1, 5:] = True
    options: dict[str, Any] = {
        "none": {},
        "bool": {"attn_mask": forbid},
        "float": {"attn_mask": torch.randn(5, 7)},
        "padding": {"key_padding_mask": padding},
        "both": {"attn_mask": forbid, "key_padding_mask": padding},
        "per head": {"attn_mask": torch.randn(6, 5, 7)},
    }[masks]
    expected, weights = fused(q, k, k, need_weights=need_weights, **options)
    given, given_weights = split(q, k, k, need_weights=need_weights, **options)
    torch.testing.assert_close(given, expected)
    assert (given_weights is None) == (weights is None)
    if weights is not None:
        torch.testing.assert_close(given_weights, weights)


def test_multihead_attention_without_a_batch_and_with_other_widths() -> None:
    fused = _fused(kdim=5, vdim=7, bias=False)
    split = _split(fused)
    q, k, v = torch.randn(3, 12), torch.randn(11, 5), torch.randn(11, 7)
    torch.testing.assert_close(split(q, k, v)[0], fused(q, k, v)[0])
    torch.testing.assert_close(split(q, k, v)[1], fused(q, k, v)[1])


def test_added_key_biases_stay_as_they_are() -> None:
    assert split_attention(nn.ModuleDict({"attention": _fused(add_bias_kv=True)})) == []


@pytest.mark.parametrize("training", [True, False])
def test_torch_encoder_layer_calls_the_split_layers(training: bool) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(12, 2, 20, dropout=0.0, batch_first=True).train(training)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).train(training)
    x = torch.randn(3, 5, 12)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[0, 3:] = True
    before = model(x, src_key_padding_mask=padding)
    assert split_attention(model) == ["layers.0.self_attn", "layers.1.self_attn"]
    with torch.no_grad():
        torch.testing.assert_close(model(x, src_key_padding_mask=padding)[~padding], before[~padding])
    called = []
    for name, module in model.named_modules():
        if name.endswith(("q_proj", "out_proj")):
            module.register_forward_hook(lambda *_, name=name: called.append(name))
    with torch.no_grad():
        model(x)
    assert called == [f"layers.{i}.self_attn.{p}" for i in (0, 1) for p in ("q_proj", "out_proj")]


def test_the_fused_path_of_torch_is_off_without_hooks() -> None:
    layer = nn.TransformerEncoderLayer(12, 2, 20, dropout=0.0, batch_first=True).eval()
    split_attention(layer)
    x = torch.randn(3, 5, 12)
    with torch.no_grad():
        before = layer(x)
        layer.self_attn.out_proj.forward = lambda y: torch.zeros_like(y)  # what an adapter does: another product
        assert not torch.equal(layer(x), before)
