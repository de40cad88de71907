"""What the small networks can and cannot see."""

import pytest
import torch

from awase.config import EncoderConfig
from awase.encoders import BlockEncoder, build_encoder
from awase.encoders.masks import masked_mean, token_mask
from awase.encoders.small_cnn import _strides


def _build(name: str, kind: str, shape: tuple[int, ...], **options: object) -> BlockEncoder:
    config = EncoderConfig(name=name, options=options)  # type: ignore[arg-type]
    encoder = build_encoder(config, kind=kind, input_shape=shape, seed=0).eval()
    assert isinstance(encoder, BlockEncoder)
    return encoder


@pytest.mark.parametrize("temporal", ["aligned", "mean"])
def test_video_tells_forwards_from_backwards(temporal: str) -> None:
    encoder = _build("small_cnn", "video", (5, 1, 13, 17), width=3, dim=11, temporal=temporal)
    clips = torch.randn(2, 5, 1, 13, 17)
    assert not torch.allclose(encoder(clips).pooled, encoder(clips.flip(1)).pooled, atol=1e-4)


def test_a_spectrogram_keeps_its_time_as_tokens() -> None:
    assert _build("small_cnn", "audio", (1, 64, 60)).eval()(torch.randn(2, 1, 64, 60)).tokens.shape == (2, 15, 96)


def test_video_tokens_are_its_frames() -> None:
    assert _build("small_cnn", "video", (7, 1, 13, 17))(torch.randn(2, 7, 1, 13, 17)).tokens.shape == (2, 7, 96)


@pytest.mark.parametrize(
    ("side", "most", "strides"),
    [
        (2, 4, (1, 1, 1, 1)),
        (5, 4, (1, 1, 1, 1)),
        (8, 4, (1, 1, 2, 1)),
        (13, 4, (1, 2, 2, 1)),
        (28, 4, (1, 2, 2, 2)),
        (48, 4, (2, 2, 2, 2)),
        (224, 4, (2, 2, 2, 2)),
        (60, 2, (1, 2, 2, 1)),
    ],
)
def test_small_pictures_are_halved_less_often(side: int, most: int, strides: tuple[int, ...]) -> None:
    assert _strides(side, most) == strides


def test_padding_changes_nothing_in_the_small_transformer() -> None:
    encoder = _build("small_transformer", "text", (7,), dim=12, num_heads=2, vocabulary_size=31)
    ids = torch.randint(2, 31, (1, 7))
    mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0]])
    other = ids.clone()
    other[0, 3:] = 5
    a, b = (encoder({"input_ids": i, "attention_mask": mask}) for i in (ids, other))
    assert torch.equal(a.pooled, b.pooled)
    torch.testing.assert_close(a.pooled[0], a.tokens[0, :3].mean(0))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="5 heads do not divide 12"):
        _build("small_transformer", "text", (7,), dim=12, num_heads=5)


def test_token_mask_leaves_no_row_empty() -> None:
    given = torch.tensor([[1, 1, 0], [0, 0, 0]])
    assert token_mask(given).tolist() == [[True, True, False], [True, False, False]]
    assert given[1, 0] == 0


def test_masked_mean_against_a_loop() -> None:
    tokens, mask = torch.randn(3, 5, 7), torch.rand(3, 5) < 0.5
    mask[:, 2] = True
    expected = torch.stack([row[keep].mean(0) for row, keep in zip(tokens, mask, strict=True)])
    torch.testing.assert_close(masked_mean(tokens, mask), expected)
