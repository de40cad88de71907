"""DAVEnet against the published layers, its sizes, and how it pools and groups clips."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awase.config import EncoderConfig
from awase.encoders import BlockEncoder, build_encoder
from awase.encoders.request import Request


def make(shape: tuple[int, ...] = (1, 11, 37), device: str = "cpu", **options: Any) -> BlockEncoder:
    options = {"widths": [3, 5], "blocks": [2, 1], **options}
    with torch.device(device):
        encoder = build_encoder(EncoderConfig(name="davenet", options=options), kind="audio", input_shape=shape, seed=1)
    assert isinstance(encoder, BlockEncoder)
    return encoder


def published(state: dict[str, Tensor], x: Tensor, training: bool) -> Tensor:
    """The layers as published, (batch, 1, bins, frames) to (batch, channels, 1, tokens), over our weights."""

    def norm(y: Tensor, name: str) -> Tensor:
        mean, var = state[f"{name}.running_mean"].clone(), state[f"{name}.running_var"].clone()
        return F.batch_norm(y, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], training)

    first = state["network.first.conv.weight"]  # (out, bins, 1, 1)
    y = F.relu(norm(F.conv2d(x, first.reshape(len(first), 1, -1, 1)), "network.first.bn"))
    for index, stride in enumerate((2, 1, 2)):
        name = f"network.blocks.{index}"
        z = F.conv2d(y, state[f"{name}.conv1.weight"], stride=(1, stride), padding=(0, 4))
        z = F.conv2d(F.relu(norm(z, f"{name}.bn1")), state[f"{name}.conv2.weight"], padding=(0, 4))
        if stride == 2:
            y = norm(F.conv2d(y, state[f"{name}.skip.weight"], stride=(1, 2)), f"{name}.skip_bn")
        y = F.relu(norm(z, f"{name}.bn2") + y)
    return y


def tensors(encoder: nn.Module) -> dict[str, Tensor]:
    """Copies of the state of which the parameters learn."""
    learns = dict(encoder.named_parameters())
    return {name: value.detach().clone().requires_grad_(name in learns) for name, value in encoder.state_dict().items()}


@pytest.mark.parametrize("training", [True, False])
def test_it_is_the_published_network_with_its_gradients(training: bool) -> None:
    encoder = make().double().train(training)
    generator = torch.Generator().manual_seed(3)
    for name, value in encoder.state_dict().items():
        if "bn" in name and value.dtype == torch.float64:
            value.uniform_(0.5, 1.5, generator=generator)
    state = tensors(encoder)
    x = torch.randn(5, 1, 11, 37, generator=generator, dtype=torch.float64)
    expected = published(state, x, training)
    encoded = encoder(x)
    assert encoded.tokens is not None
    torch.testing.assert_close(encoded.tokens, expected[:, :, 0].transpose(1, 2))
    torch.testing.assert_close(encoded.pooled, expected.mean((2, 3)))
    weight = torch.randn(expected.shape[:2], generator=generator, dtype=torch.float64)
    (expected.mean((2, 3)) * weight).sum().backward()
    (encoded.pooled * weight).sum().backward()
    for name, parameter in encoder.named_parameters():
        torch.testing.assert_close(parameter.grad, state[name].grad, msg=name)


@pytest.mark.parametrize(("frames", "tokens"), [(1000, 63), (1024, 64), (3072, 192), (5120, 320), (1, 1), (17, 2)])
def test_sixteen_frames_become_a_token_rounded_up(frames: int, tokens: int) -> None:
    encoder = make((1, 2, frames), widths=[1, 1, 1, 1], blocks=[1, 1, 1, 1]).eval()
    assert encoder(torch.randn(1, 2, frames)).tokens.shape == (1, tokens, 1)


def multiply_adds(encoder: BlockEncoder, frames: int) -> int:
    """Of one clip, by the shapes of the convolutions."""
    total, before = 0, frames
    for module in encoder.network.children():
        for part in module if isinstance(module, nn.ModuleList) else [module]:
            layers = [layer for layer in part.modules() if isinstance(layer, nn.Conv2d)]
            after = math.ceil(before / max(layer.stride[1] for layer in layers))
            total += sum(layer.weight.numel() * after for layer in layers)
            before = after
    return total


def on_meta(name: str, shape: tuple[int, ...], **options: Any) -> BlockEncoder:
    from awase.encoders import ENCODERS

    with torch.device("meta"):
        encoder = ENCODERS[name](Request("audio", shape), **options)
    assert isinstance(encoder, BlockEncoder)
    return encoder


def test_the_published_sizes() -> None:
    """44.67 M parameters without the two that the published network never uses; 3.995 G multiply-adds per clip."""
    encoder = on_meta("davenet", (1, 40, 1000))
    assert round(sum(p.numel() for p in encoder.parameters()) / 1e6, 2) == 44.67
    assert round(multiply_adds(encoder, 1000) / 1e9, 3) == 3.995
    assert (encoder.dim, encoder.num_blocks) == (1024, 8)
    longer = on_meta("davenet", (1, 40, 768), variant="davenet_v2")
    assert (longer.dim, longer.num_blocks) == (4096, 8)
    assert longer(torch.zeros(2, 1, 40, 768, device="meta")).tokens.shape == (2, 12, 4096)


def test_weights_are_drawn_as_published() -> None:
    """Normal with variance 2 / (kernel height x width x outputs); of 40 x 1 for the first layer."""
    encoder = make((1, 40, 64), widths=[64, 96], blocks=[1, 1])
    for name, fan in (("first.conv", 40 * 64), ("blocks.1.conv1", 9 * 96), ("blocks.1.skip", 96)):
        weight = encoder.get_submodule(f"network.{name}").weight
        # The deviation of n draws varies by 1 / sqrt(2 n); five times that is never reached.
        assert weight.std().item() == pytest.approx(math.sqrt(2 / fan), rel=5 / math.sqrt(2 * weight.numel())), name


def slow_mean(tokens: Tensor, num_frames: list[int], reduction: int) -> Tensor:
    rows = [row[: max(1, n // reduction)].mean(0) for row, n in zip(tokens, num_frames, strict=True)]
    return torch.stack(rows)


@pytest.mark.parametrize("pooling", ["masked", "reference"])
@pytest.mark.parametrize("training", [True, False])
def test_the_mean_is_over_the_real_frames(pooling: str, training: bool) -> None:
    encoder = make(pooling=pooling).train(training)
    lengths = [0, 1, 4, 7, 23, 37]
    inputs = {"values": torch.randn(6, 1, 11, 37), "num_frames": torch.tensor(lengths, dtype=torch.int32)}
    encoded = encoder(inputs)
    assert encoded.tokens.shape == (6, 10, 5)
    everything = pooling == "reference" and training
    torch.testing.assert_close(
        encoded.pooled, encoded.tokens.mean(1) if everything else slow_mean(encoded.tokens, lengths, 4)
    )
    assert encoded.mask.sum(1).tolist() == [1, 1, 1, 1, 5, 9]


def test_frames_beyond_the_clip_count_once() -> None:
    encoder = make().eval()
    x = torch.randn(2, 11, 37)
    with_count = encoder({"values": x, "num_frames": torch.tensor([99, 1000])})
    torch.testing.assert_close(with_count.pooled, encoder(x).pooled)


def test_half_precision_input_and_both_shapes() -> None:
    encoder = make().eval()
    x = torch.randn(2, 11, 37).half()
    assert torch.equal(encoder(x).pooled, encoder(x.float().unsqueeze(1)).pooled)


def test_groups_have_statistics_of_their_own() -> None:
    """Each group as if run by itself, its running statistics one after the other; so are the gradients' sums."""
    grouped, single = make(statistics_rows=3).train(), make().train()
    x, lengths = torch.randn(7, 1, 11, 37), torch.tensor([37, 30, 8, 12, 37, 1, 20])
    together = grouped({"values": x, "num_frames": lengths})
    parts = [single({"values": x[i : i + 3], "num_frames": lengths[i : i + 3]}) for i in (0, 3, 6)]
    assert torch.equal(together.pooled, torch.cat([part.pooled for part in parts]))
    together.pooled.square().sum().backward()
    sum(part.pooled.square().sum() for part in parts).backward()  # type: ignore[union-attr]
    for (name, a), (_, b) in zip(grouped.named_parameters(), single.named_parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=name)
    for (name, a), (_, b) in zip(grouped.named_buffers(), single.named_buffers(), strict=True):
        assert torch.equal(a, b), name
    whole = make().train()({"values": x, "num_frames": lengths})
    assert not torch.allclose(whole.pooled, together.pooled)


