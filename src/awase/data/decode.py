"""One cell of a manifest to one decoded sample, by the kind of its input."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from awase.config import ArrayInput, AudioInput, FlowInput, ImageInput, Input, TextInput, VideoInput
from awase.data.decode_audio import decode_audio
from awase.data.decode_flow import decode_flow
from awase.data.decode_image import decode_image
from awase.data.decode_npy import check_array, load_npy, parse_array
from awase.data.decode_video import decode_video
from awase.data.media import Clip
from awase.data.source import MediaError


@dataclass(frozen=True)
class Cell:
    """What a row holds for one input: a path relative to `folder`, a text, or numbers; and the part that is meant."""

    value: Any
    folder: Path
    clip: Clip

    @property
    def path(self) -> Path:
        return self.folder / str(self.value).strip()


def is_file_cell(setting: Input, value: Any) -> bool:
    """Whether the cell names a file (or, for flow, a folder) rather than holding the sample itself."""
    if isinstance(setting, TextInput):
        return False
    return not (isinstance(setting, ArrayInput) and not _is_path(value))


def decode(setting: Input, cell: Cell) -> np.ndarray | str | None:
    """The sample as `Source.read` describes it; raises `MediaError` where there is nothing or it is broken."""
    if cell.value is None:
        raise MediaError("empty cell")
    match setting:
        case TextInput():
            return str(cell.value)
        case VideoInput():
            return decode_video(cell.path, cell.clip, setting)
        case AudioInput():
            return decode_audio(cell.path, cell.clip, setting)
        case ImageInput():
            return decode_image(cell.path, setting)
        case FlowInput():
            return decode_flow(cell.path, setting)
        case ArrayInput():
            array = load_npy(cell.path) if _is_path(cell.value) else parse_array(cell.value)
            return check_array(array, setting.shape)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and not value.lstrip().startswith("[")
