"""From settings to the streams of features that are extracted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from awase.config import EncoderConfig, VideoInput
from awase.data.decibel_mel import NUM_BANDS, SAMPLE_RATE_HZ, decibel_mel
from awase.data.decode_video import to_picture
from awase.data.frame_rates import centre_square, short_side_picture
from awase.data.spectrograms import WAVEFORM, spectrogram, spectrogram_shape
from awase.encoders import build_encoder
from awase.runner.extract.film import DTYPES, FilmStream, written
from awase.runner.extract.networks import FrozenNetwork, Weights, film_network, frozen, picture_network
from awase.runner.extract.sound import SoundStream, windows_of

STREAMS = ("2d", "3d", "audio", "encoder")
PADDINGS = ("reflect", "constant")
ENCODER_KINDS = ("image", "video", "audio")
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_KINETICS_255 = (110.6, 103.2, 96.3)
_TORCHVISION_KINETICS = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
_FILM_PIXELS = ("published", "torchvision")
_NO_DIVISION_BY_ZERO = 1e-8

Stream = FilmStream | SoundStream


@dataclass(frozen=True)
class EncoderSettings:
    """An encoder of this library: one feature for every `window_s` seconds.

    `kind` is what it sees of them: one picture (`image`), `num_frames` of them (`video`), or the waveform or a
    spectrogram of it (`audio`).
    """

    config: EncoderConfig
    kind: str = "image"
    window_s: float = 1.0
    num_frames: int = 8
    height: int = 112
    width: int = 112
    sample_rate_hz: int = 16_000
    representation: str = "log_mel_64"

    def __post_init__(self) -> None:
        """Raises `ValueError` for a kind or a window there is not."""
        if self.kind not in ENCODER_KINDS:
            raise ValueError(f"An encoder's kind is one of {', '.join(ENCODER_KINDS)}, not {self.kind!r}.")
        if not self.window_s > 0:
            raise ValueError(f"window_s = {self.window_s} is refused; it is a number of seconds above 0.")


@dataclass(frozen=True)
class ExtractSettings:
    """What decides about features; the defaults are those of the published ones."""

    picture_network: str = "resnet152"
    film_network: str = "r3d_18"
    weights: Mapping[str, Weights] = field(default_factory=dict)
    film_pixels: str = "published"
    short_side: int = 224
    normalise: bool = True
    dtype: str = "float16"
    batch: int = 32
    padding: str = "reflect"
    encoder: EncoderSettings | None = None
    seed: int = 0
    device: str = "cpu"
    allow_pickle: bool = False

    def __post_init__(self) -> None:
        """Raises `ValueError` for values there are not."""
        _one_of("dtype", self.dtype, tuple(DTYPES))
        _one_of("padding", self.padding, PADDINGS)
        _one_of("film_pixels", self.film_pixels, _FILM_PIXELS)
        for name, value in (("short_side", self.short_side), ("batch", self.batch)):
            if value < 1:
                raise ValueError(f"{name} = {value} is refused; it is 1 or more.")

    def weights_of(self, stream: str) -> Weights:
        """Those of the stream; random ones where none are named."""
        return self.weights.get(stream, Weights(seed=self.seed))


def build_streams(names: tuple[str, ...], settings: ExtractSettings) -> list[Stream]:
    """The streams of these names (`STREAMS`). Raises `ValueError` for another name, an encoder that is not named, and
    whatever the networks' weights raise."""
    makers: dict[str, Callable[[ExtractSettings], Stream]] = {
        "2d": _pictures,
        "3d": _groups,
        "audio": _decibel_mel,
        "encoder": _encoder,
    }
    for name in names:
        _one_of("stream", name, STREAMS)
    useless = sorted(set(settings.weights) - set(names))
    if useless:
        raise ValueError(f"Weights are given for {', '.join(useless)}, which is not among the streams {names}.")
    return [makers[name](settings) for name in dict.fromkeys(names)]


