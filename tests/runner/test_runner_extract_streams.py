"""What the streams compute equals the recipe written out; random weights and files of weights."""

from pathlib import Path
from urllib.error import URLError

import av
import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from small_films import write_film
from torch import nn

from awase.config import EncoderConfig
from awase.data.decibel_mel import decibel_mel
from awase.data.frame_rates import short_side_picture
from awase.data.media import Clip
from awase.data.source import AbsentTrackError, MediaError
from awase.runner.extract import streams as streams_module
from awase.runner.extract.film import FilmRows, FilmStream
from awase.runner.extract.items import Item
from awase.runner.extract.networks import FrozenNetwork, Weights, picture_network
from awase.runner.extract.sound import clip_waveform, windows_of
from awase.runner.extract.streams import EncoderSettings, ExtractSettings, build_streams, random_networks
from awase.runner.extract.work import extract


def small(**changes) -> ExtractSettings:
    return ExtractSettings(**{"picture_network": "resnet18", "short_side": 37, "dtype": "float32", **changes})


def features(file: Path, folder: Path, name: str, settings: ExtractSettings, clip: Clip | None = None) -> np.ndarray:
    """Of one film, through the files that are written."""
    (stream,) = build_streams((name,), settings)
    facts = extract([Item("a", file.parent, file.name, clip or Clip())], folder, [stream])
    assert (facts["broken"], facts["absent"]) == ([], [])
    with np.load(folder / "a" / f"a{stream.suffix}") as archive:
        assert archive.files == [stream.key]
        return archive[stream.key]


def pictures_at(file: Path, numbers: list[int], short_side: int) -> np.ndarray:
    with av.open(str(file)) as container:
        frames = list(container.decode(video=0))
    return np.stack([short_side_picture(frames[number], short_side) for number in numbers])


@pytest.mark.parametrize("size", [(34, 46), (46, 34)])
def test_2d_is_the_recipe(tmp_path: Path, size: tuple[int, int]) -> None:
    film = write_film(tmp_path / "f.mp4", 2.7, size=size)
    made = features(film, tmp_path / "out", "2d", small(batch=2))
    torch.manual_seed(0)
    trunk = nn.Sequential(*list(torchvision.models.resnet18(weights=None).children())[:-2]).eval()
    pixels = pictures_at(film, [4, 14, 24], 37) / 255.0  # shown just before 0.5, 1.5 and 2.5 s
    pixels = (pixels - [0.485, 0.456, 0.406]) / (np.array([0.229, 0.224, 0.225]) + 1e-8)
    with torch.no_grad():
        maps = trunk(torch.from_numpy(pixels).float().permute(0, 3, 1, 2))
    expected = maps.mean(dim=(2, 3)).numpy()
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert made.shape == (3, 512)
    # Sums of up to 4608 products in single precision, in another order.
    np.testing.assert_allclose(made, expected, atol=2e-5)
    half = features(film, tmp_path / "half", "2d", small(batch=2, dtype="float16"))
    assert half.dtype == np.float16
    assert np.array_equal(half, made.astype(np.float16))
    raw = features(film, tmp_path / "raw", "2d", small(batch=2, normalise=False))
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), made, atol=1e-6)


def test_batches_do_not_matter_beyond_rounding(tmp_path: Path) -> None:
    film = write_film(tmp_path / "f.mp4", 5.0)
    one, three = (features(film, tmp_path / str(b), "2d", small(batch=b)) for b in (1, 3))
    assert one.shape == (5, 512)
    np.testing.assert_allclose(one, three, atol=1e-5)


