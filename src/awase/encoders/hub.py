"""Whether the Hub can be reached, and the sentence for when it cannot. Nothing here waits longer than some seconds."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT_S = 5.0
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def advice(encoder: str, wanted: str) -> str:
    """What a user without network can do to get `encoder` with weights, or without."""
    return (
        f"The weights {wanted!r} of the encoder {encoder!r} are neither on this machine nor could they be fetched. "
        "Pass a local folder that holds model.safetensors (pretrained='path/to/folder'), fetch them on a machine with "
        "network (`hf download`) into the Hub's cache, or set pretrained=False for random weights."
    )


def reachable() -> bool:
    """Whether the Hub answers within `TIMEOUT_S`; False at once where HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    answered = threading.Event()
    # A thread, because looking up a name has no time limit of its own.
    thread = threading.Thread(target=_knock, args=(constants.ENDPOINT, answered), daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    return answered.is_set()


def _knock(address: str, answered: threading.Event) -> None:
    from huggingface_hub.utils import get_session

    try:
        get_session().head(address, timeout=TIMEOUT_S)
    except Exception as error:  # a refused connection, an unknown name, a proxy: all mean the same here
        logging.getLogger(__name__).info("The Hub does not answer: %s", error)
        return
    answered.set()


@contextmanager
def cache_only_when_offline() -> Iterator[bool]:
    """Inside, the Hub's client reads its cache alone if the Hub does not answer; gives whether it answers."""
    from huggingface_hub import constants

    online, before = reachable(), constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = not online
    try:
        yield online
    finally:
        constants.HF_HUB_OFFLINE = before


def is_local(pretrained: str) -> bool:
    """Whether `pretrained` is written as a path, or is one."""
    looks_like_path = pretrained.startswith((".", "/", "~")) or pretrained.endswith((".safetensors", *PICKLE_SUFFIXES))
    return looks_like_path or Path(pretrained).exists()


def weights_file(pretrained: str, allow_pickle: bool) -> Path:
    """The weights at `pretrained`, a file or a folder of one.

    A safetensors file is preferred. Raises `FileNotFoundError` where there is none and `ValueError` for a pickle,
    which could run code when it is read, unless `allow_pickle`.
    """
    path = Path(pretrained).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"No weights at {path}: pass a folder with model.safetensors, or a .safetensors file.")
    found = [path] if path.is_file() else _in_folder(path)
    if not found:
        raise FileNotFoundError(f"The folder {path} holds no weights: put model.safetensors into it.")
    if found[0].suffix != ".safetensors" and not allow_pickle:
        raise ValueError(
            f"{found[0]} is a pickle, which could run code when it is read. Convert it to model.safetensors, or allow "
            "it (--allow-pickle); only tensors are read from it then."
        )
    return found[0]


def _in_folder(folder: Path) -> list[Path]:
    """Weight files in `folder`: model.safetensors, another single safetensors file, pickles."""
    safe = sorted(folder.glob("*.safetensors"), key=lambda p: (p.name != "model.safetensors", p.name))
    pickles = sorted(p for p in folder.iterdir() if p.suffix in PICKLE_SUFFIXES)
    return safe + pickles
