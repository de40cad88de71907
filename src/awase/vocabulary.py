"""The words every folder shares and that need no tensor library: modality names and combinations of them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_MODALITY = re.compile(r"[a-z][a-z0-9_]*")
SHARED_NAME = "shared"


def check_modality(name: str) -> str:
    """Returns `name` if it can name a modality.

    Raises `ValueError` for anything but lower-case letters, digits and underscores after a letter,
    and for the reserved word `shared`.
    """
    if not _MODALITY.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a modality: use lower-case letters, digits and underscores, "
            "beginning with a letter, for example 'audio' or 'camera_2'."
        )
    if name == SHARED_NAME:
        raise ValueError(f"{SHARED_NAME!r} is reserved for the empty combination; give the modality another name.")
    return name


@dataclass(frozen=True)
class Combination:
    """A set of modalities, written sorted and joined by `+` (`audio+text`); the empty one is written `shared`."""

    modalities: frozenset[str]

    @classmethod
    def of(cls, modalities: Iterable[str]) -> "Combination":
        """The combination of the given modality names; raises `ValueError` for a name that is not one."""
        return cls(frozenset(check_modality(name) for name in modalities))

    @classmethod
    def parse(cls, text: str) -> "Combination":
        """The combination that `str` wrote: `parse(str(c)) == c`."""
        return cls(frozenset()) if text == SHARED_NAME else cls.of(text.split("+"))

    def __str__(self) -> str:
        return "+".join(sorted(self.modalities)) or SHARED_NAME


SHARED = Combination(frozenset())


@dataclass(frozen=True)
class Task:
    """What asks and what is found, both sets of modalities, written `audio+video->text`."""

    query: Combination
    target: Combination

    @classmethod
    def parse(cls, text: str) -> "Task":
        """The task that is written so, in any order of names: `video+audio->text` is `audio+video->text`.

        Raises `ValueError` for what is none: a side without a modality, or a modality on both sides.
        """
        query, arrow, target = text.partition("->")
        try:
            if not arrow or set(query.split("+")) & set(target.split("+")):
                raise ValueError("each side has modalities, and none is on both")
            return cls(Combination.of(query.split("+")), Combination.of(target.split("+")))
        except ValueError as error:
            raise ValueError(f"{text!r} is no task, like 'text->video' or 'audio+video->text': {error}.") from None

    @property
    def key(self) -> str:
        """The combination of all that takes part: whose adapters are exactly this task's."""
        return str(Combination(self.query.modalities | self.target.modalities))

    def __str__(self) -> str:
        return f"{self.query}->{self.target}"
