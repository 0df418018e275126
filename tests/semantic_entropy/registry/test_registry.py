"""Discovery: strangers' plugins, broken ones among them, from real entry points on sys.path."""

from __future__ import annotations

import importlib
import json
import logging
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
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
    install_command,
    load_equivalence,
    register,
)
from semantic_entropy.cli.plugins import list_components
from semantic_entropy.clusters.equivalence import FunctionEquivalence
from semantic_entropy.plugin import MovedKind, Registry
from semantic_entropy.registry.hookspecs import KINDS, PROJECT
from tests.semantic_entropy.sampling.dice import Dice

GOOD = """
import sys
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
        Component("quits", lambda: sys.exit(3)),
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
    "returns_nothing": HOOK + "equivalences():\n    pass",
    "raises_a_base_exception": "class Stop(BaseException): pass\nraise Stop('now')",
    "one_name_twice": HOOK + "equivalences():\n    from semantic_entropy.plugin import Component\n"
    "    return [Component('twice', lambda: dict), Component('twice', lambda: list)]",
    "requires_a_text": HOOK + "equivalences():\n    from semantic_entropy.plugin import Component\n"
    "    return [Component('a', lambda: dict, requires='torch')]",
    "summary_is_no_text": HOOK + "equivalences():\n    from semantic_entropy.plugin import Component\n"
    "    return [Component('a', lambda: dict, summary=3)]",
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
    assert estimate(["Paris", "paris"], equivalence="text").labels == (0, 0)
    assert estimate(["ab", "cd"], equivalence="stranger/text").labels == (0, 0)
    names = [one["name"] for one in list_components()["components"]["equivalence"]]
    assert {"text", "stranger/text"} < set(names)


def test_a_missing_submodule_of_a_missing_package_is_missing(plugin):
    plugin("stranger", GOOD.replace('("moonbase",)', '("moonbase.crater",)'))
    registry = fresh_registry()
    (entry,) = [e for e in registry.entries("equivalence") if e.component.name == "needs-moon"]
    assert entry.missing() == ["moonbase.crater"]


def test_a_package_that_raises_when_it_is_imported_is_missing_with_the_reason(plugin, tmp_path):
    for name, error in (("rocket", "RuntimeError('no fuel')"), ("ejects", "SystemExit(3)")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise {error}")
    plugin("stranger", GOOD.replace('("moonbase",)', '["rocket.engine", "ejects.seat"]'))
    registry = fresh_registry()
    (entry,) = [e for e in registry.entries("equivalence") if e.component.name == "needs-moon"]
    engine, seat = entry.missing()
    assert engine == "rocket.engine (its package raises RuntimeError: no fuel)"
    assert seat == "ejects.seat (its package raises SystemExit: 3)"
    with pytest.raises(MissingDependencyError, match=r"needs rocket.engine \(.*no fuel\).*'moonbase\[all\]'"):
        registry.create("equivalence", "needs-moon")


def test_required_modules_may_be_a_list(plugin):
    plugin("stranger", GOOD.replace('("moonbase",)', '["moonbase"]'))
    with pytest.raises(MissingDependencyError, match="needs moonbase"):
        fresh_registry().create("equivalence", "needs-moon")


def test_a_plugin_without_a_component_on_this_machine_has_not_failed(plugin):
    plugin("empty", HOOK + "equivalences():\n    return []")
    assert fresh_registry().failures() == []


REGISTERS = (
    GOOD.partition("@hookimpl")[0]
    + """
