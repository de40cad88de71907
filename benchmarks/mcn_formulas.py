"""MCN written from its formulas, in the manner of the published code; what `mcn_step.py` compares with.

Sentences come as word vectors, (clips, 20, 300) float32. DAVEnet is made of two-dimensional convolutions, channels
first. The contrast of a pair subtracts the margin times an identity matrix and gathers the diagonal of both
log-softmaxes with an index. The queue is shifted by copying and concatenated with the batch, and every row of both is
assigned in every step. A refit normalises rows and centroids in every iteration and takes means by a product with the
dense one-hot matrix of the labels. The targets of the reconstruction get gradients. Adam.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MARGIN, WEIGHT = 0.001, 50.0
Timer = Callable[[str], Any]


@dataclass(frozen=True)
class Sizes:
    """Of the model and of what it remembers."""

    dim: int
    video: int = 2048
    audio: int = 1024
    words: int = 300
    hidden: int = 1024
    clusters: int = 256
    queue: int = 40_960


class Block(nn.Module):
    """Two convolutions of kernel 1 x 9 beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, (1, 9), (1, stride), (0, 4), bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, (1, 9), 1, (0, 4), bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module | None = None
        if stride != 1:
            skip = nn.Conv2d(inputs, outputs, 1, (1, stride), bias=False)
            self.shortcut = nn.Sequential(skip, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        beside = x if self.shortcut is None else self.shortcut(x)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += beside
        return F.relu(y, inplace=True)


class Davenet(nn.Module):
    """(clips, 40, frames) to the mean over all output frames, (clips, 1024)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 128, (40, 1), bias=False)
        self.bn1 = nn.BatchNorm2d(128)
        widths = (128, 128, 256, 512, 1024)
        self.blocks = nn.Sequential(
            *(
                block
                for inputs, outputs in pairwise(widths)
                for block in (Block(inputs, outputs, 2), Block(outputs, outputs, 1))
            )
        )

    def forward(self, spectrograms: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(spectrograms.unsqueeze(1))))
        tokens: Tensor = self.blocks(x)
        return tokens.squeeze(2).mean(dim=2)


class Gated(nn.Module):
    """h sigmoid(W h + b) with h = V x + c."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)
        self.gate = nn.Linear(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc(x)
        return x * torch.sigmoid(self.gate(x))


def rebuilding(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Linear, ReLU, Linear, ReLU."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs), nn.ReLU())


class Formulas(nn.Module):
    """The model, its objective and its optimiser; `with_davenet=False`: audio features are given."""

    queue: Tensor
    centroids: Tensor

    def __init__(self, sizes: Sizes, with_davenet: bool, learning_rate: float = 1e-4) -> None:
        super().__init__()
        self.sizes = sizes
        self.davenet = Davenet() if with_davenet else None
        self.audio = nn.Sequential(Gated(sizes.audio, sizes.audio), nn.Linear(sizes.audio, sizes.dim))
        self.video = Gated(sizes.video, sizes.dim)
        self.words = nn.Linear(sizes.words, sizes.dim)
        self.text = Gated(sizes.dim, sizes.dim)
        widths = {"video": sizes.video, "audio": sizes.audio, "text": sizes.dim}
        self.rebuilt = nn.ModuleDict({name: rebuilding(sizes.dim, sizes.hidden, w) for name, w in widths.items()})
        self.register_buffer("queue", torch.zeros(sizes.queue, sizes.dim))
        self.register_buffer("centroids", torch.zeros(sizes.clusters, sizes.dim))
        self.optimiser = torch.optim.Adam(self.parameters(), lr=learning_rate)

    def step(self, video: Tensor, audio: Tensor, text: Tensor, timer: Timer = lambda name: nullcontext()) -> Tensor:
        """The loss before the weights are changed; `audio` spectrograms or features, `text` word vectors."""
        with timer("audio forward"):
            heard = audio if self.davenet is None else self.davenet(audio.float())
        with timer("other forward"):
            said = F.relu(self.words(text)).max(dim=1).values
            found = {"audio": self.audio(heard), "video": self.video(video), "text": self.text(said)}
            rebuilt = {name: self.rebuilt[name](found[name]) for name in found}
        with timer("contrast"):
            pairs = (("text", "video"), ("audio", "text"), ("audio", "video"))
            loss = sum((contrast(found[x] @ found[y].T) for x, y in pairs), torch.zeros(()))
        with timer("clustering"):
            loss = loss + self._clusters(found)
        with timer("reconstruction"):
            targets = {"video": video, "audio": heard, "text": said}
            loss = loss + WEIGHT * sum((F.mse_loss(rebuilt[name], targets[name]) for name in found), torch.zeros(()))
        with timer("backward"):
            loss.backward()
        with timer("optimiser"):
            self.optimiser.step()
            self.optimiser.zero_grad()
        return loss.detach()

    def _clusters(self, found: dict[str, Tensor]) -> Tensor:
        fused = (found["video"] + found["audio"] + found["text"]) / 3
        labels = self._labels(fused.detach())
        losses = []
        for rows in found.values():
            logits = rows @ self.centroids.T
            margins = torch.zeros_like(logits)
            margins[torch.arange(len(rows)), labels] = MARGIN
            losses.append(F.cross_entropy(logits - margins, labels))
        return sum(losses, torch.zeros(())) / 3

    @torch.no_grad()
    def _labels(self, fused: Tensor) -> Tensor:
        """The clusters of the batch; half of the batch goes to the front of the queue."""
        labels = nearest(torch.cat([self.queue, fused]), self.centroids)[-len(fused) :]
        half = len(fused) // 2
        self.queue[half:] = self.queue[:-half].clone()
        self.queue[:half] = fused[:half]
        return labels


def contrast(scores: Tensor) -> Tensor:
    """The sum of both directions of the margin softmax of a square matrix of scores."""
    scores = scores - MARGIN * torch.eye(len(scores))
    places = torch.LongTensor(list(range(len(scores))))
    return F.nll_loss(F.log_softmax(scores, dim=1), places) + F.nll_loss(F.log_softmax(scores.T, dim=1), places)


def nearest(rows: Tensor, centroids: Tensor) -> Tensor:
    """The centroid of the greatest cosine for every row."""
    return (F.normalize(rows, dim=1) @ F.normalize(centroids, dim=1).T).argmax(dim=1)


@torch.no_grad()
def refit(rows: Tensor, centroids: Tensor, iterations: int) -> Tensor:
    """Lloyd's iterations with means by a product with the one-hot matrix of the labels."""
    for _ in range(iterations):
        one_hot = F.one_hot(nearest(rows, centroids), len(centroids)).to(rows.dtype).T
        counts = one_hot.sum(dim=1, keepdim=True)
        centroids = torch.where(counts > 0, one_hot @ rows / counts.clamp_min(1), centroids)
    return centroids
