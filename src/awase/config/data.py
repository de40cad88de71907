"""Where samples come from, which column is what, and how they are split."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from awase.config.base import Frozen
from awase.config.features import HowTo100MConfig
from awase.config.inputs import Input
from awase.config.stream import StreamConfig
from awase.vocabulary import check_modality


class DigitsConfig(Frozen):
    """Handwritten digits, tones and number words paired by class (a negative control: no synergy is possible)."""

    pairing_seed: int = 0
    recordings: Path | None = None
    """Folder of `{digit}_{speaker}_{index}.wav`: real recordings instead of tones."""
    held_out_speaker: str | None = None
    """Test on this speaker alone; without it the official test split (index 0 to 4)."""
    num_samples: int = Field(1797, ge=50)


class SceneDomain(Frozen):
    """What is different in one data set of a stream of scenes: its label and its noise."""

    labels: Literal["redundant", "unique", "synergy"] = "redundant"
    unique_to: str = "video"
    noise: dict[str, float] = {}


class ScenesConfig(Frozen):
    """Procedural clips of a moving shape, an instrument and a caption, from shared, pairwise and private factors."""

    num_train: int = Field(600, ge=1)
    num_val: int = Field(150, ge=1)
    num_test: int = Field(300, ge=1)
    labels: Literal["redundant", "unique", "synergy"] = "redundant"
    unique_to: str = "video"
    """With `labels="unique"`: the one modality that tells the label."""
    noise: dict[str, float] = {}
    """Per modality, the standard deviation of its noise relative to its signal."""
    mismatch: float = Field(0.0, ge=0, le=1)
    """Share of captions that belong to another clip."""
    pair_factors: Literal["own", "common"] = Field("own", exclude_if=lambda value: value == "own")
    """own: every pair of modalities shows a factor that the third does not; common: one factor, shown by all three, in
    their place, so that no pair has anything of its own and a pair shares as much as before."""
    mismatch_in: tuple[Literal["train", "val", "test"], ...] = Field(
        ("train", "val", "test"), exclude_if=lambda value: value == ("train", "val", "test")
    )
    """The splits in which they do. With `("train",)` epochs are chosen, and results measured, on right captions."""
    candidates: int = Field(1, ge=1, exclude_if=lambda value: value == 1)
    """Captions per clip in training, for `mil_nce`: the one it carries, its own where that is another's, and others
    drawn with the seed. Other losses see the first."""
    generator_seed: int = 0
    domains: dict[str, SceneDomain] = {}
    """The data sets of a stream, whose clips take turns in every split; they then say what the label and the noise
    are."""


class DataConfig(Frozen):
    """Where the samples come from, which column is what, and how they are split."""

    dataset: Literal["manifest", "digits", "scenes", "howto100m"] = "manifest"
    manifest: Path | None = None
    split_files: dict[str, Path] = {}
    """Instead of `manifest`: one file per split, keys `train`, `val`, `test`."""
    inputs: dict[str, Input] = {}
    """Per modality; empty: inferred from the columns of the manifest."""
    label: tuple[str, ...] = ("label",)
    """The label column; several columns of 0 and 1, or one column with `label_separator`, make a multi-label task."""
    label_separator: str | None = None
    task: Literal["single_label", "multi_label", "retrieval"] = "single_label"
    """retrieval: the modalities of one row belong together, and there are no labels."""
    classes: tuple[str, ...] | None = None
    """The allowed labels in their order; without it the sorted labels of the training rows."""
    id_column: str | None = "id"
    split_column: str | None = "split"
    fold_column: str | None = None
    fold: int | None = None
    """Test on this fold, train and validate on the others; the split column is then not read."""
    group_column: str | None = None
    """Rows of one group (speaker, source video) are kept together when validation is carved out, and in intervals."""
    start_column: str | None = None
    end_column: str | None = None
    validation_fraction: float = Field(0.125, gt=0, lt=1)
    """Carved out of train, by group, where no row says `val`."""
    split_seed: int = 0
    stream: StreamConfig = StreamConfig()
    """Which data set of a stream a row is of, for learning that goes on from one to the next."""
    missing: Literal["mask", "drop", "error"] = "mask"
    """What becomes of a row one of whose files is missing or cannot be decoded; always counted and listed."""
    digits: DigitsConfig = DigitsConfig()
    scenes: ScenesConfig = ScenesConfig()
    howto100m: HowTo100MConfig = HowTo100MConfig()

    @model_validator(mode="after")
    def _check(self) -> "DataConfig":
        for name in self.inputs:
            check_modality(name)
        return self
