"""A training run: what it reports."""

import json
from types import SimpleNamespace

import pytest

from empo_rl.config import load_config
from empo_rl.run import train
from empo_rl.run.models import count_tokens
from empo_rl.run.prompt_rows import limit_vllm_context, load_prompts
from empo_rl.run.train import _note, run_training
from semantic_entropy import InputError


def test_the_progress_line_shows_reward_entropy_kept_invalid_and_cut_off():
    logs = {
        "empo/reward": 0.5,
        "empo/entropy": 0.512,
        "empo/keep_fraction": 0.75,
        "empo/invalid_fraction": 0.1,
        "completions/clipped_ratio": 0.25,
    }
    assert _note(logs) == "reward 0.50, entropy 0.51 nats, kept 75%, invalid 10%, cut off 25%"


def test_a_number_that_a_step_does_not_have_is_left_out_of_the_progress_line():
    assert _note({"empo/keep_fraction": 0.0, "empo/invalid_fraction": 1.0}) == "kept 0%, invalid 100%"
    assert _note({"loss": 0.25}) == "loss 0.250"


class TrainingStartsError(Exception):
    """Raised where the training would start."""


def start(tmp_path, monkeypatch, golds, *overrides):
    """What a run with these gold answers says before the training starts."""
    data = tmp_path / "data.jsonl"
    rows = ({"question": f"{n}+1?", "answer": gold} for n, gold in enumerate(golds))
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = ["data.dataset=null", f"data.path={data}", "data.columns.gold=answer", "training.prompts_per_step=2"]
    source += ["training.prompts_per_micro_batch=2"]
    config = load_config("tiny", [*source, *overrides, f"output_dir={tmp_path / 'run'}"])
    monkeypatch.setattr(train, "_make_trainer", lambda *_, **__: (_ for _ in ()).throw(TrainingStartsError))
    monkeypatch.setattr(train, "_demo_model", lambda *_: None)
    said = []
    with pytest.raises(TrainingStartsError):
        run_training(config, overwrite=False, progress=lambda *_: None, say=said.append)
    return said


GOLDS = ["4", r"\frac{1}{2}", r"\frac{1", "First we add the numbers. " * 20]  # the last two cannot be read


@pytest.mark.parametrize("reading", ["empo.reward=golden", "empo.measure_gold=true"])
def test_gold_answers_that_cannot_be_read_are_counted_before_the_training_starts(reading, tmp_path, monkeypatch):
    said = start(tmp_path, monkeypatch, GOLDS, reading)
    (line,) = [line for line in said if "gold answers" in line]
    assert line.startswith(r"2 of 4 gold answers cannot be read by the judge math, first '\\frac{1': right completions")


def test_a_run_without_any_gold_answer_says_so(tmp_path, monkeypatch):
    said = start(tmp_path, monkeypatch, [None, "", None], "empo.measure_gold=true")
    assert "0 of 3 rows have a gold answer, so no completion is graded" in said


def test_held_out_prompts_that_are_too_long_are_removed_and_counted(tmp_path, monkeypatch):
    path = tmp_path / "held.jsonl"
    path.write_text('{"question": "1+1?", "answer": 2}\n{"question": "%s1?", "answer": 51}\n' % ("1+" * 50))
    held_out = f"evaluation={{data: {{path: {path}, columns: {{gold: answer}}, max_prompt_tokens: 50}}}}"
    said = start(tmp_path, monkeypatch, GOLDS, held_out)
    assert "1 held-out questions, 1 with a gold answer, 1 too long and removed" in said


def test_a_run_that_reads_no_gold_answers_does_not_check_them(tmp_path, monkeypatch):
    assert not any("gold answers" in line for line in start(tmp_path, monkeypatch, GOLDS))


@pytest.mark.parametrize("measured", [False, True])
def test_a_run_whose_reward_needs_no_clusters_says_that_it_logs_no_entropy(measured, tmp_path, monkeypatch):
    chosen = ["empo.reward=golden", f"empo.measure_entropy={str(measured).lower()}"]
    said = start(tmp_path, monkeypatch, GOLDS[:2], *chosen)
    assert [line for line in said if "logs no entropy" in line] == ([] if measured else [said[-1]])
    assert measured or said[-1].endswith("empo.measure_entropy=true measures it")


def test_a_resumed_run_refuses_votes_of_the_base_model_that_have_changed(tmp_path, monkeypatch):
    votes = tmp_path / "votes.jsonl"
    rows = [{"question": f"{n}+1?", "labels": [0, 0], "answers": ["1", "1"]} for n in range(2)]
    votes.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = ["empo.reward=restrain", f"empo.reward_options.base_votes={votes}", "empo.scale=fixed"]
    start(tmp_path, monkeypatch, GOLDS[:2], *chosen)
    config = load_config(str(tmp_path / "run" / "config.yaml"))
    load_prompts(config, tmp_path / "run" / "checkpoint-1", lambda _: None)
    votes.write_text(votes.read_text().replace("[0, 0]", "[0, 1]"))
    with pytest.raises(InputError, match=r"votes.jsonl changed since the run in .* began, so the rewards could differ"):
        load_prompts(config, tmp_path / "run" / "checkpoint-1", lambda _: None)


def test_a_run_whose_gold_answers_cannot_be_read_is_refused_before_it_writes_a_file(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"2 of 2 gold answers cannot be read .* choose another grader\."):
        start(tmp_path, monkeypatch, GOLDS[2:], "empo.reward=golden")
    assert not (tmp_path / "run").exists()


def test_without_a_prompt_limit_the_context_of_vllm_is_measured_on_the_prompts(tokenizer):
    rows = [{"prompt": [{"role": "user", "content": text}]} for text in ("1+1?", "1+2+3+4+5+6?")]
    longest = count_tokens(tokenizer, rows[1]["prompt"])
    vllm = load_config("tiny", ["rollout.engine=vllm-colocate", "rollout.max_completion_tokens=100"])
    arguments = SimpleNamespace(vllm_max_model_length=None)
    limit_vllm_context(arguments, vllm, rows, tokenizer)
    assert arguments.vllm_max_model_length == longest + 100
    limit_vllm_context(limited := SimpleNamespace(vllm_max_model_length=longest + 99), vllm, rows, tokenizer)
    assert limited.vllm_max_model_length == longest + 100  # data.max_prompt_tokens does not limit held-out prompts
    chosen = vllm.model_copy(update={"trl": {"vllm_max_model_length": 4096}})
    limit_vllm_context(given := SimpleNamespace(vllm_max_model_length=4096), chosen, rows, tokenizer)
    assert given.vllm_max_model_length == 4096
    with pytest.raises(InputError, match=f"trl.vllm_max_model_length={longest + 99} is less than {longest + 100}"):
        limit_vllm_context(SimpleNamespace(vllm_max_model_length=longest + 99), chosen, rows, tokenizer)
    limit_vllm_context(unused := SimpleNamespace(vllm_max_model_length=None), load_config("tiny"), rows, tokenizer)
    assert unused.vllm_max_model_length is None
