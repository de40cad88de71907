"""The one contract of every encoder here: a stem, a row of blocks, a head, and a cut between two blocks."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from awase.encoders.groups import join_groups, split_groups
from awase.types import Encoded, Inputs, TokenBlocks, Tokens, WordEmbeddings


@runtime_checkable
class Network(Protocol):
    """What `BlockEncoder` runs. `block_names` are the module-name prefixes of the blocks, in their order.

    What passes between blocks is a tensor or named tensors whose first dimension is the batch, so that it can be
    cached per sample.
    """

    dim: int
    block_names: tuple[str, ...]
    stem_names: tuple[str, ...]

    def stem(self, inputs: Any) -> Any: ...

    def block(self, index: int, hidden: Any) -> Any: ...

    def head(self, hidden: Any) -> Encoded: ...


@runtime_checkable
class TokenNetwork(Network, Protocol):
    """A network whose hidden states are sequences of tokens, if `passes_tokens`; `write` undoes `read`."""

    @property
    def passes_tokens(self) -> bool: ...

    @property
    def word_embeddings(self) -> WordEmbeddings | None: ...

    def read(self, hidden: Any) -> Tokens: ...

    def write(self, tokens: Tokens) -> Any: ...

    def last_rows(self, index: int, tokens: Tokens, count: int) -> Tensor | None: ...

    def finish(self, tokens: Tokens) -> Encoded: ...


class _StatisticsHeld(AbstractContextManager[None]):
    """Batch norms in `module` keep their running statistics inside: a recomputation must not count a batch twice.

    Can be entered again, as it is where several backward passes go through one forward pass.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._before: list[tuple[nn.modules.batchnorm._BatchNorm, float | None, Tensor | None]] = []

    def __enter__(self) -> None:
        norms = [m for m in self._module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
        for norm in norms:
            count = None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()
            self._before.append((norm, norm.momentum, count))
            norm.momentum = 0.0

    def __exit__(self, *_: object) -> None:
        for norm, momentum, count in self._before:
            norm.momentum = momentum
            if count is not None and norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(count)
        self._before.clear()


class BlockEncoder(nn.Module):
    """An encoder that can be cut between its blocks; `forward(x)` is `suffix(prefix(x))`.

    With `cut = c > 0` the prefix is the stem and the first c blocks; with `cut = 0` the prefix gives its input back
    unchanged and the suffix is everything. Raises `ValueError` for a cut outside [0, num_blocks].

    With `rows`, so many samples at a time pass through stem and blocks: batch norms take the statistics of each group
    by itself, and recomputation goes group by group. Raises `ValueError` for fewer than one row.
    """

    def __init__(self, network: Network, rows: int | None = None) -> None:
        super().__init__()
        if rows is not None and rows < 1:
            raise ValueError(f"A group of samples has at least 1 row; got {rows}. Use None for the batch as a whole.")
        self.network = network
        self.rows = rows
        self.dim = network.dim
        self.block_names = tuple(f"network.{name}" for name in network.block_names)
        self.stem_names = tuple(f"network.{name}" for name in network.stem_names)
        self.num_blocks = len(self.block_names)
        self._cut = 0
        self._recompute = False

    @property
    def cut(self) -> int:
        """The number of blocks in the prefix."""
        return self._cut

    @cut.setter
    def cut(self, value: int) -> None:
        if not 0 <= value <= self.num_blocks:
            raise ValueError(
                f"An encoder of {self.num_blocks} blocks cannot be cut at {value}: 0 to {self.num_blocks}."
            )
        self._cut = value

    @property
    def token_blocks(self) -> TokenBlocks | None:
        """The encoder as blocks over tokens; None where what passes between its blocks is something else."""
        network = self.network
        passes = isinstance(network, TokenNetwork) and network.passes_tokens
        return _BlocksOfTokens(self, cast(TokenNetwork, network)) if passes else None

    @property
    def word_embeddings(self) -> WordEmbeddings | None:
        """The embeddings of a text encoder that takes vectors among its words; None for any other."""
        return self.network.word_embeddings if isinstance(self.network, TokenNetwork) else None

    def enable_checkpointing(self) -> None:
        """Recompute each block (with `rows`, each group) in the backward pass instead of keeping its activations."""
        self._recompute = True

    def prefix(self, inputs: Inputs) -> Inputs:
        """The hidden state after the first `cut` blocks; the inputs themselves when `cut` is 0."""
        return inputs if self._cut == 0 else self._in_groups(inputs, 0, self._cut)

    def suffix(self, hidden: Inputs) -> Encoded:
        """The encoding, from what `prefix` gave."""
        return self.network.head(self._in_groups(hidden, self._cut, self.num_blocks))

    def forward(self, inputs: Inputs) -> Encoded:
        """The encoding of `inputs`."""
        return self.suffix(self.prefix(inputs))

    def run_blocks(self, hidden: Inputs, first: int, last: int) -> Inputs:
        """The hidden state after the blocks from `first` up to, without, `last`."""
        each = self.rows is None and self._recomputes()
        for index in range(first, last):
            if each:
                module = self.get_submodule(self.block_names[index])
                hidden = _recomputed(module, self.network.block, index, hidden)
            else:
                hidden = self.network.block(index, hidden)
        return hidden

    def _in_groups(self, inputs: Inputs, first: int, last: int) -> Inputs:
        """`_from` of the whole batch, or of `rows` samples after the other."""
        if self.rows is None:
            return self._from(inputs, first, last)
        groups = []
        for group in split_groups(inputs, self.rows):
            if self._recomputes():
                groups.append(_recomputed(self, self._from, group, first, last))
            else:
                groups.append(self._from(group, first, last))
        return groups[0] if len(groups) == 1 else join_groups(groups)

    def _from(self, inputs: Inputs, first: int, last: int) -> Inputs:
        """The hidden state after block `last - 1`, from the encoder's inputs or from what block `first - 1` gave."""
        return self.run_blocks(inputs if first else self.network.stem(inputs), first, last)

    def _recomputes(self) -> bool:
        return self._recompute and self.training and torch.is_grad_enabled()


def _recomputed(module: nn.Module, function: Callable[..., Inputs], *arguments: Any) -> Inputs:
    """`function` of the arguments, run again in the backward pass; `module` holds the batch norms that it uses."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _StatisticsHeld(module)

    result: Inputs = checkpoint(function, *arguments, use_reentrant=False, context_fn=contexts)
    return result


class _BlocksOfTokens:
    """`types.TokenBlocks` of an encoder; no module, so that its state is counted once."""

    def __init__(self, encoder: BlockEncoder, network: TokenNetwork) -> None:
        self.encoder = encoder
        self.network = network
        self.dim = encoder.dim
        self.num_blocks = encoder.num_blocks

    def embed(self, inputs: Any, stop: int) -> Tokens:
        return self.network.read(self.encoder.run_blocks(self.network.stem(inputs), 0, stop))

    def block(self, index: int, tokens: Tokens) -> Tokens:
        return self.network.read(self.encoder.run_blocks(self.network.write(tokens), index, index + 1))

    def last_rows(self, index: int, tokens: Tokens, count: int) -> Tensor:
        rows = self.network.last_rows(index, tokens, count)
        return self.block(index, tokens).values[:, -count:] if rows is None else rows

    def finish(self, tokens: Tokens) -> Encoded:
        return self.network.finish(tokens)
