"""The classifier with encoders that note what they were shown."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from awase.fusion import build_fusion
from awase.fusion.rows import encode_rows
from awase.models import Classifier
from awase.models.parts import part_of
from awase.types import Batch, Encoded, Encoder

ROWS, CLASSES = 7, 3
WIDTHS = {"audio": 5, "video": 11}
DIM = 13


class Adapted(nn.Module):
    """A linear layer with something beside it, under the name that marks adapters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.base = nn.Linear(width, DIM)
        self.lora = nn.Linear(width, DIM, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.base(inputs) + self.lora(inputs)


class Spy(nn.Module):
    """An encoder with a BatchNorm, tokens and a mask, that keeps everything it was shown."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dim, self.num_blocks, self.cut = DIM, 1, 0
        self.layer = Adapted(width)
        self.norm = nn.BatchNorm1d(DIM)
        self.seen: list[Tensor] = []

    def prefix(self, inputs: Tensor) -> Tensor:
        return inputs

    def suffix(self, hidden: Tensor) -> Encoded:
        self.seen.append(hidden.detach().clone())
        pooled = self.norm(self.layer(hidden))
        tokens = torch.stack([pooled, 2 * pooled], dim=1)
        return Encoded(pooled, tokens, torch.ones(len(hidden), 2, dtype=torch.bool))

    def forward(self, inputs: Tensor) -> Encoded:
        return self.suffix(self.prefix(inputs))


class Words(nn.Module):
    """An encoder of named tensors whose attention divides by the number of words: not a number where there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.dim, self.num_blocks, self.cut = DIM, 1, 0
        self.table = nn.Embedding(17, DIM)

    def prefix(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return inputs

    def suffix(self, hidden: dict[str, Tensor]) -> Encoded:
        shares = torch.where(hidden["attention_mask"] == 1, 0.0, -torch.inf).softmax(dim=1)
        return Encoded((self.table(hidden["input_ids"]) * shares[:, :, None]).sum(dim=1))

    def forward(self, inputs: dict[str, Tensor]) -> Encoded:
        return self.suffix(self.prefix(inputs))


def some_batch(**present: Tensor) -> Batch:
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(ROWS, width, generator=generator) for name, width in WIDTHS.items()}
    for name, mask in present.items():
        inputs[name] = inputs[name] * mask[:, None]
    everyone = torch.ones(ROWS, dtype=torch.bool)
    masks = {name: present.get(name, everyone) for name in WIDTHS}
    return Batch(
        tuple("abcdefg"),
        torch.arange(ROWS),
        dict(inputs),
        masks,
        frozenset(set(WIDTHS) - set(present)),
        torch.arange(ROWS) % CLASSES,
    )


def some_model(fusion: str = "late_mean") -> Classifier:
    torch.manual_seed(0)
    encoders = {name: Spy(width) for name, width in WIDTHS.items()}
    heads = {} if fusion not in ("late_mean", "sum") else {name: nn.Linear(DIM, CLASSES) for name in WIDTHS}
    return Classifier(encoders, heads, build_fusion(fusion, dict.fromkeys(WIDTHS, DIM), CLASSES, {}))


AUDIO = torch.tensor([True, False, False, True, True, False, True])


def test_the_spy_is_an_encoder():
    assert isinstance(Spy(5), Encoder)
    assert isinstance(Words(), Encoder)


def test_absent_rows_are_never_shown():
    model, batch = some_model(), some_batch(audio=AUDIO)
    model(batch)
    (audio,) = model.encoders["audio"].seen
    (video,) = model.encoders["video"].seen
    assert torch.equal(audio, batch.inputs["audio"][AUDIO])
    assert torch.equal(video, batch.inputs["video"])


def test_present_rows_are_encoded_as_if_alone_and_others_are_zero():
    encoder = Spy(5)
    inputs = some_batch().inputs["audio"]
    got = encode_rows(encoder, inputs, AUDIO)
    own = Spy(5)
    own.load_state_dict(encoder.state_dict())
    alone = own(inputs[AUDIO])
    assert torch.equal(got.pooled[AUDIO], alone.pooled)
    assert torch.equal(got.tokens[AUDIO], alone.tokens)
    assert torch.equal(got.mask, AUDIO[:, None].expand(ROWS, 2))
    assert torch.equal(got.pooled[~AUDIO], torch.zeros(3, DIM))
    assert torch.equal(got.tokens[~AUDIO], torch.zeros(3, 2, DIM))


def test_rows_of_everyone_and_no_rows_given_agree():
    encoder = Spy(5).eval()
    inputs = some_batch().inputs["audio"]
    everyone = encode_rows(encoder, inputs, torch.ones(ROWS, dtype=torch.bool))
    assert torch.equal(everyone.pooled, encode_rows(encoder, inputs, None).pooled)


def test_nobody_present_gives_zeros_and_changes_nothing():
    encoder = Spy(5)
    encoder.layer.eval()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    none = torch.zeros(ROWS, dtype=torch.bool)
    got = encode_rows(encoder, torch.randn(ROWS, 5), none)
    assert torch.equal(got.pooled, torch.zeros(ROWS, DIM))
    assert torch.equal(got.tokens, torch.zeros(ROWS, 2, DIM))
    assert torch.equal(got.mask, torch.zeros(ROWS, 2, dtype=torch.bool))
    assert all(torch.equal(shown, torch.zeros(1, 5)) for shown in encoder.seen)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert (encoder.training, encoder.norm.training, encoder.layer.training) == (True, True, False)


def test_nobody_present_sends_no_gradient_that_is_not_a_number():
    torch.manual_seed(0)
    model = Classifier(
        {"audio": Spy(5), "text": Words()},
        {name: nn.Linear(DIM, CLASSES) for name in ("audio", "text")},
        build_fusion("late_mean", {"audio": DIM, "text": DIM}, CLASSES, {}),
    )
    batch = some_batch()
    none = torch.zeros(ROWS, dtype=torch.bool)
    words = {"input_ids": torch.zeros(ROWS, 4, dtype=torch.long), "attention_mask": torch.zeros(ROWS, 4)}
    batch = replace(
        batch,
        inputs={"audio": batch.inputs["audio"], "text": words},
        present={"audio": ~none, "text": none},
        complete=frozenset({"audio"}),
    )
    output = model(batch)
    assert torch.equal(output.logits, output.modality_logits["audio"])
    output.logits.square().sum().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


def test_gradients_flow_to_present_rows_only():
    model, batch = some_model(), some_batch(audio=AUDIO)
    batch.inputs["audio"].requires_grad_()
    model(batch).logits.square().sum().backward()
    gradient = batch.inputs["audio"].grad
    assert torch.equal(gradient[~AUDIO], torch.zeros(3, 5))
    assert bool((gradient[AUDIO].abs().sum(dim=1) > 0).all())


@pytest.mark.parametrize("fusion", ["late_mean", "sum", "concat"])
def test_absent_samples_are_decided_by_the_others(fusion):
    model, batch = some_model(fusion), some_batch(audio=AUDIO)
    output = model.eval()(batch)
    features = model.encoders["video"](batch.inputs["video"]).pooled
    if fusion == "concat":
        weight = model.fusion.linear.weight[:, DIM:]
        expected = features @ weight.T + model.fusion.linear.bias
    else:
        expected = model.heads["video"](features)
    torch.testing.assert_close(output.logits[~AUDIO], expected[~AUDIO])
    assert set(output.encoded) == set(output.modality_logits) == set(WIDTHS)


@pytest.mark.parametrize("fusion", ["late_mean", "sum", "concat", "mlp", "film", "gated"])
def test_a_modality_that_the_batch_does_not_have_is_absent_from_every_sample(fusion):
    model, batch = some_model(fusion).eval(), some_batch(audio=torch.zeros(ROWS, dtype=torch.bool))
    without = replace(batch, inputs={"video": batch.inputs["video"]}, present={"video": batch.present["video"]})
    assert torch.equal(model(without).logits, model(batch).logits)
    assert torch.equal(model(without).encoded["audio"].pooled, torch.zeros(ROWS, DIM))


def test_logits_are_float32_whatever_the_encoders_give():
    model, batch = some_model("concat"), some_batch(audio=AUDIO)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch)
    assert output.logits.dtype == torch.float32
    assert {value.dtype for value in output.modality_logits.values()} == {torch.float32}


