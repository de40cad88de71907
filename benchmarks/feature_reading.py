"""P5: clips per second from features in the HowTo100M layout, and the loader's memory per caption.

    python benchmarks/feature_reading.py [--videos 24] [--captions 2000000] [--json]

A collection of videos of 4 to 8 minutes is generated in a temporary folder in the published layout (npz, half floats,
2048 wide at 1 and 1.5 rows per second, 40 x 100 audio frames per second) and imported into a store. The reference is
written from the formulas: it loads the three files of a video whole and takes its 32 clips in a Python loop. Both
read the same clips; the maxima, the normalised inputs, the audio and its lengths must be equal, bit for bit. All files
are in the page cache for both, one thread each, the runs alternate, and the median of the ratios is reported.
Memory is what a process keeps for itself (`RssAnon`) and all it has touched of the files (`VmRSS`), before and after a
store of generated captions is opened, tokenised and sampled.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from awase.config import HowTo100MConfig
from awase.data.features import Captions, FeatureStore, Published, ShardWriter, VideoContent, import_howto100m
from awase.data.features.clip_source import Clips, StoreClips, TextMaker, Wanted
from awase.data.features.token_cache import token_cache
from awase.encoders.words import WordTokenizer
from awase.runner.provenance import processor_name

CLIPS, FRAMES, DIM = 32, 1000, 2048
REPETITIONS = 7
MEMORY_TARGET = 100.0
VIDEO_AUDIO = Wanted(("video", "audio"), frozenset({"video", "audio"}))


def generate(root: Path, videos: int) -> Published:
    """Files of the published layout, 4 to 8 minutes each, captions of about 3.5 seconds."""
    generator = np.random.default_rng(0)
    captions, paths = {}, []
    for number in range(videos):
        name, seconds = f"video{number:06d}", int(generator.integers(240, 481))
        folder = root / "features" / "topic" / name
        folder.mkdir(parents=True)
        for dimension, rows in (("2d", seconds), ("3d", seconds * 3 // 2)):
            values = np.abs(generator.standard_normal((rows, DIM), dtype=np.float32))
            values /= np.linalg.norm(values, axis=1, keepdims=True)
            np.savez(folder / f"{name}_{dimension}.npz", features=values.astype(np.float16))
        sound = -80 * generator.random((40, 100 * seconds), dtype=np.float32)
        np.savez(folder / f"{name}_spec.npz", sound.astype(np.float16))
        edges = np.round(np.cumsum(generator.uniform(2, 5, seconds)), 2)
        edges = edges[edges < seconds - 1]
        texts = ["now cut the onion"] * (len(edges) - 1)
        captions[name] = {"start": edges[:-1].tolist(), "end": edges[1:].tolist(), "text": texts}
        paths.append(f"topic/{name}")
    (root / "caption.json").write_text(json.dumps(captions), encoding="utf-8")
    (root / "videos.csv").write_text("path\n" + "\n".join(paths) + "\n", encoding="utf-8")
    return Published(root / "videos.csv", root / "features", root / "caption.json", root / "features")


def reference_stream(features: torch.Tensor, rate: float, start_s: float, end_s: float) -> torch.Tensor:
    """The clip's maximum over [int(s f) : int(e f) + 1], of length 1."""
    rows = features[int(start_s * rate) : int(end_s * rate) + 1]
    return F.normalize(torch.max(rows, dim=0)[0], dim=0)


def reference_frame(time_s: float) -> int:
    """With the clamp at 0."""
    return max(0, int(np.floor((np.floor(round(16000 * time_s, 6)) - 200) / 160)))


