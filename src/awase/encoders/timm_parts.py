"""How a timm model comes apart into stem, blocks and head. Plain functions of the model, so that copies stay whole."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from awase.encoders.heads import join_heads, split_heads
from awase.encoders.split_attention import SplitProjection


@dataclass(frozen=True)
class Parts:
    """Module names and functions of one family of models; `tokens` may be None where features have no common form.

    `is_sequence`: a sequence of tokens passes between the blocks.
    """

    block_names: tuple[str, ...]
    stem_names: tuple[str, ...]
    stem: Callable[[Any, Tensor], Tensor]
    block: Callable[[Any, int, Tensor], Tensor]
    features: Callable[[Any, Tensor], Tensor]
    tokens: Callable[[Tensor], Tensor | None]
    is_sequence: bool = False


def parts_of(model: Any) -> Parts:
    """The parts of `model`: blocks of a vision transformer, the four layers of a ResNet, else one block of it all."""
    from timm.models.resnet import ResNet
    from timm.models.vision_transformer import VisionTransformer

    if type(model) is VisionTransformer:  # subclasses change the forward pass
        blocks = tuple(f"blocks.{i}" for i in range(len(model.blocks)))
        return Parts(blocks, ("patch_embed", "norm_pre"), _vit_stem, _vit_block, _vit_norm, _as_they_are, True)
    if type(model) is ResNet:
        layers = tuple(f"layer{i}" for i in range(1, 5))
        return Parts(layers, ("conv1", "bn1"), _resnet_stem, _resnet_block, _unchanged, _positions)
    return Parts(("",), (), _unchanged, _whole, _unchanged, _no_tokens)


def _vit_stem(model: Any, x: Tensor) -> Tensor:
    x = model._pos_embed(model.patch_embed(x))
    result: Tensor = model.norm_pre(model.patch_drop(x))
    return result


def _vit_block(model: Any, index: int, x: Tensor) -> Tensor:
    result: Tensor = model.blocks[index](x)
    return result


def vit_last_rows(block: Any, x: Tensor, count: int) -> Tensor | None:
    """The last `count` tokens after a block, from queries of those alone; None for a block of another structure."""
    from timm.layers.attention import Attention
    from timm.models.vision_transformer import Block

    if type(block) is not Block or type(block.attn) is not Attention:
        return None
    attention = block.attn
    if getattr(attention, "gate", None) is not None or not isinstance(attention.qkv, SplitProjection):
        return None
    projection, normal, last = attention.qkv, block.norm1(x), x[:, -count:]
    asking, keys, values = projection.q(normal[:, -count:]), projection.k(normal), projection.v(normal)
    q, k, v = split_heads(attention.num_heads, asking, keys, values)
    q, k = attention.q_norm(q), attention.k_norm(k)
    mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=attention.attn_drop.p if attention.training else 0.0)
    mixed = attention.proj_drop(attention.proj(attention.norm(join_heads(mixed))))
    last = last + block.drop_path1(block.ls1(mixed))
    result: Tensor = last + block.drop_path2(block.ls2(block.mlp(block.norm2(last))))
    return result


def _vit_norm(model: Any, x: Tensor) -> Tensor:
    result: Tensor = model.norm(x)
    return result


def _resnet_stem(model: Any, x: Tensor) -> Tensor:
    result: Tensor = model.maxpool(model.act1(model.bn1(model.conv1(x))))
    return result


def _resnet_block(model: Any, index: int, x: Tensor) -> Tensor:
    layer = (model.layer1, model.layer2, model.layer3, model.layer4)[index]
    result: Tensor = layer(x)
    return result


def _whole(model: Any, index: int, x: Tensor) -> Tensor:
    result: Tensor = model.forward_features(x)
    return result


def _unchanged(model: Any, x: Tensor) -> Tensor:
    return x


def _as_they_are(features: Tensor) -> Tensor:
    return features


def _positions(features: Tensor) -> Tensor:
    return features.flatten(2).transpose(1, 2)  # (batch, height * width, channels)


def _no_tokens(features: Tensor) -> None:
    return None
