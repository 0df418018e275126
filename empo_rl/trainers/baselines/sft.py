"""The baseline SFT of the paper, on TRL's own trainer. Only the tokens of the response are in the loss."""

from __future__ import annotations

from typing import Any

from trl import SFTTrainer

from empo_rl.trainers.trl.costs import CostsMixin
from empo_rl.trainers.trl.sharding import ShardedSavesMixin


class SftRunTrainer(CostsMixin, ShardedSavesMixin, SFTTrainer):
    """An SFTTrainer that logs the costs of each step."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write no model card: TRL's card names no base model for a model that was created in memory."""