@pytest.mark.parametrize("cut", [0, 2])
def test_recomputation_by_groups_changes_no_bit_and_keeps_less(cut: int) -> None:
    def run(checkpointing: bool) -> tuple[BlockEncoder, int]:
        encoder = make(statistics_rows=3).train()
        encoder.cut = cut
        if checkpointing:
            encoder.enable_checkpointing()
        sizes: list[int] = []
        x = torch.randn(7, 1, 11, 37, generator=torch.Generator().manual_seed(1))
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            loss = encoder(x).pooled.square().sum()
        loss.backward()
        return encoder, sum(sizes)

    (plain, kept), (recomputed, fewer) = run(False), run(True)
    for (name, a), (_, b) in zip(plain.named_parameters(), recomputed.named_parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    for (name, a), (_, b) in zip(plain.named_buffers(), recomputed.named_buffers(), strict=True):
        assert torch.equal(a, b), name
    assert fewer < kept / 2


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((16000,), {}, "log_mel_40"),
        ((2, 40, 100), {}, "got \\(2, 40, 100\\)"),
        ((1, 40, 100), {"pooling": "max"}, "'masked' or 'reference'"),
        ((1, 40, 100), {"variant": "davenet_v3"}, "davenet, davenet_v2"),
        ((1, 40, 100), {"widths": [3]}, "every stage"),
        ((1, 40, 100), {"blocks": [1, 0]}, "every stage"),
        ((1, 40, 100), {"statistics_rows": 0}, "at least 1 row"),
    ],
)
def test_what_cannot_be_built_is_said(shape: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(shape, **options)
