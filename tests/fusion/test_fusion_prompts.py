"""Prompt-based fusion against its definition: each block run twice over all tokens, one sample at a time."""

import pytest
import torch
from token_samples import (
    CLASSES,
    DEPTH,
    ROWS,
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
from awase.fusion import Prompts, build_fusion
from awase.models import Classifier
from awase.types import Batch

SMALL = {"video": "vit", "text": "words"}
PAIRS = {
    "small": SMALL,
    "timm-and-bert": {"image": "timm", "text": "bert"},
    "frames-and-spectrogram": {"video": "timm", "audio": "vit"},
}
PATTERNS = {
    "complete": {},
    "some": ([1, 0, 1, 1, 0], [1, 1, 0, 1, 1]),
    "each-alone": ([1, 0, 1, 1, 0], [0, 1, 0, 0, 1]),
    "second-lacks-everywhere": ([1] * ROWS, [0] * ROWS),
    "first-not-in-the-batch": ([], [1] * ROWS),
    "a-row-of-nothing": ([1, 0, 1, 1, 0], [1, 0, 0, 1, 1]),
}


def model_of(families: dict[str, str], **options: object) -> Classifier:
    torch.manual_seed(1)
    encoders = make_encoders(families)
    dims = {name: encoder.dim for name, encoder in encoders.items()}
    fusion = build_fusion("prompts", dims, CLASSES, options, encoders=encoders).double()
    assert isinstance(fusion, Prompts)
    for name, parameter in fusion.named_parameters():
        if "query" in name or "context" in name:
            nn.init.normal_(parameter)  # large enough to matter
    heads = {name: nn.Linear(dim, CLASSES).double() for name, dim in dims.items()}
    return Classifier(encoders, heads, fusion)


def definition(model: Classifier, families: dict[str, str], batch: Batch, row: int) -> dict[str, Tensor]:
    """The encoding of each of the modalities that the sample has."""
    fusion = model.fusion
    literal = {
        name: Literal(model.encoders[name], family) for name, family in families.items() if has(batch, name, row)
    }
    tokens, piece = {}, {}
    for name, encoder in literal.items():
        tokens[name], piece[name] = encoder.upto(batch.inputs[name], row, DEPTH - fusion.num_fused)
    for layer in range(fusion.num_fused):
        told = {}
        for name, encoder in literal.items():
            own = fusion.layers[name][layer]
            asked = torch.cat([tokens[name][0], own.query_context, own.query])[None]
            answers = encoder.block(DEPTH - fusion.num_fused + layer, asked)[:, -len(own.query) :]
            first, _, second = own.translate
            told[name] = second(first(answers).relu())
        after = {}
        for name, encoder in literal.items():
            own = fusion.layers[name][layer]
            others = [value[0] for other, value in told.items() if other != name]
            beside = torch.cat([tokens[name][0], own.fusion_context, *others])[None]
            after[name] = encoder.block(DEPTH - fusion.num_fused + layer, beside)[:, : tokens[name].shape[1]]
        tokens = after
    return {name: encoder.finish(tokens[name], piece[name])[0] for name, encoder in literal.items()}


@pytest.mark.parametrize("num_fusion_context", [0, 3])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("pair", PAIRS)
def test_every_sample_is_its_definition(pair, pattern, num_fusion_context):
    families = PAIRS[pair]
    present = dict(zip(families, PATTERNS[pattern], strict=True)) if PATTERNS[pattern] else {}
    model = model_of(families, num_query=2, num_query_context=5, num_fusion_context=num_fusion_context)
    batch = make_batch(families, **present)
    encoded = model.encode(batch)
    logits = {name: model.heads[name](value.pooled) for name, value in encoded.items()}
    presence = {
        name: None if name in batch.complete else batch.present.get(name, torch.zeros(ROWS).bool()) for name in families
    }
    fused, split = model.fusion({}, logits, presence)
    rows = []
    for row in range(ROWS):
        slow = {name: model.heads[name](pooled) for name, pooled in definition(model, families, batch, row).items()}
        rows.append(sum(slow.values()) / len(slow) if slow else torch.zeros(CLASSES, dtype=torch.float64))
        for name, value in slow.items():
            torch.testing.assert_close(split[name][row], value, rtol=1e-9, atol=1e-10)
        for name in set(families) - set(slow):
            assert not encoded[name].pooled[row].any()
    same_gradients(fused, torch.stack(rows), list(model.parameters()))


@pytest.mark.parametrize("num_fused", [1, 2, 3])
def test_any_number_of_blocks_can_be_fused(num_fused):
    model, batch = model_of(SMALL, num_fused=num_fused), make_batch(SMALL)
    found = model.encode(batch)
    for row in range(ROWS):
        for name, pooled in definition(model, SMALL, batch, row).items():
            torch.testing.assert_close(found[name].pooled[row], pooled, rtol=1e-9, atol=1e-10)


def test_towers_may_differ_in_width_and_depth():
    encoders = {"video": make_encoder("video", "vit", dim=8, depth=2), "text": make_encoder("text", "words")}
    fusion = build_fusion("prompts", {"video": 8, "text": 12}, CLASSES, {}, encoders=encoders).double()
    video = fusion.layers["video"][0].translate
    assert (video[0].weight.shape, video[2].weight.shape) == ((4, 8), (12, 4))
    pooled = Classifier(encoders, {}, fusion).encode(make_batch(SMALL))
    assert {name: value.pooled.shape for name, value in pooled.items()} == {"video": (ROWS, 8), "text": (ROWS, 12)}


def test_the_fusion_context_learns():
    """In the published code it does not: a wrong name leaves it out of the optimiser."""
    model = model_of(SMALL)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(("fusion.", "heads.")))
    model(make_batch(SMALL)).logits.square().sum().backward()
    learned = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    without = {name for name in learned if model.get_parameter(name).grad is None}
    assert without == set()
    assert {f"fusion.layers.{m}.{i}.fusion_context" for m in SMALL for i in range(2)} <= learned
    for name in learned:
        assert model.get_parameter(name).grad.any(), name


