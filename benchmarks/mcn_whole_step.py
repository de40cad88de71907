"""One whole step of the reference configuration of MCN: from files through the loader to the updated weights.

    python benchmarks/mcn_whole_step.py [--videos 128] [--clips-per-video 32] [--dim 4096] [--steps 2] [--json]

Features of `--videos` videos of 4 to 8 minutes are generated in the published layout of HowTo100M in a temporary
folder (captions of words drawn in proportion to 1 / rank from `--vocabulary` words), imported into a store and opened
as the built-in experiment `mcn.joint`: DAVEnet from random weights on 1000 frames, ResNet-152 features, word vectors, a
space of 4096, 256 clusters, a queue of 40,960 rows. The first step trains everything, with the activations of 1,024
clips at a time computed again in the backward pass, and batch statistics of the same clips. In the `--steps` further
steps the audio features are those of the first, as features that were kept, and DAVEnet stands still.

Times are processor time. The memory is the largest that the process ever had, all of the above included; "before": what
it had before the first step. Shares and rates of DAVEnet count 8 x 3.995 G operations per clip and multiply-add, of
forward, recomputation and two gradients; the rate is that of the fastest operation of `davenet.py`.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from davenet import GMAC_PER_CLIP, rates
from mcn_data import open_joint, prepare
from mcn_parts import KnownAudio, TimedStep, peak_gib, shown, timed_loop

from awase.models import Retrieval
from awase.runner.build import build_retrieval
from awase.runner.nodes import enable_checkpointing
from awase.runner.provenance import processor_name

LIMIT_GIB = 20.0
PASSES = 4  # forward, its recomputation, and the two gradients


def fastest_gflop_s() -> dict[str, float]:
    """The rate of the product and of the convolution, medians of three."""
    found = {}
    for name, (operations, function) in rates("cpu", torch.float32).items():
        times = []
        for _ in range(4):
            started = time.process_time()
            function()
            times.append(time.process_time() - started)
        found[name] = operations / statistics.median(times[1:]) / 1e9
    return found


def take_steps(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The whole step and the further ones."""
    prepare(root, options.videos, options.vocabulary)
    setting, stage = open_joint(root, options.videos, options.clips_per_video, options.dim)
    stage = stage.model_copy(update={"training": stage.training.model_copy(update={"epochs": 1 + options.steps})})
    model: Retrieval = build_retrieval(stage, setting.spec)
    enable_checkpointing(model)
    count = options.videos * options.clips_per_video
    batches = setting.dataset.loader(
        "train", batch_size=count, modalities=stage.modalities, seed=setting.seed, train=True
    )
    known, peaks = KnownAudio(), [peak_gib()]

    def after(step: TimedStep) -> None:
        peaks.append(peak_gib())
        print(f"a step is done: {shown(parts.steps[-1])}; peak {peaks[-1]:.2f} GiB", flush=True, file=sys.stderr)
        known.audio = step.audio

    parts, run = timed_loop(model, stage, setting, batches, known=known, on_epoch=after)
    before = {name: value.detach().clone() for name, value in model.named_parameters() if value.numel() < 2**20}
    started = time.perf_counter()
    run()
    unchanged = [name for name, value in model.named_parameters() if name in before and value.equal(before[name])]
    whole = parts.steps[0]
    davenet = whole["audio forward"] + whole["audio backward"]
    rate = fastest_gflop_s()
    reached = 2 * PASSES * GMAC_PER_CLIP * count / davenet
    return {
        "name": f"a whole step of {options.videos} x {options.clips_per_video} clips",
        "seconds": whole["total"],
        "parts": whole,
        "further_steps_with_known_audio": parts.steps[1:],
        "peak_gib": peaks[-1],
        "peaks_gib": dict(zip(("before", *range(1, len(peaks))), peaks, strict=True)),
        "target_gib": LIMIT_GIB,
        "holds": peaks[-1] < LIMIT_GIB,
        "davenet_share": davenet / whole["total"],
        "davenet_gflop_s": reached,
        "rate_gflop_s": rate,
        "davenet_of_fastest": reached / max(rate.values()),
        "wall_seconds_of_all_steps": time.perf_counter() - started,
        "unchanged_parameters": unchanged,
    }


def main() -> None:
    """Takes the steps and prints what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=128)
    parser.add_argument("--clips-per-video", type=int, default=32)
    parser.add_argument("--dim", type=int, default=4096)
    parser.add_argument("--vocabulary", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=2, help="further steps, whose audio is known")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        entry = take_steps(Path(folder), options)
    machine = {
        "processor": processor_name(),
        "torch": torch.__version__,
        **{name: value for name, value in vars(options).items() if name != "json"},
    }
    if options.json:
        print(json.dumps({"machine": machine, "entries": [entry]}))
        return
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"{entry['name']}: {shown(entry['parts'])}")
    for number, step in enumerate(entry["further_steps_with_known_audio"], start=1):
        print(f"further step {number}, audio known: {shown(step)}")
    print(f"peak memory {entry['peak_gib']:.2f} GiB; holds: {entry['holds']} (< {LIMIT_GIB:.0f} GiB)")
    print(
        f"DAVEnet: {entry['davenet_share']:.1%} of the step, {entry['davenet_gflop_s']:.0f} GFLOP/s, "
        f"{entry['davenet_of_fastest']:.0%} of the fastest operation ({entry['rate_gflop_s']})"
    )


if __name__ == "__main__":
    main()
