"""Rollout groups from the rows of verl's TransferQueue.

verl stores each completion under the key `{uid}_{session}_{output}`: the uid of the prompt, the number of the
completion in its group, and the number of the output of the agent loop. A group is the completions of one uid, in the
order of their sessions. The judge receives `extra_info["question"]` of the row, or else the last user message of the
prompt; the gold answer is `reward_model["ground_truth"]`.

An agent loop that returns several outputs for one completion is refused, because the group would contain the steps of a
conversation, and not completions of one prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import transfer_queue as tq

from empo_rl.core.groups import RolloutGroup
from empo_rl.trainers.trl.rollouts import trl_columns
from semantic_entropy import InputError

MEASURES = frozenset({"tokens", "truncated"})  # the measures that this adapter computes


@dataclass(frozen=True, slots=True)
class QueueGroup:
    """A group, and the keys of its completions in the queue, (G,), in the order of `group.completions`."""

    uid: str
    keys: tuple[str, ...]
    group: RolloutGroup


def keys_by_prompt(keys: Sequence[str]) -> dict[str, list[str]]:
    """The keys of each prompt uid, in the order of their sessions; the prompts in the order of their first key.

    Raises:
        InputError: a completion has more than one output.
    """
    sessions: dict[str, dict[int, str]] = {}
    for key in keys:
        uid, session, output = key.rsplit("_", 2)
        if output != "0":
            raise InputError(
                f"the completion {uid}_{session} has several outputs ({key}): its agent loop returns a list. EMPO "
                "compares final answers, so use an agent loop that returns one output, such as single_turn_agent."
            )
        sessions.setdefault(uid, {})[int(session)] = key
    return {uid: [found[session] for session in sorted(found)] for uid, found in sessions.items()}


def read_groups(keys: Sequence[str], partition: str, tokenizer: Any, response_limit: int) -> list[QueueGroup]:
    """Read the groups of these completions.

    Args:
        keys: the keys of the completions.
        partition: the partition of the queue, `train`.
        tokenizer: decodes the tokens of a completion.
        response_limit: the most tokens of a completion. A completion with as many tokens and no end token at its end
            counts as truncated.

    Raises:
        InputError: see `keys_by_prompt`; also if a prompt has no text.
    """
    chosen = keys_by_prompt(keys)
    ordered = [key for group in chosen.values() for key in group]
    if not ordered:
        return []
    fields = ["responses", "raw_prompt", "extra_info", "reward_model"]
    data = tq.kv_batch_get(keys=ordered, partition_id=partition, select_fields=fields)
    responses = [row.tolist() for row in data["responses"].unbind()]
    extra, prompts = _dicts(data, "extra_info", len(ordered)), list(data["raw_prompt"])
    rewards = _dicts(data, "reward_model", len(ordered))
    columns = trl_columns(
        prompts=prompts,
        completions=[tokenizer.decode(tokens, skip_special_tokens=True) for tokens in responses],
        columns={"question": [row.get("question") for row in extra], "gold": [_gold(row) for row in rewards]},
    )
    ends = {tokenizer.eos_token_id, tokenizer.pad_token_id}
    groups, start = [], 0
    for uid, members in chosen.items():
        rows = slice(start, start := start + len(members))
        lengths = [float(len(tokens)) for tokens in responses[rows]]
        cut = [len(tokens) >= response_limit and tokens[-1] not in ends for tokens in responses[rows]]
        group = RolloutGroup(
            completions=tuple(columns["completions"][rows]),
            question=columns["questions"][rows][0],
            gold=columns["golds"][rows][0],
            measures={"tokens": lengths, "truncated": [float(flag) for flag in cut]},
        )
        groups.append(QueueGroup(uid, tuple(members), group))
    return groups


def _dicts(data: Any, name: str, count: int) -> list[Mapping[str, Any]]:
    """A column of dicts; empty dicts if the rows do not have the column, which comes from the data of the user."""
    found = list(data[name]) if name in data.keys() else [None] * count  # noqa: SIM118  # `in` compares tensors
    return [value if isinstance(value, Mapping) else {} for value in found]


def _gold(row: Mapping[str, Any]) -> str | None:
    gold = row.get("ground_truth")
    return None if gold is None else str(gold)
