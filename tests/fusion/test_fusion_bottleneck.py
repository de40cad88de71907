"""Bottleneck fusion against its definition: one sample, one block, one modality at a time."""

import pytest
import torch
from token_samples import (
    CLASSES,
    DEPTH,
    DIM,
    PRETRAINED,
    ROWS,
    SMALL,
    Literal,
    has,
    make_batch,
    make_encoder,
    make_encoders,
    same_gradients,
)
from torch import Tensor, nn

from awase.config import EncoderConfig
from awase.encoders import build_encoder
from awase.fusion import Bottleneck, build_fusion
from awase.models import Classifier
from awase.types import Batch

TWO = {"video": "vit", "text": "words"}
PATTERNS = {
    "complete": {},
    "some": {"video": [1, 0, 1, 1, 0], "text": [1, 1, 0, 1, 1]},
    "one-modality-lacks-everywhere": {"text": [0] * ROWS},
    "not-in-the-batch": {"video": []},
    "a-row-of-nothing": {"video": [1, 0, 1, 1, 0], "text": [1, 1, 0, 1, 0], "audio": [1, 0, 1, 0, 0], "image": [0] * 5},
}


def model_of(families: dict[str, str], **options: object) -> Classifier:
    torch.manual_seed(1)
    encoders = make_encoders(families)
    dims = {name: encoder.dim for name, encoder in encoders.items()}
    fusion = build_fusion("bottleneck", dims, CLASSES, {"zero_init": False, **options}, encoders=encoders).double()
    assert isinstance(fusion, Bottleneck)
    nn.init.normal_(fusion.bottlenecks)  # large enough to matter
    return Classifier(encoders, {}, fusion)