@pytest.mark.parametrize("fusion", ["late_mean", "concat"])
def test_parts_cover_the_state_exactly_once(fusion):
    model = some_model(fusion)
    parts = model.parts()
    names = [name for tensors in parts.values() for name in tensors]
    assert sorted(names) == sorted(model.state_dict())
    last = {"fusion"} if fusion == "concat" else {"audio.head", "video.head"}
    assert set(parts) == {"audio.encoder", "audio.adapter", "video.encoder", "video.adapter"} | last
    assert "encoders.audio.norm.running_mean" in parts["audio.encoder"]
    assert set(parts["audio.adapter"]) == {"encoders.audio.layer.lora.weight"}


def test_parts_are_the_tensors_themselves():
    model = some_model()
    parts = model.parts()
    assert parts["audio.head"]["heads.audio.weight"] is model.heads["audio"].weight
    assert parts["audio.encoder"]["encoders.audio.norm.running_var"] is model.encoders["audio"].norm.running_var


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("encoders.audio.q.weight", "audio.encoder"),
        ("encoders.audio.q.lora.default.A", "audio.adapter"),
        ("encoders.audio.exploration.weight", "audio.encoder"),
        ("encoders.camera_2.norm.running_mean", "camera_2.encoder"),
        ("heads.video.bias", "video.head"),
        ("fusion.linear.weight", "fusion"),
        ("fusion.absent.audio", "fusion"),
    ],
)
def test_part_of(name, part):
    assert part_of(name) == part


