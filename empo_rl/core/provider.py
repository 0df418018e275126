"""EmpoProvider: groups of completions in; rewards, keep mask and advantages out (the paper, Eq. 1-3).

    B groups of G completions        RolloutGroup
      -> answers, clusters, H        ScoredGroup = RolloutGroup + Result (semantic_entropy)
      -> rewards (B*G,)              by the signal, the invalid policy and the guards
      -> keep (B,)                   delta_low < H < delta_high, and bounds of the largest share
      -> advantages (B*G,)           BatchDecision

Knows no trainer and imports no torch: TRL's adapter, or any other training loop, uses the `BatchDecision`. Advantages
are normalised over the kept rows alone, so a dropped group has no influence. Leaves out the policy loss.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.advantages import check_scale, group_advantages
from empo_rl.core.filters import EntropyUnits, EntropyWindow, ShareWindow, check_outside
from empo_rl.core.groups import RolloutGroup, check_equal_sizes
from empo_rl.core.guards import Guard, load_guards
from empo_rl.core.metrics import batch_metrics
from empo_rl.core.rewards import ScoredGroup, SignalContext, check_invalid, load_reward
from empo_rl.core.rewards.labels import Grader, grade_completions
from semantic_entropy import BatchResult, InputError, Scorer


@dataclass(frozen=True, slots=True, eq=False)
class BatchDecision:
    """The decision about B groups of G completions: rewards, keep mask, advantages, and the evidence.

    `loss_mask` is what a trainer multiplies into its loss: False for each row of a dropped group, and for the single
    rows that `invalid="drop"` or a guard takes out of a kept group. The advantages of these rows are 0.

    Attributes:
        rewards: (B*G,) group after group; nan for a row that leaves the loss.
        keep: (B,) whether the group is in the loss.
        advantages: (B*G,)
        loss_mask: (B*G,)
        entropies: (B,) in nats.
        drop_reasons: (B,) why the group is outside the bounds; None if it is inside.
        metrics: numbers of the batch for a log.
        results: (B,) the clusters and entropies of the groups.
    """

    rewards: NDArray[np.float64]
    keep: NDArray[np.bool_]
    advantages: NDArray[np.float64]
    loss_mask: NDArray[np.bool_]
    entropies: NDArray[np.float64]
    drop_reasons: tuple[str | None, ...]
    metrics: Mapping[str, float]
    results: BatchResult

    @property
    def num_groups(self) -> int:
        """B."""
        return len(self.keep)

    @property
    def num_generations(self) -> int:
        """G."""
        return len(self.rewards) // len(self.keep)


class EmpoProvider:
    """The settings of an EMPO run. `preset(name)` returns those of the paper and of its official code.

    Args:
        equivalence: the judge that decides whether two answers mean the same: a name, an instance, or a function of two
            strings.
        extract: how the answer is extracted from a completion; None uses the judge's own way.
        reward: a signal's name (`empo`, `log_share`, `majority`, `golden`, `semi_supervised`, `self_certainty`,
            `token_entropy`, `random`, `format`, `composite`, or a plugin's), a `RewardSignal` class or an instance.
        reward_options: options of a signal that is given by name.
        delta_low: the entropy of a group must be above this; applies to signals that are `windowed`.
        delta_high: the entropy of a group must be below this; applies to the same signals.
        delta_units: of both bounds: `nats`, or `normalized`, which are shares of ln G.
        max_p_low: the smallest allowed share of the largest cluster; applies to the same signals.
        max_p_high: the largest allowed share of the largest cluster; applies to the same signals.
        outside: what happens to a group outside these bounds: `drop` takes it out of the loss, `zero` sets the rewards
            of its answers to 0 and leaves it in the loss.
        invalid: what an answer that cannot be extracted is paid: `singleton_zero`, `singleton_prob`, `drop`,
            `penalty`.
        guards: rules about single completions and what these are paid, `{"copied": 0.0, "overlong": None}`, or `Guard`
            instances. None takes the completion out of the loss. If several guards flag a completion, the last counts.
        scale: what the centred rewards are divided by: `group`, `batch`, `none`.
        grader: the judge that compares answers with gold answers, given as `equivalence`; None uses `equivalence`. With
            a `scorer`, the grader must be given.
        measure_gold: whether to report the share of right answers and its correlation with the reward, for groups with
            a gold answer. This does not change the training.
        scorer: a `semantic_entropy.Scorer` to use instead of one built from `equivalence` and `extract`. The caller
            closes it.
        seed: for rewards that draw random numbers.

    Attributes:
        listeners: functions called with the groups and the decision of each training step; `MonitorCallback` adds one.
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
        delta_units: EntropyUnits = "nats",
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
        self._owns_scorer = scorer is None
        self._scorer = scorer or Scorer(equivalence=equivalence, extract=extract, invalid=_scorer_policy(self.invalid))
        if self._scorer.invalid != _scorer_policy(self.invalid):
            raise InputError(
                f"the scorer has invalid={self._scorer.invalid!r}, but invalid={self.invalid!r} needs a Scorer with "
                f"invalid={_scorer_policy(self.invalid)!r}."
            )
        if scorer is not None and grader is None and (measure_gold or self._signal.reads_gold):
            raise InputError(
                "grader=None means the provider's own judge, but here the scorer has the judge: pass grader= too, as a "
                "name, an Equivalence or a function of two strings."
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
        truncated = {"truncated"} if any(guard.name == "overlong" for guard in self.guards) else set[str]()
        return self._signal.needs | truncated

    @property
    def decides_as_one(self) -> bool:
        """Whether several processes must make one decision about the global batch to get the rewards of one process."""
        return self.scale == "batch" or self._signal.stateful or any(guard.stateful for guard in self.guards)

    def check(self, size: int) -> list[str]:
        """Notes for the user about these settings at G=size.

        Raises:
            InputError: groups of this size cannot train anything: one completion, or a window that keeps no group.
        """
        if size < 2:
            raise InputError(
                f"G={size}: the advantage of a single completion is always 0. Sample 2 or more per prompt."
            )
        return self.window.check(size) if self._signal.windowed else []

    def step(self, groups: Sequence[RolloutGroup | Sequence[str]], *, training: bool = True) -> BatchDecision:
        """Decide about one batch. All groups have the same size G.

        Args:
            groups: B groups.
            training: False for an evaluation, which does not change the state, and allows groups of one completion.

        Raises:
            InputError: groups of different sizes; in training also a G at which nothing can be learned.
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
        right = grade_completions(scored, self._context) if self.measure_gold else None
        return BatchDecision(
            rewards=rewards.ravel(),
            keep=keep,
            advantages=advantages.ravel(),
            loss_mask=in_loss.ravel(),
            entropies=np.array([result.entropy for result in results], dtype=np.float64),
            drop_reasons=reasons,
            metrics=batch_metrics(scored, rewards, reasons, keep, flags, right, seconds),
            results=results,
        )

    def state_dict(self) -> dict[str, Any]:
        """The state that a restart needs, as JSON: the random state of signals and the memory of guards."""
        return {
            "reward": self.reward,
            "signal": self._signal.state_dict(),
            "guards": {guard.name: guard.state_dict() for guard in self.guards},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state. Skips the state of another signal, and of guards that this provider does not have."""
        if state.get("reward") == self.reward:
            self._signal.load_state_dict(state["signal"])
        for guard in self.guards:
            if guard.name in state.get("guards", {}):
                guard.load_state_dict(state["guards"][guard.name])

    def close(self) -> None:
        """End the worker processes of the scorers that this provider made; a scorer that was passed in stays open."""
        if self._owns_scorer:
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
        has_questions = any(question is not None for question in questions)
        completions = [list(group.completions) for group in groups]
        return self._scorer.estimate(completions, question=questions if has_questions else None)

    def _rewards(self, scored: Sequence[ScoredGroup], size: int) -> NDArray[np.float64]:
        rewards = self._signal.rewards(scored)
        if rewards.shape != (len(scored), size):
            raise InputError(
                f"reward {self.reward!r} returned shape {rewards.shape} for {len(scored)} groups of {size}: "
                f"the shape must be ({len(scored)}, {size})."
            )
        if self.invalid == "drop":
            rewards = np.where(_invalid(scored), np.nan, rewards)
        return rewards

    def _drop_reason(self, item: ScoredGroup) -> str | None:
        if not self._signal.filtered(item):
            return None
        result = item.result
        size = result.n_valid if self.invalid == "drop" else len(result.answers)
        return self.window.drop_reason(result.entropy, size) or self.shares.drop_reason(result)

    @staticmethod
    def _zeroed(
        scored: Sequence[ScoredGroup], reasons: Sequence[str | None], flags: Mapping[str, NDArray[np.bool_]]
    ) -> NDArray[np.bool_]:
        """(B, G): answers of groups outside the bounds. Invalid and flagged answers keep their own payment."""
        outside = np.array([reason is not None for reason in reasons])[:, None]
        paid_otherwise = np.logical_or.reduce([_invalid(scored), *flags.values()])
        zeroed: NDArray[np.bool_] = outside & ~paid_otherwise
        return zeroed


def _invalid(scored: Sequence[ScoredGroup]) -> NDArray[np.bool_]:
    return np.array([[answer is None for answer in item.result.answers] for item in scored])


def _scorer_policy(invalid: str) -> Literal["drop", "separate"]:
    return "drop" if invalid == "drop" else "separate"


def _as_group(index: int, group: RolloutGroup | Sequence[str]) -> RolloutGroup:
    if isinstance(group, RolloutGroup):
        return group
    if isinstance(group, str) or not all(isinstance(completion, str) for completion in group):
        raise InputError(
            f"group {index} is {type(group).__name__} {str(group)[:60]!r}: pass a RolloutGroup or a list of strings."
        )
    return RolloutGroup(tuple(group))
