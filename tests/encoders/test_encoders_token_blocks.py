"""Encoders as blocks over tokens: the same numbers as the whole encoder, longer sequences, the last rows alone."""

from typing import Any

import pytest
import torch
from test_encoders_contract import CASES, make, sample

from awase.encoders import BlockEncoder
from awase.types import TokenBlocks, Tokens, WordEmbeddings

pytestmark = pytest.mark.usefixtures("vocabulary")

PASS = ("small_transformer", "small_vit")
TRANSFORMERS = ("bert", "electra", "distilbert", "wav2vec2", "hubert", "audio-spectrogram-transformer")
QUERY_ALONE = ("bert", "electra")


def passes(name: str, options: dict[str, Any]) -> bool:
    vit = str(options.get("model", "")).startswith("vit")
    return name in PASS or vit or options.get("architecture") in TRANSFORMERS


_VIT = {"model": "vit_tiny_patch16_224", "model_options": {"depth": 3, "embed_dim": 24, "num_heads": 3}}
_SCALED = {"model": "vit_tiny_patch16_224", "model_options": {**_VIT["model_options"], "init_values": 0.3}}
EVERY = [*CASES, ("timm", _VIT, "video", (2, 3, 32, 48)), ("timm", _SCALED, "image", (3, 32, 32))]
ABLE = [case for case in EVERY if passes(case[0], case[1])]
EACH = pytest.mark.parametrize(
    ("name", "options", "kind", "shape"), ABLE, ids=[f"{c[0]}-{i}" for i, c in enumerate(ABLE)]
)


def blocks_of(encoder: BlockEncoder) -> TokenBlocks:
    blocks = encoder.token_blocks
    assert isinstance(blocks, TokenBlocks)
    return blocks


def test_encoders_say_whether_their_blocks_pass_tokens():
    for name, options, kind, shape in EVERY:
        assert (make(name, options, kind, shape).token_blocks is not None) is passes(name, options), (name, options)
    assert len(ABLE) == 16


@EACH
def test_block_by_block_is_the_encoder(name, options, kind, shape):
    encoder = make(name, options, kind, shape).eval()
    blocks, inputs = blocks_of(encoder), sample(kind, shape)
    whole = encoder(inputs)
    assert (blocks.dim, blocks.num_blocks) == (encoder.dim, encoder.num_blocks)
    for stop in range(blocks.num_blocks + 1):
        tokens = blocks.embed(inputs, stop)
        for index in range(stop, blocks.num_blocks):
            tokens = blocks.block(index, tokens)
        encoded = blocks.finish(tokens)
        assert torch.equal(encoded.pooled, whole.pooled)
        assert encoded.tokens is not None
        assert encoded.tokens.shape == tokens.values.shape
        if kind != "video" or name != "timm":
            assert torch.equal(encoded.tokens, whole.tokens)


@EACH
def test_the_last_rows_are_those_of_the_block(name, options, kind, shape):
    encoder = make(name, options, kind, shape).double().eval()
    blocks, inputs = blocks_of(encoder), sample(kind, shape)
    if kind != "text":
        inputs = inputs.double()
    tokens = blocks.embed(inputs, 1).longer(torch.randn(2, 5, blocks.dim, dtype=torch.float64))
    leaf = tokens.values.detach().requires_grad_()
    tokens = tokens.with_values(leaf)
    plain = blocks.block(1, tokens).values[:, -3:]
    rows = blocks.last_rows(1, tokens, 3)
    torch.testing.assert_close(rows, plain, rtol=1e-12, atol=1e-13)
    weights = torch.randn_like(plain)
    found, expected = (torch.autograd.grad((value * weights).sum(), leaf)[0] for value in (rows, plain))
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    short = encoder.network.last_rows(1, tokens, 3) is not None
    assert short is (name in (*PASS, "timm") or options.get("architecture") in QUERY_ALONE)