class Means(nn.Module):
    """The mean colour of each group, and how much was not zero."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((x.mean(dim=(2, 3, 4)), (x != 0).float().mean(dim=(1, 2, 3, 4), keepdim=False)[:, None]), 1)


def test_3d_is_groups_of_16_at_24_per_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "film_network", lambda *_: FrozenNetwork(Means(), "random", "0"))
    film = write_film(tmp_path / "f.mp4", 1.7, fps=24)  # 41 pictures
    made = features(film, tmp_path / "out", "3d", small(normalise=False, batch=16))
    squares = pictures_at(film, list(range(41)), 112).astype(np.float64)
    left = (squares.shape[2] - 112) // 2
    squares = np.concatenate([squares[:, :, left : left + 112], np.zeros((7, 112, 112, 3))])
    pixels = (squares - [110.6, 103.2, 96.3]) / (1 + 1e-8)
    expected = pixels.reshape(3, 16, 112, 112, 3).mean(axis=(1, 2, 3))
    assert made.shape == (3, 4)
    np.testing.assert_allclose(made[:, :3], expected, atol=1e-3)
    scaled = features(film, tmp_path / "other", "3d", small(normalise=False, film_pixels="torchvision"))
    mean, std = np.array([0.43216, 0.394666, 0.37645]), np.array([0.22803, 0.22145, 0.216989])
    np.testing.assert_allclose(scaled[0, :3], ((squares[:16] / 255 - mean) / std).mean(axis=(0, 1, 2)), atol=1e-4)


@pytest.mark.slow
def test_the_published_networks_have_their_widths() -> None:
    network = picture_network("resnet152", Weights())
    assert sum(p.numel() for p in network.module.parameters()) == 58_143_808  # 60,192,808 less the classifier
    assert network.module(torch.zeros(1, 3, 224, 224)).shape == (1, 2048)
    (stream,) = build_streams(("3d",), ExtractSettings())
    assert isinstance(stream, FilmStream)
    assert stream.network(torch.zeros(2, 16, 112, 112, 3, dtype=torch.uint8)).shape == (2, 512)


def test_audio_is_the_spectrogram_of_the_whole_clip(tmp_path: Path) -> None:
    film = write_film(tmp_path / "f.mp4", 1.3)
    made = features(film, tmp_path / "out", "audio", small())
    expected = decibel_mel(clip_waveform(film, Clip(), 16_000))
    assert made.dtype == np.float16
    assert np.array_equal(made, expected.astype(np.float16))
    assert 130 <= made.shape[1] <= 145  # the encoder fills its last block
    part = features(film, tmp_path / "part", "audio", small(), Clip(0.4, 0.9))
    assert part.shape == (40, 51)
    long = features(film, tmp_path / "long", "audio", small(), Clip(0.4, 99.0))
    assert long.shape[1] < 110, "nothing is made up beyond the end"


def test_a_recording_without_samples_is_200_zeros(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), 16_000)
    assert clip_waveform(tmp_path / "none.wav", Clip(), 16_000).shape == (0,)
    made = features(tmp_path / "none.wav", tmp_path / "out", "audio", small())
    assert np.array_equal(made, np.zeros((40, 2), np.float16))
    with pytest.raises(MediaError):
        clip_waveform(tmp_path / "none.wav", Clip(1.0, 2.0), 16_000)


def test_a_film_without_sound_says_so(tmp_path: Path) -> None:
    film = write_film(tmp_path / "f.mp4", 0.5, sound=False)
    with pytest.raises(AbsentTrackError, match="no audio track"):
        clip_waveform(film, Clip(), 16_000)


def test_windows() -> None:
    wave = np.arange(1, 8, dtype=np.float32)
    assert windows_of(wave, 3).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert windows_of(wave[:5], 3).tolist() == [[1, 2, 3], [4, 5, 0]]
    assert windows_of(wave[:1], 3).tolist() == [[1, 0, 0]]
    assert windows_of(wave[:0], 3).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("fill", "count", "expected"),
    [
        ("black", 5, [[1, 2, 3, 4], [5, 0, 0, 0]]),
        ("last", 5, [[1, 2, 3, 4]]),
        ("last", 6, [[1, 2, 3, 4], [5, 6, 6, 6]]),
        ("last", 1, [[1, 1, 1, 1]]),
        ("black", 4, [[1, 2, 3, 4]]),
    ],
)
def test_the_last_group_is_filled(fill, count: int, expected: list[list[int]]) -> None:
    def picture(number: int) -> np.ndarray:
        return np.full((2, 3, 3), number, dtype=np.uint8)

    def network(groups: torch.Tensor) -> torch.Tensor:
        return groups[:, :, 0, 0, 0].float()

    stream = FilmStream("x", 4.0, picture, network, 1, False, "float32", {}, 4, fill)
    rows = FilmRows(stream)
    for number in range(1, count + 1):
        rows.add(number, 1)
    assert rows.finish().tolist() == expected


def test_a_change_of_size_and_repeated_frames_keep_their_order() -> None:
    shapes = {1: (2, 3), 2: (2, 3), 3: (4, 2), 4: (2, 3)}
    batches = []

    def network(pictures: torch.Tensor) -> torch.Tensor:
        batches.append(len(pictures))
        return pictures[:, 0, 0, :1].float()

    stream = FilmStream("x", 1.0, lambda n: np.full((*shapes[n], 3), n, np.uint8), network, 3, False, "float32", {})
    rows = FilmRows(stream)
    for number, times in ((1, 4), (2, 1), (3, 2), (4, 1)):
        rows.add(number, times)
    assert rows.finish()[:, 0].tolist() == [1, 1, 1, 1, 2, 3, 3, 4]
    assert batches == [3, 2, 2, 1]


def test_what_does_not_fit_the_type_is_refused() -> None:
    stream = FilmStream(
        "x",
        1.0,
        lambda n: np.zeros((1, 1, 3), np.uint8),
        lambda p: torch.full((len(p), 2), 1e6),
        3,
        False,
        "float16",
        {},
    )
    rows = FilmRows(stream)
    rows.add(0, 1)
    with pytest.raises(MediaError, match="not finite in float16"):
        rows.finish()


@pytest.mark.parametrize(("kind", "rows"), [("image", 3), ("video", 3), ("audio", 3)])
def test_an_encoder_sees_every_window(tmp_path: Path, kind: str, rows: int) -> None:
    film = write_film(tmp_path / "f.mp4", 2.6)
    wanted = EncoderSettings(EncoderConfig(name="small_cnn"), kind, num_frames=4, height=16, width=24)
    made = features(film, tmp_path / "out", "encoder", small(encoder=wanted))
    assert made.shape[0] == rows
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    again = features(film, tmp_path / "again", "encoder", small(encoder=wanted))
    assert np.array_equal(made, again)


def test_weights_of_a_file_are_those_used(tmp_path: Path) -> None:
    torch.manual_seed(5)
    whole = torchvision.models.resnet18(weights=None)
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in whole.state_dict().items()}}, tmp_path / "w.pth")
    safe = picture_network("resnet18", Weights(tmp_path / "w.safetensors"))
    with pytest.raises(ValueError, match="--allow-pickle"):
        picture_network("resnet18", Weights(tmp_path / "w.pth"))
    pickled = picture_network("resnet18", Weights(tmp_path / "w.pth", allow_pickle=True))
    assert safe.digest == pickled.digest
    assert torch.equal(safe.module.conv1.weight, whole.conv1.weight)
    assert (safe.origin, safe.is_random) == ("file w.safetensors", False)
    assert picture_network("resnet18", Weights(seed=1)).digest != picture_network("resnet18", Weights()).digest
    with pytest.raises(ValueError, match=r"not of 'resnet34': they lack"):
        picture_network("resnet34", Weights(tmp_path / "w.safetensors"))


def test_random_weights_leave_the_generator_alone_and_are_named() -> None:
    before = torch.random.get_rng_state()
    (stream,) = build_streams(("2d",), small())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert random_networks([stream]) == ["2d"]
    assert random_networks(build_streams(("audio",), small())) == []


def test_pretrained_without_network_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_, **__):
        raise URLError("no route")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    with pytest.raises(FileNotFoundError, match=r"IMAGENET1K_V1.*--weights FILE"):
        picture_network("resnet18", Weights(pretrained=True))


@pytest.mark.parametrize(
    ("names", "changes", "message"),
    [
        (("4d",), {}, "'4d'"),
        (("2d",), {"picture_network": "vgg"}, "'vgg' is not a network"),
        (("3d",), {"film_network": "resnet18"}, "r3d_18"),
        (("encoder",), {}, "--encoder NAME"),
        (("audio",), {"weights": {"2d": Weights()}}, "2d"),
        (("2d",), {"dtype": "int8"}, "float16, float32"),
        (("2d",), {"batch": 0}, "batch = 0"),
    ],
)
def test_settings_there_are_not(names: tuple[str, ...], changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_streams(names, small(**changes))
