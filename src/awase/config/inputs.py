"""Inputs: which column is which modality, and how it becomes a tensor."""

from typing import Annotated, Literal

from pydantic import Field

from awase.config.base import Frozen
from awase.config.transforms import Transform


class _Input(Frozen):
    column: str
    augment: tuple[Transform, ...] = ()
    """In training only; drawn anew each epoch from (seed, epoch, sample)."""
    corrupt: tuple[Transform, ...] = ()
    """In every split: drawn anew each epoch in training, once and for all in validation and test."""


class VideoInput(_Input):
    """Frames of a video file or of a folder of pictures, evenly spaced: (frames, channels, height, width), normalised.

    The clip is [start, end] of the row, or the whole file. With `window_s` it is the window of that length around the
    middle of the clip.
    """

    kind: Literal["video"] = "video"
    num_frames: int = Field(8, ge=1)
    height: int = Field(112, ge=1)
    width: int = Field(112, ge=1)
    channels: Literal[1, 3] = 3
    window_s: float | None = Field(None, gt=0)


class AudioInput(_Input):
    """A waveform (samples,) or a named spectrogram of it (1, bins, frames). The window is chosen as in `VideoInput`.

    A clip shorter than the window is filled with zeros (`short="pad"`) or refused (`short="error"`).
    """

    kind: Literal["audio"] = "audio"
    sample_rate_hz: int = Field(16_000, ge=1000)
    window_s: float | None = Field(None, gt=0)
    representation: str = "log_mel_64"
    short: Literal["pad", "error"] = "pad"


class ImageInput(_Input):
    """A picture: (channels, height, width), normalised."""

    kind: Literal["image"] = "image"
    height: int = Field(224, ge=1)
    width: int = Field(224, ge=1)
    channels: Literal[1, 3] = 3


class FlowInput(_Input):
    """Optical flow: (frames, 2, height, width), u and v in [-1, 1], from pictures or an .npy file.

    The pictures are in one folder, or in two that a cell like `tvl1_flow/{u,v}/v_X` names.
    """

    kind: Literal["flow"] = "flow"
    num_frames: int = Field(10, ge=1)
    height: int = Field(224, ge=1)
    width: int = Field(224, ge=1)


class TextInput(_Input):
    """Text, tokenised by the encoder's own tokenizer to at most `max_tokens`."""

    kind: Literal["text"] = "text"
    max_tokens: int = Field(64, ge=1)


class ArrayInput(_Input):
    """Any array of fixed shape: an .npy file per row, or numbers in the cell (JSON list)."""

    kind: Literal["array"] = "array"
    shape: tuple[int, ...]


Input = Annotated[
    VideoInput | AudioInput | ImageInput | FlowInput | TextInput | ArrayInput, Field(discriminator="kind")
]
