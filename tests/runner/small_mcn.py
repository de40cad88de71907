"""MCN at its smallest: a folder with everything it needs, and `awase run` of it."""

from pathlib import Path

import numpy as np
from howto_layout import WORDS, ready_clips, write_howto_store

from awase.data.features import write_evaluation_store
from awase.encoders.word2vec import build_vocabulary


def write_root(folder: Path) -> Path:
    """A store, two evaluation sets and word vectors; the fourth clip of each set has no audio."""
    store, _ = write_howto_store(folder)
    store.rename(folder / "howto100m")
    write_evaluation_store(folder / "msrvtt", "msrvtt", ready_clips(13, seed=3), audio_frames=512)
    generator = np.random.default_rng(0)
    lines = [f"{word} " + " ".join(f"{x:.3f}" for x in generator.normal(size=23)) for word in sorted(set(WORDS))]
    (folder / "vectors.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    build_vocabulary(folder / "vectors.txt", folder / "words")
    return folder


def small_settings(methods: int) -> list[str]:
    """What makes everything small."""
    settings = [
        "data.howto100m.clips_per_video=4",
        "data.howto100m.validation_videos=2",
        "data.howto100m.audio_frames=128",
        'data.howto100m.streams=["video_2d","video_3d"]',
        "joint.batch_size=8",
        "joint.epochs=2",
        "encoders.text.options.dim=32",
        "encoders.audio.options.widths=[8,8,8,8]",
        "encoders.audio.options.statistics_rows=4",
    ]
    for number in range(methods):
        place = f"methods.{number}.settings.retrieval"
        settings += [f"{place}.space.dim=32", f"{place}.clustering.num_clusters=3", f"{place}.clustering.queue_rows=16"]
        settings += [f"{place}.clustering.push_rows=2", f"{place}.clustering.push_every=4"]
    return settings


def command(root: Path, out: Path, methods: int, *more: str) -> list[str]:
    """`awase run` of the experiment with everything small."""
    changes = [word for one in (*small_settings(methods), *more) for word in ("--set", one)]
    folders = ["--root", str(root), "--out", str(out), "--cache", str(out.with_name("cache"))]
    return ["run", *folders, "--threads", "1", "--device", "cpu", "--quiet", *changes]


def named(arguments: list[str], name: str) -> list[str]:
    return [arguments[0], name, *arguments[1:]]
