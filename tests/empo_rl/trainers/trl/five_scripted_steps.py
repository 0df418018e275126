"""Run alone or by torchrun: five steps with completions that depend on the step, the prompt and the row in the group.

    five_scripted_steps.py DIRECTORY ROWS_A_PROCESS LOSS SCALE [fail|fail-first|fail-rows|kill|stateful]

Process 0 writes the decisions, the final weights and the logged metrics to DIRECTORY/PROCESSES-ROWS.pt. In the third
step, an error is raised: with `fail` in the judge of the last process, with `fail-first` in the judge of the first
process, with `fail-rows` before the judge of the last process. With `kill` the last process kills itself. `stateful`
uses a reward that draws random numbers and a guard with a memory.
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
    """The same completions for the same global batch, on any number of processes."""

    decided = None

    def _generate_single_turn(self, prompt_ids, *args, **kwargs):
        first = PartialState().process_index * len(prompt_ids)
        return [self._completion(ids, (first + row) % G) for row, ids in enumerate(prompt_ids)], None

    def _completion(self, prompt, place):
        dice = random.Random(f"{self.state.global_step} {list(prompt)} {place}")
        length = dice.randint(2, 7)
        digits = self.processing_class.convert_tokens_to_ids(list("0123456789"))
        return [*dice.choices(digits, k=length), self.processing_class.eos_token_id]

    def _apply_decision(self, output, decision, rows):
        super()._apply_decision(output, decision, rows)
        columns = (decision.rewards, decision.loss_mask, decision.advantages)
        self.decided.append(tuple(column[rows].tolist() for column in columns))


def judge(left, right):
    """Equal texts mean the same; one pair is undecided, so that the log has a share of undecided pairs."""
    return None if {left, right} == {"0", "1"} else left == right


def fail_in_third_step(kind, trainer):
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
            fail_in_third_step(kind, trainer)
        return str(len(text) % 3)

    with EmpoProvider(judge, extract=extract, delta_low=0.6, scale=scale, measure_gold=True, **choices) as provider:
        trainer = Scripted(
            model=model,
            provider=provider,
            args=GRPOConfig(
                output_dir=str(directory),
                per_device_train_batch_size=rows,
                num_generations=G,
                max_completion_length=8,
                max_steps=5,
                optim="sgd",  # Adam divides by the size of a gradient, even if it is rounding error alone
                learning_rate=1.0,
                lr_scheduler_type="constant",
                loss_type=loss,
                scale_rewards=scale,
                logging_steps=1,
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                save_strategy="no",
            ),
            train_dataset=Dataset.from_list([{"prompt": p, "gold": str(n % 3)} for n, p in enumerate(PROMPTS)]),
            processing_class=tokenizer,
        )
        if kind == "fail-rows":
            measures = trainer._measures
            trainer._measures = lambda ids: fail_in_third_step(kind, trainer) or measures(ids)
        trainer.decided = []
        trainer.train()
    parts = gather_object([trainer.decided])
    if state.is_main_process:
        decided = [
            [[value for part in column for value in part] for column in zip(*step, strict=True)]
            for step in zip(*parts, strict=True)
        ]
        logs = [row for row in trainer.state.log_history if "loss" in row]
        torch.save((decided, model.state_dict(), logs), directory / f"{state.num_processes}-{rows}.pt")
    state.wait_for_everyone()
    state.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # a thread of gloo sometimes aborts a process that exits normally


main()