def _one_of(what: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise ValueError(f"{what} = {value!r} is refused; use one of {', '.join(valid)}.")


def _common(settings: ExtractSettings, network: FrozenNetwork) -> dict[str, Any]:
    return {
        "weights": network.origin,
        "weights_digest": network.digest,
        "normalise": settings.normalise,
        "dtype": settings.dtype,
        "batch": settings.batch,
    }


def _pictures(settings: ExtractSettings) -> FilmStream:
    """`2d`: one picture per second through a picture network."""
    network = picture_network(settings.picture_network, settings.weights_of("2d"))
    mean, std = (torch.tensor(values, device=settings.device) for values in _IMAGENET)
    module = network.module.to(settings.device)

    def features(pictures: Tensor) -> Tensor:
        pixels = (pictures.to(settings.device).float() / 255 - mean) / (std + _NO_DIVISION_BY_ZERO)
        result: Tensor = module(pixels.permute(0, 3, 1, 2).contiguous())
        return result

    return FilmStream(
        "2d",
        1.0,
        partial(short_side_picture, short_side=settings.short_side),
        features,
        settings.batch,
        settings.normalise,
        settings.dtype,
        {
            "network": settings.picture_network,
            "rate_hz": 1.0,
            "short_side": settings.short_side,
            **_common(settings, network),
        },
    )


def _groups(settings: ExtractSettings) -> FilmStream:
    """`3d`: 24 pictures per second in groups of 16 through a video network, 1.5 features per second."""
    network = film_network(settings.film_network, settings.weights_of("3d"))
    module = network.module.to(settings.device)
    scale = 1.0
    mean, std = torch.tensor(_KINETICS_255), torch.ones(3)
    if settings.film_pixels == "torchvision":
        scale, (mean, std) = 255.0, (torch.tensor(values) for values in _TORCHVISION_KINETICS)
    mean, std = mean.to(settings.device), std.to(settings.device)

    def features(pictures: Tensor) -> Tensor:
        pixels = (pictures.to(settings.device).float() / scale - mean) / (std + _NO_DIVISION_BY_ZERO)
        result: Tensor = module(pixels.permute(0, 4, 1, 2, 3).contiguous())
        return result

    side = 112
    return FilmStream(
        "3d",
        24.0,
        lambda frame: centre_square(short_side_picture(frame, side), side),
        features,
        max(1, settings.batch // 8),
        settings.normalise,
        settings.dtype,
        {
            "network": settings.film_network,
            "rate_hz": 24.0,
            "frames_per_row": 16,
            "side": side,
            "pixels": settings.film_pixels,
            **_common(settings, network),
        },
        frames_per_row=16,
    )


def _decibel_mel(settings: ExtractSettings) -> SoundStream:
    """`audio`: 40 bands at 100 frames per second; its type is float16 whatever the features' is."""
    padding: Any = settings.padding
    return SoundStream(
        "audio",
        SAMPLE_RATE_HZ,
        lambda waveform: decibel_mel(waveform, padding).astype("float16"),
        {"spectrogram": "decibel_mel", "bands": NUM_BANDS, "padding": settings.padding},
        "_spec.npz",
        "arr_0",
    )


def _encoder(settings: ExtractSettings) -> Stream:
    """`encoder`: any encoder of this library, once per window."""
    wanted = settings.encoder
    if wanted is None:
        raise ValueError("The stream 'encoder' needs the name of an encoder: --encoder NAME.")
    samples = round(wanted.window_s * wanted.sample_rate_hz)
    shape = _sample_shape(wanted, samples)
    module = build_encoder(
        wanted.config, kind=wanted.kind, input_shape=shape, seed=settings.seed, allow_pickle=settings.allow_pickle
    )
    random = wanted.config.pretrained is False
    network = frozen(module, f"random, seed {settings.seed}" if random else str(wanted.config.pretrained))
    module.to(settings.device)
    described = wanted.config.model_dump(mode="json")
    facts = {"encoder": described, "kind": wanted.kind, "window_s": wanted.window_s, **_common(settings, network)}
    if wanted.kind == "audio":
        return _windows_of_sound(settings, wanted, module, facts)
    size = VideoInput(column="video", height=wanted.height, width=wanted.width)

    def features(pictures: Tensor) -> Tensor:
        pixels = pictures.to(settings.device).float() / 127.5 - 1
        result: Tensor = module(pixels.movedim(-1, -3).contiguous()).pooled
        return result

    frames = wanted.num_frames if wanted.kind == "video" else 1
    return FilmStream(
        "encoder",
        frames / wanted.window_s,
        partial(to_picture, setting=size),
        features,
        settings.batch if frames == 1 else max(1, settings.batch // frames),
        settings.normalise,
        settings.dtype,
        {**facts, "frames_per_row": frames, "height": wanted.height, "width": wanted.width},
        frames_per_row=frames,
        fill="last",
    )


def _sample_shape(wanted: EncoderSettings, samples: int) -> tuple[int, ...]:
    picture = (3, wanted.height, wanted.width)
    if wanted.kind == "audio":
        return spectrogram_shape(wanted.representation, wanted.sample_rate_hz, samples)
    return picture if wanted.kind == "image" else (wanted.num_frames, *picture)


def _windows_of_sound(
    settings: ExtractSettings, wanted: EncoderSettings, module: torch.nn.Module, facts: dict[str, Any]
) -> SoundStream:
    samples = round(wanted.window_s * wanted.sample_rate_hz)

    def array(waveform: Any) -> Any:
        rows = []
        with torch.inference_mode():
            for waves in torch.from_numpy(windows_of(waveform, samples)).split(settings.batch):
                inputs = waves
                if wanted.representation != WAVEFORM:
                    inputs = spectrogram(waves, wanted.representation, wanted.sample_rate_hz)
                rows.append(module(inputs.to(settings.device)).pooled.float())
        return written(torch.cat(rows), settings.normalise, settings.dtype)

    described = {**facts, "rate_hz": wanted.sample_rate_hz, "representation": wanted.representation}
    return SoundStream("encoder", wanted.sample_rate_hz, array, described, "_encoder.npz", "features")


def random_networks(streams: list[Stream]) -> list[str]:
    """The names of streams whose network has learnt nothing."""
    return [stream.name for stream in streams if str(stream.settings.get("weights", "")).startswith("random")]
