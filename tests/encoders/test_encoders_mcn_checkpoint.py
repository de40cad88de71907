"""A published-style MCN, written from its formulas with the published names, and ours with its weights converted."""

from pathlib import Path

import pytest
import torch
from published_mcn import BINS, EMBEDDING, HIDDEN, VIDEO, WIDTHS, WORD, Published, published_mcn
from safetensors.torch import save_file
from torch import Tensor, nn

from awase.config import EncoderConfig
from awase.encoders import build_encoder
from awase.encoders.mcn_checkpoint import McnDimensions, convert_mcn_state, mcn_modules, read_mcn
from awase.encoders.projections import build_projection, reconstruction_head
from awase.encoders.word_vocabulary import random_vocabulary

SIZES = McnDimensions(EMBEDDING, VIDEO, WORD, EMBEDDING, BINS, WIDTHS, (2, 2, 2, 2), HIDDEN)


@pytest.fixture
def published() -> Published:
    return published_mcn()


def part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}


def loaded(module: nn.Module, tensors: dict[str, Tensor], name: str) -> nn.Module:
    module.load_state_dict(part(tensors, name))
    return module


@pytest.mark.parametrize("training", [True, False])
def test_audio_is_the_published_tower(published: Published, training: bool) -> None:
    tensors = convert_mcn_state(published.state_dict()).tensors
    options = {"widths": list(WIDTHS), "blocks": [2] * 4, "pooling": "reference"}
    config = EncoderConfig(name="davenet", options=options)
    encoder = build_encoder(config, kind="audio", input_shape=(1, BINS, 80), seed=0)
    loaded(encoder, tensors, "encoders.audio").train(training)
    published.train(training)
    spectrograms, num_frames = torch.randn(3, BINS, 80), [79, 0, 40]
    expected = published.pooled_audio(spectrograms, num_frames)
    encoded = encoder({"values": spectrograms, "num_frames": torch.tensor(num_frames)})
    torch.testing.assert_close(encoded.pooled, expected)
    projection = loaded(build_projection("gated_then_linear", WIDTHS[-1], EMBEDDING), tensors, "projections.audio")
    embedding = published.DAVEnet_projection(published.GU_audio(expected))
    torch.testing.assert_close(projection(encoded.pooled), embedding)
    head = loaded(reconstruction_head(EMBEDDING, HIDDEN, WIDTHS[-1]), tensors, "reconstructions.audio")
    torch.testing.assert_close(head(embedding), published.recon_a(embedding))


def test_video_and_text_are_the_published_towers(published: Published, tmp_path: Path) -> None:
    tensors = convert_mcn_state(published.state_dict()).tensors
    video = torch.randn(3, VIDEO)
    projection = loaded(build_projection("gated", VIDEO, EMBEDDING), tensors, "projections.video")
    torch.testing.assert_close(projection(video), published.GU_video(video))
    head = loaded(reconstruction_head(EMBEDDING, HIDDEN, VIDEO), tensors, "reconstructions.video")
    embedding = published.GU_video(video)
    torch.testing.assert_close(head(embedding), published.recon_v(embedding))

    words = random_vocabulary("abcdefg", WORD, seed=1)
    words.save(tmp_path / "words")
    options = {"vocabulary": str(tmp_path / "words"), "dim": EMBEDDING}
    config = EncoderConfig(name="word_vectors", options=options)
    encoder = build_encoder(config, kind="text", input_shape=(4,), seed=0)
    missing = encoder.load_state_dict(part(tensors, "encoders.text"), strict=False)
    assert (missing.missing_keys, missing.unexpected_keys) == (["network.vocabulary_digest"], [])
    ids = torch.tensor([[1, 2, 0, 0], [7, 7, 3, 4], [5, 0, 0, 0]])
    expected = published.pooled_text(torch.from_numpy(words.vectors)[ids])
    pooled = encoder({"input_ids": ids, "attention_mask": (ids != 0).long()}).pooled
    torch.testing.assert_close(pooled, expected)
    projection = loaded(build_projection("gated", EMBEDDING, EMBEDDING), tensors, "projections.text")
    embedding = published.GU_text_captions(expected)
    torch.testing.assert_close(projection(pooled), embedding)
    head = loaded(reconstruction_head(EMBEDDING, HIDDEN, EMBEDDING), tensors, "reconstructions.text")
    torch.testing.assert_close(head(embedding), published.recon_t(embedding))


