"""P4: a training step of MCN at the reference condition, in parts, beside one written from the formulas.

    python benchmarks/mcn_step.py --clips 128 [--repeats 2] [--json]                  the full model, DAVEnet included
    python benchmarks/mcn_step.py --clips 4096 --cached-audio [--repeats 1] [--json]  audio features given

Ours is the library's own loop on the built-in experiment `mcn.joint`, on batches from a store of generated features.
The other is `mcn_formulas.py`. Both have the same sizes, see the same clips, and have a full queue and fitted centroids
when the measured steps begin; a step assigns and does not refit. They take turns; times are processor time of one
process, medians. With `--refit` ten iterations of k-means over queue and batch, from the same centroids, are timed for
both besides; the original does as many as it takes, up to 100, in every 20th step. Where `--cached-audio` is not given
the clips of a step pass through DAVEnet at once, and nothing is computed twice.

The words of captions are drawn in proportion to 1 / rank from `--vocabulary` words; ours projects each word of a batch
once. A whole step from files at 128 x 32 clips is `mcn_whole_step.py`.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mcn_data import open_joint, prepare
from mcn_formulas import Formulas, Sizes, refit
from mcn_parts import Again, KnownAudio, Parts, memory_of, peak_gib, shown, timed_loop
from torch import Tensor

from awase.config import ArrayInput, EncoderConfig
from awase.objectives import kmeans
from awase.runner.build import build_retrieval
from awase.runner.provenance import processor_name
from awase.runner.setting import Setting
from awase.types import Batch

ITERATIONS = 10
REFIT_EVERY = 20
AUDIO_DIM = 1024


class TimedFormulas:
    """Steps of the formulas on one batch."""

    def __init__(self, model: Formulas, batch: Batch, audio: Tensor, vectors: Tensor) -> None:
        self.model, self.parts = model, Parts()
        video, text = batch.inputs["video"], batch.inputs["text"]
        assert isinstance(video, Tensor)
        assert not isinstance(text, Tensor)
        self.inputs = (video, audio, vectors[text["input_ids"]])

    def __call__(self) -> None:
        """A step."""
        self.parts.begin()
        self.model.step(*self.inputs, timer=self.parts.of)
        now = self.parts.now
        now["other forward"] += now["audio forward"]  # as in ours, where the model is timed as a whole
        now["other backward"] = now.pop("backward")
        self.parts.end()


def contest(root: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Steps of both in turns."""
    prepare(root, options.videos, options.vocabulary)
    setting, stage = open_joint(root, options.videos, options.clips // options.videos, options.dim)
    loader = setting.dataset.loader(
        "train", batch_size=options.clips, modalities=stage.modalities, seed=setting.seed, train=True
    )
    started = time.process_time()
    batch = next(loader.epoch(0))
    loading = time.process_time() - started
    audio, spec = _audio(batch, options), setting.spec
    if options.cached_audio:
        spec = spec.model_copy(
            update={
                "encoders": {**spec.encoders, "audio": EncoderConfig(name="features")},
                "inputs": {**spec.inputs, "audio": ArrayInput(column="audio", shape=(AUDIO_DIM,))},
                "shapes": {**spec.shapes, "audio": (AUDIO_DIM,)},
            }
        )
    model = build_retrieval(stage, spec)
    sizes = Sizes(options.dim)
    formulas = Formulas(sizes, with_davenet=not options.cached_audio)
    queue = torch.randn(sizes.queue, sizes.dim, generator=torch.Generator().manual_seed(2)).mul_(0.1)
    fill(memory_of(model), queue, setting)
    formulas.queue.copy_(queue)
    formulas.centroids.copy_(memory_of(model).centroids)
    del queue
    vectors = model.get_buffer("encoders.text.network.table")
    theirs = TimedFormulas(formulas, batch, audio, vectors)
    known = KnownAudio(audio if options.cached_audio else None)
    steps = Again(batch, 1 + options.repeats)
    parts, run = timed_loop(model, stage, setting, steps, known=known, between=theirs)
    run()
    entries = [compared(options, parts.steps[1:], theirs.parts.steps[1:], loading)]
    if options.refit:
        entries += refits(options, memory_of(model).queue, formulas, entries[0])
    return entries


def _audio(batch: Batch, options: argparse.Namespace) -> Tensor:
    """Spectrograms, or features that are 0 or more, as DAVEnet gives them."""
    if options.cached_audio:
        return torch.rand(options.clips, AUDIO_DIM, generator=torch.Generator().manual_seed(1))
    inputs = batch.inputs["audio"]
    assert not isinstance(inputs, Tensor)
    return inputs["values"].flatten(1, -2)


def fill(memory: Any, queue: Tensor, setting: Setting) -> None:
    """A full queue, and centroids that are not fitted again soon."""
    memory.max_iterations, kept = 1, memory.max_iterations
    memory.step(queue)
    memory.max_iterations, memory.refit_every = kept, 10**9


def compared(
    options: argparse.Namespace, ours: list[dict[str, float]], theirs: list[dict[str, float]], loading: float
) -> dict[str, Any]:
    """Medians of the parts, and the ratio of the whole."""
    target = 2.5 if options.cached_audio else 1.5
    ratio = statistics.median(b["total"] / a["total"] for a, b in zip(ours, theirs, strict=True))
    what = "audio features given" if options.cached_audio else "full model"
    return {
        "name": f"a step of MCN, {options.clips} clips, {what}",
        "ours": median(ours)["total"],
        "peer": median(theirs)["total"],
        "unit": "s",
        "ratio": ratio,
        "target": target,
        "holds": ratio >= target,
        "parts": {"ours": median(ours), "formulas": median(theirs)},
        "loading_of_ours": loading,
    }


def median(steps: list[dict[str, float]]) -> dict[str, float]:
    """Part by part."""
    return {name: statistics.median(step[name] for step in steps) for name in steps[0]}


def refits(
    options: argparse.Namespace, queue: Tensor, formulas: Formulas, step: dict[str, Any]
) -> list[dict[str, Any]]:
    """Ten iterations over as many rows as queue and batch have, and a twentieth of it in a step."""
    rows = torch.cat([queue, queue[: options.clips]])
    centroids = formulas.centroids
    clusters = len(centroids)

    def ours() -> object:
        return kmeans(rows, clusters, centroids, max_iterations=ITERATIONS, tolerance=-1.0)

    seconds = {"ours": timed(ours), "peer": timed(lambda: refit(rows, centroids, ITERATIONS))}
    whole = {name: step[name] + seconds[name] / REFIT_EVERY for name in seconds}
    rows_of: tuple[tuple[str, dict[str, float], dict[str, Any]], ...] = (
        (f"refit: {ITERATIONS} iterations", seconds, {}),
        (
            f"{step['name']}, with a {REFIT_EVERY}th of a refit",
            whole,
            {"target": step["target"], "holds": whole["peer"] / whole["ours"] >= step["target"]},
        ),
    )
    return [
        {"name": name, **both, "unit": "s", "ratio": both["peer"] / both["ours"], **more}
        for name, both, more in rows_of
    ]


def timed(action: Callable[[], object]) -> float:
    """Processor seconds."""
    started = time.process_time()
    action()
    return time.process_time() - started


def main() -> None:
    """Prints the comparison, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--cached-audio", action="store_true", help="without DAVEnet")
    parser.add_argument("--videos", type=int, default=4, help="from which the clips are drawn")
    parser.add_argument("--dim", type=int, default=4096)
    parser.add_argument("--vocabulary", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=2, help="turns, after one that is not counted")
    parser.add_argument("--refit", action="store_true", help="time a refit of the clusters too")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        entries = contest(Path(folder), options)
    given = {name: value for name, value in vars(options).items() if name != "json"}
    machine = {"processor": processor_name(), "torch": torch.__version__, **given, "peak_gib_of_both": peak_gib()}
    if options.json:
        print(json.dumps({"machine": machine, "entries": entries}))
        return
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for entry in entries:
        print(
            f"{entry['name']}: formulas / ours {entry['ratio']:.2f} (ours {entry['ours']:.2f} s, formulas "
            f"{entry['peer']:.2f} s)" + (f", target {entry['target']}: {entry['holds']}" if "target" in entry else "")
        )
        for name, parts in entry.get("parts", {}).items():
            print(f"  {name}: {shown(parts)}")


if __name__ == "__main__":
    main()
