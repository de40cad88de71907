"""A text transformer that reads pictures as words: places of a map among its tokens (MMBT)."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from awase.fusion.base import Features, Fusion, Logits, Presence
from awase.fusion.late import masked
from awase.fusion.rows import encode_rows, presence_of
from awase.fusion.streams import token_stream
from awase.types import Batch, Encoded, Tokens, WordEmbeddings

_POOLS = {4: (2, 2), 6: (3, 2), 8: (4, 2), 9: (3, 3)}


class Mmbt(Fusion):
    """Multimodal bitransformer: [CLS] v_1 .. v_N [SEP] (segment 0), then the text (segment 1), through the text tower.

    The map of the other encoder is averaged to N = `num_places` places (3 x 1 for 3; 2 x 2 for 4, 3 x 2 for 6, 4 x 2
    for 8, 3 x 3 for 9, else N x 1; a sequence, such as the frames of a clip, to N stretches) and projected to the width
    of the words; positions begin at 0 in both segments. The first token after the last block goes through a linear
    layer with tanh and one to the classes. What a sample lacks is masked. `special_ids` are the ids of [CLS] and [SEP]
    in the text encoder's vocabulary; None: two learned vectors. Raises `ValueError` unless there are two modalities of
    which one is a text whose encoder takes vectors among its words (small_transformer, or transformers with BERT).

    Source: Kiela et al., Supervised Multimodal Bitransformers for Classifying Images and Text, 2019.
    """

    needs_heads = False
    splits = False
    mixes = True
    options = ("num_places", "special_ids")

    def __init__(
        self,
        dims: dict[str, int],
        num_classes: int,
        multi_label: bool = False,
        *,
        encoders: Mapping[str, nn.Module],
        num_places: int = 3,
        special_ids: tuple[int, int] | list[int] | None = None,
    ) -> None:
        super().__init__(dims, num_classes, multi_label)
        self.text, self.seen = _roles(encoders)
        words = _words(encoders[self.text])
        if not 1 <= num_places <= words.num_positions - 2:
            raise ValueError(
                f"[CLS], the places and [SEP] need a position each, of which the encoder of {self.text!r} has "
                f"{words.num_positions}; num_places is {num_places}, and can be 1 to {words.num_positions - 2}."
            )
        if special_ids is not None and len(special_ids) != 2:
            raise ValueError(f"special_ids are two, of [CLS] and of [SEP]; given: {list(special_ids)}.")
        width = dims[self.text]
        self.num_places = num_places
        self.special_ids = None if special_ids is None else tuple(special_ids)
        self.project = nn.Linear(dims[self.seen], width)
        self.specials = None if special_ids is not None else nn.Parameter(torch.randn(2, width) * 0.02)
        self.segments = None if words.num_segments >= 2 else nn.Parameter(torch.randn(2, width) * 0.02)
        self.pooler = nn.Linear(width, width)
        self.linear = nn.Linear(width, num_classes)

    @property
    def feature_dims(self) -> dict[str, int]:
        """Both modalities give the encoding of the two together."""
        return dict.fromkeys(self.dims, self.dims[self.text])

    def encode(self, encoders: Mapping[str, nn.Module], batch: Batch) -> dict[str, Encoded]:
        """The encoding of both modalities together stands in the rows of either that have it."""
        text = token_stream("mmbt", self.text, encoders[self.text])
        words = _words(encoders[self.text])
        has = {name: _has(batch, name) for name in (self.text, self.seen)}
        first = self._picture(encoders[self.seen], words, batch)  # (batch, places + 2, dim)
        edge = first.new_ones(len(batch), 1, dtype=torch.bool)
        mask = torch.cat((edge, has[self.seen][:, None].expand(-1, self.num_places), edge), dim=1)
        tokens = self._sequence(words, first, mask, batch, has[self.text])
        for index in range(text.num_blocks):
            tokens = text.block(index, tokens)
        encoded = text.finish(tokens)
        assert encoded.tokens is not None, "an encoder of tokens gives tokens"
        whole = {name: masked(encoded.tokens[:, 0], has[name]) for name in encoders}
        return {
            self.text: Encoded(whole[self.text], encoded.tokens, encoded.mask),
            self.seen: Encoded(whole[self.seen]),
        }

    def forward(
        self, features: Features, head_logits: Logits, present: Presence
    ) -> tuple[Float[Tensor, "batch classes"], Logits]:
        rows = present[self.text]
        whole = features[self.text]
        if rows is not None:
            whole = torch.where(rows[:, None], whole, masked(features[self.seen], present[self.seen]))
        return self.linear(self.pooler(whole).tanh()), {}

    def _picture(self, encoder: nn.Module, words: WordEmbeddings, batch: Batch) -> Float[Tensor, "batch _ dim"]:
        """[CLS], the places, [SEP], as words without positions."""
        cls, sep = self._special_vectors(words, batch)
        vectors = self._places(encoder, batch)
        if vectors is None:
            vectors = cls.new_zeros(len(batch), self.num_places, len(cls))
        before, after = (vector.expand(len(batch), 1, -1) for vector in (cls, sep))
        return torch.cat((before, vectors, after), dim=1)

    def _special_vectors(self, words: WordEmbeddings, batch: Batch) -> tuple[Tensor, Tensor]:
        if self.specials is not None:
            return self.specials[0], self.specials[1]
        ids = torch.tensor([self.special_ids], device=batch.index.device)
        cls, sep = words.words(ids)[0]
        return cls, sep

    def _places(self, encoder: nn.Module, batch: Batch) -> Tensor | None:
        """The projected places of the other modality; None where no sample has it."""
        rows = presence_of(batch, self.seen)
        if rows is not None and not bool(rows.any()):
            return None
        encoded = encode_rows(encoder, batch.inputs[self.seen], rows)
        if encoded.tokens is None:
            raise ValueError(
                f"The encoder of {self.seen!r} gives no tokens, so there are no places to put among the words; use "
                "resnet18, timm with a ResNet or a vision transformer, small_cnn or small_vit."
            )
        vectors: Tensor = self.project(average_places(encoded, self.num_places))
        return vectors

    def _sequence(
        self, words: WordEmbeddings, first: Tensor, mask: Tensor, batch: Batch, has_text: Bool[Tensor, " batch"]
    ) -> Tokens:
        """Both segments with their positions, as they go into the first block."""
        inputs = batch.inputs.get(self.text)
        values, number = [first], [first.shape[1]]
        if inputs is not None:
            assert not isinstance(inputs, Tensor), "a text is ids and a mask"
            values.append(words.words(inputs["input_ids"]))
            mask = torch.cat((mask, inputs["attention_mask"].bool() & has_text[:, None]), dim=1)
            number.append(inputs["input_ids"].shape[1])
        device = first.device
        positions = torch.cat([torch.arange(count, device=device) for count in number])
        segments = torch.cat([torch.full((n,), place, device=device) for place, n in enumerate(number)])
        joined = torch.cat(values, dim=1)
        if self.segments is not None:  # the text encoder has none, or one for all
            joined, segments = joined + self.segments[segments], torch.zeros_like(segments)
        return Tokens(words.place(joined, positions, segments), mask)


def average_places(encoded: Encoded, num_places: int) -> Float[Tensor, "batch places dim"]:
    """The tokens averaged to `num_places`: rectangles of a map, row by row, or stretches of a sequence.

    Where there are fewer tokens than places, places repeat.
    """
    assert encoded.tokens is not None
    channels = encoded.tokens.transpose(1, 2)  # (batch, dim, tokens)
    if encoded.grid is None:
        return F.adaptive_avg_pool1d(channels, num_places).transpose(1, 2)
    pooled = F.adaptive_avg_pool2d(channels.unflatten(2, encoded.grid), _POOLS.get(num_places, (num_places, 1)))
    return pooled.flatten(2).transpose(1, 2)


def _roles(encoders: Mapping[str, nn.Module]) -> tuple[str, str]:
    """(the modality that is read as text, the other one)."""
    texts = [name for name, encoder in encoders.items() if _takes_vectors(encoder)]
    if len(encoders) != 2 or len(texts) != 1:
        raise ValueError(
            f"MMBT reads one text and one other modality. There are {', '.join(encoders)}; an encoder that takes "
            "vectors among its words (small_transformer, or transformers with the architecture bert) has "
            f"{', '.join(texts) or 'none of them'}."
        )
    return texts[0], next(name for name in encoders if name != texts[0])


def _takes_vectors(encoder: nn.Module) -> bool:
    return isinstance(getattr(encoder, "word_embeddings", None), WordEmbeddings)


def _words(encoder: nn.Module) -> WordEmbeddings:
    words = getattr(encoder, "word_embeddings", None)
    assert isinstance(words, WordEmbeddings)
    return words


def _has(batch: Batch, name: str) -> Bool[Tensor, " batch"]:
    """Which samples have the modality."""
    present = presence_of(batch, name)
    return torch.ones(len(batch), dtype=torch.bool, device=batch.index.device) if present is None else present
