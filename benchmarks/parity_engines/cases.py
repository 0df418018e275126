"""The groups of `parity.py`, what a runner reads and writes, and how two decisions are compared.

A case is the arguments of `EmpoProvider` and B groups. A runner is a process:

    python -m parity_engines.ENGINE CASES.json ROWS.json

It passes the completions through its engine, and writes for each group what the engine then has: rewards, loss mask and
advantages, (G,) each. A reward is null where the engine has none, and `EngineRewards` says for which rows that may be.
A case that the engine's own configuration refuses (`refusal`) has a reason in the place of rows, before a group is
decided, and `EngineRewards` names the words of the reason.

A token is one byte. A completion of at least LIMIT bytes is cut off there, as a sampler cuts it: `truncated`.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

LIMIT = 1000  # bytes
SIZE = 8  # completions of a group, except in the case `sizes`
TOLERANCE = 1e-6  # TRL, verl and slime keep advantages in float32


@dataclass(frozen=True)
class Group:
    """The completions of a prompt, (G,), whether the limit cut each of them off, and token measures, if a case has any.

    The prompt is the number of the group in its case.
    """

    question: str
    completions: list[str]
    truncated: list[bool]
    gold: str | None = None
    token_measures: dict[str, list[float]] = field(default_factory=dict)

    def measures(self) -> dict[str, list[float]]:
        """The measures of the provider: the number of tokens with the end token, the cut, and the token measures."""
        rows = zip(self.completions, self.truncated, strict=True)
        tokens = [float(len(text.encode()) + (not cut)) for text, cut in rows]
        return {"tokens": tokens, "truncated": [float(cut) for cut in self.truncated], **self.token_measures}


@dataclass(frozen=True)
class Case:
    """Groups, and the arguments of the provider that decides about them, as JSON."""

    name: str
    provider: dict[str, Any]
    groups: list[Group]


@dataclass(frozen=True)
class Rows:
    """What an engine has of a group: (G,) each."""

    rewards: list[float | None]
    loss_mask: list[bool]
    advantages: list[float]


@dataclass(frozen=True)
class Ran:
    """The output of a runner: where it ran, the rows of each group by case, and the cases that it left out, and why."""

    where: str
    cases: dict[str, list[Rows]]
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EngineRewards:
    """Which rewards an engine has at the end of its path.

    Attributes:
        of_no_reward: what the engine has where the provider gives no reward; None for no reward.
        dropped_leave: the rows of dropped groups have left the engine, so they have no reward.
        leaves_out: the cases that the engine may leave out, and words that its reason must have.
    """

    of_no_reward: float | None = None
    dropped_leave: bool = False
    leaves_out: Mapping[str, str] = field(default_factory=dict)

    def expected(self, reference: Rows) -> list[float | None]:
        """The rewards that the engine must have, (G,). A group without a row in the loss is a dropped one."""
        if self.dropped_leave and not any(reference.loss_mask):
            return [None] * len(reference.rewards)
        return [self.of_no_reward if reward is None else reward for reward in reference.rewards]


AS_PROVIDER = EngineRewards()


@dataclass
class Comparison:
    """Sums over the groups of an engine. A difference of masks or of anything above TOLERANCE is a failure.

    `rewards` counts the compared rewards that the provider gives.
    """

    groups: int = 0
    completions: int = 0
    rewards: int = 0
    reward_difference: float = 0.0
    masks_differ: int = 0
    advantage_difference: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether the engine decides as the reference."""
        found = max(self.reward_difference, self.advantage_difference)
        return not self.problems and not self.masks_differ and found <= TOLERANCE and self.groups > 0


def compare(
    cases: Sequence[Case], expected: Ran, found: Ran, engine_rewards: EngineRewards = AS_PROVIDER
) -> Comparison:
    """Compare the rows of an engine with those of the reference."""
    total = Comparison()
    for case in cases:
        if why := found.left_out.get(case.name):
            words = engine_rewards.leaves_out.get(case.name)
            if words is None or words not in why or case.name in found.cases:
                total.problems.append(f"case {case.name}: left out: {why}")
            continue
        rows = found.cases.get(case.name, [])
        if len(rows) != len(case.groups):
            total.problems.append(f"case {case.name}: {len(rows)} of {len(case.groups)} groups")
            continue
        for index, (left, right) in enumerate(zip(expected.cases[case.name], rows, strict=True)):
            wanted = engine_rewards.expected(left)
            _compare_group(total, f"case {case.name}, group {index}", left, wanted, right)
    return total


