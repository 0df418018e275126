"""Samples of a run, for a person to read: completions of a few prompts with their clusters, rewards, and whether the
group is in the loss.

`samples.jsonl` has one line for each sampled group, with these keys:

    step, question, gold        the prompt of the group
    entropy                     in nats; null if no answer is valid, or if the run does not cluster the answers
    kept, reason                whether the group is in the loss, and the reason if it is not
    result                      the result of the group, as `Result.to_dict()`: without costs, for `report_rows`
    completions                 (G,) each with text, answer, cluster, reward, advantage, in_loss, tokens, cut_off

A reward is null if the completion is not in the loss. A long text is shortened in the middle, so the file stays small;
`characters` is its length. `tokens` and `cut_off` are null if the trainer did not measure them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from empo_rl.core.decision import BatchDecision
from empo_rl.core.groups import RolloutGroup
from semantic_entropy import Result

LONGEST = 4000  # characters of a stored completion: the beginning and the end, where the answer is
SHORT = 300  # characters of a shown completion, unless the user wants the full text


def sample_rows(groups: Sequence[RolloutGroup], decision: BatchDecision, prompts: int) -> list[dict[str, Any]]:
    """Return one row, without `step`, for each of the first groups of a batch; at most `prompts` rows.

    Args:
        groups: (B,) the groups.
        decision: the decision about these groups.
        prompts: the largest number of rows.
    """
    return [_row(index, group, decision) for index, group in enumerate(groups[:prompts])]


def _row(index: int, group: RolloutGroup, decision: BatchDecision) -> dict[str, Any]:
    result, first = decision.results[index], index * decision.num_generations
    unmeasured = [math.nan] * len(group.completions)
    tokens, cut_off = (group.measures.get(name, unmeasured) for name in ("tokens", "truncated"))
    return {
        "question": None if group.question is None else _shortened(group.question, LONGEST),
        "gold": group.gold,
        "entropy": _finite(float(decision.entropies[index])),
        "kept": bool(decision.keep[index]),
        "reason": decision.drop_reasons[index],
        "result": _without_costs(result).to_dict(),
        "completions": [
            {
                "text": _shortened(text, LONGEST),
                "characters": len(text),
                "answer": result.answers[number],
                "cluster": result.labels[number],
                "reward": _finite(float(decision.rewards[first + number])),
                "advantage": _finite(float(decision.advantages[first + number])),
                "in_loss": bool(decision.loss_mask[first + number]),
                "tokens": None if math.isnan(tokens[number]) else int(tokens[number]),
                "cut_off": None if math.isnan(cut_off[number]) else bool(cut_off[number]),
            }
            for number, text in enumerate(group.completions)
        ],
    }


def _without_costs(result: Result) -> Result:
    """The result, with all its pairs as asked: a resumed run has another cache, and writes the same rows."""
    provenance = replace(
        result.provenance, asked=result.provenance.pairs, cached=0, decided_by=(), usage=None, replies_usage=None
    )
    return replace(result, provenance=provenance)


def sample_lines(row: Mapping[str, Any], *, full: bool = False) -> Iterator[str]:
    """The lines of text that show one row: the group, then its completions by cluster, the largest cluster first.

    full: show the stored texts; otherwise each text is one line of at most `SHORT` characters.
    """
    completions = row["completions"]
    sizes: dict[int, int] = {}
    for completion in completions:
        sizes[completion["cluster"]] = sizes.get(completion["cluster"], 0) + 1
    entropy = "no entropy" if row["entropy"] is None else f"entropy {row['entropy']:.2f} nats"
    state = "kept" if row["kept"] else f"dropped ({row['reason']})"
    gold = "" if row["gold"] is None else f", gold {row['gold']!r}"
    yield f"step {row['step']}: {state}, {entropy}, {len(sizes)} clusters{gold}"
    yield f"  question: {_text(row['question'] or '(none)', full)}"
    for completion in sorted(completions, key=lambda item: (-sizes[item["cluster"]], item["cluster"])):
        answer = "no answer" if completion["answer"] is None else f"answer {completion['answer']!r}"
        reward = "not in the loss" if completion["reward"] is None else f"reward {completion['reward']:.3g}"
        end = ", cut off" if completion["cut_off"] else ""
        tokens = "" if completion["tokens"] is None else f", {completion['tokens']} tokens"
        share = f"{sizes[completion['cluster']]}/{len(completions)}"
        yield f"  [cluster {completion['cluster']}, {share}] {answer}, {reward}{tokens}{end}"
        yield f"      {_text(completion['text'], full)}"


def report_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a report, which shows the meanings of each sampled group (`semantic_entropy.report`)."""
    return [
        {
            **row["result"],
            "id": f"step {row['step']}",
            "question": row["question"],
            "responses": [completion["text"] for completion in row["completions"]],
            "source": f"step {row['step']}",  # the report filters by this field
            "gold": row["gold"],
            "in the loss": "yes" if row["kept"] else f"no: {row['reason']}",
            "rewards": ["none" if each["reward"] is None else each["reward"] for each in row["completions"]],
        }
        for row in rows
    ]


TABLE_COLUMNS = ("step", "question", "gold", "kept", "cluster", "answer", "reward", "advantage", "completion")


def table_rows(rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """One row for each completion, with the columns `TABLE_COLUMNS`, for the table of an experiment tracker."""
    return [
        [
            *(row["step"], row["question"], row["gold"], row["kept"]),
            *(item["cluster"], item["answer"], item["reward"], item["advantage"], item["text"]),
        ]
        for row in rows
        for item in row["completions"]
    ]


def _text(text: str, full: bool) -> str:
    return text.replace("\n", "\n      ") if full else _shortened(" ".join(text.split()), SHORT)


def _shortened(text: str, most: int) -> str:
    """The text, or its beginning and its end with the number of left-out characters between them."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} [... {len(text) - 2 * half} characters ...] {text[-half:]}"


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
