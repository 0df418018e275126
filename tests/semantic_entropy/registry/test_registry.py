"""Discovery: strangers' plugins, broken ones among them, from real entry points on sys.path."""

from __future__ import annotations

import json
import subprocess
import sys

import pluggy
import pytest

from semantic_entropy import (
    AmbiguousComponentError,
    Equivalence,
    InputError,
    MissingDependencyError,
    OptionError,
    PluginError,
    UnknownComponentError,
    Verdict,
    estimate,
    load_equivalence,
    register,
)
from semantic_entropy.clusters.equivalence import FunctionEquivalence
from semantic_entropy.plugin import MovedKind, Registry
from semantic_entropy.registry.hookspecs import KINDS, PROJECT
from tests.semantic_entropy.sampling.dice import Dice

GOOD = """
from semantic_entropy.plugin import Component, Equivalence, Verdict, hookimpl

class SameLength(Equivalence):
    name = "same-length"
    def judge(self, pairs):
        return [Verdict(len(p.left) == len(p.right)) for p in pairs]

@hookimpl
def semantic_entropy_equivalences():
    return [
        Component("same-length", lambda: SameLength, "equal length"),
        Component("needs-moon", lambda: SameLength, requires=("moonbase",), extra="moonbase[all]"),
        Component("explodes", lambda: 1 / 0),
        Component("not-a-judge", lambda: dict),
    ]
"""
HOOK = "from semantic_entropy.plugin import hookimpl\n@hookimpl\ndef semantic_entropy_"
BROKEN = {
    "broken_import": "import a_module_that_does_not_exist",
    "hook_raises": HOOK + "equivalences():\n    raise OSError('disk')",
    "wrong_signature": HOOK + "equivalences(x):\n    return []",
    "no_hooks": "x = 1",
    "ends_the_process": "raise SystemExit(3)",
    "bad_name": HOOK
    + "equivalences():\n    from semantic_entropy.plugin import Component\n    return [Component(3, dict)]",
    "unknown_hook": HOOK + "judges():\n    return []",
    "not_components": HOOK + "equivalences():\n    return ['x']",
}


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install a module as a distribution with an entry point, the way pip lays one out."""

    def install(name, source, group="semantic_entropy"):
        (tmp_path / f"{name}.py").write_text(source)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}\n")
        monkeypatch.delitem(sys.modules, name, raising=False)

    monkeypatch.syspath_prepend(tmp_path)
    return install


def fresh_registry():
    """The registry of a new process."""
    return Registry(PROJECT, KINDS)


def test_a_strangers_plugin_is_found_and_used(plugin):
    plugin("stranger", GOOD)
    judge = fresh_registry().create("equivalence", "same-length")
    assert estimate(["ab", "cd", "e"], equivalence=judge).labels == (0, 0, 1)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_listed_with_its_reason_and_the_others_work(plugin, name):
    plugin(name, BROKEN[name])
    plugin("stranger", GOOD)
    registry = fresh_registry()
    assert registry.create("equivalence", "same-length").name == "same-length"
    (failure,) = registry.failures()
    assert failure.plugin == name
    assert failure.reason
    with pytest.raises(UnknownComponentError, match=f"(?s)Available: .*same-length.*failed to load: {name}"):
        registry.create("equivalence", "nonesuch")


def test_a_name_offered_twice_is_an_error_only_when_asked_for(plugin):
    plugin("stranger", GOOD)
    plugin("another", GOOD)
    registry = fresh_registry()
    assert registry.create("equivalence", "exact").name == "exact"
    with pytest.raises(AmbiguousComponentError, match="'another/same-length', 'stranger/same-length'"):
        registry.create("equivalence", "same-length")
    assert registry.create("equivalence", "another/same-length").name == "same-length"


def test_a_stranger_who_takes_a_built_in_name_does_not_break_the_default(plugin, monkeypatch):
    plugin("stranger", GOOD.replace('"same-length", lambda', '"text", lambda'))
    monkeypatch.setattr("semantic_entropy.registry.discovery._default", fresh_registry())
    assert estimate(["Paris", "paris"]).labels == (0, 0)
    with pytest.raises(AmbiguousComponentError, match="'semantic-entropy/text', 'stranger/text'"):
        estimate(["Paris"], equivalence="text")


def test_a_missing_submodule_of_a_missing_package_is_missing(plugin):
    plugin("stranger", GOOD.replace('("moonbase",)', '("moonbase.crater",)'))
    registry = fresh_registry()
    (entry,) = [e for e in registry.entries("equivalence") if e.component.name == "needs-moon"]
    assert entry.missing() == ["moonbase.crater"]


def test_a_missing_dependency_names_the_command_that_brings_it(plugin):
    plugin("stranger", GOOD)
    with pytest.raises(MissingDependencyError, match=r"needs moonbase: pip install 'moonbase\[all\]'"):
        fresh_registry().create("equivalence", "needs-moon")


def test_a_component_that_cannot_be_loaded_is_an_error_with_its_cause(plugin):
    plugin("stranger", GOOD)
    with pytest.raises(PluginError, match="'stranger/explodes' could not be loaded: ZeroDivisionError"):
        fresh_registry().create("equivalence", "explodes")


def test_a_cascade_names_all_that_its_stages_lack_before_any_is_loaded(plugin, monkeypatch):
    loud = '("torch",), extra="semantic-entropy[nli]"'
    plugin(
        "stranger",
        GOOD.replace('equal length"),', 'equal length"),\n Component("loud", lambda: 1 / 0, requires=' + loud + "),"),
    )
    monkeypatch.setattr("semantic_entropy.registry.discovery._default", fresh_registry())
    monkeypatch.setattr(
        "semantic_entropy.registry.discovery._importable", lambda module: module not in ("torch", "moonbase")
    )
    with pytest.raises(MissingDependencyError) as error:
        load_equivalence("cascade", judges=["exact", {"judge": "loud"}, "needs-moon", "exact"])
    assert str(error.value) == (
        "equivalence 'loud' needs torch; equivalence 'needs-moon' needs moonbase: pip install 'semantic-entropy[nli]' "
        "'moonbase[all]' (which torch that installs, and how to choose another: docs/install.md)"
    )


@pytest.mark.parametrize("wrong", [{"share": "abc"}, {"many": "2.x"}, {"on": "False"}])
def test_a_text_for_an_option_that_is_no_text_says_what_it_must_be(wrong):
    def judge(share: float = 0.5, many: int | None = None, on: bool = True, word: str | float = 1.0):
        return FunctionEquivalence(lambda a, b: a == b)

    register("equivalence", "typed", judge)
    with pytest.raises(OptionError, match="must be (a number|a whole number|true or false)"):
        load_equivalence("typed", **wrong)
    load_equivalence("typed", share=1, many=None, on=False, word="often")


def test_a_judge_and_a_sampler_show_themselves_by_their_options():
    assert repr(load_equivalence("ngram", n=2)) == "<ngram(n=2, threshold=0.6)>"
    assert repr(Dice()) == "<dice>"


@pytest.mark.parametrize("blocked", ["stranger", "x, stranger"])
def test_a_plugin_can_be_disabled_by_name(plugin, monkeypatch, blocked):
    plugin("stranger", GOOD)
    monkeypatch.setenv("SEMANTIC_ENTROPY_DISABLE_PLUGINS", blocked)
    with pytest.raises(UnknownComponentError):
        fresh_registry().create("equivalence", "same-length")


def test_register_adds_a_component_of_this_process():
    class Upper(Equivalence):
        name = "upper"

        def judge(self, pairs):
            return [Verdict(pair.left.upper() == pair.right.upper()) for pair in pairs]

    register("equivalence", "upper", Upper, "case aside")
    register("equivalence", "upper", Upper, "registered again, it replaces")
    assert estimate(["a", "A"], equivalence="upper").labels == (0, 0)
    register("equivalence", "a-dict", dict)
    with pytest.raises(PluginError, match="not an instance of Equivalence"):
        load_equivalence("a-dict")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("judge", "x", dict), "use one of equivalence"),
        (("equivalence", "a/b", dict), "slash"),
        (("equivalence", "x", 3), "callable"),
    ],
)
def test_register_refuses_what_cannot_work(arguments, says):
    with pytest.raises(InputError, match=says):
        register(*arguments)


hookspec = pluggy.HookspecMarker("kitchen")


@hookspec
def kitchen_dishes():
    """The hook of another package."""


def test_another_package_has_a_registry_with_a_group_and_kinds_of_its_own(plugin):
    plugin(
        "cook",
        "import pluggy\nfrom semantic_entropy.plugin import Component\n"
        "@pluggy.HookimplMarker('kitchen')\ndef kitchen_dishes():\n    return [Component('soup', lambda: dict)]",
        group="kitchen",
    )
    kitchen = Registry("kitchen", {"dish": kitchen_dishes})
    assert kitchen.create("dish", "soup", salt=1) == {"salt": 1}
    with pytest.raises(UnknownComponentError, match=r"(?s)no dish named 'cake'.*the group 'kitchen'"):
        kitchen.create("dish", "cake")
    with pytest.raises(InputError, match="kind='equivalence' is unknown: use one of dish"):
        kitchen.create("equivalence", "exact")


def test_a_hook_that_moved_is_listed_with_the_new_place_and_the_rest_of_the_plugin_works(plugin):
    rewards = HOOK + "rewards():\n    return []\n"
    plugin("two_kinds", GOOD + rewards)
    plugin("one_kind", rewards)
    moved = {"reward": MovedKind("semantic_entropy_rewards", "announce rewards in the group 'kitchen'")}
    registry = Registry(PROJECT, KINDS, moved)
    assert registry.create("equivalence", "same-length").name == "same-length"
    listed = [(failure.plugin, failure.reason) for failure in registry.failures() if "kind" in failure.plugin]
    assert listed == [(name, "announce rewards in the group 'kitchen'") for name in ("one_kind", "two_kinds")]
    with pytest.raises(InputError, match="kind='reward': announce rewards in the group 'kitchen'"):
        registry.register("reward", "x", dict)


def test_the_command_line_shows_plugins_and_failures(plugin, tmp_path):
    plugin("broken_import", BROKEN["broken_import"])
    plugin("stranger", GOOD)
    command = [sys.executable, "-m", "semantic_entropy", "plugins"]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    text = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "FAILED broken_import" in text
    assert "[missing: moonbase]" in text
    found = json.loads(subprocess.run([*command, "--json"], env=environment, capture_output=True, check=True).stdout)
    assert "same-length" in [one["name"] for one in found["components"]["equivalence"]]
    assert found["failed"][0]["plugin"] == "broken_import"
