"""What a retrieval number was measured under. Two numbers share a column where their protocols are equal."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

TRANSDUCTIVE = "transductive"
OWN_ITEM, SAME_CAPTION = "own item", "every item with the same caption"
ANY_CAPTION = "any caption of the clip"
"""Which items are right."""
LEFT_OUT = "left out"
"""What `missing` says where queries and items that are missing are not counted at all; `failure` where they are."""


@dataclass(frozen=True)
class RetrievalProtocol:
    """The conditions of one direction of one retrieval task; all fields take part in equality.

    `queries` and `gallery` name the sets by what they are, with a fingerprint ("msrvtt 1k-A [0f3b6c1d2e4a]"), whatever
    their key in an experiment. `num_queries` and `gallery_size` are counted with the missing ones, `missing_queries`
    and `missing_items` of them have no embedding. `score` is a formula ("t.v", "t.a", "t.(v+a)") of raw products, or of
    cosines with `normalised`. `correct`: whether the own item alone is right, every item with the same caption, or,
    where a clip has several captions, any of them; `captions_per_item` is a mean. `post_processing` is the name of one;
    those that look at the test queries begin with "transductive".
    """

    queries: str
    gallery: str
    num_queries: int
    gallery_size: int
    direction: str
    score: str
    captions_per_item: int | float = 1
    missing_queries: int = 0
    missing_items: int = 0
    missing: str = "failure"
    ties: str = "pessimistic"
    correct: str = OWN_ITEM
    normalised: bool = False
    post_processing: str = "none"

    @property
    def transductive(self) -> bool:
        """Whether the score of a query depends on the other test queries."""
        return self.post_processing.startswith(TRANSDUCTIVE)

    @property
    def candidates(self) -> int:
        """How many items a query chooses from."""
        return self.gallery_size - self.missing_items

    @property
    def sentence(self) -> str:
        """The protocol in words, for the foot of a table."""
        return (
            f"{self.direction}: {self.num_queries} queries of {self.queries} ({self.missing_queries} missing) in "
            f"{self.gallery_size} items of {self.gallery} ({self.missing_items} missing), {self.captions_per_item:g} "
            f"caption{'' if self.captions_per_item == 1 else 's'} per item; score {self.score} of "
            f"{'unit' if self.normalised else 'raw'} vectors, post-processing {self.post_processing}; correct: "
            f"{self.correct}; ties {self.ties}, missing ones {'a ' if self.missing == 'failure' else ''}{self.missing}."
        )

    def differences(self, other: "RetrievalProtocol") -> tuple[str, ...]:
        """The names of the fields in which two protocols differ."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RetrievalProtocol":
        """The protocol of `to_dict`; raises `ValueError` for a field that this awase does not know."""
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise ValueError(f"A retrieval protocol has no field {', '.join(map(repr, unknown))}.")
        return cls(**values)


def one_protocol(protocols: Sequence[RetrievalProtocol]) -> RetrievalProtocol:
    """Returns the protocol that all share; raises `ValueError` naming what differs, and where there is none."""
    if not protocols:
        raise ValueError("There is no number, so there is no protocol.")
    first = protocols[0]
    names = [name for other in protocols[1:] for name in first.differences(other)]
    if names:
        values = "; ".join(
            f"{name}: {', '.join(sorted({repr(getattr(p, name)) for p in protocols}))}" for name in dict.fromkeys(names)
        )
        raise ValueError(f"These numbers were measured under different protocols and share no column: {values}.")
    return first
