"""benchmarks/parity.py: it finds each kind of difference, and its engines that need no further package agree."""

import asyncio
import contextlib
import dataclasses
import importlib.util
import json
import math
import re
import sys
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path

import pytest

from empo_rl import EmpoProvider
from empo_rl.trainers.slime_hooks import advantages
from semantic_entropy import InputError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NO_SAMPLES = ["--samples", "missing.jsonl"]


@pytest.fixture(scope="module")
def parity():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("parity", BENCHMARKS / "parity.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["parity"] = module  # for its dataclasses
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def cases_module(parity):
    return sys.modules["parity_engines.cases"]


@pytest.fixture(scope="module")
def decided(cases_module):
    """The cases, and the rows of the reference."""
    from parity_engines.local import decide

    cases = cases_module.make_cases(None)
    return cases, decide(cases)


def test_the_cases_have_the_groups_that_are_hard(decided):
    cases, ran = decided
    by_name = {case.name: case for case in cases}
    assert {len(group.completions) for group in by_name["sizes"].groups} >= {2, 3, 8}
    assert any(any(group.truncated) for group in by_name["window"].groups)
    assert all(len(case.groups) % 2 for case in cases if case.name != "sizes")  # two processes cut a group
    kept = [any(rows.loss_mask) for rows in ran.cases["window"]]
    assert any(kept)
    assert not all(kept)
    assert any(any(rows.loss_mask) and not all(rows.loss_mask) for rows in ran.cases["drop"])
    assert any(reward is None for rows in ran.cases["drop"] for reward in rows.rewards)
    assert any(all(rows.loss_mask) and len(set(rows.rewards)) == 1 for rows in ran.cases["window"])  # equal rewards


def rows_with(cases_module, case, change=lambda group: group, **provider):
    """The rows of a case whose groups or whose provider are changed."""
    changed = dataclasses.replace(
        case, provider={**case.provider, **provider}, groups=[change(group) for group in case.groups]
    )
    from parity_engines.local import decide

    return decide([changed]).cases[case.name]


def test_an_engine_that_loses_what_a_case_is_about_is_found(decided, cases_module):
    """The gold answers, the questions, the scale of the batch, `outside`, and the measures change the rows."""
    cases, ran = decided
    by_name = {case.name: case for case in cases}
    changes = {
        "gold": (lambda group: dataclasses.replace(group, gold=None), {}),
        "question": (lambda group: dataclasses.replace(group, question="Who?"), {}),
        "batch": (lambda group: group, {"scale": "group"}),
        "zero": (lambda group: group, {"outside": "drop"}),
        "measures": (with_prompt_measured, {}),
    }
    for name, (change, provider) in changes.items():
        rows = rows_with(cases_module, by_name[name], change, **provider)
        assert not cases_module.compare(cases, ran, dataclasses.replace(ran, cases={**ran.cases, name: rows})).equal, (
            name
        )
    first, second, *_ = by_name["question"].groups
    assert first.completions == second.completions
    assert ran.cases["question"][0] != ran.cases["question"][1]
    golds = {group.gold for group in by_name["gold"].groups if group.question == "Two halves."}
    assert golds == {"3", "4"}  # one question, two gold answers
    assert None in {group.gold for group in by_name["gold"].groups}


def with_prompt_measured(group):
    """The group with the measures that its completions have after another prompt."""
    from parity_engines.tiny_policy import measured

    return dataclasses.replace(group, token_measures=measured("another", group.completions, group.truncated))


def test_a_batch_of_one_group_after_the_other_is_not_the_batch(decided, cases_module):
    cases, ran = decided
    (case,) = (case for case in cases if case.name == "batch")
    alone = [rows_with(cases_module, dataclasses.replace(case, groups=[group]))[0] for group in case.groups]
    assert alone != ran.cases["batch"]


def test_the_measures_of_a_case_are_those_of_the_trainer(decided, cases_module):
    """The computation of `tiny_policy` and that of the package share no code but the model."""
    from parity_engines import tiny_policy

    from empo_rl.trainers.trl.token_measures import measure_tokens

    cases, _ = decided
    (case,) = (case for case in cases if case.name == "measures")
    tokenizer = tiny_policy.byte_tokenizer()
    texts = case.groups[6].completions  # two of them are empty: the end token alone
    ids = [[*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for text in texts]
    prompt = tokenizer("6", add_special_tokens=False)["input_ids"]
    found = measure_tokens(tiny_policy.make_policy(tokenizer), [prompt] * 8, ids, pad=tokenizer.pad_token_id)
    for name, values in case.groups[6].token_measures.items():
        assert found[name] == pytest.approx(values, abs=1e-6)
    assert len(set(case.groups[6].token_measures["token_entropy"])) > 3


def test_a_refusal_is_the_engines_own_error_about_its_settings(cases_module):
    def refuse():
        raise InputError("scale='batch' is refused. Set it to 'group'.")

    def fail():
        raise ValueError("a wrong number")

    assert cases_module.refusal(refuse) == "scale='batch' is refused. Set it to 'group'."
    assert cases_module.refusal(lambda: None) is None
    with pytest.raises(ValueError, match="a wrong number"):
        cases_module.refusal(fail)


def test_the_table_shows_the_first_sentence_of_a_refusal(parity, cases_module):
    ran = cases_module.Ran("here", {}, {"batch": "scale='batch' is refused. Set it to 'group'."})
    row = parity.table_row("trl", ran, cases_module.Comparison(groups=1))
    assert "here; without the case batch: scale='batch' is refused |" in row


def changed(ran, case, group, **columns):
    """The rows of an engine with other columns in one group."""
    groups = list(ran.cases[case])
    groups[group] = dataclasses.replace(groups[group], **columns)
    return dataclasses.replace(ran, cases={**ran.cases, case: groups})


def test_a_flipped_reward_mask_or_advantage_a_missing_reward_and_nan_are_found(decided, cases_module):
    cases, ran = decided
    rows = ran.cases["sizes"][1]
    first, *others = rows.rewards
    compare = cases_module.compare
    assert compare(cases, ran, ran).equal
    assert compare(cases, ran, changed(ran, "sizes", 1, rewards=[first + 2e-6, *others])).reward_difference > 1e-6
    wrong = {
        "reward": {"rewards": [1 - first, *others]},
        "mask": {"loss_mask": [not rows.loss_mask[0], *rows.loss_mask[1:]]},
        "advantage": {"advantages": [rows.advantages[0] + 2e-6, *rows.advantages[1:]]},
        "no reward": {"rewards": [None, *others]},
        "nan": {"advantages": [math.nan, *rows.advantages[1:]]},
        "short": {"rewards": others},
    }
    for name, columns in wrong.items():
        assert not compare(cases, ran, changed(ran, "sizes", 1, **columns)).equal, name
    assert compare(cases, ran, changed(ran, "sizes", 1, rewards=[first + 1e-7, *others])).equal


def test_a_reward_that_the_reference_lacks_is_found_and_a_row_may_be_without_reward_where_its_engine_says_so(
    decided, cases_module
):
    cases, ran = decided
    compare, rule = cases_module.compare, cases_module.EngineRewards
    groups = ran.cases["drop"]
    number = next(at for at, rows in enumerate(groups) if None in rows.rewards and any(rows.loss_mask))
    rewards = groups[number].rewards
    lacking = rewards.index(None)
    invented = changed(ran, "drop", number, rewards=[*rewards[:lacking], 0.3, *rewards[lacking + 1 :]])
    assert not compare(cases, ran, invented).equal
    assert "none is expected" in compare(cases, ran, invented).problems[0]

    zeros = {name: [without(rows, 0.0) for rows in groups] for name, groups in ran.cases.items()}
    zeros = dataclasses.replace(ran, cases=zeros)
    as_zero = rule(of_no_reward=0.0)
    assert compare(cases, ran, zeros, as_zero).equal
    assert compare(cases, ran, zeros, as_zero).rewards == compare(cases, ran, ran).rewards > 0
    assert not compare(cases, ran, zeros).equal
    assert not compare(cases, ran, ran, as_zero).equal  # rewards that are missing
    assert compare(cases, ran, invented, as_zero).reward_difference >= 0.3


def without(rows, number):
    """The rows of an engine that has this number where the provider gives no reward."""
    return dataclasses.replace(rows, rewards=[number if reward is None else reward for reward in rows.rewards])


def test_only_an_engine_that_dropped_groups_leave_may_lack_their_rewards_and_it_must_lack_them(decided, cases_module):
    cases, ran = decided
    stay, leave = cases_module.EngineRewards(), cases_module.EngineRewards(dropped_leave=True)

    def with_rewards_of(rule):
        found = {
            name: [dataclasses.replace(rows, rewards=rule.expected(rows)) for rows in groups]
            for name, groups in ran.cases.items()
        }
        return dataclasses.replace(ran, cases=found)

    as_expected = [cases_module.compare(cases, ran, with_rewards_of(rule), rule) for rule in (stay, leave)]
    assert all(comparison.equal for comparison in as_expected)
    assert as_expected[0].rewards > as_expected[1].rewards > 0
    lost = cases_module.compare(cases, ran, with_rewards_of(leave), stay)
    assert not lost.equal
    assert "no reward, but" in lost.problems[0]
    left_behind = cases_module.compare(cases, ran, with_rewards_of(stay), leave)
    assert not left_behind.equal
    assert "none is expected" in left_behind.problems[0]


def test_which_rewards_an_engine_must_have(cases_module):
    rule, rows = cases_module.EngineRewards, cases_module.Rows
    kept = rows([0.5, None, 0.25], [True, False, False], [0.0] * 3)
    dropped = rows([1.0, 1.0, None], [False] * 3, [0.0] * 3)
    assert [rule().expected(group) for group in (kept, dropped)] == [[0.5, None, 0.25], [1.0, 1.0, None]]
    leaves = rule(of_no_reward=0.0, dropped_leave=True)
    assert [leaves.expected(group) for group in (kept, dropped)] == [[0.5, 0.0, 0.25], [None] * 3]


def test_the_rules_of_rewards_know_a_dropped_group_by_its_loss_mask(decided, cases_module):
    cases, ran = decided
    for case in cases:
        with EmpoProvider(**case.provider) as provider:
            keep = provider.step(cases_module.rollouts(case.groups)).keep.tolist()
        assert keep == [any(rows.loss_mask) for rows in ran.cases[case.name]]


def test_a_case_that_is_missing_or_a_comparison_of_nothing_is_no_equality(decided, cases_module):
    cases, ran = decided
    fewer = dataclasses.replace(ran, cases={name: rows for name, rows in ran.cases.items() if name != "text"})
    assert not cases_module.compare(cases, ran, fewer).equal
    said = dataclasses.replace(fewer, left_out={"text": "a reason"})
    assert not cases_module.compare(cases, ran, said).equal  # an engine cannot excuse itself
    may = cases_module.EngineRewards(leaves_out={"text": "a reason"})
    assert cases_module.compare(cases, ran, said, may).equal
    other = cases_module.EngineRewards(leaves_out={"text": "another reason"})
    assert "left out: a reason" in cases_module.compare(cases, ran, said, other).problems[0]
    both = dataclasses.replace(ran, left_out={"text": "a reason"})  # rows, and an excuse for them
    assert not cases_module.compare(cases, ran, both, may).equal
    nothing = dataclasses.replace(ran, cases={}, left_out={case.name: "a reason" for case in cases})
    assert not cases_module.compare(cases, ran, nothing).equal


def table_rows(printed):
    """The cells of each engine's row, by the name of the engine."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    return {row[0]: row for row in rows[2:]}


def test_the_service_agrees_with_one_process(parity, capsys):
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    status = parity.main(["--only", "service", *NO_SAMPLES])
    printed = capsys.readouterr()
    assert status == 0, printed
    rows = table_rows(printed.out)
    assert list(rows) == ["local", "service"]
    assert all(int(row[1]) > 30 for row in rows.values())


def test_slimes_own_code_agrees_with_one_process_in_steps_with_a_factor(parity, capsys):
    pytest.importorskip("slime", reason="slime is not in the package index: put a checkout on the path")
    pytest.importorskip("ray", reason="slime's own code imports Ray")
    folder = Path(find_spec("slime").origin).parents[1]
    assert parity.main(["--only", "slime", "--slime", str(folder), *NO_SAMPLES]) == 0, capsys.readouterr()
    assert re.search(r"[1-9]\d* \+ [1-9]\d* steps with a factor", table_rows(capsys.readouterr().out)["slime"][-1])


def test_slimes_own_generation_filter_and_training_data_leave_out_aborted_samples(parity, monkeypatch):
    """The rewards come from slime's `generate_and_rm_group`, which asks for those of aborted samples too."""
    pytest.importorskip("slime", reason="slime is not in the package index: put a checkout on the path")
    pytest.importorskip("ray", reason="slime's own code imports Ray")
    slime_rollout = importlib.import_module("parity_engines.slime_rollout")
    slime = slime_rollout.Slime()
    sglang_rollout = importlib.import_module("slime.rollout.sglang_rollout")
    states = slime.sample.Status
    told = {0: states.ABORTED, 1: states.FAILED}  # by the place in the group; each generated text is the same answer

    async def generate(args, sample, sampling_params):  # slime passes them
        sample.response, sample.response_length = rf"\boxed{{{sample.metadata['answer']}}}", 9
        sample.status = told.get(sample.index % 5, states.COMPLETED)
        return sample

    monkeypatch.setitem(sys.modules, "aborting", Namespace(generate=generate))
    engine = Namespace(aborted=False, semaphore=contextlib.nullcontext(), dp_rank_context=contextlib.nullcontext)
    monkeypatch.setattr(sglang_rollout, "GenerateState", lambda _: engine)
    monkeypatch.setenv("EMPO_PROVIDER", json.dumps({"equivalence": "exact", "extract": "boxed", "scale": "none"}))
    args = slime_rollout.arguments(per_token=False)
    args.__dict__.update(group_rm=True, partial_rollout=False, custom_generate_function_path="aborting.generate")
    answers = [["1", "1", "1", "2", "2"], ["1", "2", "5", "5", "5"]]  # without their first two, one group agrees
    groups = []
    for number, texts in enumerate(answers):
        asked = [
            slime.sample(group_index=number, index=5 * number + place, prompt="q", metadata={"answer": text})
            for place, text in enumerate(texts)
        ]
        groups.append(asyncio.run(sglang_rollout.generate_and_rm_group(args, asked, {})))
    assert [sample.reward for sample in groups[0]] == pytest.approx([0, 0, 1 / 3, 2 / 3, 2 / 3])
    assert [slime.keep(args, group) for group in groups] == [True, False]
    data = slime.train_data(args, [sample for group in groups for sample in group])
    assert [any(mask) for mask in data["loss_masks"]] == [False, False, True, True, True] + [False] * 5
    factor = 10 / 3  # rows of the step / kept rows
    advantages = [0, 0, -2 / 9, 1 / 9, 1 / 9, *[0] * 5]
    assert data["rewards"] == pytest.approx([factor * value for value in advantages])


def test_slime_without_a_checkout_is_not_run_and_not_replaced(parity, capsys):
    engines = [
        *(engine for engine in parity.ENGINES if engine.name in {"local", "slime"}),
        other_engine(parity, "pass"),
    ]
    assert parity.main(NO_SAMPLES, engines) == 1
    printed = capsys.readouterr().out
    assert table_rows(printed)["slime"][-1].startswith("not run: needs --slime FOLDER, a checkout of slime")
    assert "NOT equal" in printed
    assert parity.main(["--without", "slime", *NO_SAMPLES], engines) == 0
    assert list(table_rows(capsys.readouterr().out)) == ["local", "service"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "slime", "--slime", "/nonexistent"], "--slime /nonexistent: this folder has no slime/__init__.py"),
        (["--only", "slime", "--slime", ""], "this folder has no slime/__init__.py"),
        (["--only", "slime", "--without", "slime"], "leave no engine to compare"),
        (["--python", "slimee=/nope"], "--python slimee=/nope: write ENGINE=PATH, where ENGINE is one of local, ray"),
        (["--python", "trl"], "--python trl: write ENGINE=PATH"),
        (["--python", "trl=/nope"], "'/nope' is not a program"),
    ],
)
def test_names_that_choose_nothing_are_refused(arguments, said, parity, capsys):
    with pytest.raises(SystemExit) as ended:
        parity.main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_checkout_of_slime_for_a_run_without_slime_is_refused(parity, tmp_path, capsys):
    (tmp_path / "slime").mkdir()
    (tmp_path / "slime" / "__init__.py").touch()
    with pytest.raises(SystemExit):
        parity.main(["--without", "slime", "--slime", str(tmp_path)])
    assert "the engine slime does not run" in capsys.readouterr().err


