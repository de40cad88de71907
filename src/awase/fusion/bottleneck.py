"""Bottleneck tokens: the modalities' transformers exchange what they know through a few tokens they share (MBT)."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from awase.fusion.base import Features, Fusion, Logits, Presence
from awase.fusion.late import weighted_sum
from awase.fusion.rows import Rows, put, put_encoded, rows_with, take, take_inputs
from awase.fusion.streams import token_streams
from awase.types import Batch, Encoded, TokenBlocks, Tokens


class Bottleneck(Fusion):
    """Multimodal bottleneck transformer: blocks below `fusion_layer` run each modality alone, the others together.

    From block l = `fusion_layer` on: [x_m; z] -> block_m -> (x_m, z_m) for every modality m, all with the z of the
    block before; then z is the mean of the z_m of the modalities a sample has. `fusion_layer=None` is two thirds of the
    depth, rounded (8 of 12), and leaves two blocks at least: one alone would exchange nothing. The head is one linear
    layer for all modalities: `token` takes the mean of its logits of each modality's encoding, `gap` its logits of the
    mean over all tokens; with `zero_init` it begins at zero. Both split exactly per modality. Raises `ValueError` for
    encoders that pass no tokens, or differ in depth or width.

    Source: Nagrani et al., Attention Bottlenecks for Multimodal Fusion, NeurIPS 2021.
    """

    needs_heads = False
    mixes = True
    options = ("num_bottlenecks", "fusion_layer", "head", "zero_init")

    def __init__(
        self,
        dims: dict[str, int],
        num_classes: int,
        multi_label: bool = False,
        *,
        encoders: Mapping[str, nn.Module],
        num_bottlenecks: int = 4,
        fusion_layer: int | None = None,
        head: str = "token",
        zero_init: bool = True,
    ) -> None:
        super().__init__(dims, num_classes, multi_label)
        dim, depth = _shared_shape(token_streams("bottleneck", encoders))
        self.fusion_layer = _fusion_layer(fusion_layer, depth)
        if num_bottlenecks < 1:
            raise ValueError(f"The modalities need 1 bottleneck token or more; got {num_bottlenecks}.")
        if head not in ("token", "gap"):
            raise ValueError(f"The head of a bottleneck fusion is 'token' or 'gap', not {head!r}.")
        self.head = head
        self.bottlenecks = nn.Parameter(torch.randn(num_bottlenecks, dim) * 0.02)
        self.linear = nn.Linear(dim, num_classes)
        if zero_init:
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)

    def encode(self, encoders: Mapping[str, nn.Module], batch: Batch) -> dict[str, Encoded]:
        """With `gap`, a modality's vector is its share of the mean over all tokens: the shares add up to that mean."""
        streams = token_streams("bottleneck", encoders)
        rows = {name: rows_with(batch, name) for name in streams}
        running = {name: stream for name, stream in streams.items() if not _is_empty(rows[name])}
        tokens = {
            name: stream.embed(take_inputs(batch.inputs[name], rows[name]), self.fusion_layer)
            for name, stream in running.items()
        }
        pieces = {name: value.pieces for name, value in tokens.items()}
        shared = self.bottlenecks.expand(len(batch), -1, -1)  # (batch, bottlenecks, dim)
        for layer in range(self.fusion_layer, next(iter(streams.values())).num_blocks):
            seen = {}
            for name, stream in running.items():
                tokens[name], seen[name] = _through(stream, layer, tokens[name], take(shared, rows[name]))
            shared = _mean_of_present(seen, rows, shared)
        encoded = {
            name: put_encoded(stream.finish(_in_pieces(tokens[name], pieces[name])), rows[name], len(batch))
            for name, stream in running.items()
        }
        if self.head == "gap":
            encoded = _shares(encoded, rows, len(batch))
        nothing = shared.new_zeros(len(batch), shared.shape[2])
        return {name: encoded.get(name, Encoded(nothing)) for name in streams}

    def forward(
        self, features: Features, head_logits: Logits, present: Presence
    ) -> tuple[Float[Tensor, "batch classes"], Logits]:
        if self.head == "token":
            logits = {name: self.linear(features[name]) for name in self.dims}
            total, number = weighted_sum(logits, dict.fromkeys(logits, 1.0), present)
            return total / number.clamp_min(1.0), logits
        bias = self.linear.bias / self._number(features, present)
        weight = self.linear.weight
        logits = {name: nn.functional.linear(features[name], weight) + bias for name in self.dims}
        return weighted_sum(logits, dict.fromkeys(logits, 1.0), present)[0], logits

    def _number(self, features: Features, present: Presence) -> Tensor:
        """How many modalities each sample has, 1 where it has none: (batch, 1)."""
        ones = {name: features[name].new_ones(len(features[name]), 1) for name in self.dims}
        return weighted_sum(ones, dict.fromkeys(ones, 1.0), present)[0].clamp_min(1.0)


