"""Run by torchrun with two processes: rank 0 drops all groups, rank 1 keeps some; one SGD step for each loss.

Both ranks must end with the weights of a single process that trains on the kept rows alone.
"""

import os
import sys

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from trl import GRPOConfig

from empo_rl import EmpoGRPOTrainer, EmpoProvider
from empo_rl.run.tiny_model import make_model, make_tokenizer

G, PROMPTS_A_RANK = 4, 3
ROWS = [{"prompt": f"What is ({n}+2)*3+4?"} for n in range(1, 10)]


def arguments(directory, **options):
    return GRPOConfig(
        **{
            "output_dir": directory,
            "per_device_train_batch_size": G * PROMPTS_A_RANK,
            "num_generations": G,
            "max_completion_length": 8,
            "max_steps": 1,
            "max_grad_norm": 0.0,
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "save_strategy": "no",
            **options,
        }
    )


def check(loss_type, directory, tokenizer, rank):
    model = make_model(tokenizer, seed=0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    window = (1.2, 9.0) if rank == 0 else (0.1, 9.0)  # three answers: H is at most 1.04 nats at G=4
    with EmpoProvider(
        "exact", extract=lambda text: str(len(text) % 3), delta_low=window[0], delta_high=window[1]
    ) as provider:
        trainer = EmpoGRPOTrainer(
            model=model,
            provider=provider,
            args=arguments(directory, loss_type=loss_type),
            train_dataset=Dataset.from_list(ROWS),
            processing_class=tokenizer,
            optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)),
        )
        batches, decisions = [], []
        make, step = trainer._generate_and_score_completions, provider.step
        trainer._generate_and_score_completions = lambda inputs: batches.append(make(inputs)) or batches[-1]
        provider.step = lambda groups, **how: decisions.append(step(groups, **how)) or decisions[-1]
        trainer.train()
    moved = {name: before[name] - p.detach() for name, p in model.named_parameters()}
    rows = torch.as_tensor(decisions[0].loss_mask)
    assert decisions[0].num_groups == PROMPTS_A_RANK
    assert rows.any() == (rank == 1)
    (expected,) = [g for g in gather_object([expected_gradient(before, batches[0], decisions[0], loss_type)]) if g]
    assert any(gradient.abs().max() > 1e-4 for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(moved[name], gradient, rtol=1e-3, atol=5e-6, msg=f"rank {rank} {name}")
    assert trainer.skipped_steps == 0
    if rank == 0:
        print(f"{loss_type}: equal to the kept rows alone", flush=True)


def expected_gradient(weights, batch, decision, loss_type):
    """By hand, in one process: ratio 1, so that the gradient is that of -A log pi, averaged over rows or tokens."""
    rows = torch.as_tensor(decision.loss_mask)
    if not rows.any():
        return None
    model = make_model(make_tokenizer(), seed=0)
    model.load_state_dict(weights, strict=False)
    prompt, completion = batch["prompt_ids"][rows], batch["completion_ids"][rows]
    mask = batch["completion_mask"][rows]
    attention = torch.cat([batch["prompt_mask"][rows], mask], dim=1)
    logits = model(input_ids=torch.cat([prompt, completion], dim=1), attention_mask=attention).logits
    logps = torch.log_softmax(logits[:, prompt.shape[1] - 1 : -1], dim=-1)
    chosen = logps.gather(2, completion.unsqueeze(2)).squeeze(2)
    advantages = torch.as_tensor(decision.advantages, dtype=torch.float32)[rows].unsqueeze(1)
    terms = -advantages * chosen * mask
    loss = (terms.sum(1) / mask.sum(1)).mean() if loss_type == "grpo" else terms.sum() / mask.sum()
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters()}


def main():
    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    tokenizer = make_tokenizer()
    for loss_type in ("grpo", "dapo"):
        check(loss_type, sys.argv[1], tokenizer, state.process_index)
    state.wait_for_everyone()
    state.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # a thread of gloo sometimes aborts a process that exits normally


main()