def test_the_queries_are_asked_alone(monkeypatch):
    """In the query stage the feed-forward layer of a fused block sees the query prompts and nothing else."""
    model = model_of(SMALL, num_query=2)
    block = model.encoders["video"].network.blocks[2]
    seen: list[int] = []
    block.up.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[1]))
    tokens = model.encoders["video"].network.stem(make_batch(SMALL).inputs["video"]).shape[1]
    model(make_batch(SMALL))
    assert seen == [2, tokens + 4 + 2]


def test_published_sizes():
    """ViT-B and BERT-base, 101 classes: 2.364 M in the translations, 155 k in the heads, 2.544 M without what the
    published code does not train."""
    base = {"num_hidden_layers": 2, "hidden_size": 768, "num_attention_heads": 12}
    with torch.device("meta"):
        text = EncoderConfig(name="transformers", options={"architecture": "bert", "config": base})
        image = EncoderConfig(name="timm", options={"model": "vit_base_patch16_224", "model_options": {"depth": 2}})
        encoders = {
            "image": build_encoder(image, kind="image", input_shape=(3, 224, 224), seed=0),
            "text": build_encoder(text, kind="text", input_shape=(40,), seed=0),
        }
        fusion = Prompts({"image": 768, "text": 768}, 101, encoders=encoders)
        heads = [nn.Linear(768, 101) for _ in encoders]
    count = {"translate": 0, "query": 0, "query_context": 0, "fusion_context": 0}
    for name, parameter in fusion.named_parameters():
        key = next(part for part in name.split(".") if part in count)
        count[key] += parameter.numel()
    assert count == {"translate": 2_363_904, "query": 12_288, "query_context": 12_288, "fusion_context": 12_288}
    in_heads = sum(parameter.numel() for head in heads for parameter in head.parameters())
    assert in_heads == 155_338
    assert sum(count.values()) + in_heads - count["fusion_context"] == 2_543_818


def test_the_parts_cover_the_state():
    model = model_of(SMALL)
    parts = model.parts()
    assert sorted(name for tensors in parts.values() for name in tensors) == sorted(model.state_dict())
    assert set(parts) == {"video.encoder", "text.encoder", "video.head", "text.head", "fusion"}


def test_wrong_requests_are_sentences():
    encoders = {
        name: make_encoder(name, family) for name, family in (("video", "vit"), ("text", "words"), ("audio", "vit"))
    }
    two = {name: encoders[name] for name in ("video", "text")}
    for chosen, options, said in (
        (encoders, {}, "two modalities; there are 3: video, text, audio"),
        ({"text": encoders["text"]}, {}, "there are 1: text"),
        (two, {"num_fused": 4}, "'video' has 3 blocks, so 1 to 3 of them can be fused; num_fused is 4"),
        (two, {"num_fused": 0}, "num_fused is 0"),
        (two, {"num_query": 0}, r"1 query prompt or more.* \(0, 4, 4\)"),
        (two, {"num_fusion_context": -1}, r"\(4, 4, -1\)"),
        (two, {"width": 1024}, "'video' is 12 wide, and towers of width 1024"),
        (two, {"n_fcp": 0}, "no option n_fcp; valid options: num_fused, num_query, num_query_context"),
    ):
        with pytest.raises(ValueError, match=said):
            build_fusion("prompts", dict.fromkeys(chosen, 12), CLASSES, options, encoders=chosen)
    small_cnn = build_encoder(EncoderConfig(name="small_cnn"), kind="image", input_shape=(3, 13, 17), seed=0)
    with pytest.raises(ValueError, match="'image' is no sequence of tokens"):
        build_fusion(
            "prompts", {"image": 96, "text": 12}, CLASSES, {}, encoders={"image": small_cnn, "text": two["text"]}
        )
