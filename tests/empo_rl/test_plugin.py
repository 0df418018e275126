"""Reward signals come from the entry-point group `empo_rl`; the core's old hook names the new place."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

import semantic_entropy
from empo_rl import Alarm, Filter, Guard, register_reward
from empo_rl.cli import main
from empo_rl.core.rewards import RewardSignal, load_reward
from empo_rl.monitor import ALARMS
from empo_rl.plugin import KINDS, components
from semantic_entropy import InputError, UnknownComponentError

BUILT_IN = [
    "composite",
    "empo",
    "evol",
    "format",
    "golden",
    "log_share",
    "majority",
    "random",
    "restrain",
    "scrl",
    "self_certainty",
    "semi_supervised",
    "token_entropy",
    "vote_certainty",
]

NEW_PLUGIN = """
from empo_rl.plugin import Component, hookimpl

def load():
    from empo_rl.core.rewards.agreement import EmpoReward
    return EmpoReward

@hookimpl
def empo_rl_rewards():
    return [Component("brevity", load, "shorter completions are paid more")]
"""

PLUGIN_OF_ALL_KINDS = """
from empo_rl.core.filters import EqualRewardsFilter
from empo_rl.core.guards import EmptyGuard
from empo_rl.monitor.alarms import EntropyFloorAlarm
from empo_rl.plugin import Component, hookimpl

class Floor(EntropyFloorAlarm):
    name = "floor"

@hookimpl
def empo_rl_filters():
    return [Component("flat", lambda: EqualRewardsFilter)]

@hookimpl
def empo_rl_guards():
    return [Component("nothing", lambda: EmptyGuard)]

@hookimpl
def empo_rl_alarms():
    return [Component("floor", lambda: Floor)]
"""

OLD_PLUGIN = """
from semantic_entropy.plugin import Component, hookimpl

@hookimpl
def semantic_entropy_rewards():
    return [Component("brevity", dict)]
"""


def run_python(code, folder):
    search_path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": search_path}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def install(folder, name, group, source):
    (folder / f"{name}.py").write_text(source)
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}\n")


def test_the_built_in_signals_are_installed_as_a_plugin():
    entries = components.entries("reward")
    assert sorted(entry.component.name for entry in entries if entry.source == "semantic-entropy") == BUILT_IN
    assert components.failures() == []


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "composite"])
def test_each_built_in_signal_is_built_by_its_name(name):
    needed = {"evol": {"similarity": "embedding"}, "restrain": {"base_votes": "none"}}
    signal = load_reward(name, needed.get(name))
    assert isinstance(signal, RewardSignal)
    assert signal.name == name


def test_a_plugin_announces_a_signal_in_the_group_empo_rl(tmp_path):
    install(tmp_path, "short_rewards", "empo_rl", NEW_PLUGIN)
    code = "from empo_rl.core.rewards import load_reward; print(type(load_reward('brevity')).__name__)"
    assert run_python(code, tmp_path) == "EmpoReward"


def test_a_plugin_announces_filters_guards_and_alarms_and_its_alarms_watch_only_where_they_are_named(tmp_path):
    install(tmp_path, "all_kinds", "empo_rl", PLUGIN_OF_ALL_KINDS)
    code = (
        "from empo_rl import EmpoProvider, Monitor; "
        "provider = EmpoProvider('exact', filters={'flat': {}}, guards={'nothing': None}); "
        "print(provider.filters[0].name, provider.guards[0].name, "
        "'floor' in [a.name for a in Monitor().alarms], Monitor({'floor': {'floor': 0.5}}).alarms[-1].floor)"
    )
    assert run_python(code, tmp_path) == "equal_rewards empty False 0.5"


def test_the_built_in_filters_guards_and_alarms_come_through_the_same_door():
    listed = {kind: [e.component for e in components.entries(kind) if e.source == "semantic-entropy"] for kind in KINDS}
    for kind, bases in {"filter": Filter, "guard": Guard, "alarm": Alarm}.items():
        found = {component.name: component.load() for component in listed[kind]}
        assert {name: cls.name for name, cls in found.items()} == {name: name for name in found}
        assert all(issubclass(cls, bases) for cls in found.values())
        assert {cls.__name__ for cls in found.values()} == subclass_names(bases, "empo_rl.")
    assert {component.name: component.load() for component in listed["alarm"]} == ALARMS
    assert all(component.summary for found in listed.values() for component in found)


def subclass_names(base, package):
    """The names of the subclasses in a package, without private bases, whose names begin with an underscore."""
    direct = [cls for cls in base.__subclasses__() if cls.__module__.startswith(package)]
    names = {cls.__name__ for cls in direct if not cls.__name__.startswith("_")}
    return names.union(*(subclass_names(cls, package) for cls in direct))


def test_the_command_lists_each_kind_with_its_source():
    done = CliRunner().invoke(main, ["components"])
    assert done.exit_code == 0
    assert [line for line in done.output.splitlines() if not line.startswith(" ")] == list(KINDS)
    assert "  no_signal        no group is in the loss with two different rewards  (semantic-entropy)" in done.output
    listed = json.loads(CliRunner().invoke(main, ["components", "--json"]).output)
    assert listed["failed"] == []
    assert {"name", "summary", "source"} == set(listed["components"]["guard"][0])


def test_a_plugin_with_the_old_hook_is_listed_as_failed_with_the_new_place(tmp_path):
    install(tmp_path, "old_rewards", "semantic_entropy", OLD_PLUGIN)
    code = (
        "from semantic_entropy.registry.discovery import default_registry; "
        "print(*[failure.reason for failure in default_registry().failures() if failure.plugin == 'old_rewards'])"
    )
    listed = run_python(code, tmp_path)
    assert "hook empo_rl_rewards in the entry-point group 'empo_rl'" in listed
    assert "empo_rl.register_reward(name, factory)" in listed


def test_registering_a_signal_with_the_core_names_register_reward():
    with pytest.raises(InputError, match=r"empo_rl\.register_reward\(name, factory\)"):
        semantic_entropy.register("reward", "brevity", dict)


def test_an_unknown_signal_is_an_error_that_lists_the_known_ones():
    with pytest.raises(UnknownComponentError, match=r"(?s)no reward named 'emp0'.*empo.*the group 'empo_rl'"):
        load_reward("emp0")


def test_register_reward_refuses_a_name_with_a_slash():
    with pytest.raises(InputError, match="no slash"):
        register_reward("my/brevity", dict)
