"""slime's own loss with rows that `empo_rl.trainers.slime_hooks` removes, beside its loss of the kept rows alone.

    python benchmarks/slime_loss.py FOLDER      a checkout of slime (https://github.com/THUDM/slime)

Runs `compute_advantages_and_returns` and `loss_function` of slime/backends/megatron_utils/loss.py on the CPU, with
random logits. They ask Megatron for the sizes of its process groups only, so a module that answers 1 stands in for it.
Prints the ratio of the two losses for each reduction and estimator, without and with the factor of the hook
`advantages`, and how far the gradients are apart with the factor. It exits with 1 if the loss or the gradients with the
factor are not those of the kept rows. A batch has two optimizer steps. The removed rows are those of dropped groups, a
row without an answer, and a row that was aborted.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import types
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from empo_rl.trainers import slime_hooks

WORDS, PROMPT = 32, 3  # tokens of the vocabulary, tokens of a prompt
ABORTED = 13  # the place of a sample that was aborted, in a group that is kept
GROUPS = (["1", "1", "2", "3"], ["5"] * 4, ["7", "8", "7", ""], ["4", "4", "4", "6"], ["9"] * 4)


def main() -> int:
    """Print the table. Returns the exit status."""
    slime = Path(sys.argv[1])
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    os.environ[slime_hooks.VARIABLE] = json.dumps({"equivalence": "exact", "extract": "boxed", "invalid": "drop"})
    loss = slime_loss(slime)
    sample_class = importlib.import_module("slime.utils.types").Sample
    print("| reduction | estimator | step | rows, kept | without the factor | with it | gradients with it |")
    print("|---|---|---|---|---|---|---|")
    right = True
    for per_token in (False, True):
        for estimator in ("grpo", "gspo"):
            args = arguments(estimator, per_token=per_token)
            samples = make_samples(sample_class)
            plain = slime_hooks.advantages(None, samples)[1]
            scaled = slime_hooks.advantages(args, samples)[1]
            for step in range(len(samples) // args.global_batch_size):
                rows = range(step * args.global_batch_size, (step + 1) * args.global_batch_size)
                kept = [row for row in rows if not samples[row].remove_sample]
                alone, gradient_alone = compute(loss, args, samples, plain, kept)
                without, _ = compute(loss, args, samples, plain, rows)
                together, gradient = compute(loss, args, samples, scaled, rows)
                apart = float((gradient - gradient_alone).abs().max() / gradient_alone.abs().max())
                right = right and abs(together - alone) < 1e-6 and apart < 1e-6
                name = "per token" if per_token else "mean over completions"
                counts = f"{len(rows)}, {len(kept)}"
                print(
                    f"| {name} | {estimator} | {step} | {counts} | {without / alone:.4f} | {together / alone:.6f} "
                    f"| {apart:.1e} |"
                )
    return 0 if right else 1


def slime_loss(folder: Path) -> Any:
    """The module `loss` of slime, without the package around it, which patches Megatron."""
    sys.path.insert(0, str(folder))
    sizes = {f"get_{name}_world_size": lambda **_: 1 for name in ("context_parallel", "data_parallel")}
    mpu = Namespace(
        **sizes,
        get_context_parallel_rank=lambda: 0,
        get_context_parallel_group=lambda: None,
        get_tensor_model_parallel_group=lambda: None,
        is_pipeline_last_stage=lambda: True,
    )
    for name in ("megatron", "megatron.core"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["megatron.core"].mpu = mpu  # type: ignore[attr-defined]
    package = types.ModuleType("slime.backends.megatron_utils")
    package.__path__ = [str(folder / "slime" / "backends" / "megatron_utils")]
    sys.modules[package.__name__] = package
    return importlib.import_module("slime.backends.megatron_utils.loss")


def arguments(estimator: str, *, per_token: bool) -> Namespace:
    """The arguments of slime that its loss reads; the others have slime's defaults."""
    off = ("use_rollout_logprobs", "use_opd", "normalize_advantages", "use_opsm", "use_tis", "get_mismatch_metrics")
    return Namespace(
        **dict.fromkeys((*off, "use_kl_loss", "allgather_cp", "recompute_loss_function"), False),
        advantage_estimator=estimator,
        calculate_per_token_loss=per_token,
        global_batch_size=len(GROUPS) * 2,  # two steps; a group can be cut between them
        custom_advantage_function_path=None,
        kl_coef=0,
        loss_type="policy_loss",
        rollout_top_p=1.0,
        rollout_temperature=1.0,
        log_probs_chunk_size=-1,
        entropy_coef=0.0,
        eps_clip=3e-4,
        eps_clip_high=4e-4,
        eps_clip_c=None,
    )


def make_samples(sample_class: Any) -> list[Any]:
    """Samples of five groups, with random tokens and lengths; one of them is aborted."""
    dice, samples = random.Random(0), []
    for number, answers in enumerate(GROUPS):
        for answer in answers:
            length = dice.randint(3, 9)
            samples.append(
                sample_class(
                    group_index=number,
                    prompt="q",
                    tokens=[dice.randrange(WORDS) for _ in range(PROMPT + length)],
                    response=rf"\boxed{{{answer}}}" if answer else "no",
                    response_length=length,
                    status=sample_class.Status.COMPLETED,
                )
            )
    samples[ABORTED].status = sample_class.Status.ABORTED
    return samples


def compute(
    loss: Any, args: Namespace, samples: list[Any], advantages: list[float], rows: Sequence[int]
) -> tuple[float, torch.Tensor]:
    """The loss of these samples in one micro-batch, and its gradient on the logits of the kept ones, (T, V)."""
    dice = torch.Generator().manual_seed(0)
    logits = [torch.randn(len(sample.tokens), WORDS, generator=dice).requires_grad_() for sample in samples]
    lengths = [samples[row].response_length for row in rows]
    masks = [torch.full((samples[row].response_length,), int(not samples[row].remove_sample)) for row in rows]
    batch = {
        "unconcat_tokens": [torch.tensor(samples[row].tokens) for row in rows],
        "total_lengths": [len(samples[row].tokens) for row in rows],
        "response_lengths": lengths,
        "loss_masks": masks,
        "rollout_mask_sums": [mask.sum() for mask in masks],
        "rewards": [advantages[row] for row in rows],
        "log_probs": [torch.zeros(length) for length in lengths],
    }
    loss.compute_advantages_and_returns(args, batch)
    del batch["log_probs"]  # on-policy: the ratio is 1
    together = torch.cat([logits[row] for row in rows])[None]
    value, normalizer, _ = loss.loss_function(args, batch, 1, len(rows), together)
    value = value / normalizer if args.calculate_per_token_loss else value  # Megatron divides
    value.backward()
    kept = (logits[row].grad for row in rows if not samples[row].remove_sample)
    return value.item(), torch.cat([gradient for gradient in kept if gradient is not None])


if __name__ == "__main__":
    sys.exit(main())
