"""Trainings that are stopped again and again, and the rows that their encoders see."""

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import pytest

from awase.runner import nodes
from awase.training.loop import Loop

Result = TypeVar("Result")


class StoppedError(Exception):
    """Raised in the middle of a training."""


def stopped_and_repeated(run: Callable[[], Result], monkeypatch: pytest.MonkeyPatch) -> Result:
    """The result of the call that ends; each one before is stopped after the fourth step from the last stop."""
    step, steps = Loop._step, [0]

    def stopping(self, batches, phase):
        step(self, batches, phase)
        steps[0] += 1
        if steps[0] % 4 == 0:
            raise StoppedError

    monkeypatch.setattr(Loop, "_step", stopping)
    stops = 0
    while True:
        try:
            result = run()
            break
        except StoppedError:
            stops += 1
            assert stops < 200
    assert stops >= 2
    return result


def rows_seen(builder: str, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Modality -> rows that the encoder saw, in models that this function of `nodes` builds from now on."""
    seen: Counter[str] = Counter()
    build = getattr(nodes, builder)

    def counted(stage, spec, derived):
        model = build(stage, spec, derived)
        for name, encoder in model.encoders.items():
            encoder.register_forward_hook(lambda m, args, out, name=name: seen.update({name: len(args[0])}))
        return model

    monkeypatch.setattr(nodes, builder, counted)
    return seen
