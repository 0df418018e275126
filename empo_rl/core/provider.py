"""EmpoProvider computes rewards, a keep mask and advantages from groups of completions (the paper, Eq. 1-3).

    B groups of G completions        RolloutGroup; G can differ by group
      -> answers, clusters, H        ScoredGroup = RolloutGroup + Result (semantic_entropy)
      -> rewards (N,)                from the signal, the policy for invalid answers and the guards
      -> keep (B,)                   delta_low < H < delta_high, and bounds of the share of the largest cluster
      -> advantages (N,)             BatchDecision

This module imports neither a trainer nor torch: `EmpoGRPOTrainer`, or any other training loop, uses the
`BatchDecision`. Advantages are normalised over the kept rows only, so a dropped group has no influence. This module
does not compute the policy loss.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from empo_rl.core import contracts
from empo_rl.core.advantages import check_scale, group_advantages
from empo_rl.core.decision import BatchDecision
from empo_rl.core.filters import (
    DROPPED_NO_REWARD,
    EntropyUnits,
    EntropyWindow,
    Filter,
    ShareWindow,
    check_outside,
    load_filters,
)
from empo_rl.core.groups import RolloutGroup, as_group, check_sizes
from empo_rl.core.guards import Guard, load_guards
from empo_rl.core.metrics import BatchNumbers, question_numbers
from empo_rl.core.rewards import ScoredGroup, SignalContext, check_invalid, load_reward
from empo_rl.core.rewards.base import GoldPair, invalid_answers, scorer_policy
from empo_rl.core.rewards.labels import Grader, grade_completions
from semantic_entropy import BatchResult, Clusterer, Equivalence, InputError, Scorer, load_equivalence


class EmpoProvider:
    """Computes rewards, a keep mask and advantages for each batch of an EMPO run.

    `preset(name)` returns the arguments for the settings of the paper or of its official code.

    Args:
        equivalence: the judge that decides whether two answers mean the same: a name, an instance, or a function of two
            strings.
        equivalence_options: the options of the judge, if `equivalence` is a name.
        extract: how the answer is extracted from a completion: a name or a function; None uses the default of the
            judge.
        reward: a signal's name (`empo`, `majority`, `golden`, ...; `empo-train components` lists all), `path.py:NAME`,
            a function (see `empo_rl.core.rewards.functions`), a `RewardSignal` class or an instance.
        reward_options: the options of the signal, if `reward` is a name or a class.
        delta_low: the lower bound of the entropy of a group, exclusive. All four bounds apply only to signals with
            `windowed = True`.
        delta_high: the upper bound of the entropy of a group, exclusive.
        delta_units: the unit of delta_low and delta_high: `nats`, or `normalized` for shares of ln G.
        max_p_low: the smallest allowed share of the largest cluster.
        max_p_high: the largest allowed share of the largest cluster.
        filters: more filters, which apply to every group: their options by name, `{"equal_rewards": {}}`, or `Filter`
            instances.
        outside: what happens to a group outside these bounds: `drop` takes the group out of the loss, `zero` sets the
            rewards of its answers to 0 and leaves the group in the loss.
        invalid: the payment of an invalid answer (an answer that cannot be extracted): `singleton_zero`,
            `singleton_prob`, `drop`, `penalty`.
        guards: the payment of flagged completions by the name of the guard, `{"copied": 0.0, "overlong": None}`, or
            `Guard` instances. The payment None takes the completion out of the loss. If several guards flag a
            completion, the payment of the last guard applies.
        scale: how advantages are made from rewards: `group`, `batch`, `none`, `fixed` (see `empo_rl.core.advantages`).
        grader: the judge that compares answers with gold answers: a name, an instance, or a function of two strings.
            None uses the judge that clusters. A judge that clusters and grades is loaded once.
        grader_options: the options of the grader, if `grader` is a name.
        measure_entropy: whether the judge clusters the answers even if the signal and the guards need no clusters. If
            False, `golden`, `format`, `random` and the token signals compare no answers with each other: the entropy
            is nan and not in the metrics.
        measure_gold: whether to report the share of right answers, and the correlation of right answers with the
            rewards, for groups with a gold answer. The report does not change the training.
        scorer: a `semantic_entropy.Scorer`, which replaces `equivalence` and `extract`. The caller closes the scorer.
        seed: the seed of signals that draw random numbers.

    Attributes:
        clusters: whether the judge clusters the answers of each group.
        listeners: functions. The provider calls each function with the groups and the decision of each training step;
            `MonitorCallback` adds a function.
    """

    def __init__(
        self,
        equivalence: Any = "math",
        *,
        equivalence_options: Mapping[str, Any] | None = None,
        extract: str | Callable[[str], str | None] | None = None,
        reward: Any = "empo",
        reward_options: Mapping[str, Any] | None = None,
        delta_low: float = 0.0,
        delta_high: float = math.inf,
        delta_units: EntropyUnits = "nats",
        max_p_low: float = 0.0,
        max_p_high: float = 1.0,
        filters: Mapping[str, Any] | Sequence[Filter] = (),
        outside: str = "drop",
        invalid: str = "singleton_zero",
        guards: Mapping[str, Any] | Sequence[Guard] = (),
        scale: str = "group",
        grader: Any = None,
        grader_options: Mapping[str, Any] | None = None,
        measure_entropy: bool = False,
        measure_gold: bool = False,
        scorer: Scorer | None = None,
        seed: int = 0,
    ) -> None:
        self.invalid = check_invalid(invalid)
        self.scale = check_scale(scale)
        self.window = EntropyWindow(delta_low, delta_high, delta_units)
        self.shares = ShareWindow(max_p_low, max_p_high)
        self.filters = load_filters(filters)
        self.outside = check_outside(outside)
        self.guards = load_guards(guards)
        self.measure_gold = measure_gold
        self.listeners: list[Callable[[Sequence[RolloutGroup], BatchDecision], None]] = []
        self._signal = load_reward(reward, reward_options)
        self._owns_scorer = scorer is None
        self._judges: list[Equivalence] = []
        if scorer is None:
            if (grader, grader_options or {}) == (equivalence, equivalence_options or {}):
                grader, grader_options = None, None  # one judge clusters and grades
            equivalence = self._judge("equivalence", equivalence, equivalence_options)
        elif equivalence_options:
            raise InputError(
                "equivalence_options has no effect, because the given scorer contains its judge. Remove it."
            )
        policy = scorer_policy(self.invalid)
        # long=False: a reward compares whole completions, and never reads their sentences
        self._scorer = scorer or Scorer(equivalence=equivalence, extract=extract, invalid=policy, long=False)
        if self._scorer.invalid != scorer_policy(self.invalid):
            raise InputError(
                f"the given scorer has invalid={self._scorer.invalid!r}, but this provider has "
                f"invalid={self.invalid!r}, which needs invalid={scorer_policy(self.invalid)!r}. Create the scorer "
                f"with Scorer(invalid={scorer_policy(self.invalid)!r})."
            )
        self.clusters = (
            measure_entropy
            or self._signal.reads_clusters
            or self._signal.windowed
            or any(guard.reads_clusters for guard in self.guards)
            or any(chosen.reads_clusters for chosen in self.filters)
        )
        self._reader = self._scorer if self.clusters else self._scorer.derive(clusterer=_NoComparison())
        self._grader_choice = self._judge("grader", grader, grader_options)
        self._context = SignalContext(self.invalid, seed, self._match)
        contracts.bind_signal(self._signal, self._context, self.scale)
        if measure_gold or self._signal.reads_gold:
            _ = self.grader  # load its judge now, and not in the first training step

    @property
    def reward(self) -> str:
        """The name of the reward signal."""
        return self._signal.name

    @property
    def reads_answers(self) -> bool:
        """Whether the reward of a completion depends on an extracted answer."""
        removes_invalid = self.invalid == "drop" or any(guard.name == "empty" for guard in self.guards)
        return self._signal.reads_answers or removes_invalid

    @cached_property
    def grader(self) -> Grader:
        """Compares answers with gold answers. Its judge is loaded on first use, unless gold answers are read."""
        return Grader(self._scorer, self._grader_choice)

    @property
    def needs(self) -> frozenset[str]:
        """The keys of `RolloutGroup.measures` that this provider reads."""
        truncated = {"truncated"} if any(guard.name == "overlong" for guard in self.guards) else set[str]()
        return self._signal.needs | truncated

    @property
    def decides_as_one(self) -> bool:
        """Whether several processes must make one decision about the global batch.

        Without this decision, the rewards or advantages would depend on the number of processes.
        """
        remembers = any(guard.stateful for guard in self.guards) or any(chosen.stateful for chosen in self.filters)
        return self.scale == "batch" or self._signal.stateful or remembers

    def check(self, size: int) -> list[str]:
        """Return notes for the user about these settings at G=size.

        Raises:
            InputError: a group of this size has only one completion, or the entropy window keeps no group of this size.
        """
        if size < 2:
            raise InputError(
                f"G={size}: the advantage of a single completion is always 0. Sample at least 2 completions per prompt."
            )
        notes = self.window.check(size) if self._signal.windowed else []
        return [*notes, *self._signal.check(size), *(note for chosen in self.filters for note in chosen.check(size))]

    def step(self, groups: Sequence[RolloutGroup | Sequence[str]], *, training: bool = True) -> BatchDecision:
        """Decide about one batch.

        Args:
            groups: B groups. Their sizes can differ; the mean and std of `scale="batch"` are those of all rows.
            training: False for an evaluation. An evaluation does not change the state of the provider, and allows
                groups of one completion.

        Raises:
            InputError: there is no group, or an empty group; in training also if a group has one completion, or if
                `check(G)` fails for the size G of the largest group. A smaller group, of which completions failed, may
                have no entropy inside the window: it is dropped.
        """
        rollouts = [as_group(index, group) for index, group in enumerate(groups)]
        sizes = check_sizes(rollouts)
        if training:
            if sizes.min() < 2:
                self.check(int(sizes.min()))
            self.check(int(sizes.max()))
            decision = self._decide(rollouts, sizes)
            for listener in self.listeners:
                listener(rollouts, decision)
            return decision
        before = self.state_dict()
        try:
            return self._decide(rollouts, sizes)
        finally:
            self.load_state_dict(before)

    def measure_answers(self, groups: Sequence[RolloutGroup]) -> list[dict[str, float]]:
        """Return the numbers of an evaluation, one dict for each group (`question_numbers`). No state changes."""
        results = self._estimate(self._scorer, groups)
        scored = [ScoredGroup(group, result) for group, result in zip(groups, results, strict=True)]
        return question_numbers(scored, grade_completions(scored, self._context))

    def _decide(self, rollouts: Sequence[RolloutGroup], sizes: NDArray[np.intp]) -> BatchDecision:
        started = time.perf_counter()
        results = self._score(rollouts)
        scored = [ScoredGroup(group, result) for group, result in zip(rollouts, results, strict=True)]
        rewards = self._rewards(scored)
        flags = {guard.name: contracts.compute_flags(guard, scored) for guard in self.guards}
        for guard in self.guards:
            rewards = np.where(flags[guard.name], np.nan if guard.pays is None else guard.pays, rewards)
        reasons, filtered = self._drop_reasons(scored, rewards)
        if self.outside == "zero":
            rewards = np.where(self._zeroed(scored, reasons, flags), 0.0, rewards)
        seconds = time.perf_counter() - started
        exists = np.arange(sizes.max()) < sizes[:, None]  # (B, G) with G of the largest group; else padding
        rewards = np.where(exists, rewards, np.nan)
        has_reward = ~np.isnan(rewards)
        inside = np.array([reason is None or self.outside == "zero" for reason in reasons], dtype=np.bool_)
        keep = inside & has_reward.any(axis=1)
        reasons = [DROPPED_NO_REWARD if i and not k else r for r, i, k in zip(reasons, inside, keep, strict=True)]
        in_loss = keep[:, None] & has_reward
        advantages = group_advantages(np.where(in_loss, rewards, np.nan), self.scale)
        right = grade_completions(scored, self._context) if self.measure_gold else None
        numbers = BatchNumbers.of(
            scored, rewards, reasons, keep, flags, filtered, right, clustered=self.clusters, seconds=seconds
        )
        return BatchDecision(
            rewards=rewards[exists],
            keep=keep,
            advantages=advantages[exists],
            loss_mask=in_loss[exists],
            entropies=np.array([result.entropy for result in results], dtype=np.float64),
            drop_reasons=tuple(reasons),
            metrics=numbers.metrics(),
            group_sizes=sizes,
            results=results,
            numbers=numbers,
            reads_answers=self.reads_answers,
            reads_gold=self._signal.reads_gold,
        )

    def state_dict(self) -> dict[str, Any]:
        """The state that a restart needs, as JSON: the random state of signals and the memory of guards."""
        return {
            "reward": self.reward,
            "signal": contracts.component_state("reward", self._signal),
            "guards": {guard.name: contracts.component_state("guard", guard) for guard in self.guards},
            "filters": {chosen.name: contracts.component_state("filter", chosen) for chosen in self.filters},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from this state. Ignores the state of another signal, and of unused guards and filters."""
        if state.get("reward") == self.reward:
            self._signal.load_state_dict(state["signal"])
        kinds: tuple[tuple[str, Sequence[Guard | Filter]], ...] = (("guards", self.guards), ("filters", self.filters))
        for kind, used in kinds:
            for component in used:
                if component.name in state.get(kind, {}):
                    component.load_state_dict(state[kind][component.name])

    def close(self) -> None:
        """End the worker processes of the judges that this provider loaded. A scorer from the caller stays open."""
        self._signal.close()
        if self._owns_scorer:
            self._scorer.close()
        for judge in self._judges:
            judge.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _judge(self, argument: str, judge: Any, options: Mapping[str, Any] | None) -> Any:
        """The judge of an argument. With options, the judge is loaded here, and `close` closes it."""
        if not options:
            return judge
        if not isinstance(judge, str):
            raise InputError(
                f"{argument}_options={dict(options)!r} needs {argument} as the name of a judge, and {argument} is "
                f"{judge!r}. Pass the options to the judge itself."
            )
        self._judges.append(load_equivalence(judge, **options))
        return self._judges[-1]

    def _match(self, pairs: Sequence[GoldPair]) -> Sequence[bool]:
        return self.grader.match(pairs)

    @staticmethod
    def _estimate(scorer: Scorer, groups: Sequence[RolloutGroup]) -> BatchResult:
        questions = [group.question for group in groups]
        known = questions if any(question is not None for question in questions) else None
        return scorer.estimate([list(group.completions) for group in groups], question=known)

    def _score(self, groups: Sequence[RolloutGroup]) -> BatchResult:
        results = self._estimate(self._reader, groups)
        if self.clusters:
            return results
        return BatchResult([replace(result, entropy=math.nan, normalized=math.nan, scores={}) for result in results])

    def _rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        rewards = contracts.compute_rewards(self._signal, scored)
        return np.where(invalid_answers(scored), np.nan, rewards) if self.invalid == "drop" else rewards

    def _drop_reasons(
        self, scored: Sequence[ScoredGroup], rewards: NDArray[np.float64]
    ) -> tuple[list[str | None], dict[str, NDArray[np.bool_]]]:
        """(B,) the reason why each group is outside; for each filter in `filters`, (B,) whether it drops the group."""
        reasons = [self._drop_reason(item) for item in scored]
        filtered = {}
        for chosen in self.filters:
            found = contracts.compute_drop_reasons(chosen, scored, rewards)
            filtered[chosen.name] = np.array([reason is not None for reason in found], dtype=np.bool_)
            reasons = [earlier or reason for earlier, reason in zip(reasons, found, strict=True)]
        return reasons, filtered

    def _drop_reason(self, item: ScoredGroup) -> str | None:
        if not contracts.is_filtered(self._signal, item):
            return None
        result = item.result
        size = result.n_valid if self.invalid == "drop" else len(result.answers)
        return self.window.drop_reason(result.entropy, size) or self.shares.drop_reason(result)

    @staticmethod
    def _zeroed(
        scored: Sequence[ScoredGroup], reasons: Sequence[str | None], flags: Mapping[str, NDArray[np.bool_]]
    ) -> NDArray[np.bool_]:
        """(B, G): whether the reward becomes 0, because the group is outside the bounds.

        The payments of invalid and flagged answers stay.
        """
        outside = np.array([reason is not None for reason in reasons])[:, None]
        paid_otherwise = np.logical_or.reduce([invalid_answers(scored), *flags.values()])
        zeroed: NDArray[np.bool_] = outside & ~paid_otherwise
        return zeroed


class _NoComparison(Clusterer):
    """Asks for no pair: the judge reads the answers, and only answers with equal keys share a cluster."""

    name = "no comparison"

    def flow(self, size: int) -> Generator[list[tuple[int, int]], list[bool], list[int]]:
        yield []
        return list(range(size))
