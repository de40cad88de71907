"""A trained joint space in Python: load it, embed a table or rows of one's own, compare."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from awase.config import TextInput
from awase.data import Dataset
from awase.data.unlabelled import SPLIT
from awase.digest import tensors_digest
from awase.evaluation import Embedded, embed
from awase.evaluation.router import Router
from awase.evaluation.routes import Route, route_scores
from awase.models import Retrieval
from awase.runner.loaded import cell
from awase.runner.new_rows import open_new_rows
from awase.runner.restored import open_model, save_model
from awase.runner.routing import Routing, read_routing, write_routing
from awase.runner.saved import ROUTING_NAME, OwnEncoders, find_folder
from awase.runner.setting import resolve_device
from awase.runner.space_scores import uses_cosine
from awase.runner.spec import SavedModel
from awase.vocabulary import SHARED_NAME

BATCH_SIZE = 32


class Space:
    """A joint space with its preprocessing."""

    def __init__(
        self, saved: SavedModel, model: Retrieval, device: str, cache: Path, folder: Path | None = None
    ) -> None:
        self.saved = saved
        self.model = model.to(device).eval()
        self.device = device
        self.cache = cache
        self.folder = folder

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the space holds."""
        return self.saved.stage.modalities

    @property
    def keys(self) -> tuple[str, ...]:
        """The combinations that have adapters: `audio+text`, ...; none of a plain joint space."""
        return self.model.combinations

    @property
    def data_sets(self) -> tuple[str, ...]:
        """The data sets of a stream that have adapters (a bank); `shared` is what there was before them."""
        return self.model.routes

    @property
    def cosine(self) -> bool:
        """Whether scores are cosines; else raw dot products."""
        assert self.saved.stage.retrieval is not None, "the stage has a joint space"
        return uses_cosine(self.saved.stage.retrieval)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        device: str = "auto",
        cache: Path | None = None,
        encoders: OwnEncoders | None = None,
    ) -> "Space":
        """The space in a run's folder, a folder that was saved, or a repository on the Hub; raises as `Model` does."""
        saved, model, place = open_model(source, cache=cache, encoders=encoders)
        if not isinstance(model, Retrieval):
            raise ValueError(f"{source} decides between classes and is no joint space; load it with awase.Model.")
        return cls(saved, model, resolve_device(device), place, find_folder(source))

    @cached_property
    def router(self) -> Router:
        """Which keys a task is asked under: by the run's `routing.json`, or without one by the model's keys alone.

        Raises `ValueError` for a `routing.json` of another model.
        """
        if self.folder is None or not (self.folder / ROUTING_NAME).is_file():
            return Router(self.modalities, self.keys)
        return self._routing(self.folder).router()

    def route(self, task: str) -> Route:
        """Under which keys a task (`text->video`, `audio+video->text`) is answered, and why."""
        return self.router.resolve(task)

    def scores(
        self, queries: Embedded, gallery: Embedded, task: str, *, under: str | None = None
    ) -> Float[Tensor, "queries items"]:
        """The scores of a task by its route, or under a key that is named: the task's own, or `shared`.

        NaN where a query or an item lacks a modality of the task. Where only some items lack one, the whole gallery is
        ranked by the modalities that all have. Raises `ValueError` for a task that is none, a key of other modalities,
        sides under two keys, and a gallery without a modality that all items have.
        """
        named = under or queries.key or gallery.key
        if named in self.data_sets:
            if not queries.key == gallery.key == named:
                raise ValueError(
                    f"The adapters of one data set are for both sides; queries are under {queries.key}, the gallery "
                    f"under {gallery.key}. Embed both under {named}."
                )
            queries, gallery = (replace(one, key=SHARED_NAME) for one in (queries, gallery))
            named = SHARED_NAME
        resolve = self.router.resolve
        route = resolve(task, gallery.present) if named is None else self.router.by_hand(task, named)
        return route_scores(queries, gallery, route, cosine=self.cosine)

    def embed(self, rows: Path | str | Iterable[Mapping[str, Any]], *, under: str | None = None) -> Embedded:
        """The embeddings of a table, or of dictionaries of column -> path, text or numbers; see `Model.predict`.

        A modality may be missing from some rows or altogether; rows that have none are left out. `under` names one
        key: `audio+text`, whose two modalities alone are read then, or `shared`; or one of the `data_sets`. None: the
        shared space, and every key in `keyed`.
        """
        if isinstance(rows, Path | str):
            return self._embed_table(Path(rows), under)
        texts = {setting.column for setting in self.saved.spec.inputs.values() if isinstance(setting, TextInput)}
        lines = [json.dumps({key: cell(value, key in texts) for key, value in row.items()}) for row in rows]
        if not lines:
            raise ValueError("There are no rows to embed; give at least one dictionary.")
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "rows.jsonl"
            table.write_text("\n".join(lines) + "\n", encoding="utf-8")
            return self._embed_table(table, under)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the weights (safetensors), the configuration and a model card."""
        save_model(Path(folder), self.saved, self.model)
        if self.folder is not None and (self.folder / ROUTING_NAME).is_file():
            write_routing(Path(folder), self._routing(self.folder))

    def modalities_under(self, key: str | None) -> tuple[str, ...]:
        """The modalities that a key can hold, in the model's order; raises `ValueError` for one without adapters."""
        if key is None or key == SHARED_NAME or key in self.data_sets:
            return self.modalities
        if key not in self.keys:
            raise ValueError(
                f"The model has no adapters of {key!r}. What works: "
                f"{', '.join((*self.keys, *self.data_sets, SHARED_NAME))} "
                "(names in the order of the alphabet)."
            )
        return tuple(name for name in self.modalities if name in key.split("+"))

    def _routing(self, folder: Path) -> Routing:
        weights = tensors_digest(self.model.state_dict())
        return read_routing(folder, model=weights, modalities=self.modalities, keys=self.keys)

    def _embed_table(self, table: Path, under: str | None) -> Embedded:
        modalities = self.modalities_under(under)
        return self.embed_dataset(open_new_rows(self.saved.spec, modalities, table, cache=self.cache), under=under)

    def embed_dataset(self, dataset: Dataset, *, under: str | None = None) -> Embedded:
        """The embeddings of new rows that are open already; raises `ValueError` where none has a modality."""
        self.modalities_under(under)
        loader = dataset.loader(SPLIT, batch_size=BATCH_SIZE)
        keys = None if under is None else tuple(key for key in self.keys if key == under)
        own = under in self.data_sets
        self.model.route(under if own else None)
        found = embed(self.model, loader.epoch(0), self.device, keys=keys)
        if own:
            return replace(found, key=under)
        return found if under is None else found.of_key(under)
