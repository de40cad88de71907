"""A store of features and captions in the manner of HowTo100M, and the sets it is evaluated on."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from awase.config.base import Frozen

SPLITS_OF_A_STORE = ("train", "val")


class HowTo100MConfig(Frozen):
    """Clips drawn from whole videos by their captions, and evaluation sets of ready clips (`dataset="howto100m"`)."""

    store: Path | None = None
    """The folder that `awase convert howto100m` wrote."""
    evaluation: dict[str, Path] = {}
    """Name of a split -> the folder that `awase convert youcook2` or `awase convert msrvtt` wrote."""
    modalities: tuple[Literal["video", "audio", "text"], ...] = ("video", "audio", "text")
    streams: tuple[Literal["video_2d", "video_3d"], ...] = ("video_2d", "video_3d")
    """What the video input is made of, side by side; a clip without one of them has no video."""
    clips_per_video: int = Field(32, ge=1)
    min_time_s: float = Field(10.0, ge=0)
    max_words: int = Field(20, ge=1)
    candidates: int = Field(1, ge=1)
    """Captions per clip in training. 1: those the clip grew by, as one text. More: single captions, the one it grew
    from and the nearest others of its video, for `mil_nce`; other losses see the first with a known word."""
    audio_frames: int = Field(1000, ge=1)
    padding: Literal["floor", "reference"] = "floor"
    """What fills up short audio: the lowest value of the recording, or 0 dB, the loudest, as in the original."""
    text: Literal["words", "joined"] = "words"
    """words: the ids of each caption, made once, follow one another; joined: the captions become one text, which is
    tokenised for each batch, for tokenizers with special tokens."""
    validation_videos: int = Field(128, ge=1)
    """Whole videos kept out of training, drawn with `split_seed`."""
    validation_clips: int = Field(8, ge=1)
    """Clips of each of them, around different captions (fewer where it has fewer)."""
    evaluation_captions: Literal["first", "all"] = "first"
    """One row per clip with its first caption, or one row per caption: each asks, the gallery has a clip once."""

    @model_validator(mode="after")
    def _check(self) -> "HowTo100MConfig":
        for name in self.evaluation:
            if name in SPLITS_OF_A_STORE:
                raise ValueError(f"The evaluation set {name!r} has the name of a split of the store; rename it.")
        if self.candidates > 1 and "text" not in self.modalities:
            raise ValueError(
                f"candidates is {self.candidates} captions per clip, and the modalities {', '.join(self.modalities)} "
                "have no text; add it, or set candidates to 1."
            )
        for name, given in (("modalities", self.modalities), ("streams", self.streams)):
            if not given or len(set(given)) < len(given):
                raise ValueError(f"{name} are {given}; name one or more, each once.")
        return self
