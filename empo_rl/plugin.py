"""The extension points of `empo_rl`: reward signals, filters, guards and alarms.

    kind     what it decides                                          base class
    reward   the reward of each completion                            empo_rl.RewardSignal
    filter   which groups are in the loss                             empo_rl.Filter
    guard    which completions are bad, and what they are paid        empo_rl.Guard
    alarm    when a run shows a sign that it goes wrong               empo_rl.Alarm

A component has a name. Three ways make a name known:

1. A plugin: an entry point of the group `empo_rl` names a module of the plugin. The module lists the components of the
   plugin and imports no heavy library:

       from empo_rl.plugin import Component, hookimpl

       def load():
           from my_rewards.brevity import Brevity   # imports heavy libraries only when the signal is used
           return Brevity

       @hookimpl
       def empo_rl_rewards():
           return [Component("brevity", load, "shorter completions are paid more")]

2. `register("reward", "brevity", Brevity)` registers a component in the current process only.
3. The name `my_reward.py:Brevity` is the object `Brevity` in the file `my_reward.py`. The file is executed.

The built-in components use the same entry-point group: this module is their plugin. `empo-train components` lists all
components. `empo_rl.testing` checks them.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pluggy

from semantic_entropy import InputError, PluginError, SemanticEntropyError, nearest
from semantic_entropy.plugin import Component, Registry

GROUP = "empo_rl"
Kind = Literal["reward", "filter", "guard", "alarm"]
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def empo_rl_rewards() -> Iterable[Component]:  # type: ignore[empty-body]
    """Reward signals: factories of `empo_rl.RewardSignal`. Called once, when a component is first looked up."""


@hookspec
def empo_rl_filters() -> Iterable[Component]:  # type: ignore[empty-body]
    """Filters: factories of `empo_rl.Filter`. Called once, when a component is first looked up."""


@hookspec
def empo_rl_guards() -> Iterable[Component]:  # type: ignore[empty-body]
    """Guards: factories of `empo_rl.Guard`. Called once, when a component is first looked up."""


@hookspec
def empo_rl_alarms() -> Iterable[Component]:  # type: ignore[empty-body]
    """Alarms: factories of `empo_rl.Alarm`. Called once, when a component is first looked up.

    The built-in alarms watch each run. An alarm of a plugin watches a run whose configuration names it under
    `monitor.alarms`.
    """


KINDS = {
    "reward": empo_rl_rewards,
    "filter": empo_rl_filters,
    "guard": empo_rl_guards,
    "alarm": empo_rl_alarms,
}
"""The hook of each kind of component."""

components = Registry(GROUP, KINDS)
"""All installed components, by kind and name."""

_REWARDS = (
    ("empo", "agreement", "EmpoReward", "the share of the group's answers that mean the same (EMPO)"),
    ("log_share", "agreement", "LogShareReward", "the logarithm of the reward empo: same policy gradient as -H"),
    ("majority", "agreement", "MajorityReward", "1 in the largest cluster (TTRL)"),
    ("scrl", "selected_votes", "ScrlReward", "+1 for a clear majority, -1 for rare and unsure answers (SCRL)"),
    (
        "vote_certainty",
        "vote_certainty",
        "VoteCertaintyReward",
        "votes and self-certainty, each normalised in the group",
    ),
    ("restrain", "restrained_votes", "RestrainReward", "advantages from all answers, weighted by votes (RESTRAIN)"),
    ("evol", "novelty", "EvolReward", "the sign from the majority, the size from the novelty of the text (EVOL-RL)"),
    ("golden", "labels", "GoldenReward", "1 if the answer is the gold answer (GRPO with labels)"),
    ("semi_supervised", "combined", "SemiSupervisedReward", "golden if the prompt has a gold answer, empo if not"),
    ("self_certainty", "per_completion", "SelfCertaintyReward", "mean KL from uniform to the token distributions"),
    ("token_entropy", "per_completion", "TokenEntropyReward", "minus the mean entropy of the token distributions"),
    ("random", "per_completion", "RandomReward", "0 or 1 by a fair coin: a control from which a model cannot learn"),
    ("format", "per_completion", "FormatReward", "1 if an answer can be extracted, or if a pattern is found"),
    ("composite", "combined", "CompositeReward", "a weighted sum of other signals"),
)
_FILTERS = (
    ("entropy", "EntropyWindow", "keeps a group whose semantic entropy is between two bounds (Eq. 3)"),
    ("share", "ShareWindow", "keeps a group whose largest cluster has a share between two bounds"),
    ("equal_rewards", "EqualRewardsFilter", "drops a group whose completions all have the same reward"),
)
_GUARDS = (
    ("empty", "EmptyGuard", "no answer could be extracted"),
    ("copied", "CopiedGuard", "the answer is part of the question, or shares most of its words with it"),
    ("overlong", "OverlongGuard", "the completion reached the completion length limit, or has too many words"),
    ("repetition", "RepetitionGuard", "the completion repeats itself"),
    ("concentration", "ConcentrationGuard", "many prompts share the answer of this completion"),
    ("ambiguous", "AmbiguousGuard", "the answer is neither among the most nor the least frequent of its group (DDRL)"),
)
_ALARMS = (
    ("nothing_readable", "learning_alarms", "NothingReadableAlarm", "almost no completion has an extractable answer"),
    ("cut_off", "learning_alarms", "CutOffAlarm", "almost all completions reach the completion length limit"),
    ("no_signal", "learning_alarms", "NoSignalAlarm", "no group is in the loss with two different rewards"),
    ("no_gradient", "learning_alarms", "NoGradientAlarm", "the measured gradient is zero"),
    ("no_update", "learning_alarms", "NoUpdateAlarm", "a step with a gradient changes no weight"),
    ("entropy_floor", "alarms", "EntropyFloorAlarm", "the mean semantic entropy is below a floor"),
    ("entropy_rise", "alarms", "EntropyRiseAlarm", "the mean semantic entropy rises from its lowest value"),
    ("concentration", "alarms", "ConcentrationAlarm", "too many prompts have the same main answer"),
    ("variety", "alarms", "VarietyAlarm", "the prompts have fewer different main answers than at the start"),
    ("unparsable", "alarms", "UnparsableAlarm", "the share of completions without an extractable answer has risen"),
    ("length_drift", "alarms", "LengthDriftAlarm", "completions are much shorter or longer than at the start"),
    ("step_budget", "alarms", "StepBudgetAlarm", "the run has more steps than the probe of a short run allows"),
)


@hookimpl(specname="empo_rl_rewards")
def built_in_rewards() -> list[Component]:
    """The built-in signals. The module of a signal is imported when the signal is first used."""
    return [_component(name, f"core.rewards.{module}", cls, summary) for name, module, cls, summary in _REWARDS]


@hookimpl(specname="empo_rl_filters")
def built_in_filters() -> list[Component]:
    """The built-in filters."""
    return [_component(name, "core.filters", cls, summary) for name, cls, summary in _FILTERS]


@hookimpl(specname="empo_rl_guards")
def built_in_guards() -> list[Component]:
    """The built-in guards."""
    return [_component(name, "core.guards", cls, summary) for name, cls, summary in _GUARDS]


@hookimpl(specname="empo_rl_alarms")
def built_in_alarms() -> list[Component]:
    """The built-in alarms."""
    return [_component(name, f"monitor.{module}", cls, summary) for name, module, cls, summary in _ALARMS]


def register(kind: Kind, name: str, factory: Callable[..., Any], summary: str = "") -> None:
    """Register a component under a name, in the current process only.

    Args:
        kind: `reward`, `filter`, `guard` or `alarm`.
        name: the name of the component, not empty and without a slash. The registered component takes precedence over a
            plugin's component of the same name.
        factory: a class of this kind, or a function that returns an instance. The keyword arguments of the factory are
            the options of the component.
        summary: a description of the component in one line, for lists of components.

    Raises:
        InputError: the kind does not exist, the name is not valid, or the factory is not callable.
    """
    components.register(kind, name, factory, summary)


def register_reward(name: str, factory: Callable[..., Any], summary: str = "") -> None:
    """Register a reward signal in the current process only: `register("reward", name, factory, summary)`."""
    register("reward", name, factory, summary)


def create(kind: Kind, name: str, options: Mapping[str, Any], base: type) -> Any:
    """Make a component from its name, or from a name of the form `path.py:NAME`.

    Args:
        kind: the kind of the component.
        name: the name.
        options: the options: keyword arguments of the component's factory.
        base: the base class of the kind.

    Raises:
        SemanticEntropyError: the component does not exist, cannot be loaded, or rejects the options. The message lists
            the existing names or options.
        InputError: the component is not an instance of `base`.
    """
    if is_file_reference(name):
        factory = load_from_file(name)
        if isinstance(factory, base):
            raise InputError(f"{kind} {name}: it is an instance: name its class, or a function that returns it.")
        made = make(kind, name, factory, options)
    else:
        made = components.create(kind, name, **options)
    if not isinstance(made, base):
        raise InputError(
            f"{kind} {name}: it made {made!r}, which is not an empo_rl.{base.__name__}: name a subclass of "
            f"empo_rl.{base.__name__}."
        )
    return made


def make(kind: Kind, name: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """Call the factory of a component.

    Raises:
        SemanticEntropyError: the factory raised it. An InputError: it does not accept the options. A PluginError: it
            raised another error.
    """
    try:
        return factory(**options)
    except SemanticEntropyError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"{kind} {name}: it does not accept the options {dict(options)}: {error}.") from error
    except (Exception, SystemExit) as error:
        raise PluginError(f"{kind} {name}: it could not be made: {type(error).__name__}: {error}.") from error


def check_unique_names(kind: Kind, chosen: Iterable[Any]) -> None:
    """Raise InputError if two components have one name: the numbers and the state of one would replace the other's."""
    for name, count in Counter(component.name for component in chosen).items():
        if count > 1:
            raise InputError(f"{count} components of the kind {kind} have the name {name!r}: give each its own name.")


