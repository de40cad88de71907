"""What an encoder is built for, and the checks every constructor shares."""

from dataclasses import dataclass

KINDS = ("video", "audio", "image", "flow", "text", "array")


@dataclass(frozen=True)
class Request:
    """The kind of the modality, the shape of one sample, and where weights come from."""

    kind: str
    input_shape: tuple[int, ...]
    pretrained: bool | str = False
    allow_pickle: bool = False

    def need(self, encoder: str, kinds: tuple[str, ...]) -> None:
        """Raises `ValueError` unless the kind is one of `kinds`."""
        if self.kind not in kinds:
            raise ValueError(f"The encoder {encoder!r} takes {', '.join(kinds)}, not {self.kind!r}.")

    def need_rank(self, encoder: str, rank: int, meaning: str) -> None:
        """Raises `ValueError` unless one sample has `rank` dimensions, which `meaning` names."""
        if len(self.input_shape) != rank:
            raise ValueError(
                f"The encoder {encoder!r} takes {self.kind} samples of shape {meaning}; got {self.input_shape}."
            )
