"""Which route a task takes: rules, in order, over the keys that a model has."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from jaxtyping import Bool
from torch import Tensor

from awase.evaluation.routes import ALPHA, Kind, Route, Scales, Term, possible_routes
from awase.vocabulary import SHARED_NAME, Combination, Task

log = logging.getLogger(__name__)
WHY: dict[Kind, str] = {
    "exact": "there are adapters of exactly its modalities",
    "pair_average": "there are no adapters of all its modalities: the mean of its pairs' normalised scores",
    "shared": "there are no adapters for it: the shared space",
    "ensemble": "",
}


class Router:
    """Routes by these rules: the exact key of query and target, unless calibration has chosen another route for the
    task; for three modalities and more without a key the mean over its pairs that have one; the shared space, with one
    warning per router.

    `keys` are the model's combinations, `chosen` what calibration says, `scales` the keys' scores on validation. There
    is no nearest key: adapters of other modalities are never taken.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        keys: Sequence[str],
        *,
        chosen: Mapping[str, Kind] | None = None,
        scales: Scales | None = None,
        alpha: float = ALPHA,
    ) -> None:
        self.modalities, self.keys = tuple(modalities), tuple(keys)
        self.chosen, self.scales, self.alpha = dict(chosen or {}), scales or {}, alpha
        self._warned = False

    def resolve(self, task: Task | str, present: Mapping[str, Bool[Tensor, " items"]] | None = None) -> Route:
        """The route of a task.

        `present` says which items of the gallery have which modality. A whole gallery is ranked under one key: where
        some items lack a modality of the target, the task is that of the modalities that all have (`Route.task`).
        Raises `ValueError` for a task that is none, a modality that the model lacks, and a gallery without a modality
        that all items have.
        """
        task = self._checked(task)
        if present is not None:
            task, asked = _narrowed(task, present), task
            if task != asked:
                return self._with_why(self.resolve(task), f"not all items have all of {asked.target}: ")
        routes = possible_routes(task, self.keys, self.scales, self.alpha)
        chosen = self.chosen.get(str(task))
        if chosen is not None:
            if chosen not in routes:
                raise ValueError(
                    f"The route of {task} is said to be {chosen!r}, which this model cannot take; it can take "
                    f"{', '.join(routes)}. Calibrate again."
                )
            return self._with_why(replace(routes[chosen], why=WHY[chosen]), "calibrated: " if chosen else "")
        first = next(iter(routes.values()))
        if first.kind == "shared" and self.keys:
            self._warn(task)
        return replace(first, why=WHY[first.kind])

    def by_hand(self, task: Task | str, key: str) -> Route:
        """The task under one key that is named: its own, or `shared`; raises `ValueError` for any other."""
        task = self._checked(task)
        valid = [name for name in (task.key, SHARED_NAME) if name in (*self.keys, SHARED_NAME)]
        if key not in valid:
            raise ValueError(
                f"{task} cannot be asked under {key}: a key is for exactly its own modalities, and another one's "
                f"scores mean nothing here. What works: {', '.join(valid)}."
            )
        return Route(task, "shared" if key == SHARED_NAME else "exact", (Term(key, task),), "named by hand")

    def _checked(self, task: Task | str) -> Task:
        task = Task.parse(task) if isinstance(task, str) else task
        unknown = sorted((task.query.modalities | task.target.modalities) - set(self.modalities))
        if unknown:
            raise ValueError(
                f"{task} needs {', '.join(unknown)}, which the model lacks; it has {', '.join(self.modalities)}."
            )
        return task

    def _warn(self, task: Task) -> None:
        if not self._warned:
            log.warning(
                "there are no adapters for %s (keys: %s): it is answered in the shared space, and so is every other "
                "task without a key; this is said once",
                task,
                ", ".join(self.keys),
            )
        self._warned = True

    @staticmethod
    def _with_why(route: Route, before: str) -> Route:
        return replace(route, why=before + route.why)


def _narrowed(task: Task, present: Mapping[str, Bool[Tensor, " items"]]) -> Task:
    """The task with the target modalities that every item has which has any of them."""
    missing = sorted(task.target.modalities - set(present))
    if missing:
        raise ValueError(f"The gallery has no {', '.join(missing)}; it has {', '.join(present)}.")
    masks = {name: present[name] for name in sorted(task.target.modalities)}
    some = next(iter(masks.values())).clone()
    for mask in masks.values():
        some |= mask
    common = [name for name, mask in masks.items() if bool(mask[some].all())]
    if not common or not bool(some.any()):
        counts = ", ".join(f"{name}: {int(mask.sum())}" for name, mask in masks.items())
        raise ValueError(
            f"{task} ranks a whole gallery under one key, and no modality of {task.target} is had by all of its "
            f"{int(some.sum())} items ({counts}). Leave out the items that lack one of them, or search "
            f"{' and '.join(masks)} apart."
        )
    return Task(task.query, Combination.of(common))
