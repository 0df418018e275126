r"""The whole command on a real checkpoint of a few thousand weights that has learned four answers by heart.

1+1?  \boxed{2}                  always right
2+2?  \boxed{4} or \boxed{5}     right about half the time
3+3?  \boxed{7}                  wrong, and sure of it
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
import transformers
from click.testing import CliRunner

from empo_rl.evaluate.cli import main
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
    """A finished evaluation's directory: copy it, or leave it as it is."""
    out = tmp_path_factory.mktemp("out") / "run"
    done = run(*command(model, sums, out))
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def straight(model, sums, tmp_path_factory):
    """What a killed run should end as: 200 samples without a break."""
    out = tmp_path_factory.mktemp("straight") / "run"
    assert run(*command(model, sums, out, samples=200)).exit_code == 0
    return out


def results(out):
    return json.loads((out / "results.json").read_text())


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_numbers_are_those_of_what_the_model_learned(finished):
    found = results(finished)["sets"]["sums"]
    rows = {row["id"]: row for row in lines(finished / "grades" / "sums.jsonl")}
    fours = sum(rows["sums-1"]["samples"]["right"])
    assert 0 < fours < SAMPLES
    greedy = rows["sums-1"]["greedy"]["right"]
    assert found["pass@1"]["value"] == (1 + greedy) / 4
    assert found["mean@16"]["value"] == pytest.approx((1 + fours / SAMPLES) / 4, abs=0.02)  # a rare slip of the model
    assert found["pass@16"]["value"] == 0.5
    assert found["mean@16"]["value"] < found["pass@2"]["value"] < found["pass@16"]["value"]
    assert rows["sums-1"]["samples"]["entropy"] > 0.3
    assert rows["sums-2"]["samples"]["entropy"] < 0.3
    assert found["counts"]["greedy"]["no_answer"] == 1
    assert found["counts"]["samples"]["responses"] == 4 * SAMPLES
    assert found["pass@1"]["low"] <= found["pass@1"]["value"] <= found["pass@1"]["high"]


def test_every_response_is_kept_and_grading_them_again_needs_no_model(finished, model, tmp_path):
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
    assert results(out)["sets"]["sums"]["pass@16"]["value"] == 0.0  # "5" is nobody's gold


def test_the_same_command_again_draws_nothing_and_more_samples_draw_the_difference(finished, model, sums, tmp_path):
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
    ("more", "says"),
    [
        (["--temperature", "0.5"], "temperature: 1.0 -> 0.5"),
        (["--seed", "1"], "seed: 0 -> 1"),
        (["--samples", "2"], "samples: 16 -> 2"),
        (["--system", "Be brief."], "sums.system: None -> 'Be brief.'"),
        (["--max-tokens", "13"], "max_tokens: 12 -> 13"),
        (["--engine-option", "top_k=5"], "engine_options: {} -> {'top_k': 5}"),
    ],
)
def test_a_directory_with_other_settings_is_refused_with_what_differs(finished, model, sums, more, says):
    refused = run(*command(model, sums, finished), *more)
    assert refused.exit_code == 1
    assert says in refused.output


def test_questions_that_have_changed_are_refused(finished, model, sums, tmp_path):
    out, data = tmp_path / "run", tmp_path / "sums.jsonl"
    shutil.copytree(finished, out)
    settings = json.loads((out / "settings.json").read_text())
    settings["sets"]["sums"]["source"] = str(data)
    (out / "settings.json").write_text(json.dumps(settings))
    data.write_text(sums.read_text().replace('"4"', '"5"'))
    refused = run(*command(model, data, out))
    assert refused.exit_code == 1
    assert "sums.jsonl:2 is not the question sums-1 as it was asked here" in refused.output


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


