"""Signals in a real EmpoGRPOTrainer: the evidence that a signal reads is delivered, and is that of the policy."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from trl import GRPOConfig

from empo_rl import EmpoGRPOTrainer, EmpoProvider, preset
from empo_rl.core.advantages import group_advantages, trl_scale
from empo_rl.trainers.trl.token_measures import of_logits
from semantic_entropy import InputError

G, PROMPTS = 8, 3
ROWS = [{"prompt": f"What is ({n}+2)*3+4?"} for n in range(1, 1 + PROMPTS)]


def coarse(text):
    """Five answers, or none, so that an untrained model repeats some."""
    return None if len(text) % 6 == 5 else str(len(text) % 6)


def rollout(provider, model, tokenizer, directory):
    """One generated batch of a real trainer: the batch of TRL, the groups and the decision about them."""
    args = GRPOConfig(
        output_dir=str(directory),
        per_device_train_batch_size=G * PROMPTS,
        num_generations=G,
        max_completion_length=8,
        scale_rewards=trl_scale(provider.scale),
        temperature=0.7,
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
    )
    trainer = EmpoGRPOTrainer(
        model=model,
        provider=provider,
        args=args,
        train_dataset=Dataset.from_list(ROWS),
        processing_class=tokenizer,
    )
    seen = []
    provider.listeners.append(lambda groups, decision: seen.append((groups, decision)))
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    batch = trainer._generate_and_score_completions([row for row in ROWS for _ in range(G)])
    ((groups, decision),) = seen
    return batch, groups, decision


def measured_again(batch, model):
    """The mean token entropy and self-certainty of each completion, from one forward pass over TRL's batch."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    length = batch["completion_ids"].shape[1]
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits[:, -length - 1 : -1] / 0.7
    kept = batch["completion_mask"]
    return [((values * kept).sum(1) / kept.sum(1)).numpy() for values in of_logits(logits)]


def test_scrl_gets_the_token_entropies_of_the_policy(model, tokenizer, tmp_path):
    with EmpoProvider("exact", extract=coarse, reward="scrl", reward_options={"negative_share": 0.3}) as provider:
        batch, groups, decision = rollout(provider, model, tokenizer, tmp_path)
    entropies, _ = measured_again(batch, model)
    given = np.array([group.measures["token_entropy"] for group in groups]).ravel()
    np.testing.assert_allclose(given, entropies, atol=1e-4)
    assert set(decision.rewards) <= {-1.0, 0.0, 1.0}
    no_answer = np.array([answer is None for result in decision.results for answer in result.answers])
    assert no_answer.any()
    assert (decision.rewards[no_answer] == -1).all()
    assert (decision.rewards[~no_answer] == -1).any()  # rare answers with a high entropy
    assert torch.as_tensor(decision.advantages, dtype=torch.float32).equal(batch["advantages"])


def test_vote_certainty_gets_the_self_certainties_of_the_policy(model, tokenizer, tmp_path):
    options = {"votes": 0.0, "certainty": 1.0}
    with EmpoProvider("exact", extract=coarse, reward="vote_certainty", reward_options=options) as provider:
        batch, _, decision = rollout(provider, model, tokenizer, tmp_path)
    _, certainties = measured_again(batch, model)
    expected = group_advantages(certainties.reshape(PROMPTS, G).astype(np.float64)).ravel()
    np.testing.assert_allclose(decision.rewards, expected, atol=5e-3)  # differences of 1e-4 divided by a small std
    assert len(set(decision.rewards.round(6))) > PROMPTS


def test_the_fixed_advantages_of_ddrl_reach_the_loss_of_trl(model, tokenizer, tmp_path):
    with EmpoProvider("exact", extract=coarse, **preset("ddrl")) as provider:
        batch, _, decision = rollout(provider, model, tokenizer, tmp_path)
    in_loss = batch["tool_mask"].any(dim=1).numpy()
    np.testing.assert_array_equal(in_loss, decision.loss_mask)
    assert in_loss.reshape(PROMPTS, G).sum(axis=1).tolist() == [G // 2] * PROMPTS
    assert set(batch["advantages"].numpy()[in_loss]) == {-1.0, 1.0}
    assert not batch["advantages"].numpy()[~in_loss].any()


def test_trl_is_told_the_scale_that_it_has_for_fixed_advantages(model, tokenizer, tmp_path):
    with (
        EmpoProvider("exact", scale="fixed") as provider,
        pytest.raises(InputError, match='scale_rewards=.group. and EmpoProvider.scale=.fixed. differ. Set .*"none"'),
    ):
        EmpoGRPOTrainer(
            model=model,
            provider=provider,
            args=GRPOConfig(output_dir=str(tmp_path), num_generations=2, use_cpu=True, bf16=False),
            train_dataset=Dataset.from_list(ROWS),
            processing_class=tokenizer,
        )


def test_the_advantages_of_restrain_reach_the_loss_of_trl(model, tokenizer, tmp_path):
    options = {"base_votes": "none", "lowest_share": 0.3}
    with EmpoProvider("exact", extract=coarse, reward="restrain", reward_options=options, scale="fixed") as provider:
        batch, _, decision = rollout(provider, model, tokenizer, tmp_path)
    np.testing.assert_allclose(batch["advantages"], decision.rewards, rtol=1e-6)
    largest = [np.bincount(result.labels).max() / G for result in decision.results]
    penalised = decision.rewards.reshape(PROMPTS, G) == -1
    assert [row.all() for row in penalised] == [share < 0.3 for share in largest]


def test_evol_compares_the_completions_of_the_policy(model, tokenizer, tmp_path):
    compared = set()

    def similarity(left, right):
        compared.update((left, right))
        return min(len(left), len(right)) / max(len(left), len(right), 1)

    with EmpoProvider("exact", extract=coarse, reward="evol", reward_options={"similarity": similarity}) as provider:
        _, groups, decision = rollout(provider, model, tokenizer, tmp_path)
    answers = [answer for result in decision.results for answer in result.answers]
    texts = [text.strip() for group in groups for text in group.completions]
    assert compared == {text for text, answer in zip(texts, answers, strict=True) if answer is not None}
    for answer, reward in zip(answers, decision.rewards, strict=True):
        assert reward == -1 if answer is None else 0.5 <= abs(reward) <= 1
    assert (decision.rewards > 0).any()
