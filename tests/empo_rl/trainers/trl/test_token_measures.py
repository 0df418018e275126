import math

import pytest
import torch

from empo_rl.trainers.trl.token_measures import measure_tokens, of_logits


def test_a_uniform_distribution_has_entropy_ln_v_and_no_certainty():
    entropy, certainty = of_logits(torch.zeros(2, 50))
    torch.testing.assert_close(entropy, torch.full((2,), math.log(50)))
    torch.testing.assert_close(certainty, torch.zeros(2), atol=1e-6, rtol=0)


def test_both_measures_are_torchs_own_entropy_and_divergence():
    logits = torch.randn(7, 11, generator=torch.Generator().manual_seed(0)) * 3
    entropy, certainty = of_logits(logits)
    torch.testing.assert_close(entropy, torch.distributions.Categorical(logits=logits).entropy())
    uniform = torch.distributions.Categorical(probs=torch.full((7, 11), 1 / 11))
    policy = torch.distributions.Categorical(logits=logits)
    torch.testing.assert_close(certainty, torch.distributions.kl_divergence(uniform, policy))


def test_a_batch_is_measured_as_each_completion_by_itself(model, tokenizer):
    torch.manual_seed(0)
    prompts = [[5, 6, 7, 8], [9, 10], [4]]
    completions = [[11, 12, 13], [14], []]
    measured = measure_tokens(model, prompts, completions, temperature=0.7, batch_size=2, pad=tokenizer.pad_token_id)
    for row, (prompt, completion) in enumerate(zip(prompts[:2], completions[:2], strict=True)):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1] / 0.7
        entropy, certainty = of_logits(logits)
        assert measured["token_entropy"][row] == pytest.approx(float(entropy.mean()), abs=1e-5)
        assert measured["self_certainty"][row] == pytest.approx(float(certainty.mean()), abs=1e-5)
    assert measured["token_entropy"][2] == measured["self_certainty"][2] == 0
