"""A published-style MCN, written from its formulas with the published names, tiny."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BINS, WIDTHS, EMBEDDING, VIDEO, WORD, HIDDEN = 7, (2, 3, 5, 6), 11, 13, 5, 4


class _Fc(nn.Module):
    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_dim, out_dim)


class _Unit(nn.Module):
    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_dim, out_dim)
        self.cg = _Fc(out_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc(x)
        return h * torch.sigmoid(self.cg.fc(h))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, (1, 9), (1, stride), (0, 4), bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, (1, 9), padding=(0, 4), bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if stride == 2:
            shortcut = nn.Conv2d(inputs, outputs, 1, (1, 2), bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        beside = self.downsample(x) if hasattr(self, "downsample") else x
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + beside)


class _Audio(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, WIDTHS[0], (BINS, 1), bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.batchnorm1 = nn.BatchNorm2d(1)
        inputs = WIDTHS[0]
        for stage, width in enumerate(WIDTHS, start=1):
            self.add_module(f"layer{stage}", nn.Sequential(_Block(inputs, width, 2), _Block(width, width, 1)))
            inputs = width

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x[:, None])))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return x[:, :, 0]  # (batch, channels, tokens)


class Published(nn.Module):
    """The three towers and the reconstruction heads."""

    def __init__(self) -> None:
        super().__init__()
        self.DAVEnet = _Audio()
        self.DAVEnet_projection = nn.Linear(WIDTHS[-1], EMBEDDING)
        self.GU_audio = _Unit(WIDTHS[-1], WIDTHS[-1])
        self.GU_video = _Unit(VIDEO, EMBEDDING)
        self.text_pooling_caption = _Fc(WORD, EMBEDDING)
        self.GU_text_captions = _Unit(EMBEDDING, EMBEDDING)
        for name, out in (("v", VIDEO), ("a", WIDTHS[-1]), ("t", EMBEDDING)):
            layers = nn.Linear(EMBEDDING, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, out), nn.ReLU()
            self.add_module(f"recon_{name}", nn.Sequential(*layers))

    def pooled_audio(self, spectrograms: Tensor, num_frames: list[int]) -> Tensor:
        tokens = self.DAVEnet(spectrograms)
        if self.training:
            return tokens.mean(2)
        ratio = round(spectrograms.shape[2] / tokens.shape[2])
        rows = [row[:, : max(1, n // ratio)].mean(1) for row, n in zip(tokens, num_frames, strict=True)]
        return torch.stack(rows)

    def pooled_text(self, vectors: Tensor) -> Tensor:
        return F.relu(self.text_pooling_caption.fc(vectors)).amax(1)


def published_mcn() -> Published:
    """With random weights, and batch norms that have seen something."""
    torch.manual_seed(3)
    model = Published()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            module.num_batches_tracked += 17
    return model
