"""Rollouts by vLLM in TRL's real trainer: which context vLLM gets, and how the loss corrects vLLM's probabilities.

vLLM is not installed here. A test double stands in for `VLLMGeneration`, TRL's interface to vLLM: it returns fixed
completions, and their log-probabilities under the policy, shifted by a constant for each token. All other code is
TRL's.
"""

import pytest
import torch
from datasets import Dataset
from trl import GRPOTrainer

from empo_rl import EmpoGRPOTrainer, EmpoProvider
from empo_rl.config import load_config
from empo_rl.config.trl_arguments import training_arguments

G, PROMPTS = 4, 2
SHIFT = 0.03  # nats for each token: vLLM's probability is 3% below the trainer's
LENGTHS = (4, 60, 8, 60)  # tokens of the completions of a group
ROWS = [{"prompt": f"What is ({n}+2)*3+4?"} for n in range(1, 1 + PROMPTS)]


class Double:
    """Returns completions of LENGTHS tokens, all different, with their shifted log-probabilities."""

    def __init__(self, *, model, processing_class, **options):
        self.model, self.tokenizer, self.options = model, processing_class, options

    def sync_weights(self):
        """Nothing to send."""

    def generate(self, prompts, images, num_generations, profiler):
        digits = self.tokenizer.convert_tokens_to_ids(list("0123456789"))
        completions = [
            [*(digits[(row + place) % 10] for place in range(LENGTHS[row % G] - 1)), self.tokenizer.eos_token_id]
            for row in range(len(prompts))
        ]
        logprobs = [self._logprobs(list(prompt), ids) for prompt, ids in zip(prompts, completions, strict=True)]
        return prompts, completions, [[[value] for value in row] for row in logprobs], None

    @torch.no_grad()
    def _logprobs(self, prompt, completion):
        logits = self.model(input_ids=torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
        chosen = torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(completion).unsqueeze(1)).squeeze(1)
        return (chosen - SHIFT).tolist()


@pytest.fixture(autouse=True)
def double(monkeypatch):
    monkeypatch.setattr("trl.trainer.grpo_trainer.VLLMGeneration", Double)


def arguments(directory, *overrides):
    layout = ("rollout.num_generations=4", "training.prompts_per_step=2", "training.prompts_per_micro_batch=2")
    length = ("rollout.max_completion_tokens=64", "data.max_prompt_tokens=32", "training.loss=dapo")
    engine = ("rollout.engine=vllm-colocate", f"output_dir={directory}")
    return training_arguments(load_config("tiny", [*layout, *length, *engine, *overrides]), 1)


def trainer_of(args, provider, model, tokenizer):
    return EmpoGRPOTrainer(model, provider, args, train_dataset=Dataset.from_list(ROWS), processing_class=tokenizer)


def rollout(trainer):
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer._generate_and_score_completions([row for row in ROWS for _ in range(G)])


def weights(batch):
    """The weight of each completion in the loss: the mean of its tokens' weights."""
    ratio = batch["importance_sampling_ratio"].expand_as(batch["completion_mask"])
    return (ratio * batch["completion_mask"]).sum(1) / batch["completion_mask"].sum(1)


@pytest.mark.parametrize(
    ("overrides", "short", "long"),
    [
        ([], 1.03, 1.03),
        (["rollout.vllm.correction=token_mask"], 1.03, 1.03),
        (["rollout.vllm.correction=sequence_truncate"], 1.127, 3.0),
        (["rollout.vllm.correction=sequence_mask"], 1.127, 0.0),  # the default of TRL: exp(60 * 0.03) > 3
    ],
)
def test_the_default_correction_keeps_long_completions_in_the_loss(overrides, short, long, model, tokenizer, tmp_path):
    with EmpoProvider("exact", extract=lambda text: str(len(text) % 3)) as provider:
        batch = rollout(trainer_of(arguments(tmp_path, *overrides), provider, model, tokenizer))
    assert batch["completion_mask"].sum(1).tolist() == list(LENGTHS) * PROMPTS
    assert weights(batch)[:2].tolist() == pytest.approx([short, long], abs=2e-3)


def test_without_a_correction_no_weights_are_computed(model, tokenizer, tmp_path):
    args = arguments(tmp_path, "rollout.vllm.correction=none")
    with EmpoProvider("exact", extract=lambda text: str(len(text) % 3)) as provider:
        assert "importance_sampling_ratio" not in rollout(trainer_of(args, provider, model, tokenizer))


def test_the_gradient_with_the_correction_is_that_of_the_kept_rows_alone(model, tokenizer, tmp_path):
    args = arguments(tmp_path)
    texts = []

    def extract(text):  # the first group agrees, so it is dropped
        texts.append(text)
        return "1" if len(texts) <= G else str(len(texts) % 3)

    with EmpoProvider("exact", extract=extract) as provider:
        trainer = trainer_of(args, provider, model, tokenizer)
        batch = rollout(trainer)
    kept = torch.tensor([False] * G + [True] * G)
    assert batch["tool_mask"].any(dim=1).tolist() == kept.tolist()
    names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", "old_per_token_logps")
    alone = {name: batch[name][kept] for name in (*names, "importance_sampling_ratio")}
    alone["num_items_in_batch"] = alone["completion_mask"].sum()
    plain = GRPOTrainer(
        model, lambda **_: [], args=args, train_dataset=Dataset.from_list(ROWS), processing_class=tokenizer
    )
    plain.current_gradient_accumulation_steps = 1
    plain.model.train()
    gradients = []
    for owner, rows in ((trainer, batch), (plain, alone)):
        owner.model.zero_grad()
        owner.compute_loss(owner.model, rows).backward()
        gradients.append({name: p.grad.clone() for name, p in owner.model.named_parameters()})
    assert max(gradient.abs().max() for gradient in gradients[0].values()) > 1e-4
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-3, atol=2e-6, msg=name)


def test_the_context_of_vllm_is_the_prompt_and_the_completion(model, tokenizer, tmp_path):
    with EmpoProvider("exact", extract="whole") as provider:
        trainer = trainer_of(arguments(tmp_path), provider, model, tokenizer)
        assert trainer.vllm_generation.options["max_model_length"] == 32 + 64
        chosen = trainer_of(arguments(tmp_path, "trl.vllm_max_model_length=100"), provider, model, tokenizer)
        assert chosen.vllm_generation.options["max_model_length"] == 100
