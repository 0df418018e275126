"""TRL's asynchronous trainer in `parity.py`: the rollout loop of `EmpoAsyncGRPOTrainer`, up to the trainer's queue.

The loop is TRL's with the provider. It runs in this process, and asks an HTTP server on the loopback with the endpoints
of vLLM, which answers with the completions of the groups (tests/empo_rl/trainers/trl/fake_vllm.py). What is compared is
what the trainer reads from the queue: the reward and the advantage of each sample. Rows out of the loss never enter the
queue: those of dropped groups, and in kept groups those without a reward. No model is loaded. TRL's groups have one
size.
"""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

from accelerate import PartialState
from datasets import Dataset
from parity_engines.cases import LIMIT, SIZE, Case, Group, Ran, Rows, refusal, run
from parity_engines.tiny_policy import byte_tokenizer

from empo_rl import EmpoProvider
from empo_rl.run.tiny_model import CHAT_TEMPLATE
from tests.empo_rl.trainers.trl.fake_vllm import RESPONSE_TEMPLATE, FakeVllm

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # trl.experimental warns that it can change
    import trl
    from trl.experimental.async_grpo.async_rollout_worker import RolloutGroup as TrlGroup

    from empo_rl.trainers.trl.async_grpo_trainer import check_provider
    from empo_rl.trainers.trl.async_rollouts import EmpoRolloutLoop

END = "<|end|>"


class OnePass(EmpoRolloutLoop):
    """Stops after one pass over the prompts, where TRL's loop begins another one."""

    async def _score_group(self, group: TrlGroup) -> list[Any]:
        if group.group_id < len(self.dataset):
            return list(await super()._score_group(group))
        self._stop_event.set()
        return []


def chat_tokenizer() -> Any:
    """One token for each byte, with a chat template whose turns end as the completions."""
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE.replace("<|im_end|>", END)
    close = {"content": {"close_pattern": r"<\|end\|>\s*", "content": "text"}}
    tokenizer.response_template = {**RESPONSE_TEMPLATE, "fields": close}
    return tokenizer


def samples_of(case: Case, tokenizer: Any) -> list[Any]:
    """The samples that the loop puts into the queue for the groups of the case."""
    prompts = [f"<{number}>" for number in range(len(case.groups))]  # no prompt is inside another one
    rows = {
        "prompt": [[{"role": "user", "content": prompt}] for prompt in prompts],
        "question": [group.question for group in case.groups],
        "gold": [group.gold for group in case.groups],
    }
    spawn = multiprocessing.get_context("spawn")
    answers = {prompt: group.completions for prompt, group in zip(prompts, case.groups, strict=True)}
    with FakeVllm(tokenizer, answers) as server:
        loop = OnePass(
            provider=partial(EmpoProvider, **case.provider),
            max_dropped_in_a_row=len(case.groups) + 1,
            model_name="none",
            dataset=Dataset.from_dict(rows),
            reward_funcs=[],
            processing_class=tokenizer,
            eos_token_ids=[tokenizer.eos_token_id],
            rollout_buffer=spawn.Queue(),
            model_version_value=spawn.Value("i", 0),
            heartbeat_value=spawn.Value("d", 0.0),
            failed_event=spawn.Event(),
            exception_info_queue=spawn.Queue(maxsize=1),
            metrics_queue=spawn.Queue(maxsize=4096),
            num_generations=SIZE,
            max_inflight_tasks=1,  # so that the completions of a group keep their order
            max_tokens=LIMIT,
            vllm_server_url=server.url,
        )
        loop.run()
    loop.rollout_buffer.put(None)
    return list(iter(loop.rollout_buffer.get, None))


def rows_of_group(group: Group, samples: Sequence[Any], tokenizer: Any) -> Rows:
    """The rows of a group. A sample is that of the first row with its text that has no sample yet."""
    found: list[tuple[float | None, bool, float]] = [(None, False, 0.0)] * SIZE
    for sample in samples:
        ids = sample.input_ids[sample.completion_mask.astype(bool)]
        text = tokenizer.decode(ids[ids != tokenizer.eos_token_id])
        place = next(at for at in range(SIZE) if group.completions[at] == text and not found[at][1])
        found[place] = (sample.metrics["reward"], True, sample.advantage)
    rewards, masks, advantages = zip(*found, strict=True)
    return Rows(list(rewards), list(masks), list(advantages))


def decide(cases: Sequence[Case]) -> Ran:
    """Run the loop on each case whose groups have SIZE completions."""
    PartialState()  # as in TRL's worker: its logger needs it
    tokenizer, found, left_out = chat_tokenizer(), {}, {}
    for case in cases:
        if any(len(group.completions) != SIZE for group in case.groups):
            left_out[case.name] = "TRL's groups have one size"
            continue
        provider = partial(EmpoProvider, **case.provider)
        if reason := refusal(partial(check_provider, provider, SIZE)):  # the trainer's own check
            left_out[case.name] = reason
            continue
        by_group: dict[int, list[Any]] = {number: [] for number in range(len(case.groups))}
        for sample in samples_of(case, tokenizer):
            by_group[sample.group_id].append(sample)
        found[case.name] = [
            rows_of_group(group, by_group[number], tokenizer) for number, group in enumerate(case.groups)
        ]
    return Ran(f"TRL {trl.__version__}, the loop that fills the trainer's queue; no vLLM", found, left_out)


if __name__ == "__main__":
    run(decide)
