"""Bring your own files: MMLoRA beside its natural baselines on any table with a column per modality."""

from pathlib import Path

from awase.config import DataConfig, Experiment, TrainConfig
from awase.data import inferred
from awase.experiments.comparison import natural_baselines
from awase.experiments.spaces import joint_spaces


def table(manifest: Path, data: DataConfig | None = None) -> Experiment:
    """Every natural baseline and MMLoRA on the table `manifest`; with `data.task=retrieval` joint spaces (`mcn`).

    Command: `awase run clips.csv`. Columns become modalities by their names and files (see `awase data check`);
    small encoders train from random weights unless others are set: `--set encoders.image.name=timm`.
    Expected time: about a minute per 100 clips of video and audio, three seeds, on two cores.
    """
    known = inferred(data or DataConfig(manifest=manifest))
    if known.task == "retrieval":
        return joint_spaces(manifest.stem, known)
    return Experiment(
        name=manifest.stem,
        data=known,
        methods=natural_baselines(tuple(known.inputs)),
        unimodal=TrainConfig(epochs=20),
        joint=TrainConfig(epochs=20),
    )
