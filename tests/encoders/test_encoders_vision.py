"""timm models give what timm gives; channels, sides, time and normalisation are handled around them."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from awase.config import EncoderConfig
from awase.encoders import BlockEncoder, build_encoder

_VIT = {"model": "vit_tiny_patch16_224", "model_options": {"depth": 2, "embed_dim": 24, "num_heads": 3}}


def _build(kind: str, shape: tuple[int, ...], name: str = "timm", **config: Any) -> BlockEncoder:
    encoder = build_encoder(EncoderConfig(name=name, **config), kind=kind, input_shape=shape, seed=0).eval()
    assert isinstance(encoder, BlockEncoder)
    return encoder


@pytest.mark.parametrize(
    "options", [_VIT, {"model": "resnet18"}, {"model": "test_convnext"}, {"model": "test_efficientnet"}]
)
def test_pooled_is_what_timm_gives(options: dict[str, Any]) -> None:
    encoder = _build("image", (3, 32, 48), options=options)
    images = torch.randn(2, 3, 32, 48)
    torch.testing.assert_close(encoder(images).pooled, encoder.network.model(images))


def test_two_resnets_with_one_head_have_the_published_number_of_parameters() -> None:
    audio, video = _build("audio", (1, 64, 64), "resnet18"), _build("image", (3, 64, 64), "resnet18")
    one = sum(p.numel() for p in video.parameters()) + 512 * 6 + 6
    two = sum(p.numel() for e in (audio, video) for p in e.parameters()) + 1024 * 6 + 6
    assert round(one / 1e6, 2) == 11.18
    assert round(two / 1e6, 2) == 22.35


def test_vit_base_has_86_million_parameters() -> None:
    with torch.device("meta"):
        encoder = timm.create_model("vit_base_patch16_224", num_classes=0)
    assert round(sum(p.numel() for p in encoder.parameters()) / 1e6) == 86


def test_video_is_the_mean_over_its_frames() -> None:
    encoder = _build("video", (3, 1, 33, 37), options={"model": "resnet18"})
    clips = torch.randn(2, 3, 1, 33, 37)
    frames = torch.stack([encoder.network.model(clips[:, t]) for t in range(3)], dim=1)
    encoded = encoder(clips)
    torch.testing.assert_close(encoded.tokens, frames)
    torch.testing.assert_close(encoded.pooled, frames.mean(1))


def test_flow_is_stacked_into_channels_frame_by_frame() -> None:
    encoder = _build("flow", (3, 2, 33, 37), "resnet18")
    flow = torch.randn(2, 3, 2, 33, 37)
    stacked = torch.stack([flow[:, t, c] for t in range(3) for c in range(2)], dim=1)
    torch.testing.assert_close(encoder(flow).pooled, encoder.network.model(stacked))


def test_tokens_of_a_resnet_are_its_last_places() -> None:
    encoder = _build("image", (3, 65, 33), "resnet18")
    images = torch.randn(2, 3, 65, 33)
    features = encoder.network.model.forward_features(images)
    encoded = encoder(images)
    assert encoded.tokens.shape == (2, 3 * 2, 512)
    torch.testing.assert_close(encoded.tokens[:, 2], features[:, :, 1, 0])
    torch.testing.assert_close(encoded.tokens.mean(1), encoded.pooled)


def test_sides_are_filled_up_to_the_patch_with_zeros() -> None:
    encoder = _build("audio", (1, 23, 37), options=_VIT)
    spectrogram = torch.randn(2, 1, 23, 37)
    padded = torch.zeros(2, 1, 32, 48)
    padded[:, :, :23, :37] = spectrogram
    torch.testing.assert_close(encoder(spectrogram).pooled, encoder.network.model(padded))


def test_kaiming_begins_every_batch_norm_at_one_and_timm_some_at_zero() -> None:
    kaiming, plain = (_build("image", (3, 33, 33), "resnet18", options={"init": i}) for i in ("kaiming", "timm"))
    assert kaiming.network.model.layer1[0].bn2.weight.unique().tolist() == [1.0]
    assert plain.network.model.layer1[0].bn2.weight.unique().tolist() == [0.0]
    std = kaiming.network.model.layer4[1].conv2.weight.std()
    torch.testing.assert_close(std, torch.tensor((2 / (512 * 9)) ** 0.5), rtol=0.01, atol=0)  # 2.4 M draws: 0.05 %


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    model = timm.create_model("resnet18")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    return tmp_path


def test_local_weights_are_loaded_and_inputs_brought_to_their_normalisation(saved: Path) -> None:
    encoder = _build("image", (3, 33, 33), "resnet18", pretrained=str(saved))
    torch.manual_seed(3)
    reference = timm.create_model("resnet18").eval()
    pixels = torch.rand(2, 3, 33, 33)
    mean, std = (torch.tensor(reference.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    expected = reference.forward_head(reference.forward_features((pixels - mean) / std), pre_logits=True)
    torch.testing.assert_close(encoder((pixels - 0.5) / 0.5).pooled, expected, rtol=1e-4, atol=1e-5)  # two roundings


def test_one_channel_gets_the_sum_of_the_three(saved: Path) -> None:
    three = _build("image", (3, 33, 33), "resnet18", pretrained=str(saved)).network.model.conv1.weight
    one = _build("audio", (1, 33, 33), "resnet18", pretrained=str(saved)).network.model.conv1.weight
    torch.testing.assert_close(one, three.sum(1, keepdim=True))


def test_spectrograms_are_not_rescaled(saved: Path) -> None:
    encoder = _build("audio", (1, 33, 33), "resnet18", pretrained=str(saved))
    assert encoder.network.rescale.tolist() == [[1.0], [0.0]]


def test_positions_of_local_weights_are_resampled(tmp_path: Path) -> None:
    model = timm.create_model("vit_tiny_patch16_224", **_VIT["model_options"])
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    encoder = _build("image", (3, 32, 48), options=_VIT, pretrained=str(tmp_path))
    assert encoder.network.model.pos_embed.shape == (1, 1 + 2 * 3, 24)
    torch.testing.assert_close(encoder.network.model.blocks[1].attn.qkv.v.weight, model.blocks[1].attn.qkv.weight[48:])


def test_unknown_model_lists_near_names() -> None:
    with pytest.raises(ValueError, match="no model 'resnet81'; near it: resnet18"):
        _build("image", (3, 33, 33), options={"model": "resnet81"})