def test_every_tensor_arrives_once_and_the_dead_ones_are_named(published: Published) -> None:
    state = published.state_dict()
    weights = convert_mcn_state(state)
    assert weights.dimensions == SIZES
    dead = ("bias", "num_batches_tracked", "running_mean", "running_var", "weight")
    assert weights.dropped == tuple(f"DAVEnet.batchnorm1.{name}" for name in dead)
    assert len(weights.tensors) == len(state) - len(dead)
    assert weights.tensors.keys() == mcn_modules(weights.dimensions).state_dict().keys()
    kept = sum(value.double().sum() for value in weights.tensors.values())
    whole = sum(value.double().sum() for name, value in state.items() if "batchnorm1" not in name)
    assert kept == pytest.approx(whole)


def test_without_reconstruction_heads(published: Published) -> None:
    state = {name: value for name, value in published.state_dict().items() if not name.startswith("recon_")}
    weights = convert_mcn_state(state)
    assert weights.dimensions.reconstruction is None
    assert {name.split(".")[0] for name in weights.tensors} == {"encoders", "projections"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("GU_audio.cg.fc.bias"), r"lacks GU_audio.cg.fc.bias\."),
        (lambda s: s.pop("recon_t.2.weight"), r"lacks recon_t.2.weight\."),
        (lambda s: s.pop("GU_video.fc.weight"), r"lacks GU_video.fc.weight\."),
        (lambda s: s.pop("DAVEnet.layer2.0.conv1.weight"), "lacks the stages"),
        (lambda s: s.update(queue_v=torch.zeros(3)), r"beyond those of an MCN, queue_v\."),
        (lambda s: s.update({f"x{k}": torch.zeros(1) for k in range(7)}), "x4 and 2 more"),
        (lambda s: s.update({"GU_audio.fc.bias": torch.zeros(3)}), r"does not fit .* GU_audio.fc.bias \(3,\)"),
        (lambda s: s.update({"DAVEnet.conv1.weight": torch.zeros(2, 7, 1, 1)}), "does not fit"),
        (lambda s: s.clear(), "lacks DAVEnet.conv1.weight"),
    ],
)
def test_what_is_no_mcn_is_said(published: Published, change, message: str) -> None:
    state = dict(published.state_dict())
    change(state)
    with pytest.raises(ValueError, match=message):
        convert_mcn_state(state)


def test_a_pickle_needs_permission_and_safetensors_do_not(published: Published, tmp_path: Path) -> None:
    torch.save(published.state_dict(), tmp_path / "e29.pth")
    with pytest.raises(ValueError, match="--allow-pickle"):
        read_mcn(tmp_path / "e29.pth")
    first = read_mcn(tmp_path / "e29.pth", allow_pickle=True).tensors
    save_file(published.state_dict(), tmp_path / "e29.safetensors")
    second = read_mcn(tmp_path / "e29.safetensors").tensors
    expected = convert_mcn_state(published.state_dict()).tensors
    assert first.keys() == second.keys() == expected.keys()
    assert all(torch.equal(first[name], expected[name]) and torch.equal(second[name], expected[name]) for name in first)
    torch.save({"net": published.state_dict(), "epoch": 3}, tmp_path / "amp.pt")
    with pytest.raises(ValueError, match="state dict"):
        read_mcn(tmp_path / "amp.pt", allow_pickle=True)


@pytest.mark.parametrize(
    ("embedding", "reconstruction", "expected"), [(4096, 1024, 141.36), (4096, None, 119.33), (6144, 1024, 223.78)]
)
def test_the_published_total(embedding: int, reconstruction: int | None, expected: float) -> None:
    """Millions of parameters, with and without reconstruction heads."""
    sizes = (128, 256, 512, 1024), (2, 2, 2, 2)
    modules = mcn_modules(McnDimensions(embedding, 4096, 300, embedding, 40, *sizes, reconstruction))
    assert round(sum(p.numel() for p in modules.parameters()) / 1e6, 2) == expected
