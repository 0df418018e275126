"""Rewards, guards and filters of a user: functions and classes in a Python file, and functions in a program."""

import math
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from empo_rl import EmpoProvider, RolloutGroup
from empo_rl.config.schema import Empo
from empo_rl.core.guards import load_guards
from empo_rl.core.rewards import load_reward
from empo_rl.plugin import load_from_file, with_imports
from semantic_entropy import InputError, PluginError

FILE = """
from helper_of_my_reward import factor
from empo_rl import Filter, Guard, RewardSignal
import numpy as np

def brevity(completions):
    return [-factor * len(text) for text in completions]

def everything(completions, answers, labels, question, gold, entropy, weight=1.0):
    return [weight * (answer == gold) + label + (entropy > 0) for answer, label in zip(answers, labels)]

class Constant(RewardSignal):
    name = "constant"
    def __init__(self, value=1.0):
        self.value = value
    def rewards(self, scored):
        return np.full((len(scored), len(scored[0].group.completions)), self.value)

class Short(Guard):
    name = "short"
    def flags(self, scored):
        return [[len(text) < 3 for text in item.group.completions] for item in scored]

class Second(Filter):
    name = "second"
    def __init__(self, drop=1):
        self.drop = drop
    def drop_reasons(self, scored, rewards):
        return ["chosen" if index == self.drop else None for index in range(len(scored))]

number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "my_reward.py").write_text(FILE)
    (tmp_path / "helper_of_my_reward.py").write_text("factor = 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def step(*groups, **options):
    with EmpoProvider("exact", **{"extract": "whole", **options}) as provider:
        return provider.step(list(groups))


def test_a_function_in_a_file_is_a_reward_and_its_file_imports_its_neighbours(folder, monkeypatch):
    decision = step(["ab", "abcd"], reward="my_reward.py:brevity")
    assert decision.rewards.tolist() == [-2, -4]
    assert decision.advantages[0] > 0 > decision.advantages[1]
    monkeypatch.setitem(
        sys.modules, "relative", SimpleNamespace(__name__="relative", __file__="_ops.py")
    )  # as torch.ops
    named = [file.name for file in with_imports([folder / "my_reward.py"])]  # a resumed run checks these files
    assert named == ["helper_of_my_reward.py", "my_reward.py"]


def test_an_import_inside_a_function_finds_the_neighbours_of_the_file(folder):
    (folder / "late.py").write_text("def pay(completions):\n    import late_helper\n    return late_helper.paid\n")
    (folder / "late_helper.py").write_text("paid = [1.0, 2.0]\n")
    assert step(["a", "b"], reward="late.py:pay").rewards.tolist() == [1, 2]


def test_two_files_of_one_name_are_two_modules(folder):
    functions = []
    for number in (1, 2):
        (folder / str(number)).mkdir()
        (folder / str(number) / "twin.py").write_text(f"def pay(completions):\n    return {number}\n")
        functions.append(load_from_file(f"{number}/twin.py:pay"))
    assert [function([]) for function in functions] == [1, 2]
    first, second = (sys.modules[function.__module__] for function in functions)
    assert first is not second


def test_a_configuration_keeps_the_absolute_path_of_a_file(folder, monkeypatch):
    empo = {
        "reward": "composite",
        "reward_options": {"weights": {"my_reward.py:brevity": 0.5, "empo": 1.0}},
        "guards": {"my_reward.py:Short": -1.0},
        "filters": {"my_reward.py:Second": {}},
    }
    config = Empo.model_validate(empo)
    path = folder.resolve() / "my_reward.py"
    assert config.reward_options["weights"] == {f"{path}:brevity": 0.5, "empo": 1.0}
    assert list(config.guards) == [f"{path}:Short"]
    assert config.code_files() == [path]
    monkeypatch.chdir(folder.parent)
    assert Empo.model_validate(config.model_dump()) == config


def test_a_function_gets_the_facts_that_it_names_and_options(folder):
    signal = load_reward("my_reward.py:everything", {"weight": 10.0})
    assert signal.reads_gold
    group = RolloutGroup(("a", "b"), question="q", gold="b")
    assert step(group, reward=signal).rewards.tolist() == [1, 12]


def test_a_class_in_a_file_is_a_reward_with_options(folder):
    assert step(["a", "b"], reward="my_reward.py:Constant", reward_options={"value": 2.0}).rewards.tolist() == [2, 2]


def test_a_function_can_be_a_part_of_composite(folder):
    options = {"weights": {"my_reward.py:brevity": 0.5, "empo": 1.0}}
    decision = step(["ab", "abcd"], reward="composite", reward_options=options)
    assert decision.rewards.tolist() == [-0.5, -1.5]


def test_guards_and_filters_in_a_file_work_like_built_in_ones(folder):
    decision = step(
        ["ab", "abcd"],
        ["abc", "abcd"],
        guards={"my_reward.py:Short": -1.0},
        filters={"my_reward.py:Second": {}},
    )
    assert decision.rewards.tolist() == [-1, 0.5, 0.5, 0.5]
    assert decision.keep.tolist() == [True, False]
    assert decision.drop_reasons == (None, "chosen")
    assert (decision.metrics["guard_short"], decision.metrics["filter_second"]) == (0.25, 0.5)


def test_a_function_of_a_program_is_a_reward_and_none_leaves_the_loss():
    decision = step(["a", "b", "c"], reward=lambda completions: [1, None, np.float32(2)])
    assert decision.rewards[[0, 2]].tolist() == [1, 2]
    assert math.isnan(decision.rewards[1])
    assert decision.loss_mask.tolist() == [True, False, True]


def test_a_function_that_names_a_measure_makes_the_trainer_measure_it():
    signal = load_reward(lambda tokens: [-count for count in tokens])
    assert signal.needs == {"tokens"}
    assert step(RolloutGroup(("a", "b"), measures={"tokens": (3, 5)}), reward=signal).rewards.tolist() == [-3, -5]


def test_any_arguments_receive_all_facts():
    seen = {}
    step(["a", "b"], reward=lambda **facts: seen.update(facts) or [0, 1])
    assert set(seen) == {"completions", "answers", "labels", "question", "gold", "entropy"}


def test_equal_rewards_drops_a_group_from_the_loss_of_a_reward_with_labels():
    groups = [RolloutGroup(("1", "2"), gold="1"), RolloutGroup(("3", "4"), gold="1")]
    decision = step(*groups, reward="golden", filters={"equal_rewards": {}})
    assert decision.keep.tolist() == [True, False]
    assert decision.drop_reasons[1] == "equal rewards"
    assert step(*groups, reward="golden").keep.all()


@pytest.mark.parametrize(
    ("reward", "options", "message"),
    [
        ("nowhere.py:brevity", {}, r"nowhere.py:brevity: the file nowhere.py does not exist \(working directory: "),
        ("my_reward.py:brevty", {}, r"has no 'brevty'. Did you mean 'brevity'\? It has: .*brevity, everything"),
        ("my_reward.py:number", {}, "number is 3, which cannot be called"),
        ("my_reward.py:Short", {}, "is not a RewardSignal"),
        (
            "my_reward.py:brevity",
            {"weight": 2},
            "reward function brevity: it has no option 'weight'. Its options: none",
        ),
        ("my_reward.py:everything", {"wait": 2}, r"it has no option 'wait'. Did you mean 'weight'\?"),
        (lambda prompts: prompts, {}, "needs the argument 'prompts', which a reward does not get.* It can name: com"),
    ],
)
def test_a_wrong_reference_is_an_error_that_says_what_exists(folder, reward, options, message):
    with pytest.raises(InputError, match=message):
        load_reward(reward, options)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def f(:\n", r"broken_0.py cannot be imported: line 1: SyntaxError"),
        ("x = 1\nimport nowhere_at_all\n", "cannot be imported: line 2: ModuleNotFoundError: No module named 'nowhere"),
        ("import sys\nsys.exit(0)\n", "cannot be imported: line 2: SystemExit: 0"),
    ],
)
def test_a_file_that_cannot_be_imported_is_an_error_with_its_line(tmp_path, code, message):
    path = tmp_path / "broken_0.py"
    path.write_text(code)
    with pytest.raises(InputError, match=message):
        load_reward(f"{path}:f")


@pytest.mark.parametrize(
    ("raises", "error", "message"),
    [
        ("raise ValueError('no')", InputError, "does not accept the options {}: no"),
        ("{}['x']", PluginError, "could not be made: KeyError: 'x'"),
        ("raise SystemExit(0)", PluginError, "could not be made: SystemExit: 0"),
    ],
)
def test_a_class_whose_constructor_raises_is_named(tmp_path, raises, error, message):
    path = tmp_path / "raises.py"
    base = "from empo_rl import RewardSignal\n"
    path.write_text(
        f"{base}class Mine(RewardSignal):\n    def __init__(self): {raises}\n    def rewards(self, scored): pass\n"
    )
    with pytest.raises(error, match=f"reward .*Mine: .*{message}"):
        load_reward(f"{path}:Mine")
    with pytest.raises(error, match=f"guard .*Mine: .*{message}"):
        load_guards({f"{path}:Mine": {}})


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda completions: [1.0], "returned 1 numbers for 2 completions"),
        (lambda completions: 1.0, "returned 1.0: return a list of 2 numbers"),
        (lambda completions: ["a", "b"], "returned 'a', which is not a number"),
        (lambda completions: [math.inf, 0], "returned inf: a reward must be finite"),
        (lambda completions: sys.exit(0), r"failed with SystemExit: 0 \(question: 'why'\)"),
        (lambda completions: [1 / 0], r"failed with ZeroDivisionError: division by zero \(question: 'why'\)"),
    ],
)
def test_a_function_that_breaks_the_contract_is_an_error_with_its_name(function, message):
    with pytest.raises(InputError, match=f"reward function <lambda> {message}"):
        step(RolloutGroup(("a", "b"), question="why"), reward=function)


def test_the_page_for_authors_names_all_arguments():
    from pathlib import Path

    from empo_rl.core.rewards.functions import ARGUMENTS

    page = (Path(__file__).parents[3] / "docs" / "empo" / "components.md").read_text(encoding="utf-8")
    assert all(re.search(rf"`{name}`", page) for name in ARGUMENTS)
