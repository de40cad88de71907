"""The real caption lists of YouCook2 and MSR-VTT with generated features: gallery sizes and duplicate-caption ceilings.

    python benchmarks/real_caption_lists.py --annotations DIR [--json]

DIR has `validation_youcook.csv` and `msrvtt_test.csv` (the lists of the MIL-NCE repository). Features are drawn at
random in the published layout, converted, and opened as evaluation sets; every caption is scored against every clip by
an oracle in which equal captions have equal vectors, which is the best that any model can do.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from awase.data.datasets.msrvtt import list_msrvtt
from awase.data.datasets.retrieval_files import ListedClip
from awase.data.datasets.youcook2 import list_youcook2
from awase.data.features import EvaluationClip, EvaluationStore, write_evaluation_store

DIM = 64
WITHOUT_AUDIO = 32
"""Of MSR-VTT's 1,000; drawn here, as the real ones are not in the list."""


def generated(listed: list[ListedClip], silent: int) -> list[EvaluationClip]:
    """Random features of every clip; the last `silent` have no audio."""
    generator = np.random.default_rng(0)
    clips = []
    for number, clip in enumerate(listed):
        streams = {name: generator.random(DIM, dtype=np.float32) for name in ("video_2d", "video_3d")}
        audio = None if number >= len(listed) - silent else -80 * generator.random((40, 100), dtype=np.float32)
        clips.append(EvaluationClip(clip.id, clip.video, clip.captions, streams, audio))
    return clips


def oracle(captions: list[str]) -> dict[str, float]:
    """R@1 in percent where a clip's vector is that of its caption; a tie counts against us, in neither direction both.

    From text, the clips of one caption may be told apart, so the best ranks them in one order: its first is found. From
    the clip, equal captions have equal scores.
    """
    _, kinds = np.unique(captions, return_inverse=True)
    scores = kinds[:, None] == kinds[None]  # (texts, clips)
    first = scores.argmax(axis=1) == np.arange(len(captions))
    alone = scores.sum(axis=0) == 1
    return {"text_to_clip": 100 * float(first.mean()), "clip_to_text": 100 * float(alone.mean())}


def measure(listed: list[ListedClip], silent: int, folder: Path) -> dict[str, Any]:
    """Facts of one list."""
    write_evaluation_store(folder, folder.name, generated(listed, silent), audio_frames=100)
    store = EvaluationStore(folder)
    kept = ("clips", "videos", "with", "distinct_captions", "duplicates_of_another", "rows_sharing_a_caption")
    facts = {name: store.description[name] for name in kept}
    ceilings = {name: store.description[f"ceiling_{name}"] for name in ("text_to_clip", "clip_to_text")}
    words = [len(found[0].split()) for found in store.captions]
    return facts | {
        "ceilings": ceilings,
        "oracle": oracle([found[0] for found in store.captions]),
        "words": [min(words), float(np.mean(words)), max(words)],
    }


def main() -> None:
    """Prints one line per list, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    lists = {
        "youcook2": (list_youcook2(arguments.annotations / "validation_youcook.csv"), 0),
        "msrvtt_1k-A": (list_msrvtt(arguments.annotations / "msrvtt_test.csv", "1k-A"), WITHOUT_AUDIO),
    }
    with tempfile.TemporaryDirectory() as folder:
        entries = {name: measure(listed, silent, Path(folder) / name) for name, (listed, silent) in lists.items()}
    if arguments.json:
        print(json.dumps(entries))
        return
    for name, facts in entries.items():
        print(f"{name}: {facts}")


if __name__ == "__main__":
    main()
