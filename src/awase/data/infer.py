"""Which column is which modality, from the names and the first cells of a manifest."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from awase.config import ArrayInput, AudioInput, DataConfig, FlowInput, ImageInput, Input, TextInput, VideoInput
from awase.data.decode_npy import load_npy
from awase.data.media import open_media
from awase.data.picture_folders import PICTURES, component_folders
from awase.data.source import MediaError
from awase.data.table import Table

VIDEOS = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".flv", ".ts"}
SOUNDS = {".wav", ".flac", ".ogg", ".oga", ".mp3", ".m4a", ".opus", ".aac", ".aiff", ".aif"}
TEXTS = ("text", "caption", "sentence", "title", "transcript")


def infer_inputs(table: Table, config: DataConfig) -> dict[str, Input]:
    """Per modality its input, with the default sizes.

    By the first cell that is not empty: video files give `video` (in a column named or ending in `audio`: `audio`),
    audio files `audio`, pictures `image`, .npy files an array of the first file's shape (a column ending in `flow`:
    `flow`, also of folders); folders in a column ending in `video` or `frames` give `video`; columns named or ending in
    text, caption, sentence, title or transcript give `text`. The first column of a kind gives its modality the name of
    the kind, later ones their own. Video files with an audio track also give `audio` where no column does. Columns of
    ids, labels, splits, folds, groups and times are never inputs. Raises `ValueError` where nothing is found.
    """
    reserved = _reserved(config)
    inputs: dict[str, Input] = {}
    for name, cells in table.columns.items():
        first = next((i for i, cell in enumerate(cells) if cell is not None), None)
        setting = None if name in reserved or first is None else _input(name, cells[first], table.folders[first])
        if setting is not None:
            inputs[_modality(setting.kind, name, inputs)] = setting
    if "audio" not in inputs and "video" in inputs:
        column = inputs["video"].column
        if _has_audio(table, column):
            inputs["audio"] = AudioInput(column=column)
    if not inputs:
        raise ValueError(
            f"No column of the manifest ({', '.join(map(repr, table.columns))}) looks like an input: name them in "
            "data.inputs, for example {'video': VideoInput(column='clip')}, or call the columns video, audio, image "
            "or text."
        )
    return inputs


def _reserved(config: DataConfig) -> set[str]:
    names = {config.id_column, config.split_column, config.fold_column, config.group_column}
    names |= {config.start_column, config.end_column, *config.label}
    return {name for name in names if name is not None} | {"id", "label", "split", "fold", "group", "start", "end"}


def _input(name: str, cell: Any, folder: Path) -> Input | None:
    if not isinstance(cell, str):
        return None
    suffix = Path(cell.strip()).suffix.lower()
    if suffix in VIDEOS | SOUNDS:
        is_audio = suffix in SOUNDS or _ends(name, ("audio", "sound"))
        return AudioInput(column=name) if is_audio else VideoInput(column=name)
    if suffix in PICTURES:
        return ImageInput(column=name)
    path = folder / cell.strip()
    if _ends(name, ("flow",)) and (suffix == ".npy" or component_folders(path) is not None or path.is_dir()):
        return FlowInput(column=name)
    if _ends(name, ("video", "frames")) and path.is_dir():
        return VideoInput(column=name)
    if suffix == ".npy":
        return _array(name, path)
    return TextInput(column=name) if _ends(name, TEXTS) else None


def _array(name: str, path: Path) -> Input:
    try:
        return ArrayInput(column=name, shape=np.shape(load_npy(path)))
    except MediaError as error:
        raise ValueError(f"The shape of column {name!r} is not known: its first file {path} {error.reason}.") from error


def _ends(name: str, words: tuple[str, ...]) -> bool:
    return re.split(r"[^a-z0-9]+", name.lower())[-1] in words


def _modality(kind: str, column: str, taken: dict[str, Input]) -> str:
    if kind not in taken and kind != "array":
        return kind
    name = re.sub(r"[^a-z0-9_]+", "_", column.lower()).strip("_") or kind
    name = name if name[0].isalpha() else f"{kind}_{name}"
    return name if name not in taken else f"{name}_{len(taken)}"


def _has_audio(table: Table, column: str) -> bool:
    for cell, folder in zip(table.columns[column], table.folders, strict=True):
        if cell is None:
            continue
        try:
            with open_media(folder / cell.strip()) as container:
                return len(container.streams.audio) > 0
        except MediaError:
            continue
    return False