def is_file_reference(name: str) -> bool:
    """Whether the name has the form `path.py:NAME`."""
    path, colon, _ = name.rpartition(":")
    return bool(colon) and path.endswith(".py")


def absolute_references(value: Any) -> Any:
    """A value of a configuration, with the absolute path in each `path.py:NAME`. A missing file keeps its name."""
    if isinstance(value, Mapping):
        return {absolute_references(key): absolute_references(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [absolute_references(item) for item in value]
    if not isinstance(value, str) or not is_file_reference(value):
        return value
    place, _, name = value.rpartition(":")
    path = Path(place).expanduser()
    return f"{path.resolve()}:{name}" if path.is_file() else value


def referenced_files(value: Any) -> set[Path]:
    """The files that a value of a configuration names in the form `path.py:NAME`."""
    if isinstance(value, Mapping):
        return referenced_files([*value.keys(), *value.values()])
    if isinstance(value, list | tuple):
        return set[Path]().union(*(referenced_files(item) for item in value))
    return {Path(value.rpartition(":")[0])} if isinstance(value, str) and is_file_reference(value) else set()


_OWN_PACKAGES = ("empo_rl", "semantic_entropy", "semantic_entropy_plugins")


def with_imports(files: Iterable[Path]) -> list[Path]:
    """The files, and the modules that this process has imported from their folders. Installed packages do not count."""
    files = [Path(file).resolve() for file in files]
    folders = {file.parent for file in files}
    found = set(files)
    for module in list(sys.modules.values()):
        place = getattr(module, "__file__", None)
        if not place or not Path(place).is_absolute():  # torch.ops has the file `_ops.py`
            continue
        path = Path(place).resolve()
        is_own = module.__name__.partition(".")[0] in _OWN_PACKAGES or "site-packages" in path.parts
        if folders.intersection(path.parents) and not is_own and path.is_file():
            found.add(path)
    return sorted(found)


def load_from_file(reference: str) -> Any:
    """Execute a Python file, once in a process, and return one of its objects.

    Args:
        reference: `path.py:NAME`. A relative path starts at the working directory. The file can import modules of its
            own folder, also later in a function: the folder is then the last in `sys.path`.

    Raises:
        InputError: the file does not exist or cannot be imported, or it has no object of this name that can be called.
    """
    place, _, name = reference.rpartition(":")
    path = Path(place).expanduser()
    if not path.is_file():
        raise InputError(f"{reference}: the file {place} does not exist (working directory: {Path.cwd()}).")
    module = _import_file(path.resolve())
    own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    if not hasattr(module, name):
        raise InputError(
            f"{reference}: {place} has no {name!r}.{nearest(name, own)} It has: {', '.join(own) or 'no function'}."
        )
    found = getattr(module, name)
    if not callable(found):
        raise InputError(f"{reference}: {name} is {found!r}, which cannot be called: name a function or a class.")
    return found


@functools.cache
def _import_file(path: Path) -> ModuleType:
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]  # two files can have the same name
    spec = importlib.util.spec_from_file_location(f"empo_rl_file_{path.stem}_{digest}", path)
    assert spec is not None, "the path ends with .py"
    assert spec.loader is not None, "a Python file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for their module here
    folder = str(path.parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = getattr(error, "lineno", None) or (lines[-1] if lines else "?")
        raise InputError(f"{path} cannot be imported: line {line}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that its files replace no installed module
    return module


def _component(name: str, module: str, cls: str, summary: str) -> Component:
    return Component(name, functools.partial(_load, module, cls), summary)


def _load(module: str, name: str) -> Any:
    return getattr(import_module(f"empo_rl.{module}"), name)
