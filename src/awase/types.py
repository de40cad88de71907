"""The vocabulary of tensors every folder shares: what a batch is, what an encoder gives, what a classifier says."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Inputs = Tensor | Mapping[str, Tensor]
"""One modality of a batch: a tensor, or named tensors (`input_ids`, `attention_mask` of a tokenizer)."""


@dataclass(frozen=True)
class Batch:
    """Samples of one step, a dictionary entry per modality.

    `inputs[modality]` has one row per sample; the rows of samples that lack the modality hold zeros and must not be
    used: `present[modality]` says which rows are real. `complete` names the modalities every sample has, so that the
    usual case costs no look at a tensor. `targets` are class indices `(batch,)`, or `(batch, classes)` for several
    labels and for mixed samples. `index` is the row of each sample in its data set.
    Of a modality in `candidates` a sample has several inputs, `(batch, candidates, ...)`, and the mask says which of
    them are real; it is present where any is. `clips`, which stays on the processor, is for clips of a store of whole
    videos: the number of the caption that each grew from, which together with the data set's configuration says all
    about it. `replayed` says which samples an earlier stage's reservoir gave beside the others (None: none).
    """

    ids: tuple[str, ...]
    index: Int[Tensor, " batch"]
    inputs: dict[str, Inputs]
    present: dict[str, Bool[Tensor, " batch"]]
    complete: frozenset[str]
    targets: Int[Tensor, " batch"] | Float[Tensor, "batch classes"] | None = None
    keys: Int[Tensor, " batch"] | None = None
    candidates: dict[str, Bool[Tensor, "batch _"]] = field(default_factory=dict)
    clips: Int[Tensor, " batch"] | None = None
    replayed: Bool[Tensor, " batch"] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with every tensor on `device`."""
        return replace(
            self,
            index=self.index.to(device),
            inputs={name: map_inputs(value, lambda t: t.to(device)) for name, value in self.inputs.items()},
            present={name: value.to(device) for name, value in self.present.items()},
            targets=None if self.targets is None else self.targets.to(device),
            keys=None if self.keys is None else self.keys.to(device),
            replayed=None if self.replayed is None else self.replayed.to(device),
            candidates={name: value.to(device) for name, value in self.candidates.items()},
        )


def map_inputs(value: Inputs, function: Callable[[Tensor], Tensor]) -> Inputs:
    """`value` with `function` applied to its tensor, or to each of its named tensors."""
    if isinstance(value, Tensor):
        return function(value)
    return {name: function(tensor) for name, tensor in value.items()}


@dataclass(frozen=True)
class Encoded:
    """What an encoder makes of one modality: one vector per sample, and its tokens where it has some.

    `grid` is the height and width of the map whose places the tokens are, row by row; None: they are a sequence.
    """

    pooled: Float[Tensor, "batch dim"]
    tokens: Float[Tensor, "batch tokens dim"] | None = None
    mask: Bool[Tensor, "batch tokens"] | None = None
    grid: tuple[int, int] | None = None


@dataclass(frozen=True)
class Below:
    """Of an encoder with adapters that otherwise stands still: what comes below them, and its encoding without them.

    The first dimension of `hidden` (`BlockEncoder.prefix`) and of `shared` is the batch; zeros where a sample lacks the
    modality.
    """

    hidden: Inputs
    shared: Encoded


@dataclass(frozen=True)
class Tokens:
    """What passes between the blocks of a transformer: a sequence per sample; `mask` says which are real (None: all).

    The sequence is `pieces` equally long pieces (the frames of a clip), one after the other; a token attends within
    its own piece.
    """

    values: Float[Tensor, "batch tokens dim"]
    mask: Bool[Tensor, "batch tokens"] | None = None
    pieces: int = 1

    def longer(self, *more: Float[Tensor, "batch _ dim"]) -> "Tokens":
        """One piece of all the tokens, with further ones, all of them real, at the end."""
        values = torch.cat((self.values, *more), dim=1)
        if self.mask is None:
            return Tokens(values)
        real = self.mask.new_ones(len(values), values.shape[1] - self.values.shape[1])
        return Tokens(values, torch.cat((self.mask, real), dim=1))

    def with_values(self, values: Float[Tensor, "batch tokens dim"]) -> "Tokens":
        """The same sequence with other values."""
        return replace(self, values=values)


