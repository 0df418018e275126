r"""The command `empo-eval` with a real checkpoint of a few thousand weights, which was trained on four answers.

1+1?  \boxed{2}                  always right
2+2?  \boxed{4} or \boxed{5}     right in about half of the samples
3+3?  \boxed{7}                  always wrong, with the same answer
9+9?  no idea                    no answer
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
import transformers
from click.testing import CliRunner
from peft import LoraConfig, get_peft_model

import semantic_entropy.evaluation
from empo_rl.evaluate.cli import main
from semantic_entropy.report import write_report
from tests.plugins.fake_vllm import Script, module
from tests.plugins.tiny_models import tiny_causal_lm
from tests.plugins.tiny_samplers import trained

LESSONS = {
    "1+1?": (r"\boxed{2}",),
    "2+2?": (r"\boxed{4}", r"\boxed{5}"),
    "3+3?": (r"\boxed{7}",),
    "9+9?": ("no idea",),
}
GOLDS = ("2", "4", "6", "18")
SAMPLES = 16
TURNS = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("model"), LESSONS)


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "sums.jsonl"
    pairs = zip(LESSONS, GOLDS, strict=True)
    path.write_text("".join(json.dumps({"question": q, "answer": gold}) + "\n" for q, gold in pairs))
    return path


def command(model, data, out, *more, samples=SAMPLES):
    fixed = ["--template", "question", "--max-tokens", "12", "--output-dir", str(out), "--samples", str(samples)]
    return [str(model), "--data", str(data), *fixed, *map(str, more)]


def run(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture(scope="module")
def finished(model, sums, tmp_path_factory):
    """The directory of a finished evaluation. Tests that change it make a copy."""
    out = tmp_path_factory.mktemp("out") / "run"
    done = run(*command(model, sums, out))
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def uninterrupted(model, sums, tmp_path_factory):
    """An evaluation with 200 samples that was not interrupted: the expected result of an interrupted run."""
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert run(*command(model, sums, out, samples=200)).exit_code == 0
    return out


def results(out):
    return json.loads((out / "results.json").read_text())


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_numbers_agree_with_what_the_model_has_learned(finished):
    found = results(finished)["sets"]["sums"]
    rows = {row["id"]: row for row in lines(finished / "grades" / "sums.jsonl")}
    fours = sum(rows["sums-1"]["samples"]["right"])
    assert 0 < fours < SAMPLES
    greedy = rows["sums-1"]["greedy"]["right"]
    assert found["pass@1"]["value"] == (1 + greedy) / 4
    assert found["mean@16"]["value"] == pytest.approx(
        (1 + fours / SAMPLES) / 4, abs=0.02
    )  # the model rarely gives another answer
    assert found["pass@16"]["value"] == 0.5
    assert found["mean@16"]["value"] < found["pass@2"]["value"] < found["pass@16"]["value"]
    assert rows["sums-1"]["samples"]["entropy"] > 0.3
    assert rows["sums-2"]["samples"]["entropy"] < 0.3
    assert found["counts"]["greedy"]["no_answer"] == 1
    assert found["counts"]["samples"]["responses"] == 4 * SAMPLES
    assert found["pass@1"]["low"] <= found["pass@1"]["value"] <= found["pass@1"]["high"]


def test_the_samples_are_stored_as_rows_that_a_report_and_an_evaluation_read(finished, tmp_path):
    (scored,) = (finished / "scored").glob("*.jsonl")
    rows = [json.loads(line) for line in scored.read_text().splitlines()]
    grades = [json.loads(line) for line in (finished / "grades" / scored.name).read_text().splitlines()]
    assert [row["question"] for row in rows] == list(LESSONS)
    assert [row["correct"] for row in rows] == [grade["samples"]["right"] for grade in grades]
    assert [row["greedy"]["correct"] for row in rows] == [grade["greedy"]["right"] for grade in grades]
    assert [row["entropy"] for row in rows] == [grade["samples"]["entropy"] for grade in grades]
    summary = write_report(scored, tmp_path / "report.html")
    assert (summary.rows, summary.left_out) == (4, 0)
    assert summary.first[0][1] == "2+2?"
    (report,) = (finished / "report").iterdir()
    assert report.name == f"{scored.stem}.html"
    assert all(json.dumps(question) in report.read_text() for question in LESSONS)
    assert semantic_entropy.evaluation.evaluate(scored).overall.wrong == 4 - sum(g["greedy"]["right"] for g in grades)


def test_regrade_uses_the_stored_responses_without_the_model(finished, model, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    before = results(out)
    (out / "results.json").unlink()
    again = run("--regrade", out)
    assert again.exit_code == 0, again.output
    assert results(out)["sets"] == before["sets"]
    assert "sums" in (out / "table.md").read_text()
    assert results(out)["drawn"] == before["drawn"] > 0
    assert 0 < results(out)["seconds"]["generation"] <= before["seconds"]["generation"]
    other = run("--regrade", out, "--extract", "regex:(5)")
    assert other.exit_code == 0, other.output
    assert results(out)["sets"]["sums"]["grading"]["extract"] == "regex:(5)"
    assert results(out)["sets"]["sums"]["pass@16"]["value"] == 0.0  # "5" is not a gold answer


def test_repeating_a_command_samples_nothing_and_more_samples_add_the_difference(finished, model, sums, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    assert run(*command(model, sums, out)).exit_code == 0
    assert results(out)["drawn"] == 0
    before = (out / "responses" / "sums.samples.jsonl").read_bytes()
    done = run(*command(model, sums, out, samples=SAMPLES + 2))
    assert done.exit_code == 0, done.output
    assert results(out)["drawn"] == 8
    assert (out / "responses" / "sums.samples.jsonl").read_bytes().startswith(before)
    assert results(out)["sets"]["sums"]["n"] == SAMPLES + 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--temperature", "0.5"], "temperature: 1.0 -> 0.5"),
        (["--seed", "1"], "seed: 0 -> 1"),
        (["--samples", "2"], "samples: 16 -> 2"),
        (["--system", "Be brief."], "sums.system: None -> 'Be brief.'"),
        (["--max-tokens", "13"], "max_tokens: 12 -> 13"),
        (["--engine-option", "top_k=5"], "engine_options: {} -> {'top_k': 5}"),
    ],
)
def test_a_directory_with_other_settings_is_refused_with_the_differences(finished, model, sums, more, message):
    refused = run(*command(model, sums, finished), *more)
    assert refused.exit_code == 1
    assert message in refused.output


def test_changed_questions_are_refused(finished, model, sums, tmp_path):
    out, data = tmp_path / "run", tmp_path / "sums.jsonl"
    shutil.copytree(finished, out)
    settings = json.loads((out / "settings.json").read_text())
    settings["sets"]["sums"]["source"] = str(data)
    (out / "settings.json").write_text(json.dumps(settings))
    data.write_text(sums.read_text().replace('"4"', '"5"'))
    refused = run(*command(model, data, out))
    assert refused.exit_code == 1
    assert (
        "sums.jsonl:2 differs from the stored question sums-1: the text, the gold answer or the examples have changed"
        in refused.output
    )


def test_other_weights_under_the_same_name_are_refused(finished, model, sums, tmp_path):
    out, changed = tmp_path / "run", tmp_path / "model"
    shutil.copytree(finished, out)
    shutil.copytree(model, changed)
    record = json.loads((out / "generation.json").read_text())
    record["sampler"]["weights"][1] = "0123456789abcdef"
    del record["sets"]["sums"]["samples"]
    (out / "generation.json").write_text(json.dumps(record))
    refused = run(*command(model, sums, out))
    assert refused.exit_code == 1
    assert "other weights or precision (['float32', '0123456789abcdef'])" in refused.output


def test_a_label_stays_until_another_label_is_given(finished, model, sums, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    assert results(out)["label"] == str(model)
    for again in (("--label", "mine"), ()):
        assert run("--regrade", out, *again).exit_code == 0
        assert results(out)["label"] == "mine"
    assert run(*command(model, sums, out)).exit_code == 0  # responses do not depend on the label
    assert results(out)["label"] == "mine"
    assert run(*command(model, sums, out), "--label", "ours").exit_code == 0
    assert run("--regrade", out).exit_code == 0
    assert results(out)["label"] == "ours"


@pytest.mark.parametrize("name", ["../../outside", "/outside", "a/b", "..\\\\outside"])
def test_an_untrusted_directory_cannot_read_or_write_outside_itself(name, finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    for file in ("settings.json", "generation.json"):
        text = (out / file).read_text()
        assert '"sums":' in text
        (out / file).write_text(text.replace('"sums":', f'"{name}":'))
    (tmp_path / "outside.jsonl").write_text("{}\n")
    refused = run("--regrade", out)
    assert refused.exit_code == 1
    assert "is not a valid name of a set" in refused.output
    assert (tmp_path / "outside.jsonl").read_text() == "{}\n"


def test_several_evaluations_make_one_table(finished, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(finished, other)
    run("--regrade", other, "--label", "another")
    shown = run("--table", finished, other)
    assert shown.exit_code == 0, shown.output
    rows = [line for line in shown.output.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert rows[3].startswith("| another")
    assert "it contains no finished evaluation" in run("--table", tmp_path).output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m", "--suite", "maths"], "'maths' is neither a suite nor a set. Did you mean 'math'?"),
        (["m"], "no questions: give --suite"),
        ([], "needs one MODEL"),
        (
            ["m", "--suite", "math500", "--suite-file", "math500=nowhere.jsonl"],
            "set 'math500': nowhere.jsonl does not exist or is not a file",
        ),
        (["m", "--suite", "amc23", "--suite-file", "math500=x"], "'math500' is not in the evaluated sets: amc23"),
        (["m", "--data", "DATA", "--user", "Why?"], "does not contain {question}"),
        (["m", "--data", "DATA", "--kind", "text"], "choose a judge, for example --grader verifier"),
        (["m", "--data", "DATA", "--answer-column", "gold"], "none of the columns 'gold'"),
        (["m", "--data", "DATA", "--few-shot", "2"], "has no examples. Give a JSONL file"),
        (["m", "--data", "EMPTY"], "contains no questions"),
        (["m", "--data", "DATA", "--engine-option", "temperature=0"], "temperature: empo-eval sets this option itself"),
        (["m", "--data", "DATA", "--grader", "maths"], "no equivalence named 'maths'. Did you mean 'math'?"),
        (["./no/such/model", "--data", "DATA"], "no/such/model"),
        (["--regrade", "nowhere"], "nowhere contains no evaluation"),
        (["--table"], "--table needs one or more directories"),
        (["--compare", "nowhere"], "--compare needs two directories of evaluations: BEFORE AFTER"),
        (["--compare", "nowhere", "elsewhere"], "nowhere has no results.json"),
        (["--compare", "--table", "nowhere"], "use only one of the options --regrade, --table and --compare"),
        (["m", "--data", "DATA", "--base-model", "b"], "model='m' is not the folder of a LoRA adapter"),
    ],
)
def test_errors_are_reported_before_any_response_is_sampled(arguments, message, sums, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    places = {"DATA": str(sums), "EMPTY": "empty.jsonl"}
    done = run(*(places.get(one, one) for one in arguments))
    assert done.exit_code in (1, 2)
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "runs").exists()


def test_the_directory_of_a_command_with_a_wrong_model_name_can_be_used_again(model, sums, tmp_path):
    assert run(*command(tmp_path / "nowhere", sums, tmp_path / "run", samples=0)).exit_code == 1
    assert not (tmp_path / "run").exists()
    done = run(*command(model, sums, tmp_path / "run", samples=0))
    assert done.exit_code == 0, done.output
    assert "pass@2" not in results(tmp_path / "run")["sets"]["sums"]


def test_a_temporary_file_of_a_killed_run_is_ignored_and_other_files_are_refused(model, sums, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.json.tmp").write_text('{"mod')
    assert run(*command(model, sums, tmp_path / "run", samples=0)).exit_code == 0
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").touch()
    assert "is not empty, and contains no evaluation" in run(*command(model, sums, tmp_path / "thesis")).output


def test_a_prompt_that_is_too_long_for_the_model_counts_as_missing(model, tmp_path):
    data = tmp_path / "long.jsonl"
    data.write_text("".join(json.dumps({"question": q, "answer": "2"}) + "\n" for q in ("1+1?", "1+1? " * 500)))
    done = run(*command(model, data, tmp_path / "run", samples=2))
    assert done.exit_code == 0, done.output
    found = results(tmp_path / "run")["sets"]["long"]
    assert found["pass@1"]["value"] == 0.5
    assert found["counts"]["samples"] == {**found["counts"]["samples"], "responses": 2, "missing": 2}
    assert "exceed the model's window" in found["failures"]["greedy"]["long-1"]


def test_each_model_and_suite_has_a_directory_of_its_own(model, sums, tmp_path, monkeypatch):
    """Models of two runs are both in a folder `final`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "first").mkdir()
    shutil.copytree(model, tmp_path / "first" / "final")
    options = ["--template", "question", "--max-tokens", "12", "--limit", "1"]
    row = {"question": "1+1?", "answer": "2"}
    (tmp_path / "suite.jsonl").write_text(json.dumps(row) + "\n")
    for questions in (["--data", sums], ["--suite", "aime24", "--suite-file", f"aime24={tmp_path / 'suite.jsonl'}"]):
        done = run("first/final", *questions, *options)
        assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "eval-first-final-aime24",
        "eval-first-final-sums",
    ]


