"""What a stream of stages learned, kept and never learned: measures of the scores R[i, j] of task j after stage i.

A task is a direction, a pair of modalities, a data set and a k; its score is R@k or any other that is better when
higher. Stages count from 0 and N is the last. A task counts from the first stage that trains it: its best score is
max over those stages, the last included, whether or not later ones train it again.

    forgetting      F_j = max_i R[i, j] - R[N, j]
    intransigence   I_j = R*_j - max_i R[i, j]        R* of joint training; negative where a stage was better than it
    gap             R*_j - R[N, j] = I_j + F_j

The maximum of noisy scores is too high on average, and so is F; `task_intervals` shows by how much it varies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from awase.statistics.bootstrap import Interval, bootstrap_function


@dataclass(frozen=True)
class TaskMetrics:
    """The measures of one task; None where one does not apply.

    `forgetting` and `backward` need a stage after the first that trains the task, `forward` one before it and the score
    at chance, `intransigence` and `gap` the reference. Of a task that no stage trains there are only `final` and `gap`.
    """

    final: float
    learned: float | None
    forgetting: float | None
    backward: float | None
    forward: float | None
    intransigence: float | None
    gap: float | None


@dataclass(frozen=True)
class ContinualMetrics:
    """The tasks in their order, and means over those to which a measure applies; None where it applies to none.

    `average` is AA, over all tasks; `learned` LA, `backward` BWT, `forward` FWT.
    """

    tasks: tuple[TaskMetrics, ...]
    average: float
    learned: float | None
    forgetting: float | None
    backward: float | None
    forward: float | None
    intransigence: float | None


@dataclass(frozen=True)
class TaskIntervals:
    """The measures of `TaskMetrics` with their intervals over seeds and queries."""

    final: Interval
    learned: Interval | None
    forgetting: Interval | None
    backward: Interval | None
    intransigence: Interval | None
    gap: Interval | None


def continual_metrics(
    scores: Float[np.ndarray, "stages tasks"],
    first_stage: Sequence[int | None],
    *,
    joint: Float[np.ndarray, " tasks"] | None = None,
    chance: Float[np.ndarray, " tasks"] | None = None,
) -> ContinualMetrics:
    """Returns the measures of every task and their means.

        AA = mean_j R[N, j]      LA = mean_j R[f, j]      BWT = mean_j R[N, j] - R[f, j]    with f the first stage of j
        FWT = mean_j R[f - 1, j] - chance_j               what was aligned before the task itself was trained

    `first_stage[j]` is None for a task that no stage trains. NaN stands for a score that was not measured, allowed
    only before the first stage of a task. Raises `ValueError` for any other, for wrong sizes and for a first stage that
    is none.
    Example, one task from stage 0 on with scores .5, .2 and joint .6: F = .3, I = .1, gap .4 = I + F, BWT = -.3.
    """
    num_stages, num_tasks = scores.shape
    sizes = {len(first_stage), *(len(part) for part in (joint, chance) if part is not None)}
    if sizes != {num_tasks} or num_stages == 0:
        raise ValueError(
            f"Scores of {num_stages} stages and {num_tasks} tasks need one first stage, and one reference and chance "
            f"score where given, per task; given: {sorted(sizes)}."
        )
    tasks = tuple(
        _task(
            scores[:, j],
            first_stage[j],
            None if joint is None else float(joint[j]),
            None if chance is None else float(chance[j]),
        )
        for j in range(num_tasks)
    )
    return ContinualMetrics(
        tasks,
        float(np.mean([task.final for task in tasks])),
        _mean([task.learned for task in tasks]),
        _mean([task.forgetting for task in tasks]),
        _mean([task.backward for task in tasks]),
        _mean([task.forward for task in tasks]),
        _mean([task.intransigence for task in tasks]),
    )


def gap_closed(method: float, naive: float, joint: float, *, gap_low: float | None = None) -> float | None:
    """Returns GC = (method - naive) / (joint - naive): 0 as bad as naive staging, 1 as good as joint training.

    None where joint training is not better than naive staging, or where the interval of their difference, of which
    `gap_low` is the lower end, reaches zero: then there is no gap to close. Example: `gap_closed(.5, .4, .6) == .5`.
    """
    if joint <= naive or (gap_low is not None and gap_low <= 0):
        return None
    return (method - naive) / (joint - naive)


def task_intervals(
    hits: Float[np.ndarray, "stages seeds queries"],
    first_stage: int | None,
    *,
    joint_hits: Float[np.ndarray, "seeds queries"] | None = None,
    groups: Sequence[object] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    generator_seed: int = 0,
) -> TaskIntervals:
    """Returns the measures of one task with intervals, from what every query contributes to the scores.

    Scores are means over seeds of means over queries, and their maximum over stages is taken anew in every draw;
    seeds and groups of queries are drawn for all stages and the reference alike. F is never below zero and neither is
    its interval, so that "nothing forgotten" is not read off it: look at `backward`, which is free of the maximum.
    Raises `ValueError` as `bootstrap_mean` does and for a first stage that is none.
    """
    scores = [*hits, *([] if joint_hits is None else [joint_hits])]

    def measured(means: Float[np.ndarray, "scores draws"]) -> dict[str, Float[np.ndarray, " draws"]]:
        return _measures(means[: len(hits)], first_stage, None if joint_hits is None else means[-1], None)

    names = list(measured(np.zeros((len(scores), 1))))
    intervals = bootstrap_function(
        scores,
        lambda means: np.stack(list(measured(means).values())),
        groups,
        resamples=resamples,
        level=level,
        generator_seed=generator_seed,
    )
    known = dict(zip(names, intervals, strict=True))
    return TaskIntervals(
        known["final"],
        known.get("learned"),
        known.get("forgetting"),
        known.get("backward"),
        known.get("intransigence"),
        known.get("gap"),
    )


def _measures(
    scores: Float[np.ndarray, "stages draws"],
    first: int | None,
    joint: Float[np.ndarray, " draws"] | None,
    chance: float | None,
) -> dict[str, Float[np.ndarray, " draws"]]:
    """Those measures of one task that apply."""
    if len(scores) == 0 or (first is not None and not 0 <= first < len(scores)):
        raise ValueError(f"The first stage that trains a task is one of {len(scores)} or None; given: {first}.")
    final = scores[-1]
    if np.isnan(final).any() or (first is not None and np.isnan(scores[first:]).any()):
        raise ValueError("A task needs a score after every stage from the first that trains it on; some are NaN.")
    found = {"final": final}
    if joint is not None:
        found["gap"] = joint - final
    if first is None:
        return found
    best = scores[first:].max(axis=0)
    found["learned"] = scores[first]
    if first < len(scores) - 1:
        found |= {"forgetting": best - final, "backward": final - scores[first]}
    if first > 0 and chance is not None and not np.isnan(scores[first - 1]).any():
        found["forward"] = scores[first - 1] - chance
    if joint is not None:
        found["intransigence"] = joint - best
        both = found["intransigence"] + found.get("forgetting", 0.0)  # F is 0 of a task first trained in the last stage
        assert np.allclose(found["gap"], both, rtol=0, atol=1e-9), "gap = intransigence + forgetting"
    return found


def _task(
    scores: Float[np.ndarray, " stages"], first: int | None, joint: float | None, chance: float | None
) -> TaskMetrics:
    found = _measures(scores[:, None], first, None if joint is None else np.array([joint]), chance)
    values = {name: float(value[0]) for name, value in found.items()}
    return TaskMetrics(
        values["final"],
        values.get("learned"),
        values.get("forgetting"),
        values.get("backward"),
        values.get("forward"),
        values.get("intransigence"),
        values.get("gap"),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None
