"""MMBT against its definition: one sample's sequence put together by hand and run without padding."""

import pytest
import torch
from token_samples import CLASSES, DIM, LENGTHS, ROWS, has, make_batch, make_encoder, make_inputs, same_gradients
from torch import Tensor, nn

from awase.config import EncoderConfig
from awase.encoders import build_encoder
from awase.fusion import Mmbt, build_fusion
from awase.fusion.mmbt import average_places
from awase.models import Classifier
from awase.types import Batch, Encoded

TEXTS = {"words": "small_transformer", "bert": "transformers"}
PATTERNS = {
    "complete": {},
    "some": {"image": [1, 0, 1, 1, 0], "text": [1, 1, 0, 1, 1]},
    "no-picture": {"image": [0] * ROWS},
    "picture-not-in-the-batch": {"image": []},
    "no-text": {"text": [0] * ROWS},
    "text-not-in-the-batch": {"text": []},
    "a-row-of-nothing": {"image": [1, 0, 1, 1, 0], "text": [1, 0, 0, 1, 1]},
}


def picture(kind: str = "image") -> nn.Module:
    shape = (3, 65, 97) if kind == "image" else (4, 1, 10, 13)
    tiny = EncoderConfig(name="timm", options={"model": "test_resnet"})
    config = tiny if kind == "image" else EncoderConfig(name="small_cnn")
    return build_encoder(config, kind=kind, input_shape=shape, seed=0).double().eval()


def model_of(text: str, other: str = "image", **options: object) -> Classifier:
    torch.manual_seed(1)
    seen = picture() if other == "image" else picture("video")
    encoders = {other: seen, "text": make_encoder("text", text).eval()}
    dims = {name: encoder.dim for name, encoder in encoders.items()}
    fusion = build_fusion("mmbt", dims, CLASSES, options, encoders=encoders).double()
    assert isinstance(fusion, Mmbt)
    return Classifier(encoders, {}, fusion)


