"""What is computed from the rows of all processes: the same functions for one process and for a share on each of two.

A case takes the rows of this process (a slice of `ROWS`) and gives tensors: those under `rows|` hold something for each
row, those under `all|` are the same on every process.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from awase.distributed import World, copy_from_first, first_row, gather_constant, gather_rows
from awase.objectives import (
    CONTRASTIVE,
    ClusterMemory,
    centroid_contrast,
    ckc,
    diagonal_fisher,
    info_nce,
    max_margin,
    mil_nce,
    mms,
    over_present,
    pair_losses,
    partial_targets,
    reconstruction,
    similarity_distillation,
    soft_targets,
    triangle_area,
    volume,
)

ROWS, WIDTH, DIM, CANDIDATES, CLUSTERS = 11, 5, 3, 2, 3
SPLITS = {"uneven": 7, "one-empty": ROWS, "first-empty": 0}
"""How many of the rows the first process has."""
Case = Callable[[slice, World], dict[str, Tensor]]
# The first seven rows have everything, so that in the uneven split one process knows of nothing absent.
HERE = torch.tensor([True] * 7 + [False, True, False, True])
THERE = torch.tensor([True] * 9 + [False, True])
GROUP = torch.tensor([0, 0, 1, 1, 1, 2, 0, 1, 1, 0, 2])
NOBODY = torch.zeros(ROWS, dtype=torch.bool)


def share_of(split: str, rank: int) -> slice:
    """The rows of one of two processes."""
    return slice(0, SPLITS[split]) if rank == 0 else slice(SPLITS[split], ROWS)


def inputs(seed: int, *shape: int) -> Tensor:
    return torch.randn(ROWS, *(shape or (WIDTH,)), generator=torch.Generator().manual_seed(seed))


def weights(seed: int) -> Tensor:
    return torch.randn(WIDTH, DIM, generator=torch.Generator().manual_seed(10 + seed)).requires_grad_()


def local(mask: Tensor, share: slice) -> Tensor | None:
    """The mask of these rows, None where all are there, as a batch that knows it is complete has it."""
    return None if bool(mask[share].all()) else mask[share]


def with_gradients(losses: Tensor, parameters: dict[str, Tensor], world: World) -> dict[str, Tensor]:
    """The losses, and the gradient of the mean over all rows, as the training loop computes it."""
    losses.sum().backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters.values()]
    world.sum_(gradients)
    found = {f"all|{name}": gradient / ROWS for name, gradient in zip(parameters, gradients, strict=True)}
    return {"rows|losses": losses.detach().clone()} | found


def pair(loss: Callable[..., Tensor], mask: Tensor | None = None, **options: Tensor) -> Case:
    """A loss of two projected inputs; options with a value per row are cut like the rows."""

    def case(share: slice, world: World) -> dict[str, Tensor]:
        parameters = {"x": weights(0), "y": weights(1)}
        x, y = inputs(0)[share] @ parameters["x"], inputs(1)[share] @ parameters["y"]
        own = {name: value[share] for name, value in options.items()}
        present = None if mask is None else local(mask, share)
        return with_gradients(loss(x, y, present=present, world=world, **own), parameters, world)

    return case


def set_of_three(loss: Callable[..., Tensor], mask: Tensor | None = None) -> Case:
    """A loss of an anchor and items of two embeddings."""

    def case(share: slice, world: World) -> dict[str, Tensor]:
        parameters = {"x": weights(0), "y": weights(1), "z": weights(2)}
        found = [inputs(seed)[share] @ matrix for seed, matrix in enumerate(parameters.values())]
        present = None if mask is None else local(mask, share)
        return with_gradients(loss(*found, present=present, world=world), parameters, world)

    return case


def distilled(mask: Tensor | None = None) -> Case:
    def loss(x: Tensor, y: Tensor, z: Tensor, *, present: Tensor | None, world: World) -> Tensor:
        return similarity_distillation((x, y), (y, z), softening=2.0, present=present, world=world)

    return set_of_three(loss, mask)


def learnt_temperature(share: slice, world: World) -> dict[str, Tensor]:
    parameters = {"x": weights(0), "temperature": torch.tensor(0.3, requires_grad=True)}
    x, y = inputs(0)[share] @ parameters["x"], inputs(1)[share] @ weights(1).detach()
    return with_gradients(info_nce(x, y, temperature=parameters["temperature"], world=world), parameters, world)


def learns_here_only(share: slice, world: World) -> dict[str, Tensor]:
    """Nothing of the rows from the eighth on needs a gradient: in the uneven split, nothing of the second process."""
    parameters = {"x": weights(0), "y": weights(1)}
    both = [inputs(seed)[share] @ parameters[name] for seed, name in enumerate(parameters)]
    split = min(max(7 - share.start, 0), len(both[0]))
    cut = [torch.cat([rows[:split], rows[split:].detach()]) if split else rows.detach() for rows in both]
    losses = mms(*cut, world=world)
    if world.size == 1 or share.stop > share.start:
        assert losses.requires_grad
    return with_gradients(losses, parameters, world)


def candidates(share: slice, world: World) -> dict[str, Tensor]:
    parameters = {"x": weights(0), "y": weights(1)}
    mask = torch.rand(ROWS, CANDIDATES, generator=torch.Generator().manual_seed(2)) > 0.3
    x, c = inputs(0)[share] @ parameters["x"], inputs(1, CANDIDATES, WIDTH)[share] @ parameters["y"]
    losses = mil_nce(x, c, candidate_mask=mask[share], present=local(HERE, share), world=world)
    losses = losses + mil_nce(x, c, world=world)
    return with_gradients(losses, parameters, world)


def everything_of_mcn(share: slice, world: World) -> dict[str, Tensor]:
    """Pairs, centroids and reconstruction together."""
    parameters = {"audio": weights(0), "text": weights(1), "video": weights(2)}
    found = {name: inputs(n)[share] @ w for n, (name, w) in enumerate(parameters.items())}
    present = {"audio": local(HERE, share), "text": local(THERE, share), "video": None}
    pairs = {"audio+text": 1.0, "audio+video": 0.5, "text+video": 2.0}
    losses = torch.stack(list(pair_losses(found, present, mms, pairs, world=world).values())).sum(dim=0)
    labels = (torch.arange(ROWS) % CLUSTERS - (torch.arange(ROWS) == 8).long())[share]
    losses = losses + centroid_contrast(found, inputs(5, DIM)[:CLUSTERS], labels, present, world=world)
    targets = {name: inputs(6 + n, DIM)[share] for n, name in enumerate(parameters)}
    losses = losses + 50 * reconstruction(found, targets, present, world=world)
    return with_gradients(losses, parameters, world)


def consolidated(share: slice, world: World) -> dict[str, Tensor]:
    parameters = {"x": weights(0), "y": weights(1)}
    new = {name: inputs(n)[share] @ w for n, (name, w) in enumerate(parameters.items())}
    old = {name: inputs(5 + n, DIM)[share] for n, name in enumerate(parameters)}
    losses = ckc(new, old, {"x": local(HERE, share), "y": None}, world=world)
    return with_gradients(losses + ckc(new, old, dict.fromkeys(new), world=world), parameters, world)


def fisher(share: slice, world: World) -> dict[str, Tensor]:
    """In batches of three, so that the processes have different numbers of them."""

    def loss(parameters: dict[str, Tensor], sample: Tensor) -> Tensor:
        return (sample @ parameters["w"]).sin().sum()

    batches = [batch for batch in inputs(0)[share].split(3) if len(batch) > 0]
    found = diagonal_fisher(loss, {"w": weights(0)}, batches, world=world)
    return {f"all|{name}": value for name, value in found.items()}


def memory(assignment: str) -> Case:
    def case(share: slice, world: World) -> dict[str, Tensor]:
        found = ClusterMemory(WIDTH, num_clusters=CLUSTERS, queue_rows=13, refit_every=2, assignment=assignment)
        push, result = torch.arange(ROWS) % 2 == 0, {}
        for step in range(6):
            result[f"rows|{step}"] = found.step(inputs(step)[share], local(HERE, share), push[share], world)
        return result | {f"all|{name}": value.clone() for name, value in found.state_dict().items()}

    return case


def gathered(share: slice, world: World) -> dict[str, Tensor]:
    """Rows of several types and shapes; the gradient of a row is what all processes ask of it."""
    rows = inputs(0, 2, 3)[share].requires_grad_()
    everyone = gather_rows(rows, world)
    factor = inputs(1, 2, 3) * (1 + world.rank)
    (everyone * factor).sum().backward()
    # On one process, what two ask: once the factor, and once twice of it.
    gradient = rows.grad if world.size > 1 else 3 * rows.grad
    first = torch.full((3,), 1.0 + world.rank)
    copy_from_first(first, world)
    return {
        "all|rows": everyone.detach().clone(),
        "rows|gradient": gradient,
        "all|bool": gather_constant(HERE[share], world).clone(),
        "all|int": gather_constant(GROUP[share], world).clone(),
        "rows|own": torch.arange(len(rows)) + first_row(rows, world),
        "all|first": first,
    }


def counted(share: slice, world: World) -> dict[str, Tensor]:
    losses = inputs(0, 1)[share].squeeze(1)
    found = [over_present(losses, mask, world) for mask in (local(HERE, share), None, NOBODY[share])]
    return {f"rows|{number}": value.clone() for number, value in enumerate(found)}


ROW_CASES: dict[str, Case] = {
    "gathered": gathered,
    "counted": counted,
    **{name: pair(loss) for name, loss in CONTRASTIVE.items()},
    **{f"{name}-absent": pair(loss, HERE) for name, loss in CONTRASTIVE.items()},
    "mms-nobody": pair(mms, NOBODY),
    "max_margin-group": pair(max_margin, group=GROUP),
    "max_margin-group-absent": pair(max_margin, HERE, group=GROUP),
    "soft-targets": pair(partial(info_nce, targets=soft_targets)),
    "soft-targets-absent": pair(partial(info_nce, targets=soft_targets), HERE),
    "soft-targets-nobody": pair(partial(info_nce, targets=soft_targets), NOBODY),
    "partial-targets-absent": pair(partial(info_nce, targets=partial_targets), HERE),
    "mil_nce": candidates,
    "triangle_area": set_of_three(triangle_area),
    "triangle_area-absent": set_of_three(triangle_area, HERE),
    "volume-smoothed": set_of_three(partial(volume, smoothing=0.2)),
    "volume-smoothed-absent": set_of_three(partial(volume, smoothing=0.2), HERE),
    "similarity_distillation": distilled(),
    "similarity_distillation-absent": distilled(HERE),
    "ckc": consolidated,
    "fisher": fisher,
    "temperature": learnt_temperature,
    "learns-here-only": learns_here_only,
    "mcn": everything_of_mcn,
    "memory-kmeans": memory("kmeans"),
    "memory-sinkhorn": memory("sinkhorn"),
}
