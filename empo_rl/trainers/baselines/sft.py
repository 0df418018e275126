"""The paper's baseline SFT, on TRL's own trainer: the loss is that of the response's tokens alone."""

from __future__ import annotations

from typing import Any

from trl import SFTTrainer

from empo_rl.trainers.trl.step_costs import Costed


class SftRunTrainer(Costed, SFTTrainer):
    """SFTTrainer that says what a step costs."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None is written: for a model made in memory it names nothing as its base."""
