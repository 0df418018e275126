"""The paper's baseline online DPO, on TRL's own trainer.

`OnlineDPOTrainer` lives in `trl.experimental`: its name and behaviour may change with any release of TRL. It draws two
completions a prompt, takes the one with the higher reward as the better, and where both have the same reward the first.
The reward is whether the answer is right, as in the Online-DPO-R1 setting, so pairs with two right or two wrong answers
are such ties: `pairs/tied` says how many. They push the first draw against the second, which is noise without a
direction; Online-DPO-R1 itself leaves such pairs out. Leaves out more than two completions a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trl.experimental.online_dpo import OnlineDPOTrainer

from empo_rl.core.provider import EmpoProvider
from empo_rl.trainers.trl.distributed import decide
from empo_rl.trainers.trl.rollouts import Rows
from empo_rl.trainers.trl.step_costs import Costed


class OnlineDpoRunTrainer(Costed, OnlineDPOTrainer):
    """OnlineDPOTrainer whose reward is the provider's, and which says what a step costs."""

    def __init__(self, model: Any, provider: EmpoProvider, args: Any, **kwargs: Any) -> None:
        self._provider = provider
        self._tied: list[float] = []
        super().__init__(model=model, reward_funcs=self._reward_function(), args=args, **kwargs)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None is written: for a model made in memory it names nothing as its base."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's log, with the share of pairs that this process could not tell apart."""
        if "loss" in logs and self._tied:
            logs = {**logs, "pairs/tied": sum(self._tied) / len(self._tied)}
            self._tied.clear()
        super().log(logs, start_time)

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        with self.costs.part("generation"):
            return super()._generate(*args, **kwargs)  # type: ignore[no-untyped-call]  # untyped in TRL

    def _generate_vllm(self, *args: Any, **kwargs: Any) -> Any:
        with self.costs.part("generation"):
            return super()._generate_vllm(*args, **kwargs)  # type: ignore[no-untyped-call]  # untyped in TRL

    def _calculate_rewards_from_functions(self, *args: Any, **kwargs: Any) -> Any:
        with self.costs.part("judging"):
            return super()._calculate_rewards_from_functions(*args, **kwargs)  # type: ignore[no-untyped-call]

    def _reward_function(self) -> Any:
        """What TRL calls: the first completions of all prompts, then the second ones."""

        def reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
            share = decide(
                lambda: _in_pairs(Rows.of_trl(prompts, completions, columns)),
                lambda rows: self._provider.step(rows.groups(2), training=False),
                as_one=False,
            )
            pairs = [(float(a), float(b)) for a, b in share.rewards.reshape(-1, 2)]
            self._tied += [float(first == second) for first, second in pairs]
            return [first for first, _ in pairs] + [second for _, second in pairs]

        reward.__name__ = self._provider.reward
        return reward


def _in_pairs(rows: Rows) -> Rows:
    """Both completions of a prompt one after the other."""
    half = len(rows.completions) // 2
    order = [place for first in range(half) for place in (first, first + half)]
    return Rows(
        [rows.completions[place] for place in order],
        [rows.questions[place] for place in order],
        [rows.golds[place] for place in order],
    )
