"""Directions where a clip has several captions, each a sample, against the definition clip by clip."""

import pytest
import torch

from awase.evaluation import Direction, Embedded, directions, ranks_of
from awase.evaluation.directions import side, sides_of
from awase.evaluation.embed import first_rows
from awase.evaluation.shape import shape_of

CLIP = [4, 4, 0, 2, 0, 4, 1, 2, 2, 3, 5]  # the clip of each sample; those of one need not stand together
ABSENT = {"video": {1}, "text": set(), "audio": {0, 3}}  # of clips; of captions:
UNHEARD = {0, 6, 10}


def example(seed: int = 0, *, several: bool = True) -> Embedded:
    """Whole numbers, so that ties are exact: video and audio are those of the clip, text is the sample's own."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.tensor(CLIP)
    values = {name: torch.randint(-1, 2, (6, 5), generator=generator).float()[rows] for name in ("video", "audio")}
    values["text"] = torch.randint(-1, 2, (len(CLIP), 5), generator=generator).float()
    present = {name: torch.tensor([clip not in gone for clip in CLIP]) for name, gone in ABSENT.items()}
    present["text"] = torch.tensor([row not in UNHEARD for row in range(len(CLIP))])
    ids = tuple(f"s{row}" for row in range(len(CLIP)))
    return Embedded(ids, torch.arange(len(CLIP)), values, present, {"text": rows} if several else {})


def definition(data: Embedded, direction: Direction) -> dict[str, int]:
    """Query -> rank: clips are compared with clips, captions with captions."""
    queries, asked = side(data, (direction.query,), cosine=False)
    values, there = side(data, direction.gallery, cosine=False)
    firsts = [CLIP.index(clip) for clip in dict.fromkeys(CLIP)]
    every = list(range(len(CLIP)))
    items = every if "text" in direction.gallery else firsts
    found = {}
    for row in every if direction.query == "text" else firsts:
        scores = {item: float(queries[row] @ values[item]) for item in items if there[item]}
        right = [score for item, score in scores.items() if CLIP[item] == CLIP[row]]
        wrong = [score for item, score in scores.items() if CLIP[item] != CLIP[row]]
        found[data.ids[row]] = sum(s >= max(right) for s in wrong) if right and asked[row] else -1
    return found


@pytest.mark.parametrize("seed", range(7))
@pytest.mark.parametrize("direction", directions(("video", "audio", "text")), ids=str)
def test_ranks_are_the_definition(direction: Direction, seed: int):
    data = example(seed)
    sides = sides_of(data, direction, cosine=False)
    names = [data.ids[row] for row in sides.asking.tolist()]
    ranks = ranks_of(data, direction, cosine=False).tolist()
    assert dict(zip(names, ranks, strict=True)) == definition(data, direction)
    own = [CLIP[row] for row in sides.items[sides.match].tolist()]
    assert own == [CLIP[row] for row in sides.asking.tolist()]


def test_captions_that_are_the_same_are_no_groups():
    same = {"text": torch.arange(len(CLIP))}
    with pytest.raises(ValueError, match="several captions"):
        sides_of(example(), Direction("text", ("video",)), cosine=False, same=same)
    assert sides_of(example(), Direction("audio", ("video",)), cosine=False, same=same).right is None


def test_the_shape_of_a_space_counts_a_clip_once():
    data = example()
    once = data.one_per_clip()
    assert once.ids == ("s0", "s2", "s3", "s6", "s9", "s10")
    assert shape_of(data, cosine=False) == shape_of(once, cosine=False)
    plain = example(several=False)
    assert plain.one_per_clip() is plain


def test_first_rows():
    assert first_rows(torch.tensor([7, 7, 2, 7, 2])).tolist() == [0, 2]
    assert first_rows(torch.tensor([], dtype=torch.int64)).tolist() == []
