"""The six data sets of the tables in their official layouts, each of a few tiny real films, sounds, pictures, texts."""

import json
from pathlib import Path

import numpy as np
import soundfile
from media_files import tone, write_video
from PIL import Image

SPLITS = {"train": 12, "test": 4}
SHORT_S, RATE = 0.4, 8000


def _frames(level: int, count: int = 4) -> np.ndarray:
    """Frames with a bright square that moves, so that there is something to see and some flow."""
    frames = np.full((count, 32, 48, 3), 30, dtype=np.uint8)
    for number in range(count):
        frames[number, 8:20, 6 + 3 * number : 20 + 3 * number] = level
    return frames


def _clip(path: Path, kind: int, audio: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = tone(300 + 400 * kind, SHORT_S, RATE) if audio else None
    codec = "flv1" if path.suffix == ".flv" else "mpeg4"
    write_video(path, _frames(80 + 120 * kind), audio=sound, codec=codec)


def _picture(path: Path, kind: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_frames(80 + 120 * kind, 1)[0]).save(path)


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def ave(root: Path) -> None:
    """`AVE/AVE_Dataset` with its three lists, separated by &."""
    names = ("Bark", "Violin, fiddle")
    for split, count in {**SPLITS, "val": 4}.items():
        lines = []
        for number in range(count):
            video, kind = f"{split}{number:07d}"[:11], number % 2
            _clip(root / "AVE" / "AVE_Dataset" / "AVE" / f"{video}.mp4", kind)
            lines.append(f"{names[kind]}&{video}&good&0&10")
        _text(root / "AVE" / "AVE_Dataset" / f"{split}Set.txt", "\n".join(lines))


def kinetics_sounds(root: Path) -> None:
    """`kinetics_sounds` as OGM-GE lists it: clip, duration, number of the class."""
    folder = root / "kinetics_sounds"
    for split, count in SPLITS.items():
        lines = []
        for number in range(count):
            kind = number % 2
            clip = f"{split[:2]}{number:09d}_{number:06d}_{number + 10:06d}"
            _clip(folder / split / f"{clip}.mp4", kind)
            lines.append(f"{clip},10,{4 + kind}")
        _text(folder / f"my_{split}.txt", "\n".join(lines))


def cremad(root: Path) -> None:
    """`CREMA-D`: wav and flv of ten actors."""
    folder = root / "CREMA-D"
    for actor in range(10):
        for kind, emotion in enumerate(("ANG", "SAD")):
            clip = f"{1001 + actor}_DFA_{emotion}_XX"
            _clip(folder / "VideoFlash" / f"{clip}.flv", kind, audio=False)
            (folder / "AudioWAV").mkdir(exist_ok=True)
            soundfile.write(folder / "AudioWAV" / f"{clip}.wav", tone(300 + 400 * kind, SHORT_S, RATE), RATE)


def food101(root: Path) -> None:
    """`Food-101`: pictures by class, titles in csv files without a header."""
    folder = root / "Food-101"
    for split, count in SPLITS.items():
        lines = []
        for number in range(count):
            kind = ("apple_pie", "beet_salad")[number % 2]
            name = f"{kind}_{number + (100 if split == 'test' else 0)}.jpg"
            _picture(folder / "images" / split / kind / name, number % 2)
            lines.append(f'{name},"A {kind.split("_")[0]}, fresh",{kind}')
        _text(folder / "texts" / f"{split}_titles.csv", "\n".join(lines))


def mmimdb(root: Path) -> None:
    """`mmimdb/dataset` with a poster and a plot per film, and split.json."""
    folder, members = root / "mmimdb", {}
    for first, (split, count) in enumerate({"train": 12, "dev": 4, "test": 4}.items()):
        members[split] = [f"{1000 * (first + 1) + number:07d}" for number in range(count)]
        for number, film in enumerate(members[split]):
            kind = number % 2
            _picture(folder / "dataset" / f"{film}.jpeg", kind)
            genres = ["Drama"] if kind else ["Comedy", "Romance"]
            document = {"plot": ["short", f"a longer story of kind {kind}"], "genres": genres}
            _text(folder / "dataset" / f"{film}.json", json.dumps(document))
    _text(folder / "split.json", json.dumps(members))


def ucf101(root: Path) -> None:
    """`UCF-101` with films, three folds by group, and flow pictures."""
    folder = root / "UCF101"
    names = ("Archery", "HandstandPushups")
    films = [(name, group) for name in names for group in (1, 2, 8, 9, 15, 16, 22, 23, 24, 25)]
    for name, group in films:
        spelt = "HandStandPushups" if name == "HandstandPushups" else name
        film = f"v_{spelt}_g{group:02d}_c01"
        _clip(folder / "UCF-101" / name / f"{film}.avi", names.index(name), audio=False)
        for part in "uv":
            for number in range(3):
                _picture(folder / "tvl1_flow" / part / film / f"frame{number + 1:06d}.jpg", names.index(name))
    lists = folder / "ucfTrainTestlist"
    _text(lists / "classInd.txt", "".join(f"{i} {name}\n" for i, name in enumerate(names, start=1)))
    for fold in (1, 2, 3):
        lines: dict[bool, list[str]] = {True: [], False: []}
        for name, group in films:
            spelt = "HandStandPushups" if name == "HandstandPushups" else name
            tested = (group - 1) // 7 + 1 == fold
            path = f"{name}/v_{spelt}_g{group:02d}_c01.avi"
            lines[tested].append(path if tested else f"{path} {names.index(name) + 1}")
        _text(lists / f"trainlist0{fold}.txt", "\n".join(lines[False]))
        _text(lists / f"testlist0{fold}.txt", "\n".join(lines[True]))


SETS = {
    "ave": ave,
    "kinetics_sounds": kinetics_sounds,
    "cremad": cremad,
    "food101": food101,
    "mmimdb": mmimdb,
    "ucf101": ucf101,
}
