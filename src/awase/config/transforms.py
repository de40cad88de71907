"""Augmentation and corruption as explicit transforms: functions of (seed, epoch, sample)."""

from typing import Annotated, Literal

from pydantic import Field

from awase.config.base import Frozen


class Crop(Frozen):
    """Move image, frames or flow by up to `padding` pixels, all frames alike; edge pixels are repeated."""

    name: Literal["crop"] = "crop"
    padding: int = Field(4, ge=0)


class Flip(Frozen):
    """Mirror left and right; the horizontal component of optical flow changes its sign."""

    name: Literal["flip"] = "flip"
    probability: float = Field(0.5, ge=0, le=1)


class TimeShift(Frozen):
    """Move the window of audio or video by up to `max_s` seconds either way (zeros, or the edge frame, come in)."""

    name: Literal["time_shift"] = "time_shift"
    max_s: float = Field(0.1, ge=0)


class SpecAugment(Frozen):
    """Set random bands of a spectrogram to its mean (Park et al. 2019, without warping). Widths in bins and frames."""

    name: Literal["spec_augment"] = "spec_augment"
    num_bands: int = Field(1, ge=0)
    max_bins: int = Field(8, ge=0)
    num_gaps: int = Field(1, ge=0)
    max_frames: int = Field(16, ge=0)


class Noise(Frozen):
    """Add noise to a waveform at a signal-to-noise ratio drawn from [`low_db`, `high_db`].

    `white`, or `babble`: the sum of `voices` other training clips. As an augmentation or corruption alike.
    """

    name: Literal["noise"] = "noise"
    source: Literal["white", "babble"] = "white"
    low_db: float = 0.0
    high_db: float = 0.0
    voices: int = Field(4, ge=1)


class PixelNoise(Frozen):
    """Add white noise of standard deviation `std` to pixels in [0, 1], or to an array in its own unit."""

    name: Literal["pixel_noise"] = "pixel_noise"
    std: float = Field(0.1, ge=0)


class Occlusion(Frozen):
    """Set a square that covers `fraction` of the area to grey, at the same place in all frames."""

    name: Literal["occlusion"] = "occlusion"
    fraction: float = Field(0.25, ge=0, le=1)


Transform = Annotated[
    Crop | Flip | TimeShift | SpecAugment | Noise | PixelNoise | Occlusion, Field(discriminator="name")
]
