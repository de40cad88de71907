"""Small classifiers of two or three modalities, and the gradients of their steps: for rules that change gradients.

As a script, what each of two processes does: `gradient_rules.py RANK FOLDER`.
"""

from dataclasses import replace
from pathlib import Path

import torch
from process_pair import as_one_of_two, whole_training
from torch import Tensor, nn
from training_samples import CLASSES, DIM, Batches, TinyEncoder, make_loop

from awase.config import BalancingConfig, TrainConfig
from awase.distributed import World
from awase.fusion import build_fusion
from awase.models import Classifier
from awase.training.checkpoint import Checkpoint, CheckpointWriter, read_checkpoint
from awase.types import Batch

WIDTHS = {"audio": 5, "text": 3, "video": 7}
TWO, THREE = ("audio", "video"), ("audio", "text", "video")
ONE_STEP = TrainConfig(epochs=1, batch_size=13, optimiser="sgd", momentum=0.0, learning_rate=1e-9, select="last")


def classifier(
    modalities: tuple[str, ...], fusion: str = "concat", *, own_heads: bool = False, noisy: bool = False
) -> Classifier:
    """Tiny encoders of the modalities; `noisy` ones have batch norm and dropout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoders = {name: TinyEncoder(WIDTHS[name], norm=noisy, dropout=0.2 * noisy) for name in modalities}
        for encoder in encoders.values():
            encoder.layer.lora[0].p = 0.3 * noisy
        heads = fusion in ("sum", "late_mean") or own_heads
        layers = {name: nn.Linear(DIM, CLASSES) for name in modalities} if heads else {}
        made = build_fusion(fusion, dict.fromkeys(modalities, DIM), CLASSES, {})
        if fusion in ("concat", "film", "gated"):
            for vector in made.absent.values():
                nn.init.normal_(vector)
        return Classifier(encoders, layers, made)


def rows(num: int, modalities: tuple[str, ...], absent: float = 0.0, seed: int = 0) -> Batch:
    """Samples whose class every modality tells, with noise; a share of each modality but the last is missing."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(CLASSES, (num,), generator=generator)
    inputs, present = {}, {}
    for name in modalities:
        centres = torch.randn(CLASSES, WIDTHS[name], generator=torch.Generator().manual_seed(WIDTHS[name]))
        here = torch.rand(num, generator=generator) >= (absent if name != modalities[-1] else 0.0)
        noise = 0.7 * torch.randn(num, WIDTHS[name], generator=generator)
        inputs[name], present[name] = (centres[targets] + noise) * here[:, None], here
    complete = frozenset(name for name, mask in present.items() if bool(mask.all()))
    return Batch(tuple(f"s{i}" for i in range(num)), torch.arange(num), inputs, present, complete, targets)


def mixed(batch: Batch) -> Batch:
    """The batch with a distribution over the classes as the target of each sample."""
    generator = torch.Generator().manual_seed(3)
    return replace(batch, targets=torch.randn(len(batch), CLASSES, generator=generator).softmax(dim=1))


def trained(fusion: str, own_heads: bool = False) -> tuple[str, ...]:
    if fusion in ("sum", "late_mean"):
        return ("*.encoder", "*.adapter", "*.head")
    return ("*.encoder", "*.adapter", "fusion", *(("*.head",) if own_heads else ()))


def assert_close(got: dict[str, Tensor], expected: dict[str, Tensor], **tolerances: float) -> None:
    """Tensors that are close; what is not among `got` is zero."""
    assert set(got) <= set(expected)
    assert [name for name, value in expected.items() if name not in got and bool(value.any())] == []
    for name, value in got.items():
        torch.testing.assert_close(value, expected[name], msg=lambda m, n=name: f"{n}: {m}", **tolerances)


class Keeper(CheckpointWriter):
    """Writes checkpoints and keeps each as it is read from disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "checkpoint.safetensors")
        self.kept: list[Checkpoint] = []

    def save(self, tensors, facts) -> None:
        super().save(tensors, facts)
        self.wait()
        self.kept.append(read_checkpoint(self.path))


BASE = TrainConfig(epochs=2, batch_size=5, learning_rate=1e-2, select="last")
CASES = {
    # Most samples lack audio or text, and the last batch has one sample, so that the second process has none.
    "mmpareto": (BASE, "concat", True, {"name": "mmpareto"}),
    "mmpareto-accumulate": (BASE.model_copy(update={"accumulate": 2}), "mlp", True, {"name": "mmpareto"}),
    "agm": (BASE, "concat", False, {"name": "agm"}),
    "agm-accumulate": (BASE.model_copy(update={"accumulate": 2}), "sum", False, {"name": "agm"}),
}


def train(name: str, world: World) -> dict[str, Tensor]:
    """Weights, gradients before each step, and the rule's state of one case, in the world given."""
    config, fusion, own_heads, rule = CASES[name]
    model = classifier(THREE, fusion, own_heads=own_heads)
    batches = Batches(rows(21, THREE, absent=0.6), 5, world.rank, world.size)
    loop = make_loop(model, config, trained(fusion, own_heads), batches, rule=BalancingConfig(**rule), world=world)
    return whole_training(model, loop)


if __name__ == "__main__":
    as_one_of_two(CASES, train)
