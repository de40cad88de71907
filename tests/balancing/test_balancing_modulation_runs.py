"""Whole trainings under OGM-GE, PMR, OPM and MLA: two real processes, and going on after an interruption."""

from pathlib import Path

import pytest
import torch
from balancing_samples import batch_of, context_of, model_of, parts_of
from modulation_processes import CASES, train
from process_pair import run_two
from safetensors.torch import load_file
from training_samples import assert_same, make_loop, state_of, tiny_model

from awase.balancing import Forward, build_rule
from awase.config import BalancingConfig, TrainConfig
from awase.distributed import ALONE
from awase.fusion import build_fusion
from awase.models import Classifier
from awase.models.encode import presence
from awase.objectives import cross_entropy
from awase.training.checkpoint import Checkpoint, CheckpointWriter, read_checkpoint


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """The folder with what both processes found."""
    return run_two(Path(__file__).parent / "modulation_processes.py", tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("name", sorted(CASES))
def test_two_processes_give_what_one_gives_on_the_joined_batch(results, name):
    alone = train(name, ALONE)
    for rank in range(2):
        found = load_file(results / f"{name}-{rank}.safetensors")
        assert set(found) == set(alone)
        for key in sorted(alone):
            # The sums are taken in another order, and a projection of norm one has small entries.
            torch.testing.assert_close(found[key], alone[key], rtol=1e-4, atol=2e-5, msg=lambda m, k=key: f"{k}: {m}")


@pytest.mark.parametrize("name", sorted(CASES))
def test_both_processes_have_the_same_bits(results, name):
    first, second = (load_file(results / f"{name}-{rank}.safetensors") for rank in range(2))
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


# ---- resuming ------------------------------------------------------------------------------------------------------

RULES = {
    "ogm_ge": ("concat", {}),
    "pmr": ("concat", {"soft": True}),
    "opm": ("concat", {"start_epoch": 0}),
    "mla": ("shared_head", {}),
}


class Keeper(CheckpointWriter):
    """Writes checkpoints and keeps each as it is read from disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "checkpoint.safetensors")
        self.kept: list[Checkpoint] = []

    def save(self, tensors, facts) -> None:
        super().save(tensors, facts)
        self.wait()
        self.kept.append(read_checkpoint(self.path))


def model_with(fusion: str) -> Classifier:
    """With dropout and batch norm, whose state must survive too."""
    made = tiny_model("concat")
    dims = {name: encoder.dim for name, encoder in made.encoders.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Classifier(dict(made.encoders.items()), {}, build_fusion(fusion, dims, 3, {}))


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", sorted(RULES))
def test_resuming_from_every_checkpoint_gives_the_same_bits(name, accumulate, tmp_path):
    fusion, options = RULES[name]
    rule = BalancingConfig(name=name, options=options)
    config = TrainConfig(epochs=3, batch_size=5, learning_rate=1e-2, accumulate=accumulate, select="last")
    keeper = Keeper(tmp_path)
    torch.manual_seed(7)
    whole = model_with(fusion)
    loop = make_loop(whole, config, parts_of(whole), rule=rule, writer=keeper, checkpoint_every_s=0.0)
    loop.run()
    keeper.close()
    steps = -(-5 // accumulate)
    assert len(keeper.kept) == 3 * steps
    for checkpoint in keeper.kept[1 :: 4 - accumulate]:
        torch.manual_seed(99)
        model = model_with(fusion)
        again = make_loop(model, config, parts_of(model), rule=rule)
        again.run(checkpoint)
        assert_same(state_of(model), state_of(whole))
        assert_same(again.work.rule.state_dict(), loop.work.rule.state_dict())
        buffers = dict(again.work.rule.named_buffers())
        assert not any(bool(buffers[kept].any()) for kept in ("totals", "sums", "counts") if kept in buffers)


# ---- bfloat16 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(RULES))
def test_features_of_half_precision_are_taken(name):
    """The forward pass runs under autocast, the rule's statistics and losses outside of it."""
    fusion, options = RULES[name]
    model, batch = model_of(fusion), batch_of(13)
    rule = build_rule(BalancingConfig(name=name, options=options), context_of(model))
    for epoch in (0, 1):
        for step, phase in enumerate(rule.phases()):
            model.zero_grad()
            rule.begin(epoch, phase)
            seen = rule.view(batch)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                output = model(seen, edit=rule.on_encoded)
            assert any(value.pooled.dtype == torch.bfloat16 for value in output.encoded.values())
            fused = cross_entropy(output.logits, seen.targets)
            forward = Forward(seen, output, presence(seen, model.modalities), cross_entropy, fused, fused)
            statistics = rule.statistics(forward)
            if statistics is not None:
                rule.observe(statistics)
            rule.backward(forward, rule.losses(forward))
            rule.after_backward(epoch * len(rule.phases()) + step)
            assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
        rule.on_epoch_end(epoch)