def test_frames_run_apart_and_have_no_short_way():
    encoder = make("timm", _VIT, "video", (2, 3, 32, 48)).eval()
    blocks, clips = blocks_of(encoder), sample("video", (2, 3, 32, 48))
    tokens = blocks.embed(clips, 1)
    assert (tokens.pieces, tokens.values.shape[1]) == (2, 2 * 7)
    apart = blocks.block(1, tokens)
    model = encoder.network.model
    expected = torch.cat([model.blocks[1](tokens.values[:, :7]), model.blocks[1](tokens.values[:, 7:])], dim=1)
    assert torch.equal(apart.values, expected)
    assert torch.equal(blocks.last_rows(1, tokens, 3), apart.values[:, -3:])
    joined = blocks.block(1, tokens.longer())
    assert torch.equal(joined.values, model.blocks[1](tokens.values))
    assert joined.pieces == 1


@pytest.mark.parametrize("case", [c for c in ABLE if c[2] == "text"], ids=lambda c: c[1].get("architecture", c[0]))
def test_longer_sequences_keep_the_padding_out(case):
    """Each text alone, cut to its words, with the further tokens at its end."""
    name, options, kind, shape = case
    encoder = make(name, options, kind, shape).double().eval()
    blocks, inputs = blocks_of(encoder), sample(kind, shape)
    extra = torch.randn(2, 3, blocks.dim, dtype=torch.float64)
    tokens = blocks.embed(inputs, 1)
    seen = blocks.block(1, tokens.longer(extra[:, :1], extra[:, 1:]))
    for row, length in enumerate((4, 1)):  # the second has no text: its first token stands for it
        together = torch.cat((tokens.values[row : row + 1, :length], extra[row : row + 1]), dim=1)
        alone = blocks.block(1, Tokens(together, torch.ones(1, length + 3, dtype=torch.bool)))
        torch.testing.assert_close(seen.values[row, :length], alone.values[0, :length], rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(seen.values[row, -3:], alone.values[0, -3:], rtol=1e-11, atol=1e-12)


def test_recomputing_activations_holds_for_tokens_too(monkeypatch):
    encoder = make("small_vit", {"dim": 12, "num_heads": 2, "dropout": 0.0}, "image", (3, 13, 17)).train()
    calls = []
    block = encoder.network.blocks[1].forward
    monkeypatch.setattr(encoder.network.blocks[1], "forward", lambda *a: (calls.append(1), block(*a))[1])
    for recompute, expected in ((False, 1), (True, 2)):
        if recompute:
            encoder.enable_checkpointing()
        calls.clear()
        blocks = blocks_of(encoder)
        blocks.block(1, blocks.embed(sample("image", (3, 13, 17)), 1)).values.sum().backward()
        assert len(calls) == expected


def test_words_are_placed_as_the_encoder_places_them():
    for case in CASES:
        name, options, kind, shape = case
        words = make(name, options, kind, shape).word_embeddings
        assert (words is not None) is (name == "small_transformer" or options.get("architecture") == "bert")
        if words is None:
            continue
        assert isinstance(words, WordEmbeddings)
        encoder = make(name, options, kind, shape).eval()
        words, inputs = encoder.word_embeddings, sample(kind, shape)
        ids = inputs["input_ids"]
        places = torch.arange(ids.shape[1])
        placed = words.place(words.words(ids), places, torch.zeros_like(places))
        torch.testing.assert_close(placed, blocks_of(encoder).embed(inputs, 0).values, rtol=0, atol=0)
        assert words.num_positions >= ids.shape[1]
        assert words.num_segments == (2 if name == "transformers" else 0)


def test_a_convolutional_encoder_says_how_high_and_wide_its_map_is():
    encoder = make("resnet18", {}, "audio", (1, 33, 97)).eval()
    inputs = sample("audio", (1, 33, 97))
    encoded = encoder(inputs)
    features = encoder.network.model.forward_features(inputs)
    assert encoded.grid == (2, 4)
    assert torch.equal(encoded.tokens.transpose(1, 2).unflatten(2, encoded.grid), features)
