"""Prompt-based fusion: two frozen transformers ask each other questions through a few learned tokens (PMF)."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from awase.fusion.base import Features, Fusion, Logits, Presence
from awase.fusion.late import weighted_sum
from awase.fusion.rows import Rows, put_encoded, rows_with, take_inputs
from awase.fusion.streams import token_streams
from awase.types import Batch, Encoded, TokenBlocks, Tokens


class Direction(nn.Module):
    """What one fused layer of one tower learns: its prompts, and the translation of what it tells the other tower.

    Query prompts, query-context prompts and fusion-context prompts are drawn from N(0, .02); the translation is linear,
    ReLU, linear, through half the tower's width.
    """

    def __init__(self, dim: int, other: int, num_query: int, num_query_context: int, num_fusion_context: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(num_query, dim) * 0.02)
        self.query_context = nn.Parameter(torch.randn(num_query_context, dim) * 0.02)
        self.fusion_context = nn.Parameter(torch.randn(num_fusion_context, dim) * 0.02)
        self.translate = nn.Sequential(nn.Linear(dim, dim // 2), nn.ReLU(), nn.Linear(dim // 2, other))

    def ask(self, tower: TokenBlocks, index: int, tokens: Tokens) -> Float[Tensor, "batch queries other"]:
        """The query stage: the outputs of the query prompts in block `index`, in the other tower's space.

        Only they are computed, not the other rows of the block.
        """
        size = len(tokens.values)
        longer = tokens.longer(_for_all(self.query_context, size), _for_all(self.query, size))
        told: Tensor = self.translate(tower.last_rows(index, longer, len(self.query)))
        return told

    def fuse(self, tower: TokenBlocks, index: int, tokens: Tokens, *told: Tensor) -> Tokens:
        """The fusion stage: the tokens after block `index` beside the fusion context and what the other tower told."""
        longer = tokens.longer(_for_all(self.fusion_context, len(tokens.values)), *told)
        after = tower.block(index, longer).values[:, : tokens.values.shape[1]]
        return Tokens(after, tokens.mask)


class Prompts(Fusion):
    """Prompt-based multimodal fusion: the last `num_fused` blocks of two towers tell each other what they see.

    In each of them, for both towers at once: the block runs on [tokens; query context; query], the outputs of the query
    prompts are translated for the other tower; then it runs on [tokens; fusion context; translated], whose further
    tokens are dropped. The logits are the mean of a head per modality. A sample without the other modality has the
    fusion context alone beside its tokens. Raises `ValueError` for other than two modalities, for encoders that pass no
    tokens or too few blocks, and, where `width` is given, for a tower of another width.

    Source: Li et al., Efficient Multimodal Fusion via Interactive Prompting, CVPR 2023.
    """

    needs_heads = True
    mixes = True
    options = ("num_fused", "num_query", "num_query_context", "num_fusion_context", "width")

    def __init__(
        self,
        dims: dict[str, int],
        num_classes: int,
        multi_label: bool = False,
        *,
        encoders: Mapping[str, nn.Module],
        num_fused: int = 2,
        num_query: int = 4,
        num_query_context: int = 4,
        num_fusion_context: int = 4,
        width: int | None = None,
    ) -> None:
        super().__init__(dims, num_classes, multi_label)
        if len(dims) != 2:
            raise ValueError(f"Prompts join two modalities; there are {len(dims)}: {', '.join(dims)}.")
        towers = token_streams("prompts", encoders)
        _check_towers(towers, num_fused, width)
        numbers = (num_query, num_query_context, num_fusion_context)
        if num_query < 1 or min(numbers) < 0:
            raise ValueError(
                "There is 1 query prompt or more, and 0 context prompts or more; num_query, num_query_context and "
                f"num_fusion_context are {numbers}."
            )
        self.num_fused = num_fused
        first, second = dims
        self.layers = nn.ModuleDict(
            {
                name: nn.ModuleList(Direction(dims[name], dims[other], *numbers) for _ in range(num_fused))
                for name, other in ((first, second), (second, first))
            }
        )

    def encode(self, encoders: Mapping[str, nn.Module], batch: Batch) -> dict[str, Encoded]:
        towers = token_streams("prompts", encoders)
        rows = {name: rows_with(batch, name) for name in towers}
        if all(value is None for value in rows.values()):
            return self._together(towers, batch, None)
        groups = _groups(rows, len(batch), batch.index.device)
        parts = []
        for names, group in groups.items():
            if len(group):
                some = {name: towers[name] for name in names}
                parts.append((group, self._together(some, batch, group)))
        like = next(self.parameters())
        return {name: _merged(name, parts, like.new_zeros(len(batch), self.dims[name])) for name in towers}

    def forward(
        self, features: Features, head_logits: Logits, present: Presence
    ) -> tuple[Float[Tensor, "batch classes"], Logits]:
        total, number = weighted_sum(head_logits, dict.fromkeys(head_logits, 1.0), present)
        return total / number.clamp_min(1.0), head_logits

    def _together(self, towers: Mapping[str, TokenBlocks], batch: Batch, rows: Rows) -> dict[str, Encoded]:
        """The encodings of samples that have exactly these towers' modalities."""
        begin = {name: tower.num_blocks - self.num_fused for name, tower in towers.items()}
        tokens = {
            name: tower.embed(take_inputs(batch.inputs[name], rows), begin[name]) for name, tower in towers.items()
        }
        pieces = {name: value.pieces for name, value in tokens.items()}
        for layer in range(self.num_fused):
            tokens = self._fused_layer(layer, towers, begin, tokens)
        return {
            name: tower.finish(Tokens(tokens[name].values, tokens[name].mask, pieces[name]))
            for name, tower in towers.items()
        }

    def _fused_layer(
        self, layer: int, towers: Mapping[str, TokenBlocks], begin: Mapping[str, int], tokens: Mapping[str, Tokens]
    ) -> dict[str, Tokens]:
        own = {name: self.layers[name][layer] for name in towers}  # type: ignore[index]
        both = len(towers) == 2
        told = {n: own[n].ask(towers[n], begin[n] + layer, tokens[n]) for n in towers} if both else {}
        return {
            name: own[name].fuse(
                tower, begin[name] + layer, tokens[name], *(value for other, value in told.items() if other != name)
            )
            for name, tower in towers.items()
        }


