"""What an epoch shows of each modality, against the definition."""

import pytest
import torch
from torch.nn import functional as F
from training_samples import CLASSES, Batches, make_loop, plain, samples, tiny_model

from awase.config import TrainConfig
from awase.training.observed import target_scores

# A learning rate so small that the model stays as it was: one epoch's means are then those of one fixed model.
STILL = TrainConfig(epochs=1, batch_size=5, optimiser="sgd", learning_rate=1e-12, momentum=0.0, weight_decay=0.0)


def test_scores_and_gradient_norms_of_an_epoch_are_means_over_samples_and_steps():
    model, data = plain(tiny_model(norm=False)), samples(13, absent=0.4)
    batches = Batches(data, 5)
    (epoch,) = make_loop(model, STILL, batches=batches).run().curve
    with torch.no_grad():
        output = model(data)
    for name in ("audio", "video"):
        rows = data.present[name]
        slow = [
            float(F.softmax(output.modality_logits[name][i], dim=0)[data.targets[i]])
            for i in range(13)
            if bool(rows[i])
        ]
        assert epoch.target_scores[name] == pytest.approx(sum(slow) / len(slow), rel=1e-5)
        norms = []
        for batch in batches.epoch(0):
            model.zero_grad()
            F.cross_entropy(model(batch).logits, batch.targets).backward()
            grads = [p.grad for key, p in model.encoders[name].named_parameters() if ".lora." not in f".{key}"]
            norms.append(float(torch.cat([g.flatten() for g in grads if g is not None]).norm()))
        assert epoch.gradient_norms[name] == pytest.approx(sum(norms) / len(norms), rel=1e-4)


def test_a_stage_that_trains_heads_alone_has_no_norm_of_encoders():
    (epoch,) = make_loop(tiny_model(), STILL, train=("*.head",)).run().curve
    assert epoch.gradient_norms == {}
    assert set(epoch.target_scores) == {"audio", "video"}


def test_the_score_of_a_target_by_its_kinds():
    logits = torch.randn(7, CLASSES, generator=torch.Generator().manual_seed(0))
    classes = torch.arange(7) % CLASSES
    by_class = target_scores(logits, classes, False)
    assert by_class.tolist() == [float(logits[i].softmax(0)[classes[i]]) for i in range(7)]
    soft = 0.3 * F.one_hot(classes, CLASSES) + 0.7 * F.one_hot(classes.roll(1), CLASSES)
    expected = 0.3 * by_class + 0.7 * target_scores(logits, classes.roll(1), False)
    torch.testing.assert_close(target_scores(logits, soft, False), expected)
    several = (logits > 0.2).float()
    for i, score in enumerate(target_scores(logits, several, True).tolist()):
        probabilities = [
            float(z.sigmoid()) if y else 1 - float(z.sigmoid()) for z, y in zip(logits[i], several[i], strict=True)
        ]
        assert score == pytest.approx(sum(probabilities) / CLASSES, rel=1e-6)