@pytest.mark.parametrize("per_token", [False, True])
def test_the_factor_that_the_slime_row_divides_out_is_that_of_the_hook(per_token, parity, monkeypatch):
    slime_rollout = importlib.import_module("parity_engines.slime_rollout")
    monkeypatch.setenv("EMPO_PROVIDER", json.dumps({"equivalence": "exact", "extract": "boxed"}))
    answers = [["1", "1", "2", "3"], ["5"] * 4, ["7", "8", "7"], ["4"] * 6, ["4", "4", "6"]]
    samples = [
        Namespace(
            group_index=number,
            prompt="q",
            response=rf"\boxed{{{text}}}",
            response_length=3 + number + place,
            status=Namespace(value="completed"),
            label=None,
            metadata=None,
            remove_sample=False,
        )
        for number, texts in enumerate(answers)
        for place, text in enumerate(texts)
    ]
    plain = advantages(None, samples)[1]
    scaled = advantages(slime_rollout.arguments(per_token=per_token), samples)[1]
    masks = [[int(not sample.remove_sample)] * sample.response_length for sample in samples]
    factors = slime_rollout.step_factors(masks, per_token=per_token)
    assert len(samples) > slime_rollout.STEP
    assert min(factors) > 1  # in both steps
    assert [row / factor for row, factor in zip(scaled, factors, strict=True)] == pytest.approx(plain, abs=1e-12)


