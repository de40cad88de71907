"""Features of films: pictures one by one, or in groups, through a frozen network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from awase.data.source import MediaError

Pictures = UInt8[Tensor, "batch *frames height width 3"]
DTYPES = {"float16": np.float16, "float32": np.float32}


@dataclass(frozen=True)
class FilmStream:
    """Rows of features of a film.

    `rate_hz` pictures per second, `frames_per_row` of them for each row; where the last group is not full, it is filled
    up with black pictures (`fill="black"`), or, with `"last"`, by the last picture if half of it or more is there, and
    dropped otherwise (not if it is the only one). `network` sees `batch` rows at a time, all of one film.
    """

    name: str
    rate_hz: float
    picture: Callable[[Any], UInt8[np.ndarray, "height width 3"]]
    network: Callable[[Pictures], Float[Tensor, "batch dim"]]
    batch: int
    normalise: bool
    dtype: str
    settings: dict[str, Any]
    frames_per_row: int = 1
    fill: Literal["black", "last"] = "black"
    key: str = "features"

    @property
    def suffix(self) -> str:
        """What the name of a feature file ends in."""
        return f"_{self.name}.npz"


class FilmRows:
    """The rows of one film while it is decoded: no more pictures are held than one batch needs."""

    def __init__(self, stream: FilmStream) -> None:
        self._stream = stream
        self._pictures: list[np.ndarray] = []
        self._rows: list[np.ndarray] = []

    def add(self, frame: Any, times: int) -> None:
        """The frame fills so many places."""
        picture = self._stream.picture(frame)
        if self._pictures and picture.shape != self._pictures[0].shape:
            self._flush()
        for _ in range(times):
            self._pictures.append(picture)
            if len(self._pictures) == self._stream.batch * self._stream.frames_per_row:
                self._flush()

    def finish(self) -> Float[np.ndarray, "rows dim"]:
        """All rows. Raises `MediaError` where they cannot be written in the type asked for."""
        self._fill()
        self._flush()
        rows = np.concatenate(self._rows)
        if not np.isfinite(rows).all():
            raise MediaError(f"has features that are not finite in {self._stream.dtype}")
        return rows

    def _fill(self) -> None:
        size = self._stream.frames_per_row
        over = len(self._pictures) % size
        if over == 0:
            return
        alone = len(self._pictures) == over and not self._rows
        if self._stream.fill == "last" and 2 * over < size and not alone:
            del self._pictures[-over:]
            return
        last = self._pictures[-1] if self._stream.fill == "last" else np.zeros_like(self._pictures[-1])
        self._pictures += [last] * (size - over)

    def _flush(self) -> None:
        if not self._pictures:
            return
        pictures = torch.from_numpy(np.stack(self._pictures))  # (places, height, width, 3)
        if self._stream.frames_per_row > 1:
            pictures = pictures.unflatten(0, (-1, self._stream.frames_per_row))
        self._pictures = []
        with torch.inference_mode():
            rows = self._stream.network(pictures).float()
            self._rows.append(written(rows, self._stream.normalise, self._stream.dtype))


def written(rows: Float[Tensor, "rows dim"], normalise: bool, dtype: str) -> Float[np.ndarray, "rows dim"]:
    """The rows as they are stored: of length one, if asked for, and in the type."""
    rows = F.normalize(rows, dim=1) if normalise else rows
    with np.errstate(over="ignore"):  # what overflows is found, and said, once the film is through
        return rows.cpu().numpy().astype(DTYPES[dtype])