from semantic_entropy import register
register("equivalence", "at-import", SameLength, "registered at import")
"""
)


def test_a_plugin_may_register_its_components_when_it_is_imported(plugin, monkeypatch):
    plugin("registers", REGISTERS)
    registry = fresh_registry()
    monkeypatch.setattr("semantic_entropy.registry.discovery._default", registry)
    assert estimate(["ab", "cd", "e"], equivalence="at-import").labels == (0, 0, 1)
    assert registry.find("equivalence", "at-import").full_name == "registers/at-import"
    assert registry.failures() == []


def test_a_plugin_that_the_user_imports_first_registers_its_components_too(plugin, monkeypatch):
    plugin("registers", REGISTERS)
    registry = fresh_registry()
    monkeypatch.setattr("semantic_entropy.registry.discovery._default", registry)
    importlib.import_module("registers")
    assert estimate(["ab", "cd", "e"], equivalence="at-import").labels == (0, 0, 1)
    assert registry.failures() == []


def test_a_plugin_that_registers_a_built_in_name_at_import_does_not_replace_the_built_in(plugin, monkeypatch):
    plugin("registers", REGISTERS.replace('"at-import"', '"math"'))
    monkeypatch.setattr("semantic_entropy.registry.discovery._default", fresh_registry())
    assert load_equivalence("math").name == "math"


def test_a_slow_import_is_named_while_it_runs_and_can_be_interrupted(plugin, monkeypatch):
    plugin("sleepy", "import stranger_signal\nstranger_signal.wait()")
    plugin("good", GOOD)
    said, messages = threading.Event(), []
    monkeypatch.setattr("semantic_entropy.registry.discovery._SLOW_IMPORT", 0.01)

    class Heard(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())
            if "sleepy" in messages[-1]:  # on a busy machine, the other plugin may be slow too
                said.set()

    def wait():
        assert said.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "stranger_signal", SimpleNamespace(wait=wait))
    handler = Heard()
    logging.getLogger("semantic_entropy").addHandler(handler)
    registry = fresh_registry()
    with pytest.raises(KeyboardInterrupt) as interrupt:
        registry.entries()
    logging.getLogger("semantic_entropy").removeHandler(handler)
    assert "still importing the plugin sleepy (sleepy)" in messages[-1]
    assert "SEMANTIC_ENTROPY_DISABLE_PLUGINS=sleepy disables it" in interrupt.value.__notes__[0]
    monkeypatch.setenv("SEMANTIC_ENTROPY_DISABLE_PLUGINS", "sleepy")
    assert registry.create("equivalence", "same-length").name == "same-length"  # discovery starts again


def test_a_missing_dependency_names_the_command_that_brings_it(plugin):
    plugin("stranger", GOOD)
    with pytest.raises(MissingDependencyError, match=r"needs moonbase: pip install 'moonbase\[all\]'"):
        fresh_registry().create("equivalence", "needs-moon")


def test_a_component_that_cannot_be_loaded_is_an_error_with_its_cause(plugin):
    plugin("stranger", GOOD)
    with pytest.raises(PluginError, match="'stranger/explodes' could not be loaded: ZeroDivisionError"):
        fresh_registry().create("equivalence", "explodes")
    with pytest.raises(PluginError, match="'stranger/quits' could not be loaded: SystemExit: 3"):
        fresh_registry().create("equivalence", "quits")


def test_a_cascade_names_all_that_its_stages_lack_before_any_is_loaded(plugin, monkeypatch):
    loud = '("torch",), extra="semantic-entropy[nli]"'
    plugin(
        "stranger",
        GOOD.replace('equal length"),', 'equal length"),\n Component("loud", lambda: 1 / 0, requires=' + loud + "),"),
    )
    monkeypatch.setattr("semantic_entropy.registry.discovery._default", fresh_registry())
    monkeypatch.setattr(
        "semantic_entropy.registry.discovery._import_problem",
        lambda module: "" if module in ("torch", "moonbase") else None,
    )
    with pytest.raises(MissingDependencyError) as error:
        load_equivalence("cascade", judges=["exact", {"judge": "loud"}, "needs-moon", "exact"])
    assert str(error.value) == (
        "equivalence 'loud' needs torch; equivalence 'needs-moon' needs moonbase: "
        f"{install_command('semantic-entropy[nli]', 'moonbase[all]')} (which torch that installs, and how to choose "
        "another: docs/install.md)"
    )


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"share": "abc"}, "share='abc' must be a number$"),
        ({"share": True}, "share=True must be a number$"),
        ({"many": "2.x"}, "many='2.x' must be a whole number or None$"),
        ({"many": 2.5}, "many=2.5 must be a whole number or None$"),
        ({"on": "False"}, "on='False' must be true or false$"),
        ({"on": 1}, "on=1 must be true or false$"),
        ({"word": None}, "word=None must be a text or a number$"),
    ],
)
def test_an_option_of_another_type_than_the_component_states_is_an_error_when_it_is_built(wrong, says):
    def judge(
        share: float = 0.5, many: int | None = None, on: bool = True, word: str | float = 1.0, parts: list[int] = ()
    ):
        return FunctionEquivalence(lambda a, b: a == b)

    register("equivalence", "typed", judge)
    with pytest.raises(OptionError, match=says):
        load_equivalence("typed", **wrong)
    load_equivalence("typed", share=1, many=np.int64(3), on=False, word="often", parts="not checked")
    load_equivalence("typed", share=np.float32(0.5), many=None, word=1)


def test_ngram_rejects_half_a_character_when_it_is_built():
    with pytest.raises(OptionError, match=r"ngram'?: n=2.5 must be a whole number"):
        load_equivalence("ngram", n=2.5)


def test_a_judge_and_a_sampler_show_themselves_by_their_options():
    assert repr(load_equivalence("ngram", n=2)) == "<ngram(n=2, threshold=0.6)>"
    assert repr(Dice()) == "<dice>"


@pytest.mark.parametrize("blocked", ["far_stranger", "x, far_stranger", "Far-Stranger", "FAR.STRANGER"])
def test_a_plugin_can_be_disabled_by_name(plugin, monkeypatch, blocked):
    plugin("far_stranger", GOOD)
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
