"""The tiny comparison of the runner's tests."""

from awase.config import DataConfig, Experiment, MethodConfig, ScenesConfig, TrainConfig
from awase.data import inferred


def tiny(*methods: MethodConfig, **changes: object) -> Experiment:
    data = inferred(DataConfig(dataset="scenes", scenes=ScenesConfig(num_train=40, num_val=19, num_test=23)))
    data = data.model_copy(update={"inputs": {name: data.inputs[name] for name in ("video", "audio")}})
    training = TrainConfig(epochs=2, batch_size=16)
    fields = {"unimodal": training, "joint": training, "seeds": (0,), "missing_rates": (0.5,)} | changes
    return Experiment(name="tiny", data=data, methods=methods, **fields)
