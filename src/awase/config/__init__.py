"""The frozen models of an experiment: everything a run depends on, checked when it is built.

An experiment is a Python function that returns an `Experiment`. `--set path.to.field=value` changes one field and is
checked against its type. Nothing here imports torch.
"""

from awase.config.base import Frozen
from awase.config.combinations import CombinationsConfig
from awase.config.data import DataConfig, DigitsConfig, SceneDomain, ScenesConfig
from awase.config.experiment import DeriveConfig, Experiment, MethodConfig, Node, Runtime, SelectionConfig, StageConfig
from awase.config.features import HowTo100MConfig
from awase.config.inputs import ArrayInput, AudioInput, FlowInput, ImageInput, Input, TextInput, VideoInput
from awase.config.parts import (
    AdapterConfig,
    BalancingConfig,
    EncoderConfig,
    FusionConfig,
    ObjectiveConfig,
    TrainConfig,
)
from awase.config.policies import BankPolicy, KeptConfig
from awase.config.retrieval import ClusteringConfig, Curriculum, ReconstructionConfig, RetrievalConfig, SpaceConfig
from awase.config.stream import StageStream, StreamConfig
from awase.config.targets import TargetsConfig
from awase.config.transforms import Crop, Flip, Noise, Occlusion, PixelNoise, SpecAugment, TimeShift, Transform

__all__ = [
    "AdapterConfig",
    "ArrayInput",
    "AudioInput",
    "BalancingConfig",
    "BankPolicy",
    "ClusteringConfig",
    "CombinationsConfig",
    "Crop",
    "Curriculum",
    "DataConfig",
    "DeriveConfig",
    "DigitsConfig",
    "EncoderConfig",
    "Experiment",
    "Flip",
    "FlowInput",
    "Frozen",
    "FusionConfig",
    "HowTo100MConfig",
    "ImageInput",
    "Input",
    "KeptConfig",
    "MethodConfig",
    "Node",
    "Noise",
    "ObjectiveConfig",
    "Occlusion",
    "PixelNoise",
    "ReconstructionConfig",
    "RetrievalConfig",
    "Runtime",
    "SceneDomain",
    "ScenesConfig",
    "SelectionConfig",
    "SpaceConfig",
    "SpecAugment",
    "StageConfig",
    "StageStream",
    "StreamConfig",
    "TargetsConfig",
    "TextInput",
    "TimeShift",
    "TrainConfig",
    "Transform",
    "VideoInput",
]
