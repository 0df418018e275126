"""Run by torchrun with two processes: all answers of rank 1 are invalid, none of rank 0; the monitor stops both.

The invalid share is 0 or 1 in each process alone and 1/2 in the whole batch; the limit of the alarm is 2/5.
"""

import json
import os
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from datasets import Dataset
from trl import GRPOConfig

from empo_rl import EmpoGRPOTrainer, EmpoProvider, Monitor, MonitorCallback
from empo_rl.run.tiny_model import make_model, make_tokenizer

G = 4
ROWS = [{"prompt": f"What is ({n}+2)*3+4?"} for n in range(1, 9)]


def main():
    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    directory, tokenizer = Path(sys.argv[1]), make_tokenizer()
    args = GRPOConfig(
        output_dir=str(directory),
        per_device_train_batch_size=G,
        num_generations=G,
        max_completion_length=4,
        max_steps=6,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
    )
    messages = []
    with EmpoProvider("exact", extract=lambda text: None if state.process_index else str(len(text) % 2)) as provider:
        monitor = Monitor({"unparsable": {"most": 0.4, "steps": 2}}, action="stop")
        trainer = EmpoGRPOTrainer(
            model=make_model(tokenizer, seed=0),
            provider=provider,
            args=args,
            train_dataset=Dataset.from_list(ROWS),
            processing_class=tokenizer,
            callbacks=[MonitorCallback(monitor, provider, directory=directory, say=messages.append)],
        )
        trainer.train()
    record = {"step": trainer.state.global_step, "state": monitor.state_dict(), "messages": messages}
    (directory / f"rank-{state.process_index}.json").write_text(json.dumps(record))
    state.wait_for_everyone()
    state.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # a thread of gloo sometimes aborts a process that exits normally


main()
