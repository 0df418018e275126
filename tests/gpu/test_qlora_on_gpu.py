"""QLoRA on a GPU: a 4-bit model by bitsandbytes, trained for a few steps, resumed, and evaluated with its adapter."""

from __future__ import annotations

import json

import pytest
import torch

pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed (extra qlora)")
pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="QLoRA needs a GPU"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # of bitsandbytes and TRL
]

QUESTIONS = ("What is the capital?", "Yes or no?", "is it Rome?", "0 1 2 3")


@pytest.fixture
def arguments(tmp_path):
    from tests.plugins.tiny_models import tiny_causal_lm

    model = tiny_causal_lm(tmp_path / "model", hidden_size=64, intermediate_size=128, head_dim=16)
    data = tmp_path / "questions.jsonl"
    data.write_text("".join(json.dumps({"question": question}) + "\n" for question in QUESTIONS))
    return [
        f"model={model}",
        f"data={{path: {data}}}",
        f"output_dir={tmp_path / 'run'}",
        "device=auto",
        "lora={r: 4, load_in_4bit: true}",
        "training.precision=bf16",
        "training.learning_rate=1e-2",
        "training.prompts_per_step=4",
        "training.prompts_per_micro_batch=2",
        "training.gradient_checkpointing=true",
        "training.save_every=2",
        "rollout.num_generations=4",
        "rollout.max_completion_tokens=8",
        "empo.equivalence=exact",
        "empo.extract=whole",
        "empo.reward=random",
    ]


def test_a_4_bit_model_trains_resumes_and_its_adapter_is_evaluated(arguments, tmp_path, monkeypatch):
    import bitsandbytes

    from empo_rl.config.load import load_config
    from empo_rl.run import train
    from semantic_entropy.plugin import Request
    from semantic_entropy_plugins.samplers.hf.hf_sampler import HFSampler

    seen = {}

    def remember(model):
        """What the trainer trains, at the point where `empo-train` has prepared it."""
        real(model)
        quantized = [layer for layer in model.modules() if isinstance(layer, bitsandbytes.nn.Linear4bit)]
        seen["quantized"] = {layer.weight.quant_type for layer in quantized}, len(quantized)
        seen["nested"] = {layer.weight.quant_state.nested for layer in quantized}
        seen["trained"] = {weight.dtype for weight in model.parameters() if weight.requires_grad}
        seen["device"] = {weight.device.type for weight in model.parameters()}

    real = train.trained_weights_in_fp32
    monkeypatch.setattr(train, "trained_weights_in_fp32", remember)

    def run(*more):
        config = load_config("tiny", [*arguments, *more])
        return train.run_training(config, overwrite=False, progress=lambda *_: None, say=lambda _: None)

    final = run("training.steps=2")
    assert seen["quantized"] == ({"nf4"}, 14)  # 7 linear layers in each of 2 layers; not the embeddings, not lm_head
    assert seen["nested"] == {True}
    assert seen["trained"] == {torch.float32}
    assert seen["device"] == {"cuda"}
    final = run("training.steps=4", "resume=true")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(row["grad_norm"] > 0 for row in rows)
    assert (final / "adapter_model.safetensors").exists()
    sampler = HFSampler(str(final), temperature=0.0, max_tokens=8)
    ((_, sample),) = sampler.stream([Request(0, QUESTIONS[0], 1)])
    assert sample.text is not None
