"""The rows of a run: training prompts and held-out questions, with notes for the user, before a model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from empo_rl.config import Config
from empo_rl.config.batch_layout import too_few_prompts
from empo_rl.config.trl_arguments import vllm_model_length
from empo_rl.core.provider import EmpoProvider
from empo_rl.data.prompts import (
    PromptSet,
    drop_long_prompts,
    held_out_limit,
    prompt_token_limit,
    read_held_out,
    read_prompts,
    shared_questions,
)
from empo_rl.files import run_directory
from empo_rl.run.models import count_tokens, load_tokenizer, render_prompt
from empo_rl.trainers.trl.sharding import whole_models
from semantic_entropy import InputError
from semantic_entropy.plain_text import plural


def load_prompts(
    config: Config, checkpoint: Path | None, tell: Callable[[str], None]
) -> tuple[Sequence[dict[str, Any]], Any]:
    """The rows for the trainer, without prompts that are too long, and the tokenizer of the model.

    Raises:
        InputError: the data cannot be used, or differs from the data of the run that continues from `checkpoint`.
    """
    rows = read_prompts(config)
    tokenizer = load_tokenizer(config)
    prompts = _rendered(rows, tokenizer, *prompt_token_limit(config))
    kept = len(prompts.rows)
    tell(f"{plural(kept, 'prompt')}{_removed(prompts)}")
    if too_few := too_few_prompts(config, kept):
        raise InputError(f"data: {too_few}")
    if checkpoint is not None:
        run_directory.check_questions(Path(config.output_dir), prompts.rows)
        run_directory.check_code(Path(config.output_dir), config.reward_files())
    return prompts.rows, tokenizer


def provider_notes(provider: EmpoProvider, config: Config, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Notes about the entropy and the gold answers of this run.

    Raises:
        InputError: the run reads gold answers, and the judge can read none.
    """
    notes = []
    if config.method == "empo":
        config.empo.signal().check_questions([row["question"] for row in rows])
    if config.method == "empo" and not provider.clusters:
        notes.append(
            f"empo.reward={provider.reward} needs no clusters: the run logs no entropy, and alarms about the entropy "
            "do not watch it. empo.measure_entropy=true measures it"
        )
    if config.reads_gold():
        with whole_models():
            notes += provider.grader.check([row["gold"] for row in rows])
    return notes


def load_held_out(
    config: Config,
    checkpoint: Path | None,
    rows: Sequence[Mapping[str, Any]],
    tokenizer: Any,
    provider: EmpoProvider | None,
    tell: Callable[[str], None],
) -> Sequence[dict[str, Any]]:
    """The rows of the held-out evaluation, without prompts that are too long; an empty list without `evaluation`.

    Raises:
        InputError: the questions cannot be used, or differ from those of the run that continues from `checkpoint`.
    """
    if config.evaluation is None or provider is None:
        return []
    prompts = _rendered(read_held_out(config), tokenizer, *held_out_limit(config))
    held_out = prompts.rows
    if checkpoint is not None:
        run_directory.check_questions(Path(config.output_dir), held_out, run_directory.HELD_OUT)
    golds = [row["gold"] for row in held_out if row["gold"] is not None]
    tell(f"{len(held_out)} held-out questions, {len(golds)} with a gold answer{_removed(prompts)}")
    if not golds:
        tell("the evaluation has no accuracy. evaluation.data.columns.gold names the column with the gold answers")
    for note in provider.grader.check(golds) if golds else []:
        tell(f"evaluation.data: {note}")
    if shared := shared_questions(rows, held_out):
        tell(f"warning: {shared} of {len(held_out)} held-out questions are also training questions")
    return held_out


def limit_vllm_context(arguments: Any, config: Config, rows: Sequence[dict[str, Any]], tokenizer: Any) -> None:
    """Raise vLLM's longest sequence to the longest prompt with its completion, unless `trl:` sets it.

    Args:
        arguments: the arguments of TRL. `data.max_prompt_tokens` may have set the length.
        config: the configuration.
        rows: the training prompts and the held-out questions.
        tokenizer: the tokenizer of the model.

    Raises:
        InputError: a prompt with its completion is longer than `trl.vllm_max_model_length`.
    """
    if config.method != "empo" or config.rollout.engine != "vllm-colocate":
        return
    longest = max(count_tokens(tokenizer, row["prompt"]) for row in rows)
    needed = vllm_model_length(config, longest)
    assert needed is not None, "the engine is vllm-colocate"
    if "vllm_max_model_length" not in config.trl:
        arguments.vllm_max_model_length = max(arguments.vllm_max_model_length or 0, needed)
    elif (arguments.vllm_max_model_length or needed) < needed:
        raise InputError(
            f"trl.vllm_max_model_length={arguments.vllm_max_model_length} is less than {needed}: the longest prompt "
            f"has {longest} tokens, and rollout.max_completion_tokens={config.rollout.max_completion_tokens}. Set at "
            f"least {needed}, remove the key, or set data.max_prompt_tokens and evaluation.data.max_prompt_tokens."
        )


def _rendered(rows: Sequence[dict[str, Any]], tokenizer: Any, limit: int | None, key: str) -> PromptSet:
    """The rows whose prompt is not too long. Each prompt is rendered, so that the chat template can refuse it."""
    if limit is None:  # else the prompts are rendered to count their tokens
        for row in rows:
            render_prompt(tokenizer, row["prompt"])
    return drop_long_prompts(rows, limit, lambda turns: count_tokens(tokenizer, turns), key)


def _removed(prompts: PromptSet) -> str:
    return f", {prompts.too_long} too long and removed" if prompts.too_long else ""
