"""What a user of an exported file needs to know to feed it: shapes, kinds, how values are scaled, what comes out."""

from typing import Any

import torch
from torch import Tensor

from awase.config import TextInput
from awase.encoders import build_tokenizer
from awase.models import Classifier, Retrieval
from awase.models.plain import SHARED, output_of
from awase.runner.space_scores import uses_cosine
from awase.runner.spec import SavedModel

FORMAT_VERSION = 1
ROWS = 3
"""Of the sample with which graphs are made."""
VALUES = {
    "video": "frames evenly spaced over the clip, channels RGB (or grey), pixels x in 0..255 as (x / 255 - 0.5) / 0.5",
    "image": "channels RGB (or grey), pixels x in 0..255 as (x / 255 - 0.5) / 0.5",
    "flow": "u and v, grey values g in 0..255 as 2 g / 255 - 1",
    "audio": "mono at the sample rate below; `representation` names how the waveform in [-1, 1] becomes the input",
    "text": "numbers of the tokenizer below, filled up to the width of the input; the mask is 1 at real tokens",
    "array": "the numbers as they are in the table",
}
ONLY_FOR_TRAINING = {"column", "augment", "corrupt"}


def samples_of(saved: SavedModel, modality: str) -> dict[str, Tensor]:
    """A few rows of inputs of a modality by name: texts of one and more words, else random numbers."""
    setting = saved.spec.inputs[modality]
    if isinstance(setting, TextInput):
        tokenizer = build_tokenizer(saved.spec.encoders[modality], setting.max_tokens)
        made = tokenizer(["one", "two words", "and now three"])
        return {name: torch.as_tensor(value) for name, value in made.items()}
    generator = torch.Generator().manual_seed(0)
    return {"input": torch.randn(ROWS, *saved.spec.shapes[modality], generator=generator)}


def facts_of(
    saved: SavedModel,
    model: Classifier | Retrieval,
    modality: str,
    key: str | None,
    samples: dict[str, Tensor],
    output: Tensor,
) -> dict[str, Any]:
    """The facts as JSON; `samples` are inputs and `output` what the module gave for them, for their shapes and types.

    `batch` stands where any number of rows may be.
    """
    setting, what = saved.spec.inputs[modality], output_of(model, modality)
    retrieval = saved.stage.retrieval
    facts: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "modality": modality,
        "key": key or SHARED,
        "kind": setting.kind,
        "inputs": [_port(name, value) for name, value in samples.items()],
        "output": _port(what, output),
        "values": VALUES[setting.kind],
        "preprocessing": setting.model_dump(mode="json", exclude=ONLY_FOR_TRAINING),
        "encoder": saved.spec.encoders[modality].model_dump(mode="json"),
    }
    if isinstance(setting, TextInput):
        tokenizer = build_tokenizer(saved.spec.encoders[modality], setting.max_tokens)
        facts["tokenizer"] = {
            "fingerprint": tokenizer.fingerprint,
            "python": "awase.encoders.build_tokenizer(awase.config.EncoderConfig.model_validate(facts['encoder']), "
            f"{setting.max_tokens})",
        }
    if retrieval is not None:
        facts["score"] = "cosine" if uses_cosine(retrieval) else "dot"
    if what == "logits":
        facts |= {"classes": list(saved.spec.classes), "task": saved.spec.task}
    return facts


def _port(name: str, value: Tensor) -> dict[str, Any]:
    return {"name": name, "type": str(value.dtype).removeprefix("torch."), "shape": ["batch", *value.shape[1:]]}
