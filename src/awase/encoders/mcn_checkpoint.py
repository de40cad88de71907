"""Published weights of Multimodal Clustering Networks (MCN) under this library's names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from awase.encoders.davenet import davenet
from awase.encoders.hub import weights_file
from awase.encoders.projections import build_projection, reconstruction_head
from awase.encoders.request import Request
from awase.encoders.word_vectors import SentenceMaxPool

DEAD = "DAVEnet.batchnorm1."
"""A batch norm that the published network holds and never uses: two parameters and its running statistics."""
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_LISTED = 5


@dataclass(frozen=True)
class McnDimensions:
    """The sizes of an MCN: `reconstruction` is the hidden width of the reconstruction heads, None where it has none."""

    embedding: int
    video: int
    word: int
    text: int
    bins: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    reconstruction: int | None


@dataclass(frozen=True)
class McnWeights:
    """`tensors` by this library's names, and the names of the published tensors that were left out."""

    tensors: dict[str, Tensor]
    dimensions: McnDimensions
    dropped: tuple[str, ...]


def convert_mcn_state(state: Mapping[str, Tensor]) -> McnWeights:
    """The tensors of a published MCN state dict as `encoders.<m>.`, `projections.<m>.` and `reconstructions.<m>.`.

    `encoders.audio` is a `davenet`, `encoders.text` a `word_vectors` without its vocabulary, `projections` are `gated`
    (video, text) and `gated_then_linear` (audio), `reconstructions`, where there are any, `reconstruction_head`s. Sizes
    are read from the shapes. Raises `ValueError` that names the tensors that are missing, unknown or do not fit.
    """
    dimensions = _dimensions(state)
    names = _names(dimensions)
    dropped = tuple(sorted(name for name in state if name.startswith(DEAD)))
    _check("lacks", names.keys() - state.keys())
    _check("has, beyond those of an MCN,", state.keys() - names.keys() - set(dropped))
    shapes = {name: value.shape for name, value in mcn_modules(dimensions).state_dict().items()}
    tensors, wrong = {}, set()
    for theirs, ours in names.items():
        value, shape = state[theirs].detach(), shapes[ours]
        # The first kernel, (outputs, 1, bins, 1), is a product over the bins, here (outputs, bins, 1, 1).
        if tuple(value.shape) == (tuple(shape) if theirs != "DAVEnet.conv1.weight" else (shape[0], 1, shape[1], 1)):
            tensors[ours] = value.reshape(shape).clone()
        else:
            wrong.add(f"{theirs} {tuple(value.shape)}")
    _check(f"does not fit its own sizes ({dimensions}) in", wrong)
    return McnWeights(tensors, dimensions, dropped)


def mcn_modules(dimensions: McnDimensions) -> nn.ModuleDict:
    """The modules that hold an MCN's weights, without memory (device `meta`), under the names that tensors get."""
    d = dimensions
    with torch.device("meta"):
        audio = davenet(Request("audio", (1, d.bins, 1)), widths=d.widths, blocks=d.blocks)
        pool = SentenceMaxPool(d.word, d.text, "included")
        text = nn.ModuleDict({"network": nn.ModuleDict({"pool": pool})})
        projections = {
            "video": build_projection("gated", d.video, d.embedding),
            "audio": build_projection("gated_then_linear", audio.dim, d.embedding),
            "text": build_projection("gated", d.text, d.embedding),
        }
        modules = nn.ModuleDict(
            {
                "encoders": nn.ModuleDict({"audio": audio, "text": text}),
                "projections": nn.ModuleDict(projections),
            }
        )
        if d.reconstruction is not None:
            targets = {"video": d.video, "audio": audio.dim, "text": d.text}
            heads = {name: reconstruction_head(d.embedding, d.reconstruction, dim) for name, dim in targets.items()}
            modules["reconstructions"] = nn.ModuleDict(heads)
    return modules


