"""A trained model in Python: load it, predict with modalities missing, save it and share it as on the Hub."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from awase.config import DataConfig, Runtime
from awase.data import Dataset
from awase.data.unlabelled import SPLIT, open_unlabelled
from awase.evaluation import collect, to_predictions
from awase.files import whole_file, write_text
from awase.models import Classifier
from awase.runner.build import build_classifier
from awase.runner.card import model_card
from awase.runner.nodes import load_tensors
from awase.runner.resolve import load_object
from awase.runner.setting import build_tokenizers, resolve_device
from awase.runner.spec import SavedModel
from awase.statistics import Predictions
from awase.training.store import StageStore

MODEL_NAME = "model.json"
WEIGHTS_NAME = "model.safetensors"
BATCH_SIZE = 32


class Model:
    """A classifier with its preprocessing and the names of its classes."""

    def __init__(self, saved: SavedModel, classifier: Classifier, device: str, cache: Path) -> None:
        self.saved = saved
        self.classifier = classifier.to(device).eval()
        self.device = device
        self.cache = cache

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the logits."""
        return self.saved.spec.classes

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities the model can use; any of them may be missing."""
        return self.saved.stage.modalities

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, device: str = "auto", cache: Path | None = None, allow_pickle: bool = False
    ) -> "Model":
        """The model in a run's folder, a folder that `save_pretrained` wrote, or a repository on the Hub.

        Raises `FileNotFoundError` where there is none, `ValueError` for another format version, for weights that do
        not fit, and for pickled weights (which can run code; there is no way around it here).
        """
        folder = find_folder(source)
        file = folder / MODEL_NAME
        if not file.is_file():
            pickles = sorted(
                path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.pkl") for path in folder.glob(pattern)
            )
            hint = f" It holds {pickles[0]}, a pickle, which could run code and is not read." if pickles else ""
            raise FileNotFoundError(
                f"{folder} holds no {MODEL_NAME}: give the folder of a finished run or of a saved model.{hint}"
            )
        saved = read_saved(file)
        place = cache or Runtime().cache
        classifier = build_classifier(saved.stage, saved.spec, saved.derived)
        for tensors in _weights(folder, saved, place):
            own = classifier.state_dict().keys()
            load_tensors(classifier, {name: value for name, value in tensors.items() if name in own})
        return cls(saved, classifier, resolve_device(device), place)

    def predict(self, rows: Path | str | Iterable[Mapping[str, Any]]) -> Predictions:
        """The logits and decisions for a table, or for dictionaries of column -> path, text or numbers.

        A modality may be missing from some rows or altogether; rows that have none are left out (a warning in the
        log counts them). Paths in dictionaries are relative to the working directory.
        """
        if isinstance(rows, Path | str):
            return self._predict_table(Path(rows))
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "rows.jsonl"
            here = Path.cwd()
            lines = [json.dumps({key: absolute(value, here) for key, value in row.items()}) for row in rows]
            table.write_text("\n".join(lines) + "\n", encoding="utf-8")
            return self._predict_table(table)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the weights (safetensors), the configuration and a model card."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        state = {name: value.detach().cpu().contiguous() for name, value in self.classifier.state_dict().items()}
        with whole_file(target / WEIGHTS_NAME) as temporary:
            save_file(state, temporary, metadata={"format": "pt"})
        write_text(target / MODEL_NAME, self.saved.model_copy(update={"hashes": ()}).model_dump_json(indent=1) + "\n")
        write_text(target / "README.md", model_card(self.saved))

    def push_to_hub(self, repo_id: str, *, private: bool = True) -> str:
        """Uploads what `save_pretrained` writes; returns the address. Needs a token of the Hub."""
        from huggingface_hub import HfApi

        api = HfApi()
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            api.create_repo(repo_id, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder))

    def _predict_table(self, table: Path) -> Predictions:
        spec = self.saved.spec
        data = DataConfig(manifest=table, inputs={name: spec.inputs[name] for name in self.modalities})
        dataset = open_unlabelled(
            data,
            cache=self.cache,
            cache_gib=Runtime().cache_gib,
            tokenizers=build_tokenizers(data, spec.encoders),
            num_samples=spec.num_samples,
        )
        return predict_dataset(self, dataset)


def predict_dataset(model: Model, dataset: Dataset) -> Predictions:
    """What the model says about every row that has a modality."""
    loader = dataset.loader(SPLIT, batch_size=BATCH_SIZE)
    outputs = collect(model.classifier, loader.epoch(0), model.device, features=False)
    task = "multi_label" if model.saved.spec.multi_label else "single_label"
    unlabelled = type(outputs)(**{**vars(outputs), "targets": None})
    return to_predictions(unlabelled, SPLIT, task, threshold=model.saved.threshold)


def load_model(source: str | Path, *, device: str = "auto", cache: Path | None = None) -> Model:
    """`Model.from_pretrained` under the name people look for."""
    return Model.from_pretrained(source, device=device, cache=cache)


def read_saved(file: Path) -> SavedModel:
    """The description of a saved model, with encoders of the user's own loaded again from their files."""
    document = json.loads(file.read_text(encoding="utf-8"))
    if document.get("format_version") != 1:
        raise ValueError(f"{file} has format version {document.get('format_version')}; this awase reads 1.")
    saved = SavedModel.model_validate(document)
    encoders = {
        name: config.model_copy(
            update={
                "name": load_object(config.name)
                if isinstance(config.name, str) and "::" in config.name
                else config.name,
                "pretrained": False,
            }
        )
        for name, config in saved.spec.encoders.items()
    }
    return saved.model_copy(update={"spec": saved.spec.model_copy(update={"encoders": encoders})})


def find_folder(source: str | Path) -> Path:
    """The local folder of a model: itself, or the Hub repository downloaded. Raises `FileNotFoundError`."""
    folder = Path(source)
    if folder.is_dir():
        return folder
    text = str(source)
    if text.count("/") != 1 or text.startswith((".", "/")):
        raise FileNotFoundError(f"There is no folder {text}.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        patterns = [MODEL_NAME, WEIGHTS_NAME, "README.md"]
        return Path(snapshot_download(text, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise FileNotFoundError(
            f"There is no folder {text}, and the Hub has no such model or cannot be reached ({type(error).__name__})."
        ) from error


def absolute(value: Any, folder: Path) -> Any:
    """A path that exists below `folder` made absolute; anything else as it is."""
    if isinstance(value, Path):
        return str(folder / value)
    if isinstance(value, str) and 0 < len(value) < 1024 and "\n" not in value and (folder / value).is_file():
        return str(folder / value)
    return value


def _weights(folder: Path, saved: SavedModel, cache: Path) -> Iterable[dict[str, torch.Tensor]]:
    if not saved.hashes:
        file = folder / WEIGHTS_NAME
        if not file.is_file():
            raise FileNotFoundError(f"{folder} holds no {WEIGHTS_NAME}.")
        yield load_file(file)
        return
    store = StageStore(cache)
    for address in saved.hashes:
        stored = store.find(address)
        if stored is None:
            raise FileNotFoundError(
                f"The stage {address} of {folder} is not in {store.root}; name the cache the run used with --cache, "
                "or run the experiment again."
            )
        yield stored.tensors
