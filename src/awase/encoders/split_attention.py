"""Fused attention projections rewritten to separate linears with the same weights, for every model alike.

A low-rank adapter "on q and v" means something only where q and v are layers. After `split_attention` the projections
of a model are linears whose names end in `q`, `k`, `v` (fused `qkv` linears) or `q_proj`, `k_proj`, `v_proj`,
`out_proj` (`nn.MultiheadAttention`); the output projection of the former keeps its name (`proj`).
"""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_log = logging.getLogger(__name__)
_FUSED_NAMES = ("qkv", "Wqkv")


class SplitProjection(nn.Module):
    """The output of a fused `qkv` linear, [q(x), k(x), v(x)] along the last dimension, from three linears."""

    def __init__(self, q: nn.Linear, k: nn.Linear, v: nn.Linear) -> None:
        super().__init__()
        self.q = q
        self.k = k
        self.v = v

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.q(x), self.k(x), self.v(x)), dim=-1)


class SplitMultiheadAttention(nn.Module):
    """What `nn.MultiheadAttention` computes, with its projections called as layers.

    The constants below are read by `nn.TransformerEncoderLayer`: they keep it from its fused path, which would pass
    by the layers.
    """

    _qkv_same_embed_dim = False
    in_proj_weight = None
    in_proj_bias = None

    def __init__(self, fused: nn.MultiheadAttention) -> None:
        super().__init__()
        self.embed_dim = fused.embed_dim
        self.num_heads = fused.num_heads
        self.dropout = fused.dropout
        self.batch_first = fused.batch_first
        weights = _in_weights(fused)
        biases: Sequence[Tensor | None] = (None,) * 3
        if fused.in_proj_bias is not None:
            biases = fused.in_proj_bias.chunk(3)
        self.q_proj, self.k_proj, self.v_proj = (_linear(w, b) for w, b in zip(weights, biases, strict=True))
        self.out_proj = _linear(fused.out_proj.weight, fused.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The attended values and the attention weights, with the meaning the arguments have in torch."""
        unbatched = query.dim() == 2
        along = 0 if unbatched else (0 if self.batch_first else 1)
        if unbatched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = self._heads(self.q_proj(query)), self._heads(self.k_proj(key)), self._heads(self.v_proj(value))
        bias = _attention_bias(attn_mask, key_padding_mask, q, k)
        mixed, weights = self._attend((q, k, v), bias, need_weights)
        output = self.out_proj(mixed.transpose(1, 2).flatten(2))  # (batch, tokens, dim)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if unbatched:
            return output.squeeze(0), None if weights is None else weights.squeeze(0)
        return output.transpose(0, along), weights

    def _heads(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (batch, heads, tokens, head dim)
        return heads

    def _attend(
        self, heads: tuple[Tensor, Tensor, Tensor], bias: Tensor | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        q, k, v = heads
        dropout = self.dropout if self.training else 0.0
        if not need_weights:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout), None
        scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
        weights = (scores if bias is None else scores + bias).softmax(-1)
        weights = F.dropout(weights, dropout)
        return weights @ v, weights


def _attention_bias(attn_mask: Tensor | None, padding: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
    """The sum of both masks as a float bias (batch, heads or 1, queries or 1, keys); True in a mask means: not this."""
    bias: Tensor | None = None
    if attn_mask is not None:
        bias = _as_bias(attn_mask, q.dtype)
        if bias.dim() == 3:  # (batch * heads, queries, keys)
            bias = bias.view(q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    if padding is not None:
        padded = _as_bias(padding, q.dtype)[:, None, None, :]
        bias = padded if bias is None else bias + padded
    return bias


def _as_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, float("-inf"))


def split_attention(model: nn.Module) -> list[str]:
    """Names of the projections that were split, in module order; `model` is changed in place.

    Splits linears named `qkv` or `Wqkv` whose output is q, k and v one after the other, and every
    `nn.MultiheadAttention` without added key or value biases. Outputs stay equal to rounding. A fused linear of
    another layout (heads interleaved, or only two of the three) is left as it is and named in a log message.
    """
    done = []
    for name, module in list(model.named_modules()):
        for child_name, child in list(module.named_children()):
            split = _split(module, child_name, child)
            if split is not None:
                setattr(module, child_name, split)
                done.append(f"{name}.{child_name}".lstrip("."))
    return done


def _split(owner: nn.Module, name: str, child: nn.Module) -> nn.Module | None:
    if type(child) is nn.MultiheadAttention:
        extra = child.bias_k is not None or child.bias_v is not None or child.add_zero_attn
        return None if extra else SplitMultiheadAttention(child).train(child.training)
    if name not in _FUSED_NAMES or not isinstance(child, nn.Linear):
        return None
    if not _in_thirds(owner, child):
        _log.warning("%s.%s is fused in a layout of its own and stays so.", type(owner).__name__, name)
        return None
    return _split_linear(owner, child).train(child.training)


def _in_thirds(owner: nn.Module, fused: nn.Linear) -> bool:
    """Whether the rows of `fused` are all of q, then all of k, then all of v."""
    interleaved = getattr(owner, "head_first", False) or getattr(owner, "val_dim", None) is not None
    return not interleaved and fused.out_features % 3 == 0 and fused.out_features != 2 * fused.in_features


def _split_linear(owner: nn.Module, fused: nn.Linear) -> SplitProjection:
    biases: list[Tensor | None] = [None] * 3
    if fused.bias is not None:
        biases = list(fused.bias.chunk(3))
    q_bias, v_bias = getattr(owner, "q_bias", None), getattr(owner, "v_bias", None)
    if isinstance(q_bias, Tensor) and isinstance(v_bias, Tensor):
        # BEiT, EVA, Swin 2 keep the bias apart, and k has none; without `q_bias` they call the projection as a layer.
        biases = [q_bias, None, v_bias]
        for name in ("q_bias", "k_bias", "v_bias"):
            setattr(owner, name, None)
    return SplitProjection(*(_linear(w, b) for w, b in zip(fused.weight.chunk(3), biases, strict=True)))


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear with copies of `weight` and `bias`, on their device and of their type."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)
    return linear


def _in_weights(fused: nn.MultiheadAttention) -> Sequence[Tensor]:
    if fused._qkv_same_embed_dim:
        return fused.in_proj_weight.chunk(3)
    return fused.q_proj_weight, fused.k_proj_weight, fused.v_proj_weight
