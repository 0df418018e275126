"""A run of EmpoAsyncGRPOTrainer that a test ends: `async_run.py URL MODEL OUTPUT`, with vLLM's server at URL."""

import sys
import unittest.mock
from functools import partial

from datasets import Dataset
from transformers import TrainerCallback

from empo_rl import EmpoProvider
from tests.empo_rl.trainers.trl.fake_vllm import NoTransfer, make_chat_tokenizer, without_gpu


class Announce(TrainerCallback):
    """Prints that the training is at work, and the number of the worker process."""

    def __init__(self, trainer):
        self._trainer = trainer

    def on_step_end(self, *_, **__):
        print("worker", self._trainer.rollout_worker._process.pid, flush=True)


def main():
    from empo_rl.trainers.trl.async_grpo_trainer import AsyncGRPOConfig, EmpoAsyncGRPOTrainer

    url, model, output = sys.argv[1:]
    without_gpu(lambda name, value: unittest.mock.patch(name, value).start())
    args = AsyncGRPOConfig(
        output,
        vllm_server_base_url=url,
        num_generations=4,
        per_device_train_batch_size=8,
        max_completion_length=8,
        max_steps=10**6,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        heartbeat_stale_after_s=3,
    )
    rows = [{"prompt": [{"role": "user", "content": f"What is {number}+1?"}]} for number in range(1, 9)]
    trainer = EmpoAsyncGRPOTrainer(
        model,
        partial(EmpoProvider, "math", extract="boxed"),
        args,
        train_dataset=Dataset.from_list(rows),
        processing_class=make_chat_tokenizer(),
        weight_transfer=NoTransfer(),
    )
    trainer.add_callback(Announce(trainer))
    trainer.train()


if __name__ == "__main__":
    main()
