"""Before and after: accuracy on held-out questions, and the semantic entropy of eight samples.

    pass@1            share of questions whose greedy answer is right
    mean@8            share of all samples (8 a question, temperature 1) that are right
    majority@8        share of questions where the answer of the largest cluster of samples is right
    semantic_entropy  mean over the questions of H over the clusters of the 8 samples, in nats

An answer is right when it is the gold integer, digit for digit. AUROC is the probability that a question
whose greedy answer is wrong has a higher entropy than one whose greedy answer is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from empo_rl.data.arithmetic import ArithmeticQuestion
from empo_rl.demo.generate import complete
from empo_rl.run.tiny_model import prompt_text
from semantic_entropy import BatchResult, Scorer

SAMPLES = 8
MAX_NEW_TOKENS = 44  # the longest chain of the task has 32 tokens


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Shares in [0, 1], entropy in nats; per question, (questions,): `wrong` greedy answers, `entropies`, and the
    share of samples that is `right`.
    """

    pass_at_1: float
    mean_at_8: float
    majority_at_8: float
    semantic_entropy: float
    wrong: tuple[bool, ...]
    entropies: tuple[float, ...]
    right: tuple[float, ...]

    def to_dict(self) -> dict[str, float]:
        """The four numbers, under the names of the table and of `summary.json`."""
        return {
            "pass@1": self.pass_at_1,
            "mean@8": self.mean_at_8,
            "majority@8": self.majority_at_8,
            "semantic_entropy": self.semantic_entropy,
        }

    def auroc(self) -> float | None:
        """Of entropy against wrong greedy answers; None where all are right or all are wrong."""
        if len(set(self.wrong)) < 2:
            return None
        from sklearn.metrics import roc_auc_score

        # clusters of the same sizes in another order give sums that differ in the last bits: those are ties
        return float(roc_auc_score(self.wrong, [round(entropy, 9) for entropy in self.entropies]))


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[ArithmeticQuestion],
    scorer: Scorer,
    seed: int,
) -> Evaluation:
    """Generate and score. Draws from a generator of its own, so that evaluating does not change the training."""
    prompts = [prompt_text(question) for question in questions]
    repeated = [prompt for prompt in prompts for _ in range(SAMPLES)]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        greedy = complete(model, tokenizer, prompts, max_new_tokens=MAX_NEW_TOKENS, greedy=True)
        samples = complete(model, tokenizer, repeated, max_new_tokens=MAX_NEW_TOKENS)
    asked = [question.text for question in questions]
    groups = [samples[start : start + SAMPLES] for start in range(0, len(samples), SAMPLES)]
    sampled = scorer.estimate(groups, question=asked)
    answered = scorer.estimate([[completion] for completion in greedy], question=asked)
    return _summarize(questions, answered, sampled)


def _summarize(questions: Sequence[ArithmeticQuestion], greedy: BatchResult, sampled: BatchResult) -> Evaluation:
    golds = [question.gold for question in questions]
    wrong = tuple(result.answers[0] != gold for result, gold in zip(greedy, golds, strict=True))
    right = tuple(
        sum(answer == gold for answer in result.answers) / len(result.answers)
        for result, gold in zip(sampled, golds, strict=True)
    )
    majority = [result.answer == gold for result, gold in zip(sampled, golds, strict=True)]
    entropies = tuple(result.entropy for result in sampled)
    return Evaluation(
        pass_at_1=1 - sum(wrong) / len(wrong),
        mean_at_8=sum(right) / len(right),
        majority_at_8=sum(majority) / len(majority),
        semantic_entropy=sum(entropies) / len(entropies),
        wrong=wrong,
        right=right,
        entropies=entropies,
    )
