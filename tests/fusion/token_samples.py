"""Small transformers of every family, batches for them, and each family's blocks written out for one sample."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from awase.config import EncoderConfig
from awase.encoders import BlockEncoder, build_encoder
from awase.types import Batch

ROWS, CLASSES, WORDS, DIM, DEPTH = 5, 3, 7, 12, 3
SHAPES = {"video": (4, 1, 10, 13), "audio": (1, 11, 9), "text": (WORDS,), "image": (3, 32, 48)}
LENGTHS = (7, 4, 1, 5, 2)
_SMALL = {"dim": DIM, "depth": DEPTH, "num_heads": 2, "dropout": 0.0}
_VIT = {"depth": DEPTH, "embed_dim": DIM, "num_heads": 2}
_BERT = {
    "hidden_size": DIM,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "vocab_size": 31,
    "max_position_embeddings": 17,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
CONFIGS = {
    "vit": EncoderConfig(name="small_vit", options=_SMALL),
    "words": EncoderConfig(name="small_transformer", options={**_SMALL, "vocabulary_size": 31}),
    "timm": EncoderConfig(name="timm", options={"model": "vit_tiny_patch16_224", "model_options": _VIT}),
    "bert": EncoderConfig(name="transformers", options={"architecture": "bert", "config": _BERT}),
}
SMALL = {"video": "vit", "text": "words", "audio": "vit"}
PRETRAINED = {"video": "timm", "text": "bert", "image": "timm"}


def make_encoder(kind: str, family: str, seed: int = 0, **options: object) -> BlockEncoder:
    config = CONFIGS[family]
    config = config.model_copy(update={"options": {**config.options, **options}})
    shape = (4, 3, 20, 17) if (kind, family) == ("video", "timm") else SHAPES[kind]
    encoder = build_encoder(config, kind=kind, input_shape=shape, seed=seed)
    assert isinstance(encoder, BlockEncoder)
    return encoder.double()


def make_encoders(families: Mapping[str, str]) -> dict[str, BlockEncoder]:
    return {name: make_encoder(name, family, seed) for seed, (name, family) in enumerate(families.items())}


def make_inputs(kind: str, family: str) -> Tensor | dict[str, Tensor]:
    generator = torch.Generator().manual_seed(len(kind))
    if kind == "text":
        mask = (torch.arange(WORDS) < torch.tensor(LENGTHS)[:, None]).long()
        return {"input_ids": torch.randint(2, 31, (ROWS, WORDS), generator=generator) * mask, "attention_mask": mask}
    shape = (4, 3, 20, 17) if (kind, family) == ("video", "timm") else SHAPES[kind]
    return torch.randn(ROWS, *shape, generator=generator, dtype=torch.float64)


def make_batch(families: Mapping[str, str], **present: list[int]) -> Batch:
    """`present[m]`: 1 for each sample that has it; inputs of the others are zeros. One of `[]` is not in the batch."""
    inputs, masks = {}, {}
    for name, family in families.items():
        if present.get(name) == []:
            continue
        masks[name] = torch.tensor(present.get(name, [1] * ROWS), dtype=torch.bool)
        value = make_inputs(name, family)
        if isinstance(value, Tensor):
            inputs[name] = value * masks[name].view(-1, *[1] * (value.dim() - 1))
        else:
            inputs[name] = {key: tensor * masks[name][:, None] for key, tensor in value.items()}
    return Batch(
        tuple("abcde"),
        torch.arange(ROWS),
        inputs,
        masks,
        frozenset(name for name in masks if name not in present),
        torch.arange(ROWS) % CLASSES,
    )


def has(batch: Batch, name: str, row: int) -> bool:
    return name in batch.present and bool(batch.present[name][row])


class Literal:
    """One encoder's blocks for one sample without padding: what a definition is written with."""

    def __init__(self, encoder: BlockEncoder, family: str) -> None:
        self.network: nn.Module = encoder.network
        self.family = family

    def start(self, inputs: Tensor | Mapping[str, Tensor], row: int) -> list[Tensor]:
        """The tokens before the first block, each (1, tokens, dim); several: frames that run apart."""
        net = self.network
        if not isinstance(inputs, Tensor):
            count = max(1, int(inputs["attention_mask"][row].sum()))
            ids = inputs["input_ids"][row : row + 1, :count]
            return [net.token(ids) + net.position[:count] if self.family == "words" else net.model.embeddings(ids)]
        one = inputs[row : row + 1]
        if self.family == "vit":
            return [net.stem(one)]
        frames = one[0].unbind(0) if one.dim() == 5 else one.unbind(0)
        return [self._timm_start(frame[None]) for frame in frames]

    def _timm_start(self, picture: Tensor) -> Tensor:
        model = self.network.model
        height, width = (-side % 16 for side in picture.shape[2:])
        return model._pos_embed(model.patch_embed(nn.functional.pad(picture, (0, width, 0, height))))

    def block(self, index: int, tokens: Tensor) -> Tensor:
        if self.family in ("vit", "words"):
            return self.network.blocks[index](tokens, None)
        model = self.network.model
        return model.encoder.layer[index](tokens) if self.family == "bert" else model.blocks[index](tokens)

    def upto(self, inputs: Tensor | Mapping[str, Tensor], row: int, stop: int) -> tuple[Tensor, int]:
        """(the tokens after `stop` blocks, how many of them each frame has)."""
        pieces = self.start(inputs, row)
        for index in range(stop):
            pieces = [self.block(index, piece) for piece in pieces]
        return torch.cat(pieces, dim=1), pieces[0].shape[1]

    def finish(self, tokens: Tensor, piece: int) -> tuple[Tensor, Tensor]:
        """(the encoding (dim,), the tokens (tokens, dim))."""
        if self.family == "bert":
            return tokens[0, 0], tokens[0]
        if self.family == "timm":
            tokens = self.network.model.norm(tokens)
            return tokens[0, ::piece].mean(0), tokens[0]
        tokens = self.network.norm(tokens)
        return tokens[0].mean(0), tokens[0]


def same_gradients(found: Tensor, expected: Tensor, parameters: list[nn.Parameter]) -> None:
    """Equal, and of one random combination of the numbers the gradients are equal, those that nothing reaches too."""
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    weights = torch.randn(found.shape, dtype=found.dtype, generator=torch.Generator().manual_seed(9))
    ours = torch.autograd.grad((found * weights).sum(), parameters, allow_unused=True)
    slow = torch.autograd.grad((expected * weights).sum(), parameters, allow_unused=True)
    assert any(value is not None and float(value.abs().max()) > 0 for value in ours)
    for mine, other, parameter in zip(ours, slow, parameters, strict=True):
        nothing = torch.zeros_like(parameter)
        pair = [nothing if value is None else value for value in (mine, other)]
        torch.testing.assert_close(*pair, rtol=1e-7, atol=1e-9)
