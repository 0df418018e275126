"""Reward signals come from the entry-point group `empo_rl`; the core's old hook names the new place."""

import os
import subprocess
import sys

import pytest

import semantic_entropy
from empo_rl import register_reward
from empo_rl.core.rewards import RewardSignal, load_reward
from empo_rl.plugin import rewards
from semantic_entropy import InputError, UnknownComponentError

BUILT_IN = [
    "composite",
    "empo",
    "format",
    "golden",
    "log_share",
    "majority",
    "random",
    "self_certainty",
    "semi_supervised",
    "token_entropy",
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
    entries = rewards.entries("reward")
    assert sorted(entry.component.name for entry in entries if entry.source == "semantic-entropy") == BUILT_IN
    assert rewards.failures() == []


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "composite"])
def test_each_built_in_signal_is_built_by_its_name(name):
    signal = load_reward(name)
    assert isinstance(signal, RewardSignal)
    assert signal.name == name


def test_a_plugin_announces_a_signal_in_the_group_empo_rl(tmp_path):
    install(tmp_path, "short_rewards", "empo_rl", NEW_PLUGIN)
    code = "from empo_rl.core.rewards import load_reward; print(type(load_reward('brevity')).__name__)"
    assert run_python(code, tmp_path) == "EmpoReward"


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
