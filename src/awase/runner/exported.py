"""One key of a trained model as files for elsewhere: graphs, adapters in PEFT's format, or a plain model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from awase.adapters import Bank, save_peft
from awase.adapters.bank import DEFAULT_KEY
from awase.files import whole_folder, write_text
from awase.models import Classifier, Retrieval, one_modality, plain
from awase.models.plain import SHARED, checked_key, keys_of
from awase.runner.export_facts import facts_of, samples_of
from awase.runner.folded import folded
from awase.runner.graphs import write_onnx, write_torch
from awase.runner.restored import open_model, save_model
from awase.runner.spec import SavedModel

Format = Literal["onnx", "torch", "peft", "plain"]
FORMATS: tuple[str, ...] = get_args(Format)
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}


def export_model(
    source: str | Path,
    out: Path,
    *,
    form: str,
    modalities: Sequence[str] = (),
    under: str | None = None,
    cache: Path | None = None,
) -> list[str]:
    """Writes a model under one key into the new folder `out`; returns the files, or folders, that were written.

    `source` is a run or a saved model, `modalities` (default: all that the key has) which of its parts, `under` the key
    (`shared`: no adapters; default: a joint space's shared one, a classifier's adapters).

    | form | what is written |
    | --- | --- |
    | onnx | `<modality>.onnx` with any number of rows, and `<modality>.json`: what it eats (`facts_of`) |
    | torch | `<modality>.pt2` for `torch.export.load`, and `<modality>.json` |
    | peft | a folder per modality for `PeftModel.from_pretrained(plain(model, modality, "shared"), folder)` |
    | plain | a model folder as of `save_pretrained`, with the adapters folded in |

    Raises `ValueError` for unknown names, an encoder that cannot be written as a graph, and adapters that are not
    there, `FileExistsError` where `out` is.
    """
    if form not in FORMATS:
        raise ValueError(f"There is no format {form!r}; valid names: {', '.join(FORMATS)}.")
    saved, model, _ = open_model(source, cache=cache)
    model.eval()
    chosen = tuple(modalities) or modalities_of(model, under)
    for name in chosen:
        checked_key(model, name, under)
    with whole_folder(out) as folder:
        if form == "plain":
            save_model(folder, *folded(saved, model, under, tuple(modalities)))
            return ["model.json", "model.safetensors"]
        if form == "peft":
            adapted = [name for name in chosen if modalities or checked_key(model, name, under) is not None] or chosen
            return [_write_peft(model, name, under, folder / name) for name in adapted]
        return [file for name in chosen for file in _write_graph(saved, model, name, under, folder, form)]


def modalities_of(model: Classifier | Retrieval, key: str | None) -> tuple[str, ...]:
    """The modalities that a key has; all for `shared`, and for a classifier's own adapters."""
    if key in (None, SHARED, DEFAULT_KEY):
        return model.modalities
    keys = {name: keys_of(model, name) for name in model.modalities}
    own = tuple(name for name, there in keys.items() if key in there)
    if not own:
        known = dict.fromkeys(key for there in keys.values() for key in there)
        raise ValueError(f"There are no adapters of {key!r}; the model has {', '.join((SHARED, *known))}.")
    return own


def _write_peft(model: Classifier | Retrieval, modality: str, under: str | None, folder: Path) -> str:
    key = checked_key(model, modality, under)
    if key is None:
        raise ValueError(
            f"{modality!r} has no adapters under {under or SHARED!r}, so there is nothing for PEFT to load; name a key "
            "with --under, or the modalities that have adapters with --modality."
        )
    save_peft(Bank(one_modality(model, modality)), folder, key)
    return folder.name


def _write_graph(
    saved: SavedModel, model: Classifier | Retrieval, modality: str, under: str | None, folder: Path, form: str
) -> list[str]:
    key, samples = checked_key(model, modality, under), samples_of(saved, modality)
    names = tuple(samples)
    module = plain(model, modality, key or SHARED, () if names == ("input",) else names)
    inputs = list(samples.values())
    facts: dict[str, Any] = facts_of(saved, model, modality, key, samples, module(*inputs))
    file = folder / f"{modality}{SUFFIXES[form]}"
    if form == "torch":
        difference = write_torch(module, inputs, file)
    else:
        difference = write_onnx(module, inputs, file, names, facts["output"]["name"])
    facts["checked"] = {"largest_difference": difference, "on": "random inputs, against the model"}
    write_text(file.with_suffix(".json"), json.dumps(facts, indent=1) + "\n")
    return [file.name, f"{modality}.json"]
