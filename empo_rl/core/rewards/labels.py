"""Signals that read gold answers: `golden` for all prompts, `semi_supervised` for those that have one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.rewards.base import RewardSignal, ScoredGroup, SignalContext, load_reward
from semantic_entropy import InputError


class GoldenReward(RewardSignal):
    """1 where the answer means the same as the gold answer."""

    name = "golden"
    reads_gold = True

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        for index, item in enumerate(scored):
            if item.group.gold is None:
                raise InputError(
                    f"reward='golden' needs a gold answer and group {index} has none (question: "
                    f"{item.group.question!r}). Give RolloutGroup(gold=...), or use reward='empo', "
                    "which needs no labels, or 'semi_supervised', which uses those that are there."
                )
        return graded(scored, self.context)


class SemiSupervisedReward(RewardSignal):
    """`labelled` for prompts with a gold answer, `unlabelled` for the rest: both kinds in one run.

    The paper leaves this setting as future work. Advantages are normalised in each group, so that the two scales of
    reward never meet, except under `scale="none"` or `"batch"`.

    Args:
        labelled: name of the signal for groups with a gold answer.
        unlabelled: name of the signal for the others; the filters apply to them where it is filtered.
    """

    name = "semi_supervised"
    reads_gold = True

    def __init__(self, labelled: str = "golden", unlabelled: str = "empo") -> None:
        self._parts = {True: load_reward(labelled), False: load_reward(unlabelled)}
        self.needs = self._parts[True].needs | self._parts[False].needs
        self.windowed = self._parts[False].windowed
        self.stateful = any(part.stateful for part in self._parts.values())

    def bind(self, context: SignalContext) -> None:
        super().bind(context)
        for part in self._parts.values():
            part.bind(context)

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        paid = np.empty((len(scored), len(scored[0].group.completions)))
        for labelled, part in self._parts.items():
            places = [place for place, item in enumerate(scored) if (item.group.gold is not None) == labelled]
            if places:
                paid[places] = part.rewards([scored[place] for place in places])
        return paid

    def filtered(self, item: ScoredGroup) -> bool:
        return self._parts[item.group.gold is not None].filtered(item)

    def state_dict(self) -> dict[str, Any]:
        return {key: part.state_dict() for key, part in self._by_key().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        parts = self._by_key()
        for key in parts.keys() & state.keys():  # a part that is another one since has nothing to load
            parts[key].load_state_dict(state[key])

    def _by_key(self) -> dict[str, RewardSignal]:
        return {
            f"{'labelled' if labelled else 'unlabelled'} {part.name}": part for labelled, part in self._parts.items()
        }


def graded(scored: Sequence[ScoredGroup], context: SignalContext) -> NDArray[np.float64]:
    """(B, G): 1 where the answer means the same as the gold answer, else 0; nan in groups without one."""
    rows = [[(item.group.question, answer, item.group.gold) for answer in item.result.answers] for item in scored]
    asked = sorted({(q, a, g) for row in rows for q, a, g in row if a is not None and g is not None}, key=repr)
    right = {pair for pair, same in zip(asked, context.match(asked), strict=True) if same}
    return np.array([[np.nan if pair[2] is None else float(pair in right) for pair in row] for row in rows])