def _compare_group(total: Comparison, name: str, expected: Rows, wanted: Sequence[float | None], found: Rows) -> None:
    size = len(expected.loss_mask)
    if {len(found.rewards), len(found.loss_mask), len(found.advantages)} != {size}:
        total.problems.append(f"{name}: not {size} rewards, masks and advantages")
        return
    total.groups += 1
    total.completions += size
    total.masks_differ += sum(left != right for left, right in zip(expected.loss_mask, found.loss_mask, strict=True))
    for row in range(size):
        left, right = wanted[row], found.rewards[row]
        if left is None and right is not None:
            total.problems.append(f"{name}, completion {row}: the reward {right:g}, but none is expected")
        elif left is not None and right is None:
            total.problems.append(f"{name}, completion {row}: no reward, but {left:g} is expected")
        elif left is not None and right is not None:
            total.rewards += expected.rewards[row] is not None
            total.reward_difference = _larger(total.reward_difference, left - right)
        total.advantage_difference = _larger(
            total.advantage_difference, expected.advantages[row] - found.advantages[row]
        )


def _larger(largest: float, difference: float) -> float:
    """The larger absolute difference; infinity for nan, which `max` would lose."""
    return max(largest, math.inf if math.isnan(difference) else abs(difference))


def rows_of(decision: Any) -> list[Rows]:
    """The rows of a `BatchDecision`."""
    found = []
    for index in range(decision.num_groups):
        part = decision.rows(index)
        rewards = [None if math.isnan(reward) else reward for reward in decision.rewards[part].tolist()]
        found.append(Rows(rewards, decision.loss_mask[part].tolist(), decision.advantages[part].tolist()))
    return found


def rollouts(groups: Sequence[Group]) -> list[Any]:
    """The groups as `RolloutGroup`."""
    from empo_rl import RolloutGroup

    return [RolloutGroup(tuple(group.completions), group.question, group.gold, group.measures()) for group in groups]


def refusal(configure: Callable[[], object]) -> str | None:
    """The reason why the engine's own configuration refuses a case; None if it accepts the case.

    Args:
        configure: what the engine does with the settings before it gets a completion. An error of a decision is not
            caught here, so no wrong number can be called a refusal.
    """
    from semantic_entropy import InputError

    try:
        configure()
    except InputError as error:
        return str(error)
    return None


def write_cases(path: Path, cases: Sequence[Case]) -> None:
    """Write the input of the runners."""
    path.write_text(json.dumps([asdict(case) for case in cases], allow_nan=False), encoding="utf-8")


def read_cases(path: Path) -> list[Case]:
    """Read the input of a runner."""
    return [
        Case(case["name"], case["provider"], [Group(**group) for group in case["groups"]])
        for case in json.loads(path.read_text(encoding="utf-8"))
    ]


def read_ran(path: Path) -> Ran:
    """Read the output of a runner."""
    text = json.loads(path.read_text(encoding="utf-8"))
    cases = {name: [Rows(**rows) for rows in groups] for name, groups in text["cases"].items()}
    return Ran(text["where"], cases, text["left_out"])