def test_heads_beside_a_fusion_that_needs_none_give_each_modality_its_own_logits():
    model, batch = some_model("concat"), some_batch(audio=AUDIO)
    split = model(batch).modality_logits
    torch.manual_seed(1)
    model.heads.update({name: nn.Linear(DIM, CLASSES) for name in WIDTHS})
    output = model(batch)
    for name in WIDTHS:
        assert torch.equal(output.modality_logits[name], model.heads[name](output.encoded[name].pooled))
        assert not torch.equal(output.modality_logits[name], split[name])
    assert set(model.parts()) >= {"audio.head", "video.head", "fusion"}
    fused = some_model("concat")
    fused.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("heads.")})
    assert torch.equal(fused(batch).logits, output.logits)


def test_known_features_are_not_computed_again_and_decide_alike():
    model, batch = some_model().eval(), some_batch(audio=AUDIO)
    whole = model(batch)
    model.encoders["video"].seen.clear()
    known = {"video": whole.encoded["video"]}
    without = replace(batch, inputs={"audio": batch.inputs["audio"]})
    again = model(without, known=known)
    assert model.encoders["video"].seen == []
    assert torch.equal(again.logits, whole.logits)


def test_an_edit_stands_between_encoders_and_fusion():
    model, batch = some_model().eval(), some_batch()

    def edit(features, present, seen):
        assert seen is batch
        return {**features, "audio": 2 * features["audio"]}, {**present, "video": AUDIO}

    output = model(batch, edit=edit)
    encoded = {name: value.pooled for name, value in model.encode(batch).items()}
    logits, _ = model.decide({**encoded, "audio": 2 * encoded["audio"]}, {"audio": None, "video": AUDIO})
    assert torch.equal(output.logits, logits)
    assert torch.equal(output.encoded["audio"].pooled, encoded["audio"])