def batch_of(other: str = "image", **present: list[int]) -> Batch:
    batch = make_batch({other: "vit", "text": "words"}, **present)
    if "image" in batch.inputs:
        pixels = torch.randn(ROWS, 3, 65, 97, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        batch.inputs["image"] = pixels * batch.present["image"][:, None, None, None]
    return batch


def definition(model: Classifier, batch: Batch, row: int, places: list[Tensor]) -> Tensor:
    """The logits of one sample; `places` are the averaged places of its picture."""
    fusion, net = model.fusion, model.encoders["text"].network
    is_bert = fusion.segments is None
    table = net.model.embeddings.word_embeddings.weight if is_bert else net.token.weight
    cls, sep = fusion.specials if fusion.special_ids is None else table[list(fusion.special_ids)]
    sequence = [(cls, 0, 0), *((fusion.project(v), i + 1, 0) for i, v in enumerate(places))]
    sequence.append((sep, fusion.num_places + 1, 0))  # its position stays, whether there is a picture or not
    if has(batch, "text", row):
        ids = batch.inputs["text"]["input_ids"][row, : LENGTHS[row]]
        sequence += [(table[i], position, 1) for position, i in enumerate(ids)]
    tokens = []
    for vector, position, segment in sequence:
        if is_bert:
            e = net.model.embeddings
            total = vector + e.position_embeddings.weight[position] + e.token_type_embeddings.weight[segment]
            tokens.append(e.LayerNorm(total))
        else:
            tokens.append(vector + fusion.segments[segment] + net.position[position])
    x = torch.stack(tokens)[None]
    for layer in net.model.encoder.layer if is_bert else net.blocks:
        x = layer(x) if is_bert else layer(x, None)
    first = x[0, 0] if is_bert else net.norm(x)[0, 0]
    return fusion.linear(fusion.pooler(first).tanh())


@pytest.mark.parametrize("special_ids", [None, [3, 11]], ids=["learned", "of-the-vocabulary"])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("text", TEXTS)
def test_every_sample_is_its_definition(text, pattern, special_ids):
    model, batch = model_of(text, special_ids=special_ids), batch_of(**PATTERNS[pattern])
    encoded = model.encode(batch)
    presence = {
        n: None if n in batch.complete else batch.present.get(n, torch.zeros(ROWS).bool()) for n in ("image", "text")
    }
    features = {name: value.pooled for name, value in encoded.items()}
    found, split = model.fusion(features, {}, presence)
    assert split == {}
    some = [row for row in range(ROWS) if has(batch, "image", row) or has(batch, "text", row)]
    slow = []
    for row in some:
        places = []
        if has(batch, "image", row):
            features_map = model.encoders["image"].network.model.forward_features(batch.inputs["image"][row : row + 1])
            assert features_map.shape[2:] == (3, 4)  # three rows: one for each place
            places = list(features_map[0].mean(2).T)
        slow.append(definition(model, batch, row, places))
    same_gradients(found[some], torch.stack(slow), list(model.parameters()))
    for name in ("image", "text"):
        for row in range(ROWS):
            assert bool(features[name][row].any()) is has(batch, name, row)


@pytest.mark.parametrize("num_places", [1, 2, 4])
def test_frames_are_places_in_time(num_places):
    model, batch = model_of("words", "video", num_places=num_places), batch_of("video")
    frames = model.encoders["video"](batch.inputs["video"]).tokens  # (batch, 4, dim)
    means = frames.unflatten(1, (num_places, -1)).mean(2)
    slow = torch.stack([definition(model, batch, row, list(means[row])) for row in range(ROWS)])
    torch.testing.assert_close(model(batch).logits, slow.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("num_places", "sides"), [(1, (1, 1)), (3, (3, 1)), (4, (2, 2)), (6, (3, 2)), (7, (7, 1)), (9, (3, 3))]
)
def test_a_map_is_averaged_in_rectangles_row_by_row(num_places, sides):
    height, width = 6, 12
    height = 7 if num_places == 7 else height
    values = torch.randn(2, height * width, 5)
    found = average_places(Encoded(torch.zeros(2, 5), values, grid=(height, width)), num_places)
    rows, columns = sides
    expected = []
    for row in range(rows):
        for column in range(columns):
            inside = [
                values[:, y * width + x]
                for y in range(row * height // rows, (row + 1) * height // rows)
                for x in range(column * width // columns, (column + 1) * width // columns)
            ]
            expected.append(torch.stack(inside).mean(0))
    torch.testing.assert_close(found, torch.stack(expected, dim=1))


def test_few_tokens_repeat():
    values = torch.randn(2, 1, 5)
    assert torch.equal(average_places(Encoded(values[:, 0], values), 3), values.expand(-1, 3, -1))


def test_what_stands_in_absent_rows_does_not_matter():
    model, batch = model_of("words"), batch_of(image=[1, 0, 0, 1, 0], text=[1, 1, 1, 0, 1])
    before = model(batch).logits
    batch.inputs["image"][1:3] = float("nan")
    batch.inputs["text"]["input_ids"][3] = 17
    batch.inputs["text"]["attention_mask"][3] = 1
    assert torch.equal(model(batch).logits, before)


def test_the_parts_cover_the_state_and_heads_see_the_encoding_of_both():
    model = model_of("words")
    parts = model.parts()
    assert sorted(name for tensors in parts.values() for name in tensors) == sorted(model.state_dict())
    assert set(parts) == {"image.encoder", "text.encoder", "fusion"}
    assert model.fusion.feature_dims == {"image": DIM, "text": DIM}
    encoded = model.encode(batch_of())
    assert torch.equal(encoded["image"].pooled, encoded["text"].pooled)


def test_wrong_requests_are_sentences():
    text, seen = make_encoder("text", "words"), picture()
    distil = EncoderConfig(
        name="transformers",
        options={"architecture": "distilbert", "config": {"n_layers": 1, "dim": 12, "n_heads": 2, "hidden_dim": 8}},
    )
    other = build_encoder(distil, kind="text", input_shape=(7,), seed=0)
    for encoders, options, said in (
        (
            {"image": seen, "text": other},
            {},
            "small_transformer, or transformers with the architecture bert.* none of them",
        ),
        ({"text": text, "title": text}, {}, "There are text, title; .* has text, title"),
        (
            {"image": seen, "video": seen, "text": text},
            {},
            "one text and one other modality. There are image, video, text",
        ),
        ({"image": seen, "text": text}, {"num_places": 6}, "'text' has 7; num_places is 6, and can be 1 to 5"),
        ({"image": seen, "text": text}, {"num_places": 0}, "num_places is 0"),
        ({"image": seen, "text": text}, {"special_ids": [1]}, r"special_ids are two.*\[1\]"),
        ({"image": seen, "text": text}, {"places": 3}, "valid options: num_places, special_ids"),
    ):
        with pytest.raises(ValueError, match=said):
            build_fusion("mmbt", {name: e.dim for name, e in encoders.items()}, CLASSES, options, encoders=encoders)


def test_an_encoder_without_tokens_is_refused_when_it_is_run():
    encoders = {
        "array": build_encoder(EncoderConfig(name="mlp"), kind="array", input_shape=(5,), seed=0).double(),
        "text": make_encoder("text", "words"),
    }
    fusion = build_fusion("mmbt", {"array": 128, "text": DIM}, CLASSES, {}, encoders=encoders).double()
    batch = make_batch({"text": "words"})
    whole = Batch(
        batch.ids,
        batch.index,
        {"array": torch.randn(ROWS, 5, dtype=torch.float64), "text": make_inputs("text", "words")},
        {name: torch.ones(ROWS, dtype=torch.bool) for name in ("array", "text")},
        frozenset({"array", "text"}),
    )
    with pytest.raises(ValueError, match="'array' gives no tokens"):
        fusion.encode(encoders, whole)
