"""TRL in `parity.py`: the real `EmpoGRPOTrainer`, one optimizer step of a tiny model for each case.

The only method that is replaced is the one that samples: the completions of the cases, as token ids, stand in the place
of the model's. What is compared is what TRL has after `_generate_and_score_completions`: the rewards of its table of
completions, the mask and the advantages of the batch from which it computes the loss. The trainer measures the tokens
itself, with its model. TRL's groups have one size. torchrun starts this module in two processes.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import torch
import trl
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from parity_engines.cases import LIMIT, SIZE, Case, Ran, Rows, run
from parity_engines.tiny_policy import byte_tokenizer, make_policy
from transformers import PreTrainedTokenizerFast
from trl import GRPOConfig

from empo_rl import EmpoGRPOTrainer, EmpoProvider
from empo_rl.core.advantages import trl_scale


class StoredCompletions(EmpoGRPOTrainer):
    """Samples the completions of a case, and notes what TRL makes of them."""

    case: Case
    noted: list[tuple[int, int, float, bool, float]]

    def _generate_single_turn(self, prompt_ids: Any, *_: Any, **__: Any) -> Any:
        sampled = []
        for index, place in self._places([self.processing_class.decode(ids) for ids in prompt_ids]):
            group = self.case.groups[index]
            ids = self.processing_class(group.completions[place], add_special_tokens=False)["input_ids"]
            sampled.append(ids if group.truncated[place] else [*ids, self.processing_class.eos_token_id])
        return sampled, None

    def _places(self, prompts: Sequence[str]) -> list[tuple[int, int]]:
        """The group and the place of each row of this process. The prompt of a group is its number."""
        first = self.accelerator.process_index * len(prompts)
        return [(int(prompt), (first + row) % SIZE) for row, prompt in enumerate(prompts)]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        places = self._places([row["prompt"] for row in inputs])
        count = len(places) * self.accelerator.num_processes
        own = slice(self.accelerator.process_index * len(places), (self.accelerator.process_index + 1) * len(places))
        texts = list(self._logs["completion"])[-count:][own]
        assert texts == [self.case.groups[index].completions[place] for index, place in places]
        rewards = list(self._logs["rewards"][self.provider.reward])[-count:][own]
        masks = (output["completion_mask"] * output["tool_mask"]).any(dim=1).tolist()
        for (index, place), reward, mask, advantage in zip(
            places, rewards, masks, output["advantages"].tolist(), strict=True
        ):
            self.noted.append((index, place, reward, mask, advantage))
        return output


def train(case: Case, tokenizer: PreTrainedTokenizerFast, folder: str) -> list[Rows]:
    """Train one step on the groups of the case. Returns the rows of all processes."""
    count = PartialState().num_processes
    rows_of_a_pass = SIZE // count  # half a group: if the number of groups is odd, two processes cut one
    with EmpoProvider(**case.provider) as provider:
        trainer = StoredCompletions(
            model=make_policy(tokenizer),
            provider=provider,
            args=GRPOConfig(
                output_dir=folder,
                per_device_train_batch_size=rows_of_a_pass,
                steps_per_generation=len(case.groups),
                gradient_accumulation_steps=len(case.groups),
                num_generations=SIZE,
                max_completion_length=LIMIT,
                max_steps=1,
                loss_type="dapo",
                scale_rewards=trl_scale(provider.scale),
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                save_strategy="no",
            ),
            train_dataset=Dataset.from_list(
                [
                    {"prompt": str(at), "question": group.question, "gold": group.gold}
                    for at, group in enumerate(case.groups)
                ]
            ),
            processing_class=tokenizer,
        )
        trainer.case, trainer.noted = case, []
        trainer.train()
    found = {(index, place): row for index, place, *row in gather_object(trainer.noted)}
    assert len(found) == sum(len(group.completions) for group in case.groups)
    groups = [[found[index, place] for place in range(SIZE)] for index in range(len(case.groups))]
    return [Rows(*map(list, zip(*group, strict=True))) for group in groups]


def decide(cases: Sequence[Case]) -> Ran | None:
    """Train on each case whose groups have one size. Only process 0 returns the rows."""
    torch.set_num_threads(1)
    state, tokenizer = PartialState(cpu=True), byte_tokenizer()
    found, left_out = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            if all(len(group.completions) == SIZE for group in case.groups):
                found[case.name] = train(case, tokenizer, folder)
            else:
                left_out[case.name] = "TRL's groups have one size"
    if not state.is_main_process:
        return None
    processes = "one process" if state.num_processes == 1 else f"{state.num_processes} processes, {state.backend}"
    return Ran(f"TRL {trl.__version__}, {processes}", found, left_out)


if __name__ == "__main__":
    run(decide)
    if PartialState().num_processes > 1:
        PartialState().wait_for_everyone()
        PartialState().destroy_process_group()
        sys.stdout.flush()
        os._exit(0)  # a thread of gloo sometimes aborts a process that exits normally
