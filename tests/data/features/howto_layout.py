"""A tiny collection in the layouts of HowTo100M: features, spectrograms, captions, a list. Also ready clips."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from awase.data.features import EvaluationClip, Published, import_howto100m, write_evaluation_store

TEXT = "cut the onion add salt stir hot pan water knife bread slice bake egg milk"
WORDS = TEXT.split()
DIM_2D, DIM_3D = 17, 13


@dataclass(frozen=True)
class Sizes:
    """How many videos of how many seconds, and how wide their features are."""

    videos: int = 7
    seconds: int = 61
    dim_2d: int = DIM_2D
    dim_3d: int = DIM_3D


SMALL = Sizes()


def video_ids(count: int) -> list[str]:
    return [f"vid{number:08d}" for number in range(count)]


def caption_columns(generator: np.random.Generator, seconds: int) -> dict[str, list]:
    """Captions of 2 to 5 seconds one after the other, with three decimals."""
    edges = np.round(np.cumsum(generator.uniform(2, 5, size=max(3, seconds // 4))), 3)
    edges = edges[edges < seconds]
    texts = [" ".join(generator.choice(WORDS, size=generator.integers(1, 6))) for _ in edges[1:]]
    return {"start": edges[:-1].tolist(), "end": edges[1:].tolist(), "text": texts}


def unit_rows(generator: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    """Non-negative rows of length 1, as the published extractor gives them."""
    values = np.abs(generator.standard_normal((rows, dim)))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float16)


def decibel(generator: np.random.Generator, frames: int) -> np.ndarray:
    """(40, frames) in [-80, 0]."""
    return -80 * generator.random((40, frames)).astype(np.float16)


def write_howto_layout(root: Path, sizes: Sizes = SMALL, layout: str = "npz", seed: int = 0) -> Published:
    """Writes the collection and returns where its parts are; `layout` is `npz`, `flat` (EAO's names) or `npy`."""
    generator = np.random.default_rng(seed)
    captions = {}
    for number, video in enumerate(video_ids(sizes.videos)):
        seconds = sizes.seconds + number
        path = f"food/video_{video[-1]}/{video}"
        write_video(root, path, video, layout, (
            unit_rows(generator, seconds, sizes.dim_2d),
            unit_rows(generator, seconds * 3 // 2, sizes.dim_3d),
            decibel(generator, 100 * seconds),
        ))  # fmt: skip
        captions[video] = caption_columns(generator, seconds)
    (root / "caption.json").write_text(json.dumps(captions), encoding="utf-8")
    listed = [f"food/video_{video[-1]}/{'None/' if number == 1 else ''}{video}" for number, video in
              enumerate(captions)]  # fmt: skip
    (root / "videos.csv").write_text("path\n" + "\n".join(listed), encoding="utf-8")
    return Published(root / "videos.csv", root / "features", root / "caption.json", root / "audio")


def write_video(root: Path, path: str, video: str, layout: str, arrays: tuple[np.ndarray, ...]) -> None:
    """The three files of a video."""
    features, audio = root / "features", root / "audio"
    two, three, spectrogram = arrays
    if layout == "npy":
        names = [features / f"feature_{dimension}" / f"{path}.npy" for dimension in ("2d", "3d")]
    elif layout == "flat":
        names = [features / f"{path}_{dimension}.npz" for dimension in ("2d", "3d")]
    else:
        names = [features / path / f"{video}_{dimension}.npz" for dimension in ("2d", "3d")]
    sound = audio / (f"{video}.npz" if layout == "flat" else f"{path}/{video}_spec.npz")
    for name, values in zip((*names, sound), (two, three, spectrogram), strict=True):
        name.parent.mkdir(parents=True, exist_ok=True)
        if layout == "npy" and name is not sound:
            np.save(name, values)
        elif name is sound:
            np.savez(name, values)
        else:
            np.savez(name, features=values)


def ready_clips(count: int = 11, sizes: Sizes = SMALL, seed: int = 1) -> list[EvaluationClip]:
    """Clips of an evaluation set; the fourth has no audio, the last two share a caption."""
    generator = np.random.default_rng(seed)
    clips = []
    for number in range(count):
        streams = {
            "video_2d": unit_rows(generator, 1, sizes.dim_2d)[0],
            "video_3d": unit_rows(generator, 5, sizes.dim_3d),
        }
        caption = f"add {WORDS[min(number, count - 2) % len(WORDS)]} {'knife' if number > 13 else 'pan'}"
        audio = None if number == 3 else decibel(generator, 300 + 7 * number)
        clips.append(EvaluationClip(f"clip{number}", f"video{number // 3}", (caption,), streams, audio))
    return clips


def write_howto_store(root: Path, sizes: Sizes = SMALL) -> tuple[Path, Path]:
    """A store and an evaluation set made from the tiny collection: their folders."""
    import_howto100m(write_howto_layout(root / "published", sizes), root / "store")
    write_evaluation_store(root / "youcook2", "youcook2", ready_clips(sizes=sizes), audio_frames=512)
    return root / "store", root / "youcook2"
