"""Every encoder, one contract: cuts change nothing, the seed decides the weights, gradients arrive, files reload."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from awase.config import EncoderConfig
from awase.encoders import ENCODERS, BlockEncoder, build_encoder
from awase.types import Encoded, Encoder

pytestmark = pytest.mark.usefixtures("vocabulary")

_SIZES = {"hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 20}
_BERT = {"architecture": "bert", "config": {**_SIZES, "vocab_size": 31, "max_position_embeddings": 17}}
_ELECTRA = {"architecture": "electra", "config": {**_SIZES, "vocab_size": 31, "embedding_size": 7}}
_DISTIL = {"architecture": "distilbert", "config": {"dim": 12, "n_layers": 2, "n_heads": 2, "hidden_dim": 20}}
_ALBERT = {"architecture": "albert", "config": {**_SIZES, "vocab_size": 31, "embedding_size": 7}}
_WAVE_SIZES = {**_SIZES, "conv_dim": [6] * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
_WAVE = {"architecture": "wav2vec2", "config": _WAVE_SIZES}
_STABLE = {"architecture": "wav2vec2", "config": {**_WAVE_SIZES, "do_stable_layer_norm": True}}
_HUBERT = {"architecture": "hubert", "config": _WAVE_SIZES}
_AST = {"architecture": "audio-spectrogram-transformer", "config": _SIZES}
_VIT = {"model": "vit_tiny_patch16_224", "model_options": {"depth": 3, "embed_dim": 24, "num_heads": 3}}

# (encoder, options, kind, shape of one sample)
CASES: list[tuple[str, dict[str, Any], str, tuple[int, ...]]] = [
    ("small_cnn", {"width": 3, "dim": 11}, "image", (3, 13, 17)),
    ("small_cnn", {"width": 3, "dim": 11}, "image", (1, 2, 1)),
    ("small_cnn", {"width": 3, "dim": 11}, "audio", (1, 19, 23)),
    ("small_cnn", {"width": 3, "dim": 11}, "video", (5, 1, 13, 17)),
    ("small_cnn", {"width": 3, "dim": 11, "temporal": "mean"}, "flow", (5, 2, 13, 17)),
    ("mlp", {"width": 11, "depth": 3}, "array", (5, 3)),
    ("features", {}, "array", (7,)),
    ("features", {"normalise": True}, "array", (7,)),
    ("davenet", {"widths": [3, 5], "blocks": [2, 1]}, "audio", (1, 11, 23)),
    ("davenet", {"widths": [3, 5], "blocks": [1, 1], "statistics_rows": 1}, "array", (11, 23)),
    ("word_vectors", {"dim": 11, "vocabulary": "vocabulary of this test"}, "text", (7,)),
    ("word_vectors", {"dim": 11, "vocabulary": "vocabulary of this test", "padding": "masked"}, "text", (7,)),
    ("small_transformer", {"dim": 12, "num_heads": 2, "depth": 3, "vocabulary_size": 31}, "text", (7,)),
    ("small_vit", {"dim": 12, "num_heads": 2, "depth": 3}, "image", (3, 13, 17)),
    ("small_vit", {"dim": 12, "num_heads": 2, "patch": 5}, "audio", (1, 19, 23)),
    ("small_vit", {"dim": 12, "num_heads": 2}, "video", (5, 1, 13, 17)),
    ("small_vit", {"dim": 12, "num_heads": 2, "frames": 3}, "flow", (5, 2, 13, 17)),
    ("resnet18", {}, "audio", (1, 33, 37)),
    ("resnet18", {"init": "timm"}, "flow", (3, 2, 33, 37)),
    ("timm", {"model": "resnet18"}, "video", (2, 3, 33, 37)),
    ("timm", _VIT, "image", (3, 32, 48)),
    ("timm", _VIT, "audio", (1, 23, 37)),
    ("timm", {"model": "test_convnext"}, "image", (3, 32, 32)),
    ("transformers", _BERT, "text", (7,)),
    ("transformers", _ELECTRA, "text", (7,)),
    ("transformers", _DISTIL, "text", (7,)),
    ("transformers", _ALBERT, "text", (7,)),
    ("transformers", _WAVE, "audio", (1009,)),
    ("transformers", _STABLE, "audio", (1009,)),
    ("transformers", _HUBERT, "audio", (1009,)),
    ("transformers", _AST, "audio", (1, 32, 40)),
]
_BUILT_IN = ("small_cnn", "small_transformer", "small_vit", "mlp", "features", "davenet", "word_vectors")
_WITHOUT_WEIGHTS = ("features",)
_NAMES = [f"{name}-{options.get('architecture', '')}{kind}-{i}" for i, (name, options, kind, _) in enumerate(CASES)]
_EACH = pytest.mark.parametrize(("name", "options", "kind", "shape"), CASES, ids=_NAMES)


def make(name: str, options: dict[str, Any], kind: str, shape: tuple[int, ...], seed: int = 5) -> BlockEncoder:
    encoder = build_encoder(EncoderConfig(name=name, options=options), kind=kind, input_shape=shape, seed=seed)
    assert isinstance(encoder, BlockEncoder)
    return encoder


def sample(kind: str, shape: tuple[int, ...], batch: int = 2) -> Any:
    generator = torch.Generator().manual_seed(3)
    if kind != "text":
        return torch.randn(batch, *shape, generator=generator)
    mask = torch.ones(batch, *shape, dtype=torch.long)
    mask[0, 4:] = 0
    mask[1] = 0  # a sample without text
    return {"input_ids": torch.randint(2, 31, (batch, *shape), generator=generator), "attention_mask": mask}


def test_every_encoder_is_swept() -> None:
    assert {name for name, *_ in CASES} == set(ENCODERS)
    assert len(ENCODERS) == 10


@_EACH
def test_any_cut_gives_the_same_encoding(name: str, options: dict[str, Any], kind: str, shape: tuple[int, ...]) -> None:
    encoder = make(name, options, kind, shape).eval()
    assert isinstance(encoder, Encoder)
    inputs = sample(kind, shape)
    assert encoder.cut == 0
    assert encoder.prefix(inputs) is inputs
    whole = encoder(inputs)
    for cut in range(encoder.num_blocks + 1):
        encoder.cut = cut
        part = encoder.suffix(encoder.prefix(inputs))
        assert torch.equal(part.pooled, whole.pooled)
        assert (part.tokens is None) == (whole.tokens is None)
        if part.tokens is not None:
            assert torch.equal(part.tokens, whole.tokens)
    with pytest.raises(ValueError, match=f"cannot be cut at {encoder.num_blocks + 1}"):
        encoder.cut = encoder.num_blocks + 1


@_EACH
def test_shapes_are_those_of_encoded(name: str, options: dict[str, Any], kind: str, shape: tuple[int, ...]) -> None:
    encoder = make(name, options, kind, shape).eval()
    encoded = encoder(sample(kind, shape, batch=2))
    assert isinstance(encoded, Encoded)
    assert encoded.pooled.shape == (2, encoder.dim)
    assert encoded.pooled.isfinite().all()
    if encoded.tokens is not None:
        assert encoded.tokens.shape[0] == 2
        assert encoded.tokens.shape[2] == encoder.dim
        assert encoded.mask is None or encoded.mask.shape == encoded.tokens.shape[:2]


@_EACH
def test_the_hidden_state_has_one_row_per_sample(
    name: str, options: dict[str, Any], kind: str, shape: tuple[int, ...]
) -> None:
    encoder = make(name, options, kind, shape).eval()
    for cut in range(1, encoder.num_blocks + 1):
        encoder.cut = cut
        hidden = encoder.prefix(sample(kind, shape, batch=3 if kind != "text" else 2))
        tensors = [hidden] if isinstance(hidden, Tensor) else list(hidden.values())
        assert {len(t) for t in tensors} == {3 if kind != "text" else 2}


@_EACH
def test_the_seed_decides_the_weights_and_nothing_else_changes(
    name: str, options: dict[str, Any], kind: str, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = make(name, options, kind, shape, seed=5).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    again = make(name, options, kind, shape, seed=5).state_dict()
    other = make(name, options, kind, shape, seed=6).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first) or name in _WITHOUT_WEIGHTS


@_EACH
def test_every_parameter_gets_a_gradient(name: str, options: dict[str, Any], kind: str, shape: tuple[int, ...]) -> None:
    encoder = make(name, options, kind, shape).train()
    inputs = sample(kind, shape)
    if name in _WITHOUT_WEIGHTS:
        inputs.requires_grad_()
    encoder(inputs).pooled.square().sum().backward()
    assert name not in _WITHOUT_WEIGHTS or inputs.grad is not None
    without = [key for key, p in encoder.named_parameters() if p.grad is None]
    assert without == []
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)


@_EACH
def test_blocks_are_modules_in_order_and_hold_all_but_stem_and_head(
    name: str, options: dict[str, Any], kind: str, shape: tuple[int, ...]
) -> None:
    encoder = make(name, options, kind, shape)
    assert len(encoder.block_names) == encoder.num_blocks >= 1
    for prefix in encoder.block_names + encoder.stem_names:
        assert isinstance(encoder.get_submodule(prefix), nn.Module)
    order = [next(i for i, (key, _) in enumerate(encoder.named_modules()) if key == b) for b in encoder.block_names]
    assert order == sorted(order)


@_EACH
def test_saved_weights_load_into_one_built_from_another_seed(
    name: str, options: dict[str, Any], kind: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    encoder = make(name, options, kind, shape, seed=5).eval()
    other = make(name, options, kind, shape, seed=6).eval()
    (tmp_path / "weights").mkdir()
    save_file(
        {key: value.clone() for key, value in encoder.state_dict().items()}, tmp_path / "weights/model.safetensors"
    )
    if name in _BUILT_IN:
        config = EncoderConfig(name=name, options=options, pretrained=str(tmp_path / "weights"))
        other = build_encoder(config, kind=kind, input_shape=shape, seed=6).eval()
    else:
        other.load_state_dict(encoder.state_dict())
    inputs = sample(kind, shape)
    assert torch.equal(encoder(inputs).pooled, other(inputs).pooled)
