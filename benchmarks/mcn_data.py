"""Generated data of the reference configuration of MCN: features in HowTo100M's layout, captions, word vectors."""

import json
from pathlib import Path

import numpy as np
from feature_reading import generate
from numpy.typing import NDArray

from awase.config import Experiment, Runtime, StageConfig
from awase.data.features import import_howto100m
from awase.distributed import ALONE
from awase.encoders.word2vec import build_vocabulary
from awase.experiments import ROOTED
from awase.methods import build_method
from awase.runner.setting import Setting, open_setting

WORD_DIM, WORDS_PER_CAPTION = 300, 9


def prepare(root: Path, videos: int, vocabulary: int) -> None:
    """`videos` videos and one more, for validation, as a store, and `vocabulary` words with random vectors."""
    generator = np.random.default_rng(1)
    write_words(root / "words.bin", vocabulary, generator)
    build_vocabulary(root / "words.bin", root / "words")
    published = generate(root / "published", videos + 1)
    captions = json.loads(published.captions.read_text(encoding="utf-8"))
    for columns in captions.values():
        drawn = drawn_words(generator, len(columns["text"]), vocabulary)
        columns["text"] = [" ".join(f"word{word}" for word in row) for row in drawn.tolist()]
    published.captions.write_text(json.dumps(captions), encoding="utf-8")
    import_howto100m(published, root / "howto100m")


def write_words(path: Path, count: int, generator: np.random.Generator) -> None:
    """A word2vec file in its binary form: word0, word1, ..."""
    with path.open("wb") as file:
        file.write(f"{count} {WORD_DIM}\n".encode())
        for word in range(count):
            file.write(f"word{word} ".encode() + generator.standard_normal(WORD_DIM, dtype=np.float32).tobytes())


def drawn_words(generator: np.random.Generator, captions: int, vocabulary: int) -> NDArray[np.int64]:
    """Words of captions, the word of rank r in proportion to 1 / r, as in languages."""
    weights = 1 / np.arange(1, vocabulary + 1)
    return generator.choice(vocabulary, size=(captions, WORDS_PER_CAPTION), p=weights / weights.sum())


def open_joint(root: Path, videos: int, clips_per_video: int, dim: int) -> tuple[Setting, StageConfig]:
    """The built-in experiment `mcn.joint` on the prepared data, one batch of all videos a step, and its stage.

    Evaluation sets are left out, one video is kept for validation, and the space is `dim` wide.
    """
    experiment = ROOTED["mcn.joint"](root)
    collection = experiment.data.howto100m.model_copy(
        update={"evaluation": {}, "validation_videos": 1, "clips_per_video": clips_per_video}
    )
    words = experiment.encoders["text"]
    encoders = {
        **experiment.encoders,
        "text": words.model_copy(update={"options": {**words.options, "dim": dim}}),
    }
    changed: Experiment = experiment.model_copy(
        update={
            "data": experiment.data.model_copy(update={"howto100m": collection}),
            "encoders": encoders,
            "joint": experiment.joint.model_copy(update={"batch_size": videos * clips_per_video, "epochs": 1}),
        }
    )
    setting = open_setting(changed, Runtime(device="cpu", cache=root / "cache"), 0, None, ALONE)
    method = experiment.methods[0]
    (stage,) = build_method(method.method, setting.method_context(), method.settings)
    assert isinstance(stage, StageConfig)
    assert stage.retrieval is not None
    assert stage.retrieval.clustering is not None
    space = stage.retrieval.space.model_copy(update={"dim": dim})
    clustering = stage.retrieval.clustering.model_copy(update={"push_every": clips_per_video})
    clustering = clustering.model_copy(update={"push_rows": max(1, clips_per_video // 2)})
    retrieval = stage.retrieval.model_copy(update={"space": space, "clustering": clustering})
    return setting, stage.model_copy(update={"retrieval": retrieval})
