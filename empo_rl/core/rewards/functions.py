"""A plain function as a reward signal, for example `empo.reward: my_reward.py:brevity`.

    def brevity(completions):
        return [-len(text) for text in completions]

The function is called once for each group. It returns G numbers, one for each completion; None takes a completion out
of the loss. The function gets the arguments that it names:

    completions     (G,) the texts                          question   the question, or None
    answers         (G,) the extracted answers, or None     gold       the gold answer, or None
    labels          (G,) the numbers of the clusters        entropy    the semantic entropy in nats
    tokens, truncated, token_entropy, self_certainty        (G,) the measures of `RolloutGroup`

All other arguments are options (`empo.reward_options`). A function that names `gold` needs gold answers. A function
with `**arguments` gets completions, answers, labels, question, gold and entropy. The filters of the provider do not
apply (`windowed` is False); a `RewardSignal` class can set this.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.rewards.base import RewardSignal, ScoredGroup, by_group
from semantic_entropy import InputError, nearest

_FACTS: Mapping[str, Callable[[ScoredGroup], Any]] = {
    "completions": lambda item: list(item.group.completions),
    "answers": lambda item: list(item.result.answers),
    "labels": lambda item: list(item.result.labels),
    "question": lambda item: item.group.question,
    "gold": lambda item: item.group.gold,
    "entropy": lambda item: item.result.entropy,
}
_MEASURES = ("tokens", "truncated", "token_entropy", "self_certainty")
ARGUMENTS = (*_FACTS, *_MEASURES)
"""The arguments that a reward function can name."""


class FunctionReward(RewardSignal):
    """Pays what a function returns for each group.

    Args:
        function: the function.
        options: keyword arguments that are passed in each call.
        name: the name of the signal in log columns; None: the name of the function.

    Raises:
        InputError: the function needs an argument that does not exist, or does not accept an option.
    """

    abstains = True  # the function returns None for no reward

    def __init__(
        self, function: Callable[..., Any], options: Mapping[str, Any] | None = None, name: str | None = None
    ) -> None:
        self.name = name or str(getattr(function, "__name__", type(function).__name__))
        self._function, self._options = function, dict(options or {})
        self._arguments = self._chosen_arguments()
        self.needs = frozenset(self._arguments) & frozenset(_MEASURES)
        self.reads_gold = "gold" in inspect.signature(function).parameters
        self.reads_clusters = bool({"labels", "entropy"} & set(self._arguments))
        self.reads_answers = self.reads_clusters or "answers" in self._arguments

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return by_group(scored, self._pay)

    def _chosen_arguments(self) -> tuple[str, ...]:
        if inspect.iscoroutinefunction(self._function):
            raise InputError(f"reward function {self.name}: it is async. Write a function without async.")
        parameters = inspect.signature(self._function).parameters
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        named = {
            name: parameter
            for name, parameter in parameters.items()
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        }
        for name, parameter in named.items():
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise InputError(f"reward function {self.name}: {name} is positional-only. Remove the slash after it.")
            if name not in ARGUMENTS and name not in self._options and parameter.default is parameter.empty:
                raise InputError(
                    f"reward function {self.name}: it needs the argument {name!r}, which a reward does not get."
                    f"{nearest(name, ARGUMENTS)} It can name: {', '.join(ARGUMENTS)}. All other arguments are options: "
                    "give a default, or set empo.reward_options."
                )
        for option in self._options:
            if option in ARGUMENTS or (option not in named and not takes_any):
                own = [name for name in named if name not in ARGUMENTS]
                raise InputError(
                    f"reward function {self.name}: it has no option {option!r}.{nearest(option, own)} Its options: "
                    f"{', '.join(own) or 'none'}."
                )
        return tuple(name for name in ARGUMENTS if name in named or (takes_any and name in _FACTS))

    def _pay(self, item: ScoredGroup) -> list[float]:
        size = len(item.group.completions)
        given = {
            name: _FACTS[name](item) if name in _FACTS else list(item.group.measured(name, f"reward {self.name}"))
            for name in self._arguments
        }
        try:
            paid = self._function(**given, **self._options)
        except (Exception, SystemExit) as error:  # sys.exit(0) would end the run as if it were complete
            raise InputError(
                f"reward function {self.name} failed with {type(error).__name__}: {error} "
                f"(question: {str(item.group.question)[:80]!r})."
            ) from error
        if isinstance(paid, str) or not hasattr(paid, "__len__"):
            raise InputError(
                f"reward function {self.name} returned {paid!r}: return a list of {size} numbers, one for each "
                "completion."
            )
        if len(paid) != size:
            raise InputError(f"reward function {self.name} returned {len(paid)} numbers for {size} completions.")
        return [self._number(value) for value in paid]

    def _number(self, value: Any) -> float:
        if value is None:
            return math.nan
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise InputError(f"reward function {self.name} returned {value!r}, which is not a number.") from error
        if not math.isfinite(number):
            raise InputError(
                f"reward function {self.name} returned {number}: a reward must be finite; return None for no reward."
            )
        return number
