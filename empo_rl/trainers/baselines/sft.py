"""The paper's baseline SFT on TRL's own trainer: the loss is that of the response's tokens alone."""

from __future__ import annotations

from typing import Any

from trl import SFTTrainer

from empo_rl.trainers.trl.costs import CostsMixin


class SftRunTrainer(CostsMixin, SFTTrainer):
    """SFTTrainer that logs the costs of each step."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Writes no model card: for a model made in memory, TRL's card names no base."""
