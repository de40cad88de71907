"""Every experiment that ships can be built, and none is forgotten here."""

import pytest

from awase.config import Experiment
from awase.experiments import EXPERIMENTS
from awase.methods import MethodContext, build_method


def test_number_of_experiments():
    assert len(EXPERIMENTS) == 7


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_experiment_builds_and_its_methods_accept_their_settings(name):
    experiment = EXPERIMENTS[name]()
    assert isinstance(experiment, Experiment)
    assert experiment.name == name
    modalities = tuple(experiment.data.inputs)
    alone, stream = dict.fromkeys(modalities, experiment.unimodal), tuple(experiment.data.scenes.domains)
    context = MethodContext(modalities, alone, experiment.joint, data_sets=stream)
    titles = [method.title for method in experiment.methods]
    assert len(set(titles)) == len(titles)
    for method in experiment.methods:
        nodes = build_method(method.method, context, method.settings)
        assert nodes[-1].modalities
    assert Experiment.model_validate_json(experiment.model_dump_json()) == experiment