def _shared_shape(streams: Mapping[str, TokenBlocks]) -> tuple[int, int]:
    """The width and depth of all streams."""
    shapes = {name: (stream.dim, stream.num_blocks) for name, stream in streams.items()}
    if len(set(shapes.values())) > 1:
        given = "; ".join(f"{name}: width {dim}, {depth} blocks" for name, (dim, depth) in shapes.items())
        raise ValueError(
            "Streams that share bottleneck tokens, block by block, have one width and one depth. These differ: "
            f"{given}. Choose encoders, or their options, of the same size."
        )
    return next(iter(shapes.values()))


def _fusion_layer(wanted: int | None, depth: int) -> int:
    """The first fused block; what one block writes into the bottleneck the next one reads, so there are two or more."""
    last = depth - 2
    if last < 0:
        raise ValueError(f"Bottleneck tokens need encoders of 2 blocks or more; these have {depth}.")
    if wanted is None:
        return min(round(2 * depth / 3), last)
    if not 0 <= wanted <= last:
        raise ValueError(
            f"The first fused block is one of 0 to {last} in encoders of {depth} blocks (what it writes into the "
            f"bottleneck is read by the next); fusion_layer is {wanted}."
        )
    return wanted


def _is_empty(rows: Rows) -> bool:
    return rows is not None and len(rows) == 0


def _through(stream: TokenBlocks, layer: int, tokens: Tokens, shared: Tensor) -> tuple[Tokens, Tensor]:
    """(the tokens, the bottleneck tokens) after a block that saw both."""
    number = tokens.values.shape[1]
    after = stream.block(layer, tokens.longer(shared)).values
    return Tokens(after[:, :number], tokens.mask), after[:, number:]


def _in_pieces(tokens: Tokens, pieces: int) -> Tokens:
    return Tokens(tokens.values, tokens.mask, pieces)


def _mean_of_present(seen: Mapping[str, Tensor], rows: Mapping[str, Rows], before: Tensor) -> Tensor:
    """The mean of each sample's bottleneck tokens over its modalities; as before where it has none."""
    if not seen:
        return before
    if all(rows[name] is None for name in seen):
        return torch.stack(list(seen.values())).mean(dim=0)
    total = torch.stack([put(value, rows[name], len(before)).to(before.dtype) for name, value in seen.items()]).sum(0)
    ones = {name: value.new_ones(len(value), 1, 1, dtype=before.dtype) for name, value in seen.items()}
    number = torch.stack(
        [put(one, rows[name], len(before)).expand(len(before), 1, 1) for name, one in ones.items()]
    ).sum(0)
    return torch.where(number > 0, total / number.clamp_min(1.0), before)


def _shares(encoded: Mapping[str, Encoded], rows: Mapping[str, Rows], size: int) -> dict[str, Encoded]:
    """Every encoding with the sum of its tokens over the number of all of the sample's tokens as its vector."""
    sums, counts = {}, {}
    for name, value in encoded.items():
        assert value.tokens is not None, "an encoder of tokens gives tokens"
        real = _real(value, rows[name], size)
        sums[name] = torch.einsum("btd,bt->bd", value.tokens, real)
        counts[name] = real.sum(dim=1, keepdim=True)
    number = torch.stack(list(counts.values())).sum(dim=0).clamp_min(1.0)  # (batch, 1)
    return {name: Encoded(sums[name] / number, value.tokens, value.mask) for name, value in encoded.items()}


def _real(encoded: Encoded, rows: Rows, size: int) -> Float[Tensor, "batch tokens"]:
    """One for every token that is real and whose sample has the modality."""
    assert encoded.tokens is not None
    if encoded.mask is not None:
        return encoded.mask.to(encoded.tokens.dtype)
    ones = encoded.tokens.new_ones(size if rows is None else len(rows), encoded.tokens.shape[1])
    return put(ones, rows, size)
