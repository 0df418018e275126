"""Run alone or by torchrun: five steps whose completions follow from the step, the prompt and the place in the group.

    deterministic.py DIRECTORY ROWS_A_PROCESS LOSS SCALE [fail|fail-first|fail-rows|kill|stateful]

Process 0 writes what was decided and the final weights to DIRECTORY/PROCESSES-ROWS.pt. In the third step, with `fail`
the judge of the last process raises; with `fail-first` that of the first; with `fail-rows` what comes before the last
one's; with `kill` the last process ends itself. `stateful`: a reward that draws, and a guard that remembers.
"""

import os
import random
import signal
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from trl import GRPOConfig

from empo_rl import EmpoGRPOTrainer, EmpoProvider
from empo_rl.run.tiny_model import make_model, make_tokenizer

G = 4
PROMPTS = [f"What is ({a}+{b})*3+4?" for a in range(1, 5) for b in range(1, 5)]


STATEFUL = {
    "reward": "composite",
    "reward_options": {"weights": {"majority": 1.0, "empo": 1.0}, "options": {"majority": {"ties": "random"}}},
    "guards": {"concentration": {"fewest": 3, "share": 0.34}},
}


class Scripted(EmpoGRPOTrainer):
    """The same completions for the same global batch, however it is dealt out."""

    seen = None

    def _generate_single_turn(self, prompt_ids, *args, **kwargs):
        first = PartialState().process_index * len(prompt_ids)
        return [self._completion(ids, (first + row) % G) for row, ids in enumerate(prompt_ids)], None

    def _completion(self, prompt, place):
        dice = random.Random(f"{self.state.global_step} {list(prompt)} {place}")
        length = dice.randint(2, 7)
        digits = self.processing_class.convert_tokens_to_ids(list("0123456789"))
        return [*dice.choices(digits, k=length), self.processing_class.eos_token_id]

    def _restrict_to_kept(self, output, share):
        restricted = super()._restrict_to_kept(output, share)
        self.seen.append((share.rewards.tolist(), share.loss_mask.tolist(), share.advantages.tolist()))
        return restricted


def trouble(kind, trainer):
    state = PartialState()
    index = 0 if kind == "fail-first" else state.num_processes - 1
    if state.process_index == index and trainer.state.global_step == 2:
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError("the judge is gone")


def main():
    directory, rows, loss, scale, kind = Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5], (*sys.argv, "")[5]
    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, seed=0)

    choices = STATEFUL if kind == "stateful" else {}

    def extract(text):
        if kind in {"fail", "fail-first", "kill"}:
            trouble(kind, trainer)
        return str(len(text) % 3)

    with EmpoProvider("exact", extract=extract, delta_low=0.6, scale=scale, **choices) as provider:
        trainer = Scripted(
            model=model,
            provider=provider,
            args=GRPOConfig(
                output_dir=str(directory),
                per_device_train_batch_size=rows,
                num_generations=G,
                max_completion_length=8,
                max_steps=5,
                optim="sgd",  # Adam divides by the size of a gradient: where that is rounding alone, its sign decides
                learning_rate=1.0,
                lr_scheduler_type="constant",
                loss_type=loss,
                scale_rewards=scale,
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                save_strategy="no",
            ),
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS]),
            processing_class=tokenizer,
        )
        if kind == "fail-rows":
            measures = trainer._measures
            trainer._measures = lambda: trouble(kind, trainer) or measures()
        trainer.seen = []
        trainer.train()
    parts = gather_object([trainer.seen])
    if state.is_main_process:
        decided = [
            [[value for part in column for value in part] for column in zip(*step, strict=True)]
            for step in zip(*parts, strict=True)
        ]
        torch.save((decided, model.state_dict()), directory / f"{state.num_processes}-{rows}.pt")
    state.wait_for_everyone()
    state.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # now and then one of gloo's threads aborts a process that ends in the usual way


main()