def test_a_label_stays_whatever_is_done_again_until_another_is_given(finished, model, sums, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    assert results(out)["label"] == str(model)
    for again in (("--label", "mine"), ()):
        assert run("--regrade", out, *again).exit_code == 0
        assert results(out)["label"] == "mine"
    assert run(*command(model, sums, out)).exit_code == 0  # a label is no setting that responses depend on
    assert results(out)["label"] == "mine"
    assert run(*command(model, sums, out), "--label", "ours").exit_code == 0
    assert run("--regrade", out).exit_code == 0
    assert results(out)["label"] == "ours"


@pytest.mark.parametrize("name", ["../../outside", "/outside", "a/b", "..\\\\outside"])
def test_a_directory_of_someone_else_reads_and_writes_nothing_outside_of_itself(name, finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    for file in ("settings.json", "generation.json"):
        text = (out / file).read_text()
        assert '"sums":' in text
        (out / file).write_text(text.replace('"sums":', f'"{name}":'))
    (tmp_path / "outside.jsonl").write_text("{}\n")
    refused = run("--regrade", out)
    assert refused.exit_code == 1
    assert "is no name of a set" in refused.output
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
    assert "no evaluation has been finished" in run("--table", tmp_path).output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["m", "--suite", "maths"], "'maths' is neither a suite nor a set. Did you mean 'math'?"),
        (["m"], "what to ask?"),
        ([], "needs one MODEL"),
        (
            ["m", "--suite", "math500", "--suite-file", "math500=nowhere.jsonl"],
            "set 'math500': nowhere.jsonl is no file",
        ),
        (["m", "--suite", "amc23", "--suite-file", "math500=x"], "'math500' is none of the sets asked for: amc23"),
        (["m", "--data", "DATA", "--user", "Why?"], "has no {question}"),
        (["m", "--data", "DATA", "--kind", "text"], "name a judge, such as --grader verifier"),
        (["m", "--data", "DATA", "--answer-column", "gold"], "none of the columns 'gold'"),
        (["m", "--data", "DATA", "--few-shot", "2"], "has no examples of its own"),
        (["m", "--data", "EMPTY"], "holds no question"),
        (["m", "--data", "DATA", "--engine-option", "temperature=0"], "temperature: a flag of its own sets that"),
        (["m", "--data", "DATA", "--grader", "maths"], "no equivalence named 'maths'. Did you mean 'math'?"),
        (["./no/such/model", "--data", "DATA"], "no/such/model"),
        (["--regrade", "nowhere"], "nowhere holds no evaluation"),
        (["--table"], "--table needs directories"),
    ],
)
def test_what_is_amiss_is_said_before_anything_is_generated(arguments, says, sums, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    places = {"DATA": str(sums), "EMPTY": "empty.jsonl"}
    done = run(*(places.get(one, one) for one in arguments))
    assert done.exit_code in (1, 2)
    assert says in " ".join(done.output.split())
    assert not list(tmp_path.glob("runs/*/responses/*"))


def test_a_mistyped_model_leaves_a_directory_that_the_right_one_can_use(model, sums, tmp_path):
    assert run(*command(tmp_path / "nowhere", sums, tmp_path / "run", samples=0)).exit_code == 1
    done = run(*command(model, sums, tmp_path / "run", samples=0))
    assert done.exit_code == 0, done.output
    assert "pass@2" not in results(tmp_path / "run")["sets"]["sums"]


def test_what_a_kill_left_of_the_first_file_is_no_earlier_evaluation_and_other_files_are(model, sums, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.json.tmp").write_text('{"mod')
    assert run(*command(model, sums, tmp_path / "run", samples=0)).exit_code == 0
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").touch()
    assert "is not empty, and holds no evaluation" in run(*command(model, sums, tmp_path / "thesis")).output


def test_a_prompt_too_long_for_the_model_is_missing_and_the_rest_counts(model, tmp_path):
    data = tmp_path / "long.jsonl"
    data.write_text("".join(json.dumps({"question": q, "answer": "2"}) + "\n" for q in ("1+1?", "1+1? " * 500)))
    done = run(*command(model, data, tmp_path / "run", samples=2))
    assert done.exit_code == 0, done.output
    found = results(tmp_path / "run")["sets"]["long"]
    assert found["pass@1"]["value"] == 0.5
    assert found["counts"]["samples"] == {**found["counts"]["samples"], "responses": 2, "missing": 2}
    assert "over the model's window" in found["failures"]["greedy"]["long-1"]


def test_the_suites_of_tables_1_and_2_end_in_the_papers_columns_and_options_reach_the_model(model, tmp_path):
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


def test_a_model_without_a_chat_template_is_told_the_flags_and_can_be_asked_plainly(sums, tmp_path):
    base = tiny_causal_lm(tmp_path / "base", chat=False)
    refused = run(*command(base, sums, tmp_path / "run", samples=0))
    assert refused.exit_code == 1
    assert "no chat template" in refused.output
    assert "--chat-template gives a chat template, --plain goes without" in refused.output
    assert run(*command(base, sums, tmp_path / "run", "--plain", samples=0)).exit_code == 0


def test_vllm_draws_greedily_and_then_samples_on_one_engine(sums, tmp_path, monkeypatch):
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_causal_lm(tmp_path / "m"))
    script = Script(tokenizer)
    fake = module(script)
    fake.__spec__ = importlib.machinery.ModuleSpec("vllm", None)
    monkeypatch.setitem(sys.modules, "vllm", fake)
    engine = ["--engine", "vllm", "--engine-option", 'engine={"tensor_parallel_size": 2}']
    done = run(*command("owner/model", sums, tmp_path / "run", *engine, samples=3))
    assert done.exit_code == 0, done.output
    assert len(script.started) == 1
    drawn = [(one.temperature, one.n) for _, params in script.calls for one in params]
    assert drawn == [(0.0, 1)] * 4 + [(1.0, 3)] * 4
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


# One response a batch: each is written before the next is drawn.
SLOWLY = ("--engine-option", "batch_tokens=1")


@pytest.mark.parametrize(("blow", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_run_that_is_killed_or_interrupted_goes_on_and_ends_as_if_it_had_not_been(
    model, sums, straight, tmp_path, blow, code
):
    out, drawn = tmp_path / "run", tmp_path / "run" / "responses" / "sums.samples.jsonl"
    arguments = command(model, sums, out, *SLOWLY, samples=200)
    process = start(arguments, tmp_path)
    wait_for(drawn, 20, process)
    process.send_signal(blow)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    if blow == signal.SIGINT:
        assert f"What has been drawn is kept in {out}: the same command goes on." in said
    kept = drawn.read_bytes()
    whole = kept[: kept.rfind(b"\n") + 1]
    assert 20 <= whole.count(b"\n") < 800
    assert "not complete" in run("--regrade", out).output
    done = run(*command(model, sums, out, samples=200))
    assert done.exit_code == 0, done.output
    assert drawn.read_bytes().startswith(whole)  # nothing that was there has been drawn or written again
    assert results(out)["drawn"] == 800 - whole.count(b"\n")
    assert len(lines(drawn)) == 800
    assert results(out)["sets"] == results(straight)["sets"]


def test_a_hub_set_without_a_network_names_the_dataset_and_the_local_way(tmp_path):
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    code = [sys.executable, "-m", "empo_rl.evaluate.cli", "m", "--suite", "math500"]
    done = subprocess.run(code, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert "the hub's 'HuggingFaceH4/MATH-500'" in said
    assert "--suite-file math500=FILE" in said


def test_help_names_the_uses_and_loads_no_torch(tmp_path):
    code = "import sys; from empo_rl.evaluate.cli import main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0
    shown = run("--help").output
    for use in ("empo-eval MODEL --suite math", "--regrade DIR", "--table DIR DIR ..."):
        assert use in shown