def reference(
    folder: Path, name: str, starts: list[float], ends: list[float]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Whole-file reading: video (32, 4096), audio (32, 40, 1000), frames (32,)."""
    two = torch.from_numpy(np.load(folder / f"{name}_2d.npz")["features"]).float()
    three = torch.from_numpy(np.load(folder / f"{name}_3d.npz")["features"]).float()
    sound = np.load(folder / f"{name}_spec.npz")["arr_0"]
    floor = sound.min()
    video = torch.zeros(len(starts), 2 * DIM)
    audio = torch.zeros(len(starts), 40, FRAMES, dtype=torch.float16)
    frames = torch.zeros(len(starts), dtype=torch.int64)
    for clip, (start, end) in enumerate(zip(starts, ends, strict=True)):
        parts = [reference_stream(two, 1.0, start, end), reference_stream(three, 1.5, start, end)]
        video[clip] = torch.cat(parts)
        cut = sound[:, reference_frame(start) : reference_frame(end)][:, :FRAMES]
        frames[clip] = cut.shape[1]
        filled = np.pad(cut, ((0, 0), (0, FRAMES - cut.shape[1])), constant_values=floor)
        audio[clip] = torch.from_numpy(filled)
    return video, audio, frames


def measure_reading(root: Path, videos: int) -> dict[str, Any]:
    """Whole files against the store, the same clips."""
    published = generate(root / "published", videos)
    import_howto100m(published, root / "store")
    store = FeatureStore(root / "store")
    source = StoreClips(store, HowTo100MConfig(store=root / "store"), None)
    by_video = [source.drawn(np.array([video]), 0, 0) for video in range(videos)]
    folder = published.features / "topic"

    def by_file(video: int, clips: Clips) -> tuple[torch.Tensor, ...]:
        name = store.ids[video]
        starts, ends = (clips.start_ms / 1000).tolist(), (clips.end_ms / 1000).tolist()
        return reference(folder / name, name, starts, ends)

    def by_store(clips: Clips) -> tuple[torch.Tensor, ...]:
        batch = source.batch(clips, clips.video, VIDEO_AUDIO)
        video, audio = batch.inputs["video"], batch.inputs["audio"]
        assert isinstance(video, torch.Tensor)
        assert not isinstance(audio, torch.Tensor)
        return video, audio["values"], audio["num_frames"]

    for video, clips in enumerate(by_video):
        for ours, theirs in zip(by_store(clips), by_file(video, clips), strict=True):
            if not torch.equal(ours, theirs):
                raise RuntimeError(f"The store and the files give different values for video {video}.")
    times: dict[str, list[float]] = {"store": [], "files": []}
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        for clips in by_video:
            by_store(clips)
        middle = time.perf_counter()
        for video, clips in enumerate(by_video):
            by_file(video, clips)
        times["store"].append(middle - started)
        times["files"].append(time.perf_counter() - middle)
    ratio = statistics.median(files / ours for files, ours in zip(times["files"], times["store"], strict=True))
    count = CLIPS * videos
    stored, raw = (_bytes(root / "store", ("video_2d.bin", "video_3d.bin")), _raw_bytes(store))
    return {
        "name": "reading clips of HowTo100M features, store against whole files",
        "ours": count / statistics.median(times["store"]),
        "floor": count / statistics.median(times["files"]),
        "unit": "clips per second",
        "ratio": ratio,
        "target": 20.0,
        "holds": ratio >= 20.0,
        "ratios": [files / ours for files, ours in zip(times["files"], times["store"], strict=True)],
        "disk_of_features_over_raw": stored / raw,
        "drawing_and_growing_clips_per_second": _drawing_rate(source, videos),
    }


def _drawing_rate(source: StoreClips, videos: int) -> float:
    everything = np.arange(videos)
    started = time.perf_counter()
    for epoch in range(REPETITIONS):
        source.drawn(everything, 0, epoch)
    return REPETITIONS * CLIPS * videos / (time.perf_counter() - started)


def _bytes(folder: Path, names: tuple[str, ...]) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.bin") if path.name in names)


def _raw_bytes(store: FeatureStore) -> int:
    streams = [stream for shard in store.shards for stream in shard.streams.values()]
    return sum(2 * stream.dim * int(stream.lengths.sum()) for stream in streams)


def write_captions(folder: Path, captions: int) -> None:
    """A store of captions alone, 110 per video, as HowTo100M has."""
    writer = ShardWriter(folder / "shard-0000-of-0001", {"video_2d": "1"}, {})
    per_video = 110
    start = np.arange(per_video, dtype=np.int32) * 3500
    texts = tuple(f"then you add some of the salt number {number}" for number in range(per_video))
    for number in range(captions // per_video):
        writer.add(VideoContent(f"video{number:08d}", {}, None, Captions(start, start + 3500, texts)))
    writer.finish()


def process_bytes() -> dict[str, int]:
    """`private`: what this process keeps for itself; `resident`: with all it has touched of files."""
    found = {}
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name in ("RssAnon", "VmRSS"):
            found[{"RssAnon": "private", "VmRSS": "resident"}[name]] = 1024 * int(value.split()[0])
    return found


def use_captions(folder: Path, cache: Path, report: Any) -> None:
    """Opens the store, maps its ids of words and samples every video once; reports the growth of the process."""
    tokenizer = WordTokenizer(4096, 20)
    _ = StoreClips, torch.zeros(1)
    before = process_bytes()
    store = FeatureStore(folder)
    config = HowTo100MConfig(store=folder)
    text = TextMaker(config, tokenizer, token_cache(store, tokenizer, 20, cache))
    source = StoreClips(store, config, text)
    for low in range(0, store.num_videos, 128):
        clips = source.drawn(np.arange(low, min(store.num_videos, low + 128)), 0, 0)
        text.of_clips(store, clips)
    after = process_bytes()
    report.put({name: (after[name] - before[name]) / store.num_captions for name in before})


def measure_memory(root: Path, captions: int) -> dict[str, Any]:
    """Bytes per caption of a fresh process, the first (which tokenises) and a second."""
    write_captions(root / "captions", captions)
    context, grown = multiprocessing.get_context("spawn"), []
    for _ in range(2):
        queue = context.Queue()
        process = context.Process(target=use_captions, args=(root / "captions", root / "tokens", queue))
        process.start()
        grown.append(queue.get())
        process.join()
    private = max(run["private"] for run in grown)
    return {
        "name": "memory of a process per caption",
        "ours": private,
        "floor": 0.0,
        "unit": "bytes",
        "ratio": None,
        "target": MEMORY_TARGET,
        "holds": private <= MEMORY_TARGET,
        "captions": captions,
        "resident_with_file_pages": max(run["resident"] for run in grown),
        "runs": grown,
    }


def main() -> None:
    """Prints the entries as a table or as one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=24)
    parser.add_argument("--captions", type=int, default=2_000_000)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        entries = [measure_reading(Path(folder), arguments.videos)]
        if arguments.captions:
            entries.append(measure_memory(Path(folder), arguments.captions))
    machine = {"processor": processor_name(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    if arguments.json:
        print(json.dumps({"machine": machine, "entries": entries}))
        return
    print(machine)
    for entry in entries:
        ratio = "" if entry["ratio"] is None else f", ratio {entry['ratio']:.2f}"
        print(
            f"{entry['name']}: {entry['ours']:.1f} {entry['unit']}{ratio}, target {entry['target']}: {entry['holds']}"
        )
        print({name: value for name, value in entry.items() if name not in ("name", "ours", "unit", "ratio", "target")})


if __name__ == "__main__":
    main()
