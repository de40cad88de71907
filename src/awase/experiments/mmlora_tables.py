"""The classification tables of MMLoRA: every method on a user's copy of six data sets, published numbers beside ours.

Commands, with DIR holding a folder per data set as its authors distribute it (see docs/datasets.md):

    awase run mmlora.audio_visual    --root DIR    AVE, Kinetics-Sounds, CREMA-D; ResNet-18 or ViT-B
    awase run mmlora.vision_language --root DIR    UPMC Food101, MM-IMDB; ResNet-152 or ViT + BERT
    awase run mmlora.rgb_flow        --root DIR    UCF101, three folds; ResNet-18 or ViT-B + ResNet-18

Expected time: hours per data set, seed and backbone on one GPU (not measured here). Expected numbers: the published
column. Three seeds. The default splits keep speakers and source videos apart; the published ones, for comparison, are
taken with `--published-splits`. Optimisers and epochs are ours where the source does not state them: SGD as in OGM-GE
where both encoders are ResNet-18, AdamW for every pair with a transformer in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from awase.config import DataConfig, EncoderConfig, Experiment, SelectionConfig, TrainConfig
from awase.data.prepared import prepared_data, read_description
from awase.experiments.comparison import table_methods
from awase.experiments.published import published_of

CONVOLUTIONAL = TrainConfig(
    epochs=100, batch_size=64, optimiser="sgd", learning_rate=1e-2, weight_decay=1e-4, schedule="step", step_epochs=70
)
TRANSFORMER = TrainConfig(
    epochs=20, batch_size=32, learning_rate=5e-5, head_learning_rate=1e-3, warmup_epochs=1, clip_norm=1.0
)
FOLDERS: dict[str, tuple[str, ...]] = {
    "ave": ("ave", "ave_dataset"),
    "kinetics_sounds": ("kinetics_sounds", "kinetics-sounds", "kineticsound", "ks"),
    "cremad": ("cremad", "crema-d", "crema_d"),
    "food101": ("food101", "upmc_food101", "upmc-food101", "food-101"),
    "mmimdb": ("mmimdb", "mm-imdb", "mm_imdb"),
    "ucf101": ("ucf101", "ucf-101"),
}
"""Data set -> names its folder may have in the root, whatever their case."""


@dataclass(frozen=True)
class Backbone:
    """Encoders of one column of a table, how they train, and the methods that only they can run."""

    name: str
    published: str
    encoders: Mapping[str, EncoderConfig]
    training: TrainConfig
    kinds: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    """Only these methods; empty: all of `table_methods`."""


def _timm(model: str) -> EncoderConfig:
    return EncoderConfig(name="timm", options={"model": model}, pretrained=True)


def _bert(size: str) -> EncoderConfig:
    return EncoderConfig(name="transformers", options={"model": f"google-bert/bert-{size}-uncased"}, pretrained=True)


RESNET18 = EncoderConfig(name="resnet18", pretrained=True)
VIT_B = _timm("vit_base_patch16_224.augreg_in21k")
RESNETS = Backbone(
    "resnet18", "ResNet18/ResNet18", {"video": RESNET18, "audio": RESNET18}, CONVOLUTIONAL, ("same_width",)
)
VITS = Backbone("vit_b", "ViT-B/ViT-B", {"video": VIT_B, "audio": VIT_B}, TRANSFORMER, ("same_width", "tokens"))
RESNET152_BERT = Backbone(
    "resnet152-bert_b",
    "group 1",
    {"image": _timm("resnet152.a1_in1k"), "text": _bert("base")},
    TRANSFORMER,
    ("image_text",),
)
VIT_BERT = Backbone(
    "vit_b-bert_b",
    "group 2",
    {"image": VIT_B, "text": _bert("base")},
    TRANSFORMER,
    ("same_width", "tokens", "image_text"),
)
LARGE = Backbone(
    "vit_l-bert_l",
    "group 2",
    {"image": _timm("vit_large_patch16_224.augreg_in21k"), "text": _bert("large")},
    TRANSFORMER,
    ("large",),
    ("pmf_l",),
)
RGB_FLOW = Backbone(
    "resnet18", "ResNet18/ResNet18", {"video": RESNET18, "flow": RESNET18}, CONVOLUTIONAL, ("same_width",)
)
VIT_RESNET = Backbone("vit_b-resnet18", "ViT-B/ResNet18", {"video": VIT_B, "flow": RESNET18}, TRANSFORMER)

TABLES: dict[str, tuple[str, tuple[str, ...], tuple[Backbone, ...]]] = {
    "mmlora.audio_visual": ("audio-visual", ("ave", "kinetics_sounds", "cremad"), (RESNETS, VITS)),
    "mmlora.vision_language": ("vision-language", ("food101", "mmimdb"), (RESNET152_BERT, VIT_BERT, LARGE)),
    "mmlora.rgb_flow": ("rgb-flow", ("ucf101",), (RGB_FLOW, VIT_RESNET)),
}
"""Experiment -> name of the published table, data sets, backbones."""


def audio_visual(folders: Mapping[str, Path], published_splits: bool = False) -> tuple[Experiment, ...]:
    """AVE, Kinetics-Sounds and CREMA-D with ResNet-18 twice and ViT-B twice: every method, three seeds."""
    return table_experiments("mmlora.audio_visual", folders, published_splits)


def vision_language(folders: Mapping[str, Path], published_splits: bool = False) -> tuple[Experiment, ...]:
    """UPMC Food101 and MM-IMDB with ResNet-152 or ViT-B and BERT, and the large pair: every method, three seeds."""
    return table_experiments("mmlora.vision_language", folders, published_splits)


def rgb_flow(folders: Mapping[str, Path], published_splits: bool = False) -> tuple[Experiment, ...]:
    """UCF101 from RGB and optical flow with ResNet-18 twice, and ViT-B beside it: every method, three folds."""
    return table_experiments("mmlora.rgb_flow", folders, published_splits)


SUITES: dict[str, Callable[[Mapping[str, Path], bool], tuple[Experiment, ...]]] = {
    "mmlora.audio_visual": audio_visual,
    "mmlora.vision_language": vision_language,
    "mmlora.rgb_flow": rgb_flow,
}


def table_experiments(name: str, folders: Mapping[str, Path], published_splits: bool = False) -> tuple[Experiment, ...]:
    """One experiment per data set and backbone of a table, of the data sets that were prepared in `folders`.

    Splits keep speakers and source videos apart, or, with `published_splits`, are the published ones (UCF101's three
    folds are both). Raises `KeyError` for a data set that was prepared without a published split.
    """
    table, datasets, backbones = TABLES[name]
    found = []
    for dataset in (one for one in datasets if one in folders):
        splitting = "published" if published_splits and dataset != "ucf101" else None
        data = prepared_data(folders[dataset], splitting)
        folds = tuple(int(fold) for fold in read_description(folders[dataset])["folds"]) if dataset == "ucf101" else ()
        found += [table_experiment(table, dataset, backbone, data, folds) for backbone in backbones]
    return tuple(found)


def table_experiment(
    table: str, dataset: str, backbone: Backbone, data: DataConfig, folds: tuple[int, ...] = ()
) -> Experiment:
    """Every method on one data set with one pair of encoders, with the published numbers of that pair.

    Raises `ValueError` where the data lacks a modality of the pair.
    """
    missing = sorted(set(backbone.encoders) - set(data.inputs))
    if missing:
        raise ValueError(
            f"{dataset} has no {', '.join(missing)} where it was prepared, and the table {table!r} needs it; "
            "flow is computed by `awase data flow`."
        )
    methods = table_methods(tuple(backbone.encoders), backbone.kinds, data.task == "multi_label")
    chosen = tuple(one for one in methods if not backbone.only or one.title in backbone.only)
    titles = {one.title for one in chosen}
    published, starred = published_of(table, dataset, backbone.published)
    metric = "f1_micro" if data.task == "multi_label" else "accuracy"
    shorter = backbone.training.model_copy(update={"epochs": max(backbone.training.epochs // 2, 1)})
    return Experiment(
        name=f"{dataset}-{backbone.name}",
        data=data.model_copy(update={"inputs": {key: data.inputs[key] for key in backbone.encoders}}),
        encoders=dict(backbone.encoders),
        methods=chosen,
        unimodal=backbone.training,
        from_start=backbone.training,
        joint=shorter,
        selection=SelectionConfig(metric=metric),
        folds=folds,
        published={title: values for title, values in published.items() if title in titles},
        published_starred=tuple(title for title in starred if title in titles),
        published_note=_note("each of the published folds" if folds else repr(data.split_column)),
    )


def _note(split: str) -> str:
    return (
        "Published numbers: one seed or an unknown number, the published split of the data, most of them chosen on "
        f"the test split. Ours: validation chooses, the split is {split}."
    )
