"""EmpoProvider: groups of completions in, rewards, keep mask and advantages out (the paper, Eq. 1-3).

    groups -> answers, clusters, H (semantic_entropy)
           -> rewards (B*G,)  by the signal, the invalid policy and the guards
           -> keep (B,)       delta_low < H < delta_high, and bounds of the largest share
           -> advantages (B*G,)

Knows no trainer and imports no torch: TRL's adapter, or any loop of one's own, consumes the `BatchDecision`.
Advantages are normalised among the kept rows alone, so a dropped group influences nothing. Leaves out the
policy loss.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from empo_rl.core import metrics as measurements
from empo_rl.core.advantages import check_scale, group_advantages
from empo_rl.core.decision import BatchDecision
from empo_rl.core.filters import EntropyWindow, ShareWindow, Units, check_outside
from empo_rl.core.grading import Grader
from empo_rl.core.groups import RolloutGroup, check_equal_sizes
from empo_rl.core.guards import Guard, load_guards
from empo_rl.core.rewards import ScoredGroup, SignalContext, check_invalid, load_reward
from empo_rl.core.rewards.labels import graded
from semantic_entropy import BatchResult, InputError, Scorer


class EmpoProvider:
    """The choices of an EMPO run, made once. `preset(name)` has those of the paper and of its official code.

    Args:
        equivalence: when two answers mean the same: a name, an instance, or a function of two strings.
        extract: how an answer is found in a completion; None is the equivalence's own way.
        reward: a signal's name (`empo`, `log_share`, `majority`, `golden`, `semi_supervised`, `self_certainty`,
            `token_entropy`, `random`, `format`, `composite`, or a plugin's), a `RewardSignal` class or an instance.
        reward_options: of the signal, where it is given by name.
        delta_low: the entropy that a group must exceed; applies to signals that are `windowed`.
        delta_high: the entropy that it must stay under; likewise.
        delta_units: of both: `nats`, or `normalized`, shares of ln G.
        max_p_low: the least that the largest cluster's share may be; applies where the window does.
        max_p_high: the most that it may be; likewise.
        outside: what a group outside these bounds becomes: `drop` takes it out of the loss, `zero` sets the rewards of
            its answers to 0 and leaves it in.
        invalid: what an answer that cannot be extracted is worth: `singleton_zero`, `singleton_prob`, `drop`,
            `penalty`.
        guards: rules about single completions and what they pay, `{"copied": 0.0, "overlong": None}`, or `Guard`
            instances. None pays nothing: the row leaves the loss. Of several the last counts.
        scale: what centred rewards are divided by: `group`, `batch`, `none`.
        grader: what compares answers with gold answers, as `equivalence`; None: the equivalence, so where a `scorer` is
            given, say which.
        measure_gold: report how many answers are right, and how the reward correlates with it, where groups have a gold
            answer. Nothing is trained on it.
        scorer: a `semantic_entropy.Scorer` to use instead of one built from `equivalence` and `extract`; the caller
            closes it.
        seed: of rewards that draw.

    Attributes:
        listeners: called with the groups and the decision of every training step; a monitor is one.
    """

    def __init__(
        self,
        equivalence: Any = "math",
        *,
        extract: str | Callable[[str], str | None] | None = None,
        reward: Any = "empo",
        reward_options: Mapping[str, Any] | None = None,
        delta_low: float = 0.0,
        delta_high: float = math.inf,
        delta_units: Units = "nats",
        max_p_low: float = 0.0,
        max_p_high: float = 1.0,
        outside: str = "drop",
        invalid: str = "singleton_zero",
        guards: Mapping[str, Any] | Sequence[Guard] = (),
        scale: str = "group",
        grader: Any = None,
        measure_gold: bool = False,
        scorer: Scorer | None = None,
        seed: int = 0,
    ) -> None:
        self.invalid = check_invalid(invalid)
        self.scale = check_scale(scale)
        self.window = EntropyWindow(delta_low, delta_high, delta_units)
        self.shares = ShareWindow(max_p_low, max_p_high)
        self.outside = check_outside(outside)
        self.guards = load_guards(guards)
        self.measure_gold = measure_gold
        self.listeners: list[Callable[[Sequence[RolloutGroup], BatchDecision], None]] = []
        self._signal = load_reward(reward, reward_options)
        self._scorer_is_ours = scorer is None
        self._scorer = scorer or Scorer(equivalence=equivalence, extract=extract, invalid=_scorer_policy(self.invalid))
        if self._scorer.invalid != _scorer_policy(self.invalid):
            raise InputError(
                f"the scorer has invalid={self._scorer.invalid!r}, and invalid={self.invalid!r} needs a Scorer with "
                f"invalid={_scorer_policy(self.invalid)!r}."
            )
        if scorer is not None and grader is None and (measure_gold or self._signal.reads_gold):
            raise InputError(
                "grader=None means the equivalence, which a scorer of your own holds: give grader= too, a name, an "
                "Equivalence or a function of two strings."
            )
        self._grader = Grader(equivalence if grader is None else grader)
        self._context = SignalContext(self.invalid, seed, self._grader.match)
        self._signal.bind(self._context)

    @property
    def reward(self) -> str:
        """The name of the reward signal."""
        return self._signal.name

    @property
    def needs(self) -> frozenset[str]:
        """The keys of `RolloutGroup.measures` that this provider reads."""
        cut = {"truncated"} if any(guard.name == "overlong" for guard in self.guards) else set[str]()
        return self._signal.needs | cut

    @property
    def decides_as_one(self) -> bool:
        """Whether several processes must decide about the global batch as one to pay what one process would."""
        return self.scale == "batch" or self._signal.stateful or any(guard.stateful for guard in self.guards)

    def check(self, size: int) -> list[str]:
        """What a user should know about these choices at G=size.

        Raises:
            InputError: groups of this size could train nothing: a group of one, or a window that keeps none.
        """
        if size < 2:
            raise InputError(
                f"G={size}: a completion alone agrees with nobody, and its advantage is 0. Sample 2 or more a prompt."
            )
        return self.window.check(size) if self._signal.windowed else []

    def step(self, groups: Sequence[RolloutGroup | Sequence[str]], *, training: bool = True) -> BatchDecision:
        """Decide about one batch. All groups have the same size G.

        Args:
            groups: B of them.
            training: False for an evaluation, which leaves no trace in the state, and where a group may hold one
                completion.

        Raises:
            InputError: groups of different sizes; and in training a G at which nothing can be learned.
        """
        rollouts = [_as_group(index, group) for index, group in enumerate(groups)]
        size = check_equal_sizes(rollouts)
        if training:
            self.check(size)
            decision = self._decide(rollouts, size)
            for listener in self.listeners:
                listener(rollouts, decision)
            return decision
        before = self.state_dict()
        try:
            return self._decide(rollouts, size)
        finally:
            self.load_state_dict(before)

    def _decide(self, rollouts: Sequence[RolloutGroup], size: int) -> BatchDecision:
        started = time.perf_counter()
        results = self._score(rollouts)
        scored = [ScoredGroup(group, result) for group, result in zip(rollouts, results, strict=True)]
        rewards = self._rewards(scored, size)
        flags = {guard.name: np.array(guard.flags(scored), dtype=np.bool_) for guard in self.guards}
        for guard in self.guards:
            rewards = np.where(flags[guard.name], np.nan if guard.pays is None else guard.pays, rewards)
        reasons = tuple(self._drop_reason(item) for item in scored)
        if self.outside == "zero":
            rewards = np.where(self._zeroed(scored, reasons, flags), 0.0, rewards)
        seconds = time.perf_counter() - started
        keep = np.array([reason is None or self.outside == "zero" for reason in reasons], dtype=np.bool_)
        in_loss = keep[:, None] & ~np.isnan(rewards)
        advantages = group_advantages(np.where(in_loss, rewards, np.nan), self.scale)
        right = graded(scored, self._context) if self.measure_gold else None
        return BatchDecision(
            rewards=rewards.ravel(),
            keep=keep,
            advantages=advantages.ravel(),
            loss_mask=in_loss.ravel(),
            entropies=np.array([result.entropy for result in results], dtype=np.float64),
            drop_reasons=reasons,
            metrics=measurements.of_batch(scored, rewards, reasons, keep, flags, right, seconds),
            results=results,
        )

    def state_dict(self) -> dict[str, Any]:
        """What must survive a restart, as JSON has it: the dice of signals that draw, and what guards have seen."""
        return {
            "reward": self.reward,
            "signal": self._signal.state_dict(),
            "guards": {guard.name: guard.state_dict() for guard in self.guards},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there. What belongs to another signal, or to a guard that is no longer there, is left."""
        if state.get("reward") == self.reward:
            self._signal.load_state_dict(state["signal"])
        for guard in self.guards:
            if guard.name in state.get("guards", {}):
                guard.load_state_dict(state["guards"][guard.name])

    def close(self) -> None:
        """End the worker processes of the scorers this provider made; one that was passed in stays open."""
        if self._scorer_is_ours:
            self._scorer.close()
        self._grader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _score(self, groups: Sequence[RolloutGroup]) -> BatchResult:
        questions = [group.question for group in groups]
        asked = questions if any(question is not None for question in questions) else None
        return self._scorer.estimate([list(group.completions) for group in groups], question=asked)

    def _rewards(self, scored: Sequence[ScoredGroup], size: int) -> NDArray[np.float64]:
        rewards = self._signal.rewards(scored)
        if rewards.shape != (len(scored), size):
            raise InputError(
                f"reward {self.reward!r} returned shape {rewards.shape} for {len(scored)} groups of {size}: "
                f"expected ({len(scored)}, {size})."
            )
        if self.invalid == "drop":
            rewards = np.where(_invalid(scored), np.nan, rewards)
        return rewards

    def _drop_reason(self, item: ScoredGroup) -> str | None:
        if not self._signal.filtered(item):
            return None
        result = item.result
        counted = result.n_valid if self.invalid == "drop" else len(result.answers)
        return self.window.drop_reason(result.entropy, counted) or self.shares.drop_reason(result)

    @staticmethod
    def _zeroed(
        scored: Sequence[ScoredGroup], reasons: Sequence[str | None], flags: Mapping[str, NDArray[np.bool_]]
    ) -> NDArray[np.bool_]:
        """(B, G): answers of groups outside the bounds; what was unreadable or guarded keeps what that pays."""
        outside = np.array([reason is not None for reason in reasons])[:, None]
        spoken_for = _invalid(scored)
        for flagged in flags.values():
            spoken_for = spoken_for | flagged
        return outside & ~spoken_for


def _invalid(scored: Sequence[ScoredGroup]) -> NDArray[np.bool_]:
    return np.array([[answer is None for answer in item.result.answers] for item in scored])


def _scorer_policy(invalid: str) -> Literal["drop", "separate"]:
    return "drop" if invalid == "drop" else "separate"


def _as_group(index: int, group: RolloutGroup | Sequence[str]) -> RolloutGroup:
    if isinstance(group, RolloutGroup):
        return group
    if isinstance(group, str) or not all(isinstance(completion, str) for completion in group):
        raise InputError(
            f"group {index} is {type(group).__name__} {str(group)[:60]!r}: give a RolloutGroup or a list of strings."
        )
    return RolloutGroup(tuple(group))
