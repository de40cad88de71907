"""A published MCN checkpoint as a joint space of ours: loaded, embedded with, searched and measured like any other."""

from pathlib import Path

from awase.config import (
    ArrayInput,
    AudioInput,
    EncoderConfig,
    ReconstructionConfig,
    RetrievalConfig,
    SpaceConfig,
    StageConfig,
    TextInput,
)
from awase.encoders.mcn_checkpoint import McnDimensions, McnWeights, read_mcn
from awase.runner.build import build_retrieval
from awase.runner.nodes import check_fit, load_tensors
from awase.runner.restored import save_model
from awase.runner.spec import ModelSpec, SavedModel

AUDIO_FRAMES, MAX_WORDS = 1000, 20


def convert_mcn(file: Path, out: Path, words: Path, *, allow_pickle: bool = False) -> McnWeights:
    """Writes the checkpoint `file` as a model folder `out` and returns its tensors.

    `words` is the vocabulary folder of the word vectors it was trained with (GoogleNews). Raises `FileExistsError`
    where `out` is there, `ValueError` for a pickle without `allow_pickle`, for what is no MCN, and for word vectors of
    another width.
    """
    if out.exists():
        raise FileExistsError(f"{out} is there already; name a new folder.")
    weights = read_mcn(file, allow_pickle)
    saved = describe(weights.dimensions, words)
    model = build_retrieval(saved.stage, saved.spec)
    own = model.state_dict()
    digest = "encoders.text.network.vocabulary_digest"
    check_fit(weights.tensors, own, f"The weights of {file} are", needed=own.keys() - {digest})
    load_tensors(model, weights.tensors)
    save_model(out, saved, model)
    return weights


def describe(sizes: McnDimensions, words: Path) -> SavedModel:
    """The description of a space of these sizes."""
    space = SpaceConfig(
        dim=sizes.embedding,
        projections={"audio": "gated_then_linear"},
        reconstruction=sizes.reconstruction,
        rectify=True,
    )
    names = ("video", "audio", "text")
    retrieval = RetrievalConfig(
        space=space,
        pairs={"audio+video": 1.0, "text+video": 1.0, "audio+text": 1.0},
        reconstruction=ReconstructionConfig(detach=False),
    )
    audio = {"widths": list(sizes.widths), "blocks": list(sizes.blocks), "pooling": "reference"}
    spec = ModelSpec(
        seed=0,
        task="retrieval",
        classes=(),
        inputs={
            "video": ArrayInput(column="video", shape=(sizes.video,)),
            "audio": AudioInput(column="audio", representation="avlnet_40", window_s=AUDIO_FRAMES / 100),
            "text": TextInput(column="text", max_tokens=MAX_WORDS),
        },
        shapes={"video": (sizes.video,), "audio": (sizes.bins, AUDIO_FRAMES), "text": (MAX_WORDS,)},
        num_samples=dict.fromkeys(names),
        encoders={
            "video": EncoderConfig(name="features"),
            "audio": EncoderConfig(name="davenet", options=audio),
            "text": EncoderConfig(name="word_vectors", options={"vocabulary": str(words), "dim": sizes.text}),
        },
    )
    stage = StageConfig(name="converted", modalities=names, retrieval=retrieval)
    card = {"method": "mcn", "dataset": "HowTo100M, by its authors", "count": 0}
    return SavedModel(spec=spec, stage=stage, derived={}, threshold=0.5, card=card)