def _dimensions(state: Mapping[str, Tensor]) -> McnDimensions:
    needed = {
        "DAVEnet.conv1.weight",
        "DAVEnet_projection.weight",
        "GU_video.fc.weight",
        "text_pooling_caption.fc.weight",
    }
    _check("lacks", needed - state.keys())
    stages: dict[int, set[int]] = {}
    for name in state:
        parts = name.split(".")
        if len(parts) > 2 and parts[0] == "DAVEnet" and parts[1].startswith("layer") and parts[2].isdigit():
            stages.setdefault(int(parts[1].removeprefix("layer")), set()).add(int(parts[2]))
    order = range(1, len(stages) + 1)
    widths = [state.get(f"DAVEnet.layer{stage}.0.conv1.weight") for stage in order]
    if not stages or any(width is None for width in widths):
        raise ValueError("This is no MCN checkpoint: it lacks the stages DAVEnet.layer1 to layer4.")
    hidden = state.get("recon_v.0.weight")
    return McnDimensions(
        embedding=len(state["DAVEnet_projection.weight"]),
        video=state["GU_video.fc.weight"].shape[1],
        word=state["text_pooling_caption.fc.weight"].shape[1],
        text=len(state["text_pooling_caption.fc.weight"]),
        bins=state["DAVEnet.conv1.weight"].shape[2],
        widths=tuple(len(width) for width in widths if width is not None),
        blocks=tuple(len(stages[stage]) for stage in order),
        reconstruction=None if hidden is None else len(hidden),
    )


def _names(dimensions: McnDimensions) -> dict[str, str]:
    """Published names to ours."""
    network = "encoders.audio.network"
    linear = {"DAVEnet_projection": "projections.audio.1", "text_pooling_caption.fc": "encoders.text.network.pool.fc"}
    units = {"GU_video": "video", "GU_audio": "audio.0", "GU_text_captions": "text"}
    for theirs, ours in units.items():
        linear |= {f"{theirs}.fc": f"projections.{ours}.fc", f"{theirs}.cg.fc": f"projections.{ours}.gate"}
    if dimensions.reconstruction is not None:
        for modality in ("video", "audio", "text"):
            linear |= {f"recon_{modality[0]}.{layer}": f"reconstructions.{modality}.{layer}" for layer in (0, 2)}
    convolutions, norms = {"DAVEnet.conv1": f"{network}.first.conv"}, {"DAVEnet.bn1": f"{network}.first.bn"}
    block = 0
    for stage, depth in enumerate(dimensions.blocks, start=1):
        for index in range(depth):
            theirs, ours = f"DAVEnet.layer{stage}.{index}", f"{network}.blocks.{block}"
            convolutions |= {f"{theirs}.conv{k}": f"{ours}.conv{k}" for k in (1, 2)}
            norms |= {f"{theirs}.bn{k}": f"{ours}.bn{k}" for k in (1, 2)}
            if index == 0:
                convolutions[f"{theirs}.downsample.0"] = f"{ours}.skip"
                norms[f"{theirs}.downsample.1"] = f"{ours}.skip_bn"
            block += 1
    parts = [(linear, ("weight", "bias")), (convolutions, ("weight",)), (norms, _NORM)]
    return {
        f"{theirs}.{tensor}": f"{ours}.{tensor}"
        for layers, tensors in parts
        for theirs, ours in layers.items()
        for tensor in tensors
    }


def _check(problem: str, names: set[str]) -> None:
    if names:
        listed = sorted(names)
        more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
        raise ValueError(f"This is no MCN checkpoint: it {problem} {', '.join(listed[:_LISTED])}{more}.")


def read_mcn(file: Path, allow_pickle: bool = False) -> McnWeights:
    """The weights of a checkpoint (`e{N}.pth`, or the same as safetensors), as `convert_mcn_state` gives them.

    Raises `ValueError` for a pickle without `allow_pickle` and for what is no MCN state dict.
    """
    from safetensors.torch import load_file

    path = weights_file(str(file), allow_pickle)
    if path.suffix == ".safetensors":
        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds more than named tensors: give the network's state dict, e<epoch>.pth of a run.")
    return convert_mcn_state(state)
