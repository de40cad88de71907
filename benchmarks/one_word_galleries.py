"""A control for spoken sentences: galleries of texts that differ from the right one in a single word.

    python benchmarks/one_word_galleries.py RUN... --manifest MANIFEST --cache CACHE [--json]

RUN is the folder of one method, seed and fold of `grid.py::sentences`. For each test clip, and for each of colour,
letter and digit, the gallery is its sentence with every value of that word; the clip's audio, video, and both ask. A
tie counts against the clip. Chance is one over the number of values: 25 %, 4 %, 10 %. It tells whether a space that
finds the right one of 200 sentences knows each word, or only the easy ones.
"""

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from awase import Space
from awase.evaluation.directions import side
from awase.records import read_record
from awase.runner.space_files import read_embeddings

SLOTS = ("colour", "letter", "digit")
ASKING: tuple[tuple[str, ...], ...] = (("audio",), ("video",), ("audio", "video"))


def values_of(table: list[dict[str, str]]) -> dict[str, list[str]]:
    """Every value of each word."""
    return {slot: sorted({row[slot] for row in table}) for slot in SLOTS}


def altered(row: dict[str, str], slot: str, value: str) -> str:
    """The sentence with another word in one place."""
    words = row["text"].split()
    return " ".join(value if word == row[slot] and place == words.index(row[slot]) else word
                    for place, word in enumerate(words))  # fmt: skip


def hits_of(run: Path, table: dict[str, dict[str, str]], cache: Path) -> dict[tuple[str, str], np.ndarray]:
    """(who asks, word) -> whether each test clip's own sentence scores highest."""
    record = read_record(run)
    assert record.retrieval is not None, "the run is in a joint space"
    embedded = read_embeddings(run, record.stages[-1].name, "test")
    space = Space.from_pretrained(run, device="cpu", cache=cache)
    rows = [table[name] for name in embedded.ids]
    queries = {asking: side(embedded, asking, cosine=space.cosine)[0] for asking in ASKING}
    found: dict[tuple[str, str], np.ndarray] = {}
    for slot, values in values_of(list(table.values())).items():
        texts = sorted({altered(row, slot, value) for row in rows for value in values})
        place = {text: number for number, text in enumerate(texts)}
        vectors = space.embed([{"text": text} for text in texts]).embeddings["text"]
        vectors = F.normalize(vectors, dim=1) if space.cosine else vectors
        gallery = torch.tensor([[place[altered(row, slot, value)] for value in values] for row in rows])
        right = torch.tensor([values.index(row[slot]) for row in rows])
        for asking in ASKING:
            scores = torch.einsum("qd,qvd->qv", queries[asking].double(), vectors.double()[gallery])
            own = scores.gather(1, right[:, None])
            found["+".join(asking), slot] = ((scores >= own).sum(dim=1) == 1).numpy()
    return found


def main() -> None:
    """Prints, per method, the share of right answers over all its runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with arguments.manifest.open(encoding="utf-8") as file:
        table = {row["id"]: row for row in csv.DictReader(file)}
    by_method: dict[str, dict[tuple[str, str], list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    for run in arguments.runs:
        for key, hits in hits_of(run, table, arguments.cache).items():
            by_method[read_record(run).method][key].append(hits)
    document = {
        method: {f"{asking}->{slot}": round(100 * float(np.concatenate(parts).mean()), 1)
                 for (asking, slot), parts in found.items()} | {"clips": sum(map(len, next(iter(found.values()))))}
        for method, found in by_method.items()
    }  # fmt: skip
    if arguments.json:
        print(json.dumps(document))
        return
    columns = [f"{'+'.join(asking)}->{slot}" for slot in SLOTS for asking in ASKING]
    print("| method | clips | " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * (1 + len(columns)))
    for method, values in document.items():
        print(f"| {method} | {values['clips']} | " + " | ".join(f"{values[name]:.1f}" for name in columns) + " |")


if __name__ == "__main__":
    main()