def _for_all(prompts: Float[Tensor, "prompts dim"], size: int) -> Float[Tensor, "batch prompts dim"]:
    return prompts.expand(size, -1, -1)


def _check_towers(towers: Mapping[str, TokenBlocks], num_fused: int, width: int | None) -> None:
    for name, tower in towers.items():
        if not 1 <= num_fused <= tower.num_blocks:
            raise ValueError(
                f"The encoder of {name!r} has {tower.num_blocks} blocks, so 1 to {tower.num_blocks} of them can be "
                f"fused; num_fused is {num_fused}."
            )
        if width is not None and tower.dim != width:
            raise ValueError(
                f"The encoder of {name!r} is {tower.dim} wide, and towers of width {width} were asked for; use another "
                "model of its family, or leave the width open."
            )


def _groups(rows: Mapping[str, Rows], size: int, device: torch.device) -> dict[tuple[str, ...], Tensor]:
    """Modalities -> the samples that have exactly these, for both and for each of the two alone."""
    has = {}
    for name, value in rows.items():
        has[name] = torch.zeros(size, dtype=torch.bool, device=device)
        has[name][slice(None) if value is None else value] = True
    (one, a), (two, b) = has.items()
    found = {(one, two): a & b, (one,): a & ~b, (two,): b & ~a}
    return {names: mask.nonzero().squeeze(1) for names, mask in found.items()}


def _merged(name: str, parts: list[tuple[Tensor, dict[str, Encoded]]], nothing: Float[Tensor, "batch dim"]) -> Encoded:
    """One encoding of all samples from those of the groups that have the modality; `nothing` where none has it."""
    mine = [put_encoded(encoded[name], group, len(nothing)) for group, encoded in parts if name in encoded]
    if not mine:
        return Encoded(nothing)
    pooled = torch.stack([one.pooled for one in mine]).sum(dim=0)
    tokens = torch.stack([one.tokens for one in mine if one.tokens is not None]).sum(dim=0)
    masks = [one.mask for one in mine if one.mask is not None]
    return Encoded(pooled, tokens, torch.stack(masks).any(dim=0) if masks else None)
