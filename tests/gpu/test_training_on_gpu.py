"""Training on a GPU: the gradient of a step compared with plain torch on the CPU; a run that is killed and resumed."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from trl import GRPOConfig

from empo_rl import EmpoGRPOTrainer, EmpoProvider
from empo_rl.run.tiny_model import make_model, make_tokenizer
from empo_rl.trainers.trl.costs import MEMORY_ON_CUDA

G, PROMPTS, TOKENS = 4, 4, 8
STEPS, SAVE_EVERY = 6, 3
COMMAND = [
    *(sys.executable, "-m", "empo_rl.cli", "tiny", "device=auto", "training.precision=bf16"),
    *(f"training.steps={STEPS}", f"training.save_every={SAVE_EVERY}", "training.warmup_steps=0"),
    *("training.prompts_per_step=8", "training.prompts_per_micro_batch=4", "training.learning_rate=1e-3"),
    *("demo.pretrain_steps=15", "data.limit=24", "rollout.max_completion_tokens=12", "empo.reward=random"),
]


def reference_gradients(model, batch, temperature):
    """Name of a weight -> gradient in float32 on the CPU. The loss: mean over completions of the mean of -A ln p."""
    weights, model = model.state_dict(), make_model(make_tokenizer(), seed=0)
    model.load_state_dict({name: weight.cpu() for name, weight in weights.items()})
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1).cpu()
    attended = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1).cpu()
    mask = batch["completion_mask"].cpu()
    logits = model(input_ids=ids, attention_mask=attended).logits[:, -mask.shape[1] - 1 : -1] / temperature
    chosen = logits.log_softmax(-1).gather(-1, batch["completion_ids"].cpu()[:, :, None])[:, :, 0]
    weighted = batch["advantages"].cpu().reshape(-1, 1) * chosen * mask
    (-(weighted.sum(1) / mask.sum(1)).mean()).backward()
    return {name: weight.grad for name, weight in model.named_parameters()}


@pytest.mark.parametrize(("bf16", "tolerance"), [(False, 1e-3), (True, 0.1)], ids=["fp32", "bf16"])
def test_the_gradient_of_a_step_is_that_of_plain_torch_on_the_cpu(bf16, tolerance, device, tmp_path):
    tokenizer = make_tokenizer()
    arguments = GRPOConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=G * PROMPTS,
        num_generations=G,
        max_completion_length=TOKENS,
        temperature=0.8,
        loss_type="grpo",
        bf16=bf16,
        use_cpu=device == "cpu",
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
    )
    with EmpoProvider("exact", extract=lambda text: str(len(text) % 3), delta_low=-math.inf) as provider:
        trainer = EmpoGRPOTrainer(
            model=make_model(tokenizer, seed=0),
            provider=provider,
            args=arguments,
            train_dataset=Dataset.from_list([{"prompt": f"What is {n}+2?"} for n in range(PROMPTS)]),
            processing_class=tokenizer,
        )
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1
        batch = trainer._prepare_inputs([row for row in trainer.train_dataset for _ in range(G)])
    assert batch["advantages"].any()
    with trainer.compute_loss_context_manager():  # autocast, if bf16
        loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    assert loss.device.type == device
    for name, expected in reference_gradients(trainer.model, batch, arguments.temperature).items():
        found = dict(trainer.model.named_parameters())[name].grad
        assert found.dtype == torch.float32  # the weights are stored in fp32
        assert (found.cpu() - expected).norm() <= tolerance * expected.norm() + 1e-6, name


def start(directory, *more):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*COMMAND, f"output_dir={directory}", *more], text=True, **pipes)


def finish(directory, *more):
    process = start(directory, *more)
    said = process.communicate(timeout=250)[1]
    assert process.returncode == 0, said[-3000:]
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_a_run_in_bf16_is_killed_resumed_and_finished_on_the_gpu(device, tmp_path):
    directory = tmp_path / "run"
    process = start(directory)
    try:
        while not (directory / f"checkpoint-{SAVE_EVERY}" / "trainer_state.json").exists():
            assert process.poll() is None, process.communicate()[1][-3000:]
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    rows = finish(directory, "--resume")
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert all(math.isfinite(row["loss"]) and row["grad_norm"] > 0 for row in rows)
    cost = json.loads((directory / "cost.json").read_text())
    assert (cost["memory"], cost["steps"]) == (MEMORY_ON_CUDA, STEPS)
    assert 0 < cost["peak_memory_gib"] < 2
    saved, final = (load_file(directory / name / "model.safetensors") for name in (f"checkpoint-{STEPS}", "final"))
    assert all(weight.dtype == torch.float32 for weight in final.values())
    assert all(torch.equal(saved[name], final[name]) for name in final)