@dataclass(frozen=True)
class ClassifierOutput:
    """`logits` of the decision; `modality_logits` where the fusion can split them; features before the fusion.

    Rows of `modality_logits[m]` of samples that lack modality `m` are zero and mean nothing; see `Batch.present`.
    """

    logits: Float[Tensor, "batch classes"]
    modality_logits: dict[str, Float[Tensor, "batch classes"]] = field(default_factory=dict)
    encoded: dict[str, Encoded] = field(default_factory=dict)


@dataclass(frozen=True)
class RetrievalOutput:
    """Each modality's embedding in the joint space, the features it was made of, and these rebuilt from it.

    Rows of samples that lack a modality mean nothing; see `Batch.present`. Embeddings are not normalised.
    `candidates` has the embeddings of all inputs of a modality of which a sample has several (`Batch.candidates`);
    everything else is then of the first of them that is real. `keyed` has the embeddings under the adapters of every
    combination of modalities: combination -> modality -> embedding; `keyed_candidates` the same of all inputs of the
    modalities of which a sample has several.
    """

    embeddings: dict[str, Float[Tensor, "batch dim"]]
    encoded: dict[str, Encoded]
    rebuilt: dict[str, Float[Tensor, "batch _"]] = field(default_factory=dict)
    candidates: dict[str, Float[Tensor, "batch _ dim"]] = field(default_factory=dict)
    keyed: dict[str, dict[str, Float[Tensor, "batch dim"]]] = field(default_factory=dict)
    keyed_candidates: dict[str, dict[str, Float[Tensor, "batch _ dim"]]] = field(default_factory=dict)


@runtime_checkable
class Encoder(Protocol):
    """One modality in, `Encoded` out. `prefix` is the part below the first adapted block, `suffix` the rest."""

    dim: int
    num_blocks: int
    cut: int

    def prefix(self, inputs: Any) -> Any: ...

    def suffix(self, hidden: Any) -> Encoded: ...

    def __call__(self, inputs: Any) -> Encoded: ...


@runtime_checkable
class TokenBlocks(Protocol):
    """An encoder as blocks over a sequence of tokens that may be made longer between them: attribute `token_blocks`.

    `embed` gives the tokens after the first `stop` blocks; `block` runs one; `last_rows` gives the last `count` tokens
    that `block` would, where the structure allows it without the others; `finish` gives the encoding, with all tokens.
    """

    dim: int
    num_blocks: int

    def embed(self, inputs: Any, stop: int) -> Tokens: ...

    def block(self, index: int, tokens: Tokens) -> Tokens: ...

    def last_rows(self, index: int, tokens: Tokens, count: int) -> Tensor: ...

    def finish(self, tokens: Tokens) -> Encoded: ...


@runtime_checkable
class WordEmbeddings(Protocol):
    """The embeddings of a text encoder that can be filled with vectors of others: attribute `word_embeddings`.

    `words` gives embeddings before positions; `place` adds positions (below `num_positions`) and segments (below
    `num_segments`; 0: it has none) and gives what goes into the first block.
    """

    num_positions: int
    num_segments: int

    def words(self, ids: Int[Tensor, "batch tokens"]) -> Tensor: ...

    def place(
        self,
        values: Float[Tensor, "batch tokens dim"],
        positions: Int[Tensor, " tokens"],
        segments: Int[Tensor, " tokens"],
    ) -> Tensor: ...


@runtime_checkable
class Tokenizer(Protocol):
    """Texts to arrays of a fixed width; the encoder makes it, the data uses it."""

    @property
    def fingerprint(self) -> str: ...

    def __call__(self, texts: list[str]) -> dict[str, Any]: ...


@runtime_checkable
class Loader(Protocol):
    """Batches of one split. `epoch(e, start=k)` gives the batches of epoch `e` from batch `k` on, always the same."""

    def __len__(self) -> int: ...

    @property
    def num_samples(self) -> int: ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]: ...
