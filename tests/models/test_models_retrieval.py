"""A joint space of encoders with and without state, some of whose rows are absent."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from awase.models import Retrieval
from awase.models.parts import part_of
from awase.types import Batch, Encoded

ROWS, DIM = 7, 5
WIDTHS = {"audio": 3, "video": 11}


class Tower(nn.Module):
    """A layer, a LoRA beside it, and a BatchNorm, which mixes the rows that it is shown."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dim, self.num_blocks, self.cut = width + 1, 1, 0
        self.layer = nn.Linear(width, self.dim)
        self.lora = nn.Linear(width, self.dim, bias=False)
        self.norm = nn.BatchNorm1d(self.dim)

    def forward(self, inputs: Tensor) -> Encoded:
        assert not inputs.isnan().any(), "the encoder saw a row that is absent"
        return Encoded(self.norm(self.layer(inputs) + self.lora(inputs)))


class Identity(nn.Module):
    """Features that were computed before: no state at all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dim, self.num_blocks, self.cut = width, 0, 0

    def forward(self, inputs: Tensor) -> Encoded:
        return Encoded(inputs)


class Memory(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("queue", torch.zeros(3, DIM))
        self.temperature = nn.Parameter(torch.tensor(0.0))


@pytest.fixture
def model() -> Retrieval:
    torch.manual_seed(0)
    encoders = {"audio": Tower(WIDTHS["audio"]), "video": Identity(WIDTHS["video"])}
    projections = {name: nn.Linear(encoder.dim, DIM) for name, encoder in encoders.items()}
    return Retrieval(encoders, projections, {"audio": nn.Linear(DIM, 4)}, Memory())


def batch(absent: tuple[int, ...] = ()) -> Batch:
    """Rows, of which these lack audio and hold something that is no number instead."""
    generator = torch.Generator().manual_seed(1)
    inputs: dict[str, Tensor] = {name: torch.randn(ROWS, width, generator=generator) for name, width in WIDTHS.items()}
    present = {name: torch.ones(ROWS, dtype=torch.bool) for name in WIDTHS}
    for row in absent:
        inputs["audio"][row] = torch.nan
        present["audio"][row] = False
    complete = frozenset(name for name, mask in present.items() if bool(mask.all()))
    return Batch(tuple(map(str, range(ROWS))), torch.arange(ROWS), inputs, present, complete, None)


def test_the_parts_hold_every_state_exactly_once(model):
    parts = model.parts()
    names = [name for tensors in parts.values() for name in tensors]
    assert sorted(names) == sorted(model.state_dict())
    assert len(set(names)) == len(names)
    assert set(parts) == {
        "audio.adapter",
        "audio.encoder",
        "audio.head",
        "audio.reconstruction",
        "video.encoder",
        "video.head",
        "objective",
    }
    assert parts["video.encoder"] == {}
    assert set(parts["objective"]) == {"objective.queue", "objective.temperature"}
    assert all(part_of(name) == part for part, tensors in parts.items() for name in tensors)


def test_parts_share_their_tensors_with_the_model(model):
    with torch.no_grad():
        model.parts()["objective"]["objective.queue"].fill_(3.0)
    assert float(model.objective.queue[0, 0]) == 3.0


def test_the_embeddings_are_the_projections_of_the_features_and_heads_rebuild_them(model):
    model.eval()
    data = batch()
    output = model(data)
    for name in WIDTHS:
        features = model.encoders[name](data.inputs[name]).pooled
        assert torch.equal(output.encoded[name].pooled, features)
        assert torch.equal(output.embeddings[name], model.projections[name](features))
    assert set(output.rebuilt) == {"audio"}
    assert torch.equal(output.rebuilt["audio"], model.reconstructions["audio"](output.embeddings["audio"]))
    assert model.modalities == ("audio", "video")
    assert model.mixes is False


def test_absent_rows_change_nothing_of_the_others_in_training_too(model):
    model.train()
    absent = (1, 4)
    rows = [row for row in range(ROWS) if row not in absent]
    some = model(batch(absent))
    some.embeddings["audio"][rows].sum().backward()
    assert not model.encoders["audio"].layer.weight.grad.isnan().any()
    whole = batch()
    alone = model.encoders["audio"](whole.inputs["audio"][rows]).pooled
    torch.testing.assert_close(some.encoded["audio"].pooled[rows], alone)
    assert not some.embeddings["audio"].isnan().any()
    assert torch.equal(some.encoded["audio"].pooled[list(absent)], torch.zeros(2, 4))


def test_a_batch_in_which_all_lack_a_modality_or_that_does_not_know_it(model):
    model.eval()
    nowhere = model(batch(tuple(range(ROWS))))
    assert torch.equal(nowhere.encoded["audio"].pooled, torch.zeros(ROWS, 4))
    data = batch()
    unknown = replace(data, inputs={"video": data.inputs["video"]}, present={"video": data.present["video"]})
    output = model(unknown)
    assert torch.equal(output.encoded["audio"].pooled, torch.zeros(ROWS, 4))
    assert torch.equal(output.embeddings["video"], model(data).embeddings["video"])


def test_known_features_are_taken_and_not_computed(model):
    data = replace(batch(), inputs={"video": batch().inputs["video"]})
    known = {"audio": Encoded(torch.full((ROWS, 4), 0.5))}
    output = model(data, known=known)
    assert torch.equal(output.embeddings["audio"], model.projections["audio"](known["audio"].pooled))
    assert int(model.encoders["audio"].norm.num_batches_tracked) == 0
    assert set(known) == {"audio"}, "what was given is not changed"


def test_embeddings_are_float32_under_autocast(model):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch())
    values = [*output.embeddings.values(), *output.rebuilt.values()]
    assert {value.dtype for value in values} == {torch.float32}
