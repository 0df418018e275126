"""The sections of the configuration for LoRA, the two baselines that TRL trains, and the hub."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from empo_rl.config.section import Positive, Section


class Lora(Section):
    """Low-rank adapters by peft: the model's own weights stay as they are."""

    r: Positive = 16
    alpha: Annotated[float, Field(gt=0)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: str | list[str] = "all-linear"
    merge: bool = False  # final/ holds the whole model, and adapter/ the adapter


class Sft(Section):
    """Only for `method: sft`."""

    max_tokens: Positive = 4096  # of question and response; longer ones are cut there
    packing: bool = False  # several examples a row


class OnlineDpo(Section):
    """Only for `method: online_dpo`."""

    beta: Annotated[float, Field(gt=0)] = 0.1
    loss: Literal["sigmoid", "ipo"] = "sigmoid"
    max_tokens: Positive | None = None  # of prompt and completion; None: data.max_prompt_tokens, or 512, with them


class Hub(Section):
    """Where `final/` goes once it is written."""

    repo: str
    private: bool = True
