"""The frozen models of an experiment: everything a run depends on, checked when it is built.

An experiment is a Python function that returns an `Experiment`. `--set path.to.field=value` changes one field and is
checked against its type. Nothing here imports torch.
"""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_serializer, model_validator

from awase.vocabulary import check_modality


class Frozen(BaseModel):
    """A configuration object: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)


# ---- transforms ------------------------------------------------------------------------------------------------------


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


# ---- inputs: which column is which modality, and how it becomes a tensor --------------------------------------------


class _Input(Frozen):
    column: str
    augment: tuple[Transform, ...] = ()
    """In training only; drawn anew each epoch from (seed, epoch, sample)."""
    corrupt: tuple[Transform, ...] = ()
    """In every split: drawn anew each epoch in training, once and for all in validation and test."""


class VideoInput(_Input):
    """Frames of a video file, evenly spaced in time: (frames, channels, height, width), normalised.

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
    """Optical flow: (frames, 2, height, width), u and v in [-1, 1], from a folder of u/v pictures or an .npy file."""

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


# ---- data ------------------------------------------------------------------------------------------------------------


class DigitsConfig(Frozen):
    """Handwritten digits, tones and number words paired by class (a negative control: no synergy is possible)."""

    pairing_seed: int = 0
    recordings: Path | None = None
    """Folder of `{digit}_{speaker}_{index}.wav`: real recordings instead of tones."""
    held_out_speaker: str | None = None
    """Test on this speaker alone; without it the official test split (index 0 to 4)."""
    num_samples: int = Field(1797, ge=50)


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
    generator_seed: int = 0


class DataConfig(Frozen):
    """Where the samples come from, which column is what, and how they are split."""

    dataset: Literal["manifest", "digits", "scenes"] = "manifest"
    manifest: Path | None = None
    split_files: dict[str, Path] = {}
    """Instead of `manifest`: one file per split, keys `train`, `val`, `test`."""
    inputs: dict[str, Input] = {}
    """Per modality; empty: inferred from the columns of the manifest."""
    label: tuple[str, ...] = ("label",)
    """The label column; several columns of 0 and 1, or one column with `label_separator`, make a multi-label task."""
    label_separator: str | None = None
    task: Literal["single_label", "multi_label"] = "single_label"
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
    missing: Literal["mask", "drop", "error"] = "mask"
    """What becomes of a row one of whose files is missing or cannot be decoded; always counted and listed."""
    digits: DigitsConfig = DigitsConfig()
    scenes: ScenesConfig = ScenesConfig()

    @model_validator(mode="after")
    def _check(self) -> "DataConfig":
        for name in self.inputs:
            check_modality(name)
        return self


# ---- parts of a model ------------------------------------------------------------------------------------------------


class EncoderConfig(Frozen):
    """An encoder by name, or any callable of the user's that returns one; `options` go to its constructor."""

    name: str | Callable[..., Any]
    options: dict[str, JsonValue] = {}
    pretrained: bool | str = False
    """False: random weights; True: the library's default weights; or a local folder or Hub name."""

    @field_serializer("name")
    def _name_as_text(self, name: str | Callable[..., Any]) -> str:
        """A callable is written as `FILE.py::NAME`, from where it can be loaded again."""
        return name if isinstance(name, str) else f"{inspect.getsourcefile(name)}::{name.__qualname__}"


class AdapterConfig(Frozen):
    """LoRA on the layers that `targets` names: a preset (`q,v`, `qkvo`, `all-linear`, ...) or patterns over names."""

    targets: str | tuple[str, ...] = "default"
    rank: int = Field(4, ge=1)
    alpha: float | None = Field(None, gt=0)
    """None: alpha equals the rank, a scale of 1."""
    dropout: float = Field(0.0, ge=0, lt=1)
    last_layers: int | None = Field(None, ge=1)
    """Only the last so many blocks; None: all."""


class FusionConfig(Frozen):
    """How the modalities' features become one decision."""

    name: str = "late_mean"
    options: dict[str, JsonValue] = {}


class ObjectiveConfig(Frozen):
    """Cross-entropy (one label) or binary cross-entropy (several), of the fused and of each modality's logits."""

    fused_weight: float = Field(1.0, ge=0)
    modality_weight: float = Field(0.0, ge=0)


