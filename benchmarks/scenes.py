"""Every classification method on procedural clips whose label is redundant, unique to one modality, or synergetic.

    awase run benchmarks/scenes.py::all_methods --threads 1 --out runs/scenes

Video and audio, 300 training clips (synergy 400), two seeds. Expected: where the label is redundant most methods lie
close together; where it is the video's alone no method gains over the video by much; where only the pair tells it,
every additive fusion stays at chance (25 %).
"""

from awase.config import Experiment, MethodConfig, ScenesConfig, TrainConfig
from awase.experiments import EXPERIMENTS
from awase.experiments.comparison import mmlora_and_controls, table_methods

MODALITIES = ("video", "audio")
ALONE = TrainConfig(epochs=12, batch_size=16, learning_rate=2e-3)


def all_methods() -> tuple[Experiment, ...]:
    """The three kinds of labels."""
    noise = {"video": 16.0, "audio": 3.0}
    return (
        _table("redundant", ScenesConfig(num_train=300, noise=noise)),
        _table("unique", ScenesConfig(num_train=300, labels="unique", noise={"video": 8.0})),
        _table("synergy", ScenesConfig(num_train=400, labels="synergy")),
    )


def _table(name: str, scenes: ScenesConfig) -> Experiment:
    base = EXPERIMENTS[f"scenes.{name}"]()
    hidden = MethodConfig(method="joint", label="joint-mlp", settings={"fusion": "mlp"})
    inputs = {modality: base.data.inputs[modality] for modality in MODALITIES}
    return base.model_copy(
        update={
            "name": f"scenes_{name}",
            "data": base.data.model_copy(update={"inputs": inputs, "scenes": scenes}),
            "methods": (*table_methods(MODALITIES), *mmlora_and_controls(MODALITIES), hidden),
            "unimodal": ALONE,
            "from_start": ALONE.model_copy(update={"epochs": 24 if name == "synergy" else 12}),
            "joint": ALONE.model_copy(update={"epochs": 6}),
            "seeds": (0, 1),
        }
    )
