"""The files that the examples in `docs/` speak of: two tables, small clips and pictures, made on the spot."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from cli.clips import LABELS, write_clip
from PIL import Image

MOODS = ("calm", "excited")
TOPICS = {"food": (200, 120, 40), "travel": (40, 120, 200)}
WORDS = {"food": "soup and bread", "travel": "a train to the sea"}


def write_examples(folder: Path) -> None:
    """`interviews.csv` with two columns of mp4 files, `posts.csv` with pictures and texts, and their files."""
    write_interviews(folder)
    write_posts(folder)


def write_interviews(folder: Path) -> None:
    """Three clips of each of eight speakers, from the front (with sound) and from the side; two speakers are test."""
    rows = []
    for number in range(24):
        speaker, mood = number // 3, number % 2
        row = {"id": f"i{number:02d}", "speaker": f"s{speaker}", "mood": MOODS[mood]}
        for camera in ("front", "side"):
            row[camera] = f"clips/{row['id']}_{camera}.mp4"
            path = folder / row[camera]
            path.parent.mkdir(exist_ok=True)
            write_clip(path, LABELS[mood], number, sound=camera == "front")
        rows.append({**row, "split": "test" if speaker >= 6 else "train"})
    write_csv(folder / "interviews.csv", rows)


def write_posts(folder: Path) -> None:
    """Pictures whose colour, and captions whose words, tell one or two topics; one picture is missing, one caption."""
    rows = []
    for number in range(24):
        topics = [name for place, name in enumerate(TOPICS) if (number % 3 + 1) >> place & 1]
        photo = f"photos/p{number:02d}.png"
        if number != 4:
            _write_photo(folder / photo, topics, number)
        caption = "" if number == 7 else " and ".join(WORDS[name] for name in topics) + f", day {number}"
        split = "test" if number >= 18 else "val" if number >= 13 else "train"
        row = {"photo": photo, "caption": caption, "topics": "|".join(topics), "split": split}
        rows.append({"id": f"p{number:02d}", **row})
    write_csv(folder / "posts.csv", rows)


def _write_photo(path: Path, topics: Sequence[str], number: int) -> None:
    path.parent.mkdir(exist_ok=True)
    colour = np.mean([TOPICS[name] for name in topics], axis=0)
    noise = np.random.default_rng(number).integers(-30, 30, size=(40, 60, 3))
    Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8)).save(path)


def write_csv(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """The rows as a CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
