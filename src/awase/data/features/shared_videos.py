"""Videos of a store that an evaluation set is cut from too: what is measured there is then not of new videos."""

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)
_YOUTUBE = re.compile(r"[\w-]{11}")
LISTED = 1000


def shared_videos(
    ids: Iterable[str], validation: np.ndarray, evaluation: Mapping[str, Iterable[str]], store: Path
) -> dict[str, Any]:
    """`count` and `names` (the first 1000 with the splits they are in) of videos of a store in an evaluation set.

    `ids` are all videos of the store, those numbered in `validation` are of `val`, the others of `train`; `evaluation`
    has the videos of each set. They are compared by name; `not_compared` are the sets none of whose videos has a name
    as YouTube gives them, 11 letters, digits, `-` and `_` (MSR-VTT calls its clips `video7010`). Each set that shares
    some is warned of.
    """
    videos = {name: set(held) for name, held in evaluation.items()}
    wanted, kept = set().union(*videos.values()), set(validation.tolist())
    found = sorted((video, number in kept) for number, video in enumerate(ids) if video in wanted)
    for name, held in videos.items():
        here = [video for video, _ in found if video in held]
        if here:
            logger.warning(
                "%d videos of the store %s are also in the evaluation set %s (first %s): what is measured there is no "
                "test of new videos.",
                len(here), store, name, here[0],
            )  # fmt: skip
    names = {
        video: ["val" if is_kept else "train", *(name for name, held in videos.items() if video in held)]
        for video, is_kept in found[:LISTED]
    }
    unlike = [name for name, held in videos.items() if not any(_YOUTUBE.fullmatch(video) for video in held)]
    return {"count": len(found), "names": names, "not_compared": unlike}