@pytest.mark.timeout(280)
@pytest.mark.parametrize("engine", ["trl", "trl-2"])
def test_trl_agrees_with_one_process(engine, parity, capsys):
    pytest.importorskip("trl", reason="the extra rl is not installed")
    assert parity.main(["--only", engine, *NO_SAMPLES]) == 0, capsys.readouterr()


def test_the_loop_of_trls_asynchronous_trainer_agrees_with_one_process(parity, capsys):
    pytest.importorskip("trl", reason="the extra rl is not installed")
    pytest.importorskip("aiohttp", reason="TRL's rollout worker needs aiohttp, which vLLM installs")
    assert parity.main(["--only", "trl-async", *NO_SAMPLES]) == 0, capsys.readouterr()


def other_engine(parity, code):
    """The reference in a process that runs this code first."""
    return parity.Engine("service", ("-c", f"{code}; from parity_engines import local; local.run(local.decide)"))


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import empo_rl.core.advantages as a; a.EPSILON = 1e-6", "NOT equal"),  # slime's own constant
        ("import empo_rl.core.provider as p; p.EmpoProvider.close = None; raise OSError('gone')", "not run: OSError"),
        ("raise SystemExit(3)", "not run: exit status 3"),
    ],
)
def test_another_constant_and_an_engine_that_ends_are_failures(code, found, parity, capsys):
    engines = [parity.ENGINES[0], other_engine(parity, code)]
    assert parity.main(NO_SAMPLES, engines) == 1
    printed = capsys.readouterr().out
    assert found in printed
    assert "NOT equal" in printed


def test_an_engine_whose_package_is_missing_fails_unless_it_is_left_out(parity, capsys):
    missing = parity.Engine("verl", ("-c", "import no_such_package"))
    engines = [parity.ENGINES[0], missing, other_engine(parity, "pass")]
    assert parity.main(NO_SAMPLES, engines) == 1
    assert "not run: ModuleNotFoundError: No module named 'no_such_package'" in capsys.readouterr().out
    assert parity.main(["--without", "verl", *NO_SAMPLES], engines) == 0


def test_the_output_of_a_runner_is_read_back(decided, cases_module, tmp_path):
    cases, ran = decided
    cases_module.write_cases(tmp_path / "cases.json", cases)
    assert cases_module.read_cases(tmp_path / "cases.json") == cases
    (tmp_path / "ran.json").write_text(json.dumps(dataclasses.asdict(ran)))
    assert cases_module.read_ran(tmp_path / "ran.json") == ran