def definition(model: Classifier, families: dict[str, str], batch: Batch, row: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The logits of one sample and of each of its modalities."""
    fusion = model.fusion
    literal = {
        name: Literal(model.encoders[name], family) for name, family in families.items() if has(batch, name, row)
    }
    if not literal:
        return torch.zeros(CLASSES, dtype=torch.float64), {}
    tokens, piece = {}, {}
    for name, encoder in literal.items():
        tokens[name], piece[name] = encoder.upto(batch.inputs[name], row, fusion.fusion_layer)
    shared = fusion.bottlenecks[None]
    for layer in range(fusion.fusion_layer, DEPTH):
        seen = []
        for name, encoder in literal.items():
            number = tokens[name].shape[1]
            after = encoder.block(layer, torch.cat([tokens[name], shared], dim=1))
            tokens[name] = after[:, :number]
            seen.append(after[:, number:])
        shared = sum(seen) / len(seen)
    encoded = {name: encoder.finish(tokens[name], piece[name]) for name, encoder in literal.items()}
    if fusion.head == "token":
        split = {name: fusion.linear(pooled) for name, (pooled, _) in encoded.items()}
        return sum(split.values()) / len(split), split
    everything = torch.cat([values for _, values in encoded.values()])
    share = {name: values.sum(0) / len(everything) for name, (_, values) in encoded.items()}
    bias = fusion.linear.bias / len(share)
    return fusion.linear(everything.mean(0)), {name: fusion.linear.weight @ h + bias for name, h in share.items()}


@pytest.mark.parametrize("head", ["token", "gap"])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("families", [TWO, SMALL, PRETRAINED], ids=["two", "three", "timm-and-bert"])
def test_every_sample_is_its_definition(families, pattern, head):
    present = {name: rows for name, rows in PATTERNS[pattern].items() if name in families}
    model, batch = model_of(families, head=head, num_bottlenecks=2), make_batch(families, **present)
    encoded = model.encode(batch)
    presence = {
        name: None if name in batch.complete else batch.present.get(name, torch.zeros(ROWS).bool()) for name in families
    }
    logits, split = model.fusion({name: value.pooled for name, value in encoded.items()}, {}, presence)
    slow = [definition(model, families, batch, row) for row in range(ROWS)]
    same_gradients(logits, torch.stack([fused for fused, _ in slow]), list(model.parameters()))
    for row, (_, own) in enumerate(slow):
        for name, value in own.items():
            torch.testing.assert_close(split[name][row], value, rtol=1e-9, atol=1e-10)
        for name in set(families) - set(own):
            assert not encoded[name].pooled[row].any()


@pytest.mark.parametrize("fusion_layer", [0, 1])
def test_any_layer_can_be_the_first(fusion_layer):
    model, batch = model_of(TWO, fusion_layer=fusion_layer), make_batch(TWO)
    expected = [definition(model, TWO, batch, row)[0] for row in range(ROWS)]
    torch.testing.assert_close(model(batch).logits, torch.stack(expected).float())


def test_the_modalities_meet_in_the_bottleneck():
    batch = make_batch(TWO)
    other = make_batch(TWO)
    other.inputs["video"] = other.inputs["video"] + 1
    model = model_of(TWO)
    first, second = (model.encode(one)["text"].pooled for one in (batch, other))
    assert bool((first != second).any(1).all())


def test_absent_samples_are_not_run():
    families = TWO
    model, batch = model_of(families), make_batch(families, video=[1, 0, 0, 1, 0])
    sizes = []
    model.encoders["video"].network.blocks[2].register_forward_hook(lambda m, a, y: sizes.append(len(y)))
    model(batch)
    model(make_batch(families, video=[0] * ROWS))
    assert sizes == [2]


def test_what_stands_in_absent_rows_does_not_matter():
    model, batch = model_of(TWO), make_batch(TWO, video=[1, 0, 0, 1, 0])
    before = model(batch).logits
    batch.inputs["video"][1:3] = float("nan")
    assert torch.equal(model(batch).logits, before)


def test_the_head_begins_at_zero_unless_told():
    model = model_of(TWO, zero_init=True)
    assert not model(make_batch(TWO)).logits.any()
    assert model_of(TWO)(make_batch(TWO)).logits.any()


@pytest.mark.parametrize(("depth", "layer"), [(2, 0), (3, 1), (4, 2), (5, 3), (6, 4), (12, 8), (24, 16)])
def test_two_thirds_of_the_blocks_run_alone_but_two(depth, layer):
    with torch.device("meta"):
        encoder = make_encoder("audio", "vit", depth=depth)
        fusion = Bottleneck({"a": DIM, "b": DIM}, CLASSES, encoders={"a": encoder, "b": encoder})
    assert fusion.fusion_layer == layer
    assert fusion.bottlenecks.shape == (4, DIM)


def test_the_parts_cover_the_state():
    model = model_of(SMALL)
    parts = model.parts()
    assert sorted(name for tensors in parts.values() for name in tensors) == sorted(model.state_dict())
    assert set(parts) == {"video.encoder", "text.encoder", "audio.encoder", "fusion"}
    assert set(parts["fusion"]) == {"fusion.bottlenecks", "fusion.linear.weight", "fusion.linear.bias"}
    assert model.mixes


def build(families: dict[str, nn.Module], **options: object) -> None:
    build_fusion("bottleneck", {name: e.dim for name, e in families.items()}, CLASSES, options, encoders=families)


def test_wrong_encoders_and_values_are_sentences():
    video = make_encoder("video", "vit")
    for other, said in (
        (make_encoder("text", "words", depth=2), "video: width 12, 3 blocks; text: width 12, 2 blocks"),
        (make_encoder("text", "words", dim=8), "text: width 8, 3 blocks"),
        (
            build_encoder(EncoderConfig(name="mlp"), kind="array", input_shape=(5,), seed=0),
            "'text'.*small_vit, small_t",
        ),
        (nn.Linear(3, 3), "no sequence of tokens"),
    ):
        other.dim = getattr(other, "dim", 3)
        with pytest.raises(ValueError, match=said):
            build({"video": video, "text": other})
    with pytest.raises(ValueError, match="2 blocks or more; these have 1"):
        build({name: make_encoder(name, "vit", depth=1) for name in ("video", "audio")})
    text = make_encoder("text", "words")
    for options, said in (
        ({"fusion_layer": 2}, r"0 to 1 in encoders of 3 blocks.*; fusion_layer is 2"),
        ({"fusion_layer": -1}, "fusion_layer is -1"),
        ({"num_bottlenecks": 0}, "1 bottleneck token or more; got 0"),
        ({"head": "cls"}, "'token' or 'gap', not 'cls'"),
        ({"layer": 1}, "no option layer; valid options: num_bottlenecks, fusion_layer, head, zero_init"),
    ):
        with pytest.raises(ValueError, match=said):
            build({"video": video, "text": text}, **options)
    with pytest.raises(ValueError, match="built with them"):
        build_fusion("bottleneck", {"video": DIM}, CLASSES, {})


def test_dropping_a_modality_is_dropping_its_rows():
    model = model_of(SMALL)
    everyone = make_batch(SMALL)
    alone = Batch(
        everyone.ids,
        everyone.index,
        {"text": everyone.inputs["text"]},
        {"text": everyone.present["text"]},
        frozenset({"text"}),
    )
    taken = make_batch(SMALL, video=[0] * ROWS, audio=[0] * ROWS)
    assert torch.equal(model(alone).logits, model(taken).logits)
