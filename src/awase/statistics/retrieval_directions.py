"""Directions by name, `text->audio+video`: who asks, what is found, and which of them are asked for most."""

from collections.abc import Sequence

PAIRS = 3
"""How many single modalities at most are main galleries of the modality that asks."""


def query_of(direction: str) -> str:
    """The modality that asks. Example: `query_of("text->audio+video") == "text"`."""
    return direction.partition("->")[0]


def gallery_of(direction: str) -> tuple[str, ...]:
    """The modalities that are found. Example: `gallery_of("text->audio+video") == ("audio", "video")`."""
    return tuple(direction.partition("->")[2].split("+"))


def is_pair(direction: str) -> bool:
    """Whether two single modalities are compared."""
    return len(gallery_of(direction)) == 1


def main_directions(directions: Sequence[str], asking: str | None = None) -> tuple[str, ...]:
    """Returns what is asked for most: from `asking` (a text) to each other modality and to all of them together.

    Of two modalities both directed pairs. Without `asking`, or where it asks for nothing, the last modality asks.
    Example: of video, audio and text, with text asking: text->audio, text->video, text->audio+video.
    """
    names = sorted({name for one in directions for name in (query_of(one), *gallery_of(one))})
    pairs = sorted(one for one in directions if is_pair(one))
    if len(names) < 3:
        return tuple(pairs)
    queries = {query_of(one) for one in directions}
    source = asking if asking in queries else max(queries)
    own = [one for one in pairs if query_of(one) == source][:PAIRS]
    return (*own, *sorted(one for one in directions if query_of(one) == source and not is_pair(one)))
