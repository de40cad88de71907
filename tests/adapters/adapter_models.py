"""Small models that the tests of adapters share. Widths are different primes, so that no two can be mixed up."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """The names of attention in most libraries, without the attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(width, width), nn.Linear(width, width, bias=False), nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.proj(torch.sigmoid(self.q(x)) * self.v(x) + self.k(x))
        return output


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = Attention(width)
        self.fc1, self.fc2 = nn.Linear(width, 13), nn.Linear(13, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        output: Tensor = x + self.fc2(torch.relu(self.fc1(x)))
        return output


class Everything(nn.Module):
    """Token indices (batch, tokens) to features, through an embedding, a transformer's blocks and convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.block_names = ("blocks.0", "blocks.1", "blocks.2")
        self.words = nn.Embedding(17, 7, padding_idx=0)
        self.blocks = nn.ModuleList(Block(7) for _ in range(3))
        self.stem = nn.Conv1d(7, 6, 3, padding=1)
        self.grouped = nn.Conv1d(6, 10, 3, stride=2, groups=2)
        self.norm = nn.BatchNorm1d(10)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids)
        for block in self.blocks:
            x = block(x)
        output: Tensor = self.norm(self.grouped(torch.relu(self.stem(x.transpose(1, 2)))))
        return output


def frozen(make: Callable[[], nn.Module] = Everything, seed: int = 3) -> nn.Module:
    """A model with random weights from `seed`, in evaluation mode, with no parameter that learns."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().eval().requires_grad_(False)


def ids(batch: int = 5, tokens: int = 11) -> Tensor:
    return torch.randint(0, 17, (batch, tokens), generator=torch.Generator().manual_seed(1))


def randomise(parameters: dict[str, nn.Parameter], seed: int = 7) -> None:
    """Fills adapters with random numbers, so that their product is no longer zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