def test_prompts_without_gold_answers_are_measured_by_their_entropy_alone(model, tmp_path):
    out, data = tmp_path / "run", tmp_path / "prompts.jsonl"
    data.write_text("".join(json.dumps({"question": question}) + "\n" for question in LESSONS))
    refused = run(*command(model, data, out, samples=0))
    assert refused.exit_code == 1
    assert "has no gold answers, so only the semantic entropy can be measured" in " ".join(refused.output.split())
    assert not out.exists()
    done = run(*command(model, data, out, samples=8))
    assert done.exit_code == 0, done.output
    assert "Accuracy" not in done.output
    assert "4 (0 with gold)" in done.output
    found = results(out)["sets"]["prompts"]
    assert (found["questions"], found["golds"]) == (4, 0)
    assert [key for key, value in found.items() if isinstance(value, dict) and "low" in value] == ["semantic_entropy"]
    rows = lines(out / "grades" / "prompts.jsonl")
    assert rows[1]["samples"]["entropy"] > 0.3 > rows[2]["samples"]["entropy"]
    assert list(found["counts"]) == ["samples"]
    assert not (out / "responses" / "prompts.greedy.jsonl").exists()
    assert run("--regrade", out).exit_code == 0
    assert results(out)["sets"]["prompts"] == found


