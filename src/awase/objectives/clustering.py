"""The memory of online clustering: recent rows, and centroids that are fitted now and then."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from awase.distributed import ALONE, World, copy_from_first, first_row, gather_constant
from awase.objectives.assignment import balanced_assignment
from awase.objectives.kmeans import Clusters, assign, kmeans
from awase.objectives.presence import everyone

Pushed = Bool[Tensor, " batch"] | slice | None
"""Which rows of a batch go into the queue; None: all."""


class ClusterMemory(nn.Module):
    """A queue of rows of earlier steps and the centroids of `num_clusters` clusters, as buffers.

    `step` gives the rows of a batch their clusters and puts some of them into the queue, a ring in which the newest
    replace the oldest. The centroids are fitted by k-means to [queue; batch] when there are none yet and every
    `refit_every` steps, from the last ones (`warm_start`) or from k-means++; in between, rows are assigned only, and
    only those of the batch. With `start_when_full` a queue that is not full is left out, and the batch stands alone.
    While there are fewer rows than clusters nothing is fitted and every label is -1.
    `assignment`: each row to the centroid of the greatest cosine ("kmeans"), or the rows of the batch of all processes
    to clusters of equal size by Sinkhorn's iterations ("sinkhorn").
    `reset_each_epoch`: `begin_epoch` forgets the centroids, not the queue, as the released code of MCN does.

    Every random number comes from `seed` and the number of fits before, and everything that a later step depends on is
    a buffer: a resumed run goes on as the uninterrupted one. Under several processes all must be called with their
    share of the batch, an empty one too; queue and centroids are then the same on all.
    The counters are known to the processor too, so that a step waits for the device only where it fits.

    Deviations from the released code of MCN: a ring instead of a shifted copy; the number of rows pushed is the
    caller's choice (there: 16 of the 32 clips of each video); see `kmeans` for those of the fit. Assigning the batch
    alone gives the same labels as assigning all.
    Raises `ValueError` for options out of range.
    Source: Chen et al., ICCV 2021, and the released code, whose numbers are the defaults.
    """

    queue: Tensor
    centroids: Tensor
    counters: Tensor

    def __init__(
        self,
        dim: int,
        *,
        num_clusters: int = 256,
        queue_rows: int = 40960,
        refit_every: int = 20,
        warm_start: bool = True,
        reset_each_epoch: bool = False,
        start_when_full: bool = True,
        assignment: Literal["kmeans", "sinkhorn"] = "kmeans",
        spherical: bool = False,
        max_iterations: int = 100,
        tolerance: float = 1e-4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(dim, num_clusters, refit_every, max_iterations) < 1 or queue_rows < 0:
            raise ValueError(
                "A cluster memory needs dim, num_clusters, refit_every and max_iterations of at least 1 and a queue of "
                f"0 rows or more; given: {dim=}, {num_clusters=}, {refit_every=}, {max_iterations=}, {queue_rows=}."
            )
        if assignment not in ("kmeans", "sinkhorn"):
            raise ValueError(f"Rows are assigned by 'kmeans' or 'sinkhorn'; given: {assignment!r}.")
        self.num_clusters, self.refit_every, self.assignment, self.seed = num_clusters, refit_every, assignment, seed
        self.warm_start, self.reset_each_epoch, self.start_when_full = warm_start, reset_each_epoch, start_when_full
        self.spherical, self.max_iterations, self.tolerance = spherical, max_iterations, tolerance
        self.last_fit: Clusters | None = None
        self._known: tuple[tuple[int, int], dict[str, int]] | None = None
        self.register_buffer("queue", torch.zeros(queue_rows, dim))
        self.register_buffer("centroids", torch.zeros(num_clusters, dim))
        self.register_buffer("counters", torch.zeros(len(_COUNTERS), dtype=torch.long))

    @property
    def state(self) -> dict[str, int]:
        """The counters by name: where the next row is written, rows filled, fitted (0 or 1), steps since the last fit,
        fits so far, and the epoch begun last, from 1 (0: none)."""
        if self._known is None or self._known[0] != self._place:  # loaded, moved, or written by somebody else
            self._known = self._place, dict(zip(_COUNTERS, self.counters.tolist(), strict=True))
        return dict(self._known[1])

    @property
    def _place(self) -> tuple[int, int]:
        """Where the counters lie, and how often they were written."""
        return self.counters.data_ptr(), self.counters._version

    @torch.no_grad()
    def reset(self) -> None:
        """Forgets everything, as if no step had been made."""
        for buffer in self.buffers():
            buffer.zero_()
        self.last_fit = None

    def forget(self, *, queue: bool = False, centroids: bool = False) -> None:
        """Empties the queue, or leaves the centroids to be fitted anew from k-means++, or both.

        Epochs are counted anew in any case: a training begins.
        """
        state = self.state
        state["epoch"] = 0
        if queue:
            state["write"] = state["filled"] = 0
        if centroids:
            state["fitted"] = 0
        self._write(state)

    def begin_epoch(self, epoch: int) -> None:
        """Forgets the centroids where an epoch (from 0) begins; nothing where it goes on after an interruption."""
        state = self.state
        if state["epoch"] == epoch + 1:
            return
        state["epoch"] = epoch + 1
        if self.reset_each_epoch:
            state["fitted"] = 0
        self._write(state)

    @torch.no_grad()
    def step(
        self,
        fused: Float[Tensor, "batch dim"],
        present: Bool[Tensor, " batch"] | None = None,
        push: Pushed = None,
        world: World = ALONE,
    ) -> Int[Tensor, " batch"]:
        """The cluster of each row, -1 for absent ones and for all while there are no centroids.

        A fit that is due sees the queue before this batch is pushed. Raises `ValueError` where a row to fit is not
        finite.
        """
        fused = fused.detach().to(self.queue.dtype)
        state = self.state
        if not state["fitted"] or state["steps_since_fit"] >= self.refit_every:
            self._fit(_rows(fused, present, None), state, world)
        labels = self._labels(fused, present, world) if state["fitted"] else fused.new_full((len(fused),), -1).long()
        state["steps_since_fit"] += state["fitted"]
        self._push(gather_constant(_rows(fused, present, push), world), state)
        self._write(state)
        return labels

    def _fit(self, rows: Tensor, state: dict[str, int], world: World) -> None:
        rows = gather_constant(rows, world)
        if state["filled"] == len(self.queue) or not self.start_when_full:
            rows = torch.cat([self.queue[: state["filled"]], rows])
        if len(rows) < self.num_clusters:
            return
        warm = self.warm_start and state["fitted"] == 1
        start = self.centroids if warm else torch.Generator().manual_seed(self.seed + state["fits"])
        self.last_fit = kmeans(
            rows,
            self.num_clusters,
            start,
            spherical=self.spherical,
            max_iterations=self.max_iterations,
            tolerance=self.tolerance,
        )
        self.centroids.copy_(self.last_fit.centroids)
        copy_from_first(self.centroids, world)
        state |= {"fitted": 1, "steps_since_fit": 0, "fits": state["fits"] + 1}

    def _labels(self, fused: Tensor, present: Tensor | None, world: World) -> Tensor:
        if present is not None:  # what an absent row holds may be anything
            fused = torch.where(present[:, None], fused, torch.zeros_like(fused))
        if self.assignment == "kmeans":
            labels = assign(fused, self.centroids)[0]
            return labels if present is None else torch.where(present, labels, torch.full_like(labels, -1))
        cosines = nn.functional.normalize(fused, dim=1) @ nn.functional.normalize(self.centroids, dim=1).T
        here = gather_constant(everyone(fused, present), world)
        labels = balanced_assignment(gather_constant(cosines, world), present=here)[1]
        return labels.narrow(0, first_row(fused, world), len(fused))

    def _push(self, rows: Tensor, state: dict[str, int]) -> None:
        capacity = len(self.queue)
        if capacity == 0 or len(rows) == 0:
            return
        count = len(rows)
        rows = rows[-capacity:]
        begin = (state["write"] + count - len(rows)) % capacity
        straight = min(len(rows), capacity - begin)
        self.queue[begin : begin + straight] = rows[:straight]
        self.queue[: len(rows) - straight] = rows[straight:]
        state["write"] = (state["write"] + count) % capacity
        state["filled"] = min(state["filled"] + count, capacity)

    def _write(self, state: dict[str, int]) -> None:
        self.counters.copy_(torch.tensor([state[name] for name in _COUNTERS]), non_blocking=True)
        self._known = self._place, dict(state)


_COUNTERS = ("write", "filled", "fitted", "steps_since_fit", "fits", "epoch")


def _rows(fused: Tensor, present: Tensor | None, push: Pushed) -> Tensor:
    """The rows that are present and pushed."""
    if isinstance(push, slice):
        return fused[push] if present is None else fused[push][present[push]]
    mask = present if push is None else push if present is None else push & present
    return fused if mask is None else fused[mask]