class TrainConfig(Frozen):
    """How long and with which optimiser a stage trains."""

    epochs: int = Field(20, ge=1)
    batch_size: int = Field(32, ge=1)
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    head_learning_rate: float | None = Field(None, gt=0)
    """For parts named `*.head` and `fusion`; None: the same."""
    weight_decay: float = Field(1e-2, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    step_epochs: int = Field(70, ge=1)
    step_factor: float = Field(0.1, gt=0)
    warmup_epochs: float = Field(0.0, ge=0)
    accumulate: int = Field(1, ge=1)
    clip_norm: float | None = Field(None, gt=0)
    average: Literal["none", "ema"] = "none"
    average_decay: float = Field(0.99, ge=0, lt=1)
    checkpoint_activations: bool = False
    mixup: float = Field(0.0, ge=0)
    """The alpha of Beta(alpha, alpha), from which the share of each mixed pair is drawn; 0: no mixing."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """For one label per sample."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: rare classes count more, in inverse proportion to their training rows."""
    early_stopping: int | None = Field(None, ge=1)
    """Stop after so many epochs without a better validation metric; None: never."""
    select: Literal["best", "last"] = "best"
    """Which epoch is kept: the best on validation, or the last."""


# ---- stages ----------------------------------------------------------------------------------------------------------


class StageConfig(Frozen):
    """One stage: which parts learn, from where, with which objective. Everything it does not name stays as it was.

    Parts are `<modality>.encoder`, `<modality>.adapter`, `<modality>.head` and `fusion`. With `train=()` nothing
    learns: the stage only composes what earlier stages made (UME).
    """

    name: str
    modalities: tuple[str, ...]
    train: tuple[str, ...] = ()
    """Patterns (`fnmatch`) over part names; each must match a part."""
    start: tuple[str, ...] = ()
    """Names of earlier stages of the same method whose parts this one begins with; later ones win."""
    fusion: FusionConfig = FusionConfig()
    adapters: dict[str, AdapterConfig] = {}
    objective: ObjectiveConfig = ObjectiveConfig()
    training: TrainConfig = TrainConfig()
    derived: dict[str, str] = {}
    """Fusion option -> name of the `DeriveConfig` whose result is its value."""


class DeriveConfig(Frozen):
    """A decision computed from the validation outputs of earlier stages: a pure function to a JSON document."""

    name: str
    function: str
    stages: tuple[str, ...]
    options: dict[str, JsonValue] = {}


Node = StageConfig | DeriveConfig


class MethodConfig(Frozen):
    """A method by name with its settings, and the alternatives among which validation chooses.

    `candidates` are dotted changes of the settings (`{"training.learning_rate": 1e-4}`); an empty tuple tries one.
    """

    method: str
    label: str | None = None
    settings: dict[str, JsonValue] = {}
    candidates: tuple[dict[str, JsonValue], ...] = ()

    @property
    def title(self) -> str:
        """The name in folders and tables."""
        return self.label or self.method


class SelectionConfig(Frozen):
    """What chooses epochs and candidates; always on validation."""

    metric: str = "accuracy"
    direction: Literal["max", "min"] = "max"


class Experiment(Frozen):
    """Everything that determines the numbers of a comparison: data, encoders, methods, seeds and folds."""

    name: str
    data: DataConfig
    encoders: dict[str, EncoderConfig] = {}
    """Per modality; one that is not named gets the small built-in encoder of its kind."""
    methods: tuple[MethodConfig, ...]
    unimodal: TrainConfig = TrainConfig()
    unimodal_overrides: dict[str, dict[str, JsonValue]] = {}
    """Per modality, changes of `unimodal`."""
    joint: TrainConfig = TrainConfig()
    seeds: tuple[int, ...] = (0, 1, 2)
    folds: tuple[int, ...] = ()
    selection: SelectionConfig = SelectionConfig()
    probe: bool = True
    """Linear probe on each encoder after every stage."""
    missing_rates: tuple[float, ...] = (0.25, 0.5)
    """Shares of modalities removed at random in the test of robustness."""
    published: dict[str, float] = {}
    """Method title -> published value of the selection metric, in the unit of the table."""

    def restricted(
        self,
        *,
        seeds: Sequence[int] | None = None,
        folds: Sequence[int] | None = None,
        methods: Sequence[str] | None = None,
    ) -> "Experiment":
        """Only these seeds, folds and methods (by title), where given; `ValueError` for a method it does not have."""
        titles = [method.title for method in self.methods]
        unknown = sorted(set(methods or ()) - set(titles))
        if unknown:
            raise ValueError(f"The experiment has no method {', '.join(unknown)}; valid names: {', '.join(titles)}.")
        return self.model_copy(
            update={
                "seeds": tuple(seeds or self.seeds),
                "folds": tuple(folds or self.folds),
                "methods": tuple(method for method in self.methods if not methods or method.title in methods),
            }
        )


class Runtime(Frozen):
    """How a run is executed; nothing here may change a number except device, dtype and threads, which are hashed."""

    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    threads: int | None = Field(None, ge=1)
    workers: int = Field(0, ge=0)
    cache: Path = Path.home() / ".cache" / "awase"
    cache_gib: float = Field(50.0, gt=0)
    checkpoint_every_s: float = Field(60.0, ge=0)
    compile: bool = False
    allow_pickle: bool = False
    progress: bool = True