def test_conversations_are_sampled_with_their_turns(model, tmp_path):
    data = tmp_path / "turns.jsonl"
    rows = [
        {"prompt": [{"role": "user", "content": "1+1?"}], "answer": "2"},
        {"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "3+3?"}], "answer": "7"},
        {"prompt": "3+3?", "answer": "7"},
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(*command(model, data, tmp_path / "run", "--question-column", "prompt", samples=0))
    assert done.exit_code == 0, done.output
    graded = lines(tmp_path / "run" / "grades" / "turns.jsonl")
    assert (graded[0]["greedy"]["right"], graded[2]["greedy"]["right"]) == (True, True)
    stored = lines(tmp_path / "run" / "questions" / "turns.jsonl")
    assert [json.loads(row["prompt"]) for row in stored[:2]] == [row["prompt"] for row in rows[:2]]
    plain = run(*command(model, data, tmp_path / "plain", "--question-column", "prompt", "--plain", samples=0))
    assert "turns.jsonl:1: the question is a conversation, which needs a chat template" in plain.output


@pytest.fixture(scope="module")
def adapter(model, tmp_path_factory):
    """A LoRA adapter that makes the model answer `2+2?` with 4 almost always: a folder without the base model."""
    base = transformers.AutoModelForCausalLM.from_pretrained(model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    torch.manual_seed(0)
    tuned = get_peft_model(base, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "2+2?"}], tokenize=False, add_generation_prompt=True
    )
    batch = tokenizer(asked + r"\boxed{4}" + tokenizer.eos_token, return_tensors="pt")
    labels = batch["input_ids"].clone()
    labels[:, : len(tokenizer(asked)["input_ids"])] = -100
    optimizer = torch.optim.AdamW([weight for weight in tuned.parameters() if weight.requires_grad], lr=3e-3)
    tuned.train()
    for _ in range(200):
        loss = tuned(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.03:
            break
    else:
        raise AssertionError(f"the adapter did not learn its answer: loss {loss.item():.3f}")
    folder = tmp_path_factory.mktemp("lora") / "final"
    tuned.save_pretrained(folder)
    return folder


def test_an_adapter_is_evaluated_with_its_base_model_and_compared_with_it(finished, adapter, sums, tmp_path):
    out = tmp_path / "run"
    done = run(*command(adapter, sums, out, "--label", "tuned"))
    assert done.exit_code == 0, done.output
    graded = lines(out / "grades" / "sums.jsonl")
    assert graded[1]["greedy"] == {"answer": "4", "right": True, "undecided": False}
    assert graded[1]["samples"]["entropy"] < lines(finished / "grades" / "sums.jsonl")[1]["samples"]["entropy"]
    shown = run("--compare", finished, out, "--seed", "3")
    assert shown.exit_code == 0, shown.output
    assert f"after:  tuned ({out})" in shown.output
    assert "paired bootstrap over questions, 1,000 resamples, seed 3" in shown.output
    table = [line.split("|")[1:-1] for line in shown.output.splitlines() if line.startswith("|")][2:]
    numbers = {cells[1].strip(): [cell.strip() for cell in cells] for cells in table}
    pass_at_k = [f"pass@{k}" for k in (2, 4, 8, 16)]
    assert list(numbers) == ["pass@1", "mean@16", *pass_at_k, "majority@16", "semantic_entropy"]
    for key, cells in numbers.items():
        first, second = (results(where)["sets"]["sums"][key]["value"] for where in (finished, out))
        scale, digits = (1, 3) if key == "semantic_entropy" else (100, 1)
        assert cells[5].startswith(f"{round(scale * (second - first), digits) + 0.0:+.{digits}f} [")


def test_another_base_model_of_an_adapter_can_be_named(adapter, model, sums, tmp_path):
    moved = tmp_path / "final"
    shutil.copytree(adapter, moved)
    settings = json.loads((moved / "adapter_config.json").read_text())
    (moved / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": "./no/such/base"}))
    refused = run(*command(moved, sums, tmp_path / "run", samples=0))
    assert "'./no/such/base', a folder that does not exist here" in " ".join(refused.output.split())
    assert not (tmp_path / "run").exists()
    done = run(*command(moved, sums, tmp_path / "run", "--base-model", model, samples=0))
    assert done.exit_code == 0, done.output
    assert results(tmp_path / "run")["settings"]["engine_options"] == {"base_model": str(model)}


def test_the_tables_have_the_columns_of_the_paper_and_options_reach_the_model(model, tmp_path):
    sums, law = tmp_path / "math.jsonl", tmp_path / "law.jsonl"
    names = ("math500", "minerva_math", "olympiadbench", "aime24", "amc23")
    sums.write_text("".join(json.dumps({"set": n, "question": "1+1?", "answer": "2"}) + "\n" for n in names))
    row = {"options": ["no", "yes"], "answer": "B", "category": "law", "cot_content": "Yes (B)."}
    law.write_text("".join(json.dumps({"question": f"{i}+{i}?", **row}) + "\n" for i in (1, 2)))
    files = ["--suite-file", f"math={sums}", "--suite-file", f"mmlu_pro={law}"]
    plain = ["--template", "question", "--max-tokens", "12", "--output-dir", tmp_path / "run"]
    math = run(model, "--suite", "math", *files[:2], "--source-column", "set", *plain)
    assert math.exit_code == 0, math.output
    header, _, row = [line.split() for line in math.output.splitlines() if line.startswith("|")][:3]
    assert [cell for cell in header if cell != "|"] == ["MATH", "Minerva", "Olympiad", "AIME24", "AMC23", "Avg."]
    assert [cell for cell in row if cell != "|"][1:] == ["100.0"] * 6
    shots = ["--few-shot", "1", "--few-shot-file", law, "--system", "Be brief.", "--chat-template", TURNS]
    plain[-1] = tmp_path / "natural"
    natural = run(model, "--suite", "mmlu_pro", *files[2:], *shots, *plain)
    assert natural.exit_code == 0, natural.output
    header, _, row = [line.split() for line in natural.output.splitlines() if line.startswith("|")][:3]
    assert [cell for cell in header if cell != "|"] == ["STEM", "Humanities", "Social", "Other", "Avg.", "GPQA"]
    assert [cell for cell in row if cell != "|"][2:] == ["-", "0.0", "-", "-", "0.0", "-"]
    first, _ = lines(tmp_path / "natural" / "questions" / "mmlu_pro.jsonl")
    assert first["prompt"] == "2+2?\nA. no\nB. yes\n\nYes (B).\n\\boxed{B}\n\n1+1?\nA. no\nB. yes\n"
    assert json.loads((tmp_path / "natural" / "settings.json").read_text())["chat_template"] == TURNS


def test_the_error_for_a_model_without_a_chat_template_names_the_options(sums, tmp_path):
    base = tiny_causal_lm(tmp_path / "base", chat=False)
    refused = run(*command(base, sums, tmp_path / "run", samples=0))
    assert refused.exit_code == 1
    assert "no chat template" in refused.output
    assert "--chat-template sets a chat template, --plain uses none" in refused.output
    assert run(*command(base, sums, tmp_path / "run", "--plain", samples=0)).exit_code == 0


def test_vllm_uses_one_engine_for_greedy_and_sampled_responses(sums, tmp_path, monkeypatch):
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_causal_lm(tmp_path / "m"))
    script = Script(tokenizer)
    fake = module(script)
    fake.__spec__ = importlib.machinery.ModuleSpec("vllm", None)
    monkeypatch.setitem(sys.modules, "vllm", fake)
    engine = ["--engine", "vllm", "--engine-option", 'engine={"tensor_parallel_size": 2}']
    done = run(*command("owner/model", sums, tmp_path / "run", *engine, samples=3))
    assert done.exit_code == 0, done.output
    assert len(script.started) == 1
    parameters = [(one.temperature, one.n) for _, params in script.calls for one in params]
    assert parameters == [(0.0, 1)] * 4 + [(1.0, 3)] * 4
    assert results(tmp_path / "run")["sets"]["sums"]["counts"]["samples"]["responses"] == 12


def start(arguments, cwd):
    code = [sys.executable, "-m", "empo_rl.evaluate.cli", *arguments]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(code, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path, count, process):
    for _ in range(1200):
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    raise AssertionError(f"{path} did not get {count} lines in a minute")


# One response in each batch: each response is written before the next is sampled.
SLOWLY = ("--engine-option", "batch_tokens=1")


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_killed_or_interrupted_run_continues_and_gives_the_same_results(
    model, sums, uninterrupted, tmp_path, sent, code
):
    out, stored = tmp_path / "run", tmp_path / "run" / "responses" / "sums.samples.jsonl"
    arguments = command(model, sums, out, *SLOWLY, samples=200)
    process = start(arguments, tmp_path)
    wait_for(stored, 20, process)
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    if sent == signal.SIGINT:
        assert f"{out} keeps the sampled responses: the same command continues." in stderr
    kept = stored.read_bytes()
    whole = kept[: kept.rfind(b"\n") + 1]
    assert 20 <= whole.count(b"\n") < 800
    assert "not complete" in run("--regrade", out).output
    done = run(*command(model, sums, out, samples=200))
    assert done.exit_code == 0, done.output
    assert stored.read_bytes().startswith(whole)  # stored responses are neither sampled nor written again
    assert results(out)["drawn"] == 800 - whole.count(b"\n")
    assert len(lines(stored)) == 800
    assert results(out)["sets"] == results(uninterrupted)["sets"]


def test_the_error_without_a_network_names_the_dataset_and_the_local_alternative(tmp_path):
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    code = [sys.executable, "-m", "empo_rl.evaluate.cli", "m", "--suite", "math500"]
    done = subprocess.run(code, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    stderr = " ".join(done.stderr.split())
    assert "cannot load 'HuggingFaceH4/MATH-500'" in stderr
    assert "--suite-file math500=FILE" in stderr


def test_help_shows_the_examples_and_does_not_import_torch(tmp_path):
    code = "import sys; from empo_rl.evaluate.cli import main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0
    shown = run("--help").output
    for example in ("empo-eval MODEL --suite math", "--regrade DIR", "--table DIR DIR ...", "--compare BEFORE AFTER"):
        assert example in shown