def run(engine: Callable[[Sequence[Case]], Ran | None]) -> None:
    """The main function of a runner. An engine returns None in a process that has no output."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    ran = engine(read_cases(source))
    if ran is not None:
        target.write_text(json.dumps(asdict(ran)), encoding="utf-8")


def make_cases(samples: Path | None) -> list[Case]:
    """The cases: the hard groups below, and groups of `samples.jsonl` if the file exists.

    The number of groups of SIZE completions is odd, so that two processes cut one of them.
    """
    file = samples if samples is not None and samples.is_file() else None
    math_groups = _odd([*_hard_groups(), *_stored(file, "qwen_math_cot_100", 12)])
    sizes = [2, 3, 5, 8, 4, 7, 6, 8]
    uneven = [
        Group(group.question, group.completions[:size], group.truncated[:size], group.gold)
        for group, size in zip(math_groups, sizes, strict=False)
    ]
    boxed = {"equivalence": "math", "extract": "boxed"}
    window = {**boxed, "delta_low": 0.0, "delta_high": 1.7}
    parts = {"empo": 1.0, "token_entropy": 0.25, "self_certainty": 0.25}
    tokens = {"reward": "composite", "reward_options": {"weights": parts}, "scale": "none"}
    return [
        Case("window", {**window, "guards": {"overlong": None}}, math_groups),
        Case("drop", {**boxed, "invalid": "drop", "scale": "none", "guards": {"overlong": 0.0}}, math_groups),
        Case("majority", {**boxed, "reward": "majority", "filters": {"equal_rewards": {}}}, math_groups),
        Case("gold", {**window, "reward": "semi_supervised", "filters": {"equal_rewards": {}}}, math_groups),
        Case("batch", {**window, "scale": "batch", "invalid": "drop"}, math_groups),
        Case("zero", {**window, "outside": "zero"}, math_groups),
        Case("text", {"equivalence": "text"}, _odd([*_text_groups(), *_stored(file, "sac3_nq", 12)])),
        Case("question", {"equivalence": "text"}, _odd([*_asked_groups(), *_stored(file, "sac3_hotpot", 10)])),
        Case("measures", {**boxed, **tokens}, _measured(_odd(math_groups[:13]))),
        Case("sizes", boxed, uneven),
    ]


def _odd(groups: list[Group]) -> list[Group]:
    return groups[: len(groups) - 1 + len(groups) % 2]


def _measured(groups: Sequence[Group]) -> list[Group]:
    """The groups with their token measures. Only this case loads torch."""
    from parity_engines.tiny_policy import measured

    return [
        replace(group, token_measures=measured(str(number), group.completions, group.truncated))
        for number, group in enumerate(groups)
    ]


def _group(question: str, texts: Sequence[str], gold: str | None = None) -> Group:
    cut = [len(text.encode()) >= LIMIT for text in texts]
    return Group(question, [text[:LIMIT] if end else text for text, end in zip(texts, cut, strict=True)], cut, gold)


def _boxed(question: str, *answers: str, gold: str | None = None) -> Group:
    return _group(question, [rf"So the answer is \boxed{{{answer}}}." for answer in answers], gold)


def _hard_groups() -> list[Group]:
    """Groups of SIZE completions: what went wrong once, or could."""
    long = "First, we compute the sum again and again. " * 40
    return [
        _boxed("All agree.", *["12"] * 8, gold="12"),  # outside the window
        _boxed("Two halves.", *["3", "4"] * 4, gold="4"),  # equal rewards, H = ln 2
        _boxed("Nobody agrees.", *"12345678", gold="7"),  # outside the window
        _boxed(
            "The same value in other words.", "1/2", "0.5", r"\frac{1}{2}", "2", "2", "50\\%", "1/3", "0.5", gold="1/2"
        ),
        _boxed("Letters that are not ASCII.", "π", r"\pi", "3.14", "π", "2", "√4", r"\sqrt{4}", "2"),
        _group("Answers without a box.", [r"\boxed{7}"] * 4 + ["I cannot tell.", "7", r"\boxed{}", r"\boxed{8}"]),
        _group("An empty completion.", ["", r"\boxed{1}", r"\boxed{1}", r"\boxed{2}", "", " ", "\n", r"\boxed{2}"]),
        _group("Cut off.", [r"\boxed{5}" + long, r"\boxed{5}", r"\boxed{6}" + long, long, *[r"\boxed{6}"] * 4], "5"),
        _group("All without an answer.", ["no", "none", "?", "...", "", "I do not know.", "maybe", "x"], "1"),
        _boxed("Two halves.", *["3"] * 6, "4", "4", gold="3"),  # the same question a second time, with another gold
        _boxed("One against seven.", *["9"] * 7, "10"),
    ]


def _text_groups() -> list[Group]:
    return [
        _group("Who wrote it?", ["Arundhati Roy", "arundhati roy", "It was Arundhati Roy.", "Salman Rushdie"] * 2),
        _group("Where?", ["Paris", "In Paris", "Lyon", "I don't know.", "Paris", "", "Nice", "Lyon, France"]),
        _group("When?", ["1997", "in 1997", "1998", "1997", "the year 1997", "1996", "1997", "1997"]),
    ]


def _asked_groups() -> list[Group]:
    """Groups whose clusters are others without the question; the first two have the same completions."""
    race = ["Alice", "Alice beat Bob", "Bob", "Bob won against Alice", "Alice won", "Bob", "Alice", "not Bob"]
    years = ["1066", "in 1066, not 1067", "1067", "1066", "1066 AD", "1067", "1066", "It was in 1066"]
    coast = [
        "Canada has the longest coastline in the world: 202,080 km.",
        "Canada",
        "Canada has the longest coastline.",
    ]
    chapel = ["Michelangelo painted the ceiling of the chapel in Rome.", "Michelangelo", "Michelangelo in 1512"]
    return [
        _group("Did Alice or Bob win the race?", race),
        _group("Who won the race?", race),
        _group("Was the battle in 1066 or in 1067?", years),
        _group(
            "Which country has the longest coastline in the world?",
            [*coast, *["Norway", "Canada", "Chile"], *coast[:2]],
        ),
        _group(
            "Who painted the ceiling of the chapel in Rome?",
            [*chapel, "The ceiling of the chapel in Rome was painted by Raphael.", "Raphael", *chapel],
        ),
    ]


def _stored(path: Path | None, source: str, count: int) -> list[Group]:
    """The first groups of this source with SIZE responses; at most half are cut, and not inside a character.

    Every second group has its gold answer.
    """
    found: list[Group] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path else []:
        row: Mapping[str, Any] = json.loads(line)
        texts = row["responses"][:SIZE]
        if row["source"] != source or len(texts) < SIZE:
            continue
        long = [text for text in texts if len(text.encode()) >= LIMIT]
        if len(long) <= SIZE // 2 and all(text.isascii() for text in long):
            gold = row["gold"] if len(found) % 2 and row["gold"] is not None else None
            found.append(_group(row["question"], texts, None if gold is None else str(gold)))
        if len(found) == count:
            break
    return found
