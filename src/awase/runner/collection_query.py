"""What is looked for: a text, or a file, of one of the model's modalities."""

from collections.abc import Collection, Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from awase.config import TextInput
from awase.runner.space import Space


def query_modality(space: Space, query: str | Path, name: str | None, modalities: Sequence[str]) -> str:
    """Which of the `modalities` the query is of: the one named; else a file's, or the text's, where only one can be
    meant.

    Raises `ValueError` for a name that is not among them, and where several or none can be meant.
    """
    inputs = {name: space.saved.spec.inputs[name] for name in modalities}
    if name is not None:
        return checked((name,), modalities, "the query")[0]
    texts = [one for one, setting in inputs.items() if isinstance(setting, TextInput)]
    is_file = isinstance(query, Path) or (len(query) < 1024 and Path(query).is_file())
    fitting = [one for one in inputs if one not in texts] if is_file else texts
    if len(fitting) != 1:
        what = "a file" if is_file else "a text"
        raise ValueError(
            f"The query {str(query)!r} is {what}, which could be of {', '.join(fitting) or 'none'} of the model's "
            f"modalities {', '.join(inputs)}; say which with --from."
        )
    return fitting[0]


def gallery_of(names: Sequence[str] | None, modalities: Sequence[str], query: str) -> tuple[str, ...]:
    """The modalities to search in, sorted: those named, else all but the query's; raises `ValueError` for others."""
    if names is None:
        names = [name for name in modalities if name != query]
    return tuple(sorted(checked(tuple(names), modalities, "the collection")))


def checked(names: tuple[str, ...], valid: Collection[str], what: str) -> tuple[str, ...]:
    """The names, where all of them are valid and none stands twice; raises `ValueError` otherwise."""
    unknown = sorted(set(names) - set(valid))
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(
            f"{', '.join(unknown or names) or 'Nothing'} is no choice of modalities for {what}; "
            f"valid names, each once: {', '.join(valid)}."
        )
    return names


def embed_query(space: Space, query: str | Path, modality: str, *, under: str | None = None) -> Float[Tensor, " dim"]:
    """The embedding of a text or file as one modality; raises `ValueError` where it cannot be read as that.

    `under` is as in `Space.embed`.
    """
    setting = space.saved.spec.inputs[modality]
    is_text = isinstance(setting, TextInput)
    if not is_text and not str(query).lstrip().startswith("[") and not Path(query).exists():
        raise FileNotFoundError(f"There is no file {query} to search with; texts are searched with --from of a text.")
    try:
        embedded = space.embed([{setting.column: str(query) if is_text else query}], under=under)
    except ValueError as error:
        raise ValueError(f"The query {str(query)!r} cannot be read as {modality}: {error}") from error
    if not bool(embedded.present[modality][0]):
        raise ValueError(f"The query {str(query)!r} cannot be read as {modality}; see `awase data check`.")
    return embedded.embeddings[modality][0]
