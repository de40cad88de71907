"""Methods under a rule, from the request to the stored stage; what does not fit is refused before anything trains."""

import pytest
from tiny_experiment import tiny

from awase.config import MethodConfig
from awase.distributed import ALONE
from awase.methods import build_method
from awase.runner.check import check_request
from awase.runner.nodes import NodeRunner
from awase.runner.setting import open_setting

LAST = {"training": {"select": "last"}}
SETTINGS = {"mla": LAST, "ogm_ge": LAST, "opm": {**LAST, "start_epoch": 0}, "pmr": LAST}


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_method_under_a_rule_runs(runtime, name):
    setting = open_setting(tiny(MethodConfig(method=name, settings=SETTINGS[name])), runtime, 0, None, ALONE)
    check_request(setting)
    runner = NodeRunner(setting)
    result = runner.run(build_method(name, setting.method_context(), SETTINGS[name]))
    assert len(result.facts["curve"]) == 2
    joint = runner.run(build_method("joint", setting.method_context(), LAST))
    assert result.hash != joint.hash
    if name != "mla":
        changed = [key for key, value in joint.tensors.items() if not value.equal(result.tensors[key])]
        assert "fusion.linear.weight" in changed


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("ogm_ge", {"alpha": -1.0}, ["alpha", "-1.0"]),
        ("opm", {"p_exe": 2.0}, ["p_exe", "2.0"]),
        ("pmr", {"momentum": 1.0}, ["momentum", "1.0"]),
    ],
)
def test_what_a_rule_refuses_is_refused_before_training(runtime, name, settings, words):
    setting = open_setting(tiny(MethodConfig(method=name, settings=settings)), runtime, 0, None, ALONE)
    with pytest.raises(ValueError, match=r"\.$") as caught:
        check_request(setting)
    assert [word for word in words if word not in str(caught.value)] == []
