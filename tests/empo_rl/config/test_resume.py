"""The configuration of a resumed run, on directories with a config.yaml, without training."""

from dataclasses import fields
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from empo_rl.config.error_messages import config_keys
from empo_rl.config.load import load_config
from empo_rl.config.resume import MAY_CHANGE, load_run
from empo_rl.config.trl_arguments import training_argument_class
from empo_rl.files.run_directory import differences, write_config
from semantic_entropy import InputError

BEGAN = ["training.learning_rate=5e-4", "training.steps=3", "rollout.num_generations=4", "empo.preset=paper"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of the file mine.yaml with overrides, after its start; the working directory contains both."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("extends: tiny\noutput_dir: runs/mine\n")
    config = load_config("mine.yaml", BEGAN)
    fitted = config.training.model_copy(update={"precision": "fp32"})  # as at the start of a run on the CPU
    config = config.model_copy(update={"device": "cpu", "training": fitted})
    write_config(tmp_path / "runs" / "mine", config.model_dump(exclude={"resume"}))
    return config.model_copy(update={"resume": True})


@pytest.mark.parametrize("source", ["mine.yaml", "runs/mine", "runs/mine/"])
@pytest.mark.parametrize("again", [[], BEGAN, ["training.precision=auto"], ["training.learning_rate=0.0005"]])
def test_a_resumed_run_has_the_configuration_with_which_it_began(source, again, run):
    config, _ = load_run(source, [*again, "resume=true"])
    assert config == run


def test_the_keys_of_a_file_that_differ_are_reported_and_not_used(run):
    (note,) = load_run("mine.yaml", ["resume=true"])[1]
    assert note.startswith("resuming with the configuration of the run. mine.yaml is not used for ")
    assert "training.learning_rate (the run keeps 0.0005, mine.yaml has 0.0001)" in note
    assert "precision" not in note
    assert load_run("mine.yaml", [*BEGAN, "resume=true"])[1] == []
    assert load_run("runs/mine", ["resume=true"])[1] == []


def test_every_key_on_the_command_line_that_differs_is_listed_with_both_values(run):
    given = ["training.learning_rate=1e-3", "rollout.num_generations=8", "training.steps=9", "trl.top_k=20", "lora={}"]
    with pytest.raises(InputError) as caught:
        load_run("mine.yaml", [*given, "resume=true"])
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("--resume continues the run in runs/mine with the configuration with which it began.")
    assert "  training.learning_rate: the run has 0.0005, given 0.001" in lines
    assert "  rollout.num_generations: the run has 4, given 8" in lines
    assert "  trl.top_k: the run has no value, given 20" in lines
    assert "  lora.r: the run has no value, given 16" in lines
    assert not any("training.steps" in line for line in lines)
    assert "--overwrite instead of --resume" in lines[-1]


@pytest.mark.parametrize(
    "change",
    [
        "training.steps=9",
        "training.save_every=7",
        "training.prompts_per_micro_batch=1",
        "monitor.alarms.entropy_floor.action=warn",
        "launch.processes=2",
        "trl.report_to=tensorboard",
        "push_to_hub={repo: me/model}",
        "device=auto",
    ],
)
def test_keys_that_do_not_change_what_a_step_computes_may_change(change, run):
    config, _ = load_run("runs/mine", [change, "resume=true"])
    changed = differences(config.model_dump(), run.model_dump())
    assert changed
    assert all(change.startswith(key.partition(".")[0]) for key in changed)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("empo.filters.equal_rewards={}", "empo.filters.equal_rewards: the run has no value, given {}"),
        ("empo.guards.copied=null", "empo.guards.copied: the run has 0.0, given None"),
        ("empo.guards={}", "empo.guards.copied: the run has 0.0, given no value"),
    ],
)
def test_a_filter_or_guard_that_is_added_or_removed_is_refused(change, line, run):
    began_with("guarded", "empo.guards.copied=0.0")
    with pytest.raises(InputError) as caught:
        load_run("guarded", [change, "resume=true"])
    assert f"  {line}" in str(caught.value).splitlines()


def test_every_key_that_may_change_exists():
    keys = {*config_keys(), *(f"trl.{field.name}" for field in fields(training_argument_class("empo")))}
    assert [pattern for pattern in MAY_CHANGE if not any(fnmatchcase(key, pattern) for key in keys)] == []


def began_with(directory, *overrides):
    write_config(Path(directory), load_config("mine.yaml", overrides).model_dump())


def test_the_size_of_a_pass_cannot_change_under_a_loss_that_averages_over_passes(run):
    began_with("bnpo", "training.loss=bnpo")
    with pytest.raises(InputError, match="prompts_per_micro_batch: the run has 32, given 16"):
        load_run("bnpo", ["training.prompts_per_micro_batch=16", "resume=true"])


def test_a_run_of_zero3_keeps_its_number_of_processes(run):
    zero3 = ["launch.strategy=zero3", "launch.processes=2", "training.prompts_per_micro_batch=1"]
    began_with("zero3", *zero3, "device=auto")
    with pytest.raises(InputError, match="launch.processes: the run has 2, given 4"):
        load_run("zero3", ["launch.processes=4", "resume=true"])
    load_run("zero3", ["launch.main_port=29500", "resume=true"])


def test_a_held_out_evaluation_keeps_what_selects_the_best_checkpoint(run):
    began_with("evaluated", "evaluation={data: {dataset: demo, limit: 5}, every: 2, n: 2}")
    for change, key in (
        ("evaluation.best=entropy", "evaluation.best"),
        ("evaluation.n=4", "evaluation.n"),
        ("evaluation.data.limit=6", "evaluation.data.limit"),
        ("evaluation=null", "evaluation.n"),
    ):
        with pytest.raises(InputError, match=f"{key}: the run has"):
            load_run("evaluated", [change, "resume=true"])
    load_run("evaluated", ["evaluation.every=3", "resume=true"])
    load_run("runs/mine", ["evaluation={data: {dataset: demo, limit: 5}}", "resume=true"])


def test_other_steps_under_a_schedule_that_depends_on_them_are_reported(run):
    began_with("cosine", "training.schedule=cosine")
    (note,) = load_run("cosine", ["training.steps=90", "resume=true"])[1]
    assert "training.schedule=cosine spreads the learning rate over all steps" in note


def test_the_directory_of_a_run_needs_resume_and_keeps_its_output_dir(run):
    with pytest.raises(InputError, match=r"runs/mine is the directory of a run. Add --resume .* runs/mine/config.yaml"):
        load_run("runs/mine")
    with pytest.raises(InputError, match="output_dir: leave it out, because --resume continues the run in runs/mine"):
        load_run("runs/mine", ["output_dir=other", "resume=true"])


def test_a_directory_that_was_moved_is_resumed_where_it_is(run, tmp_path):
    (tmp_path / "runs" / "mine").rename(tmp_path / "moved")
    assert load_run("moved", ["resume=true"])[0].output_dir == "moved"


def test_without_an_earlier_run_resume_takes_the_given_configuration(run):
    config, notes = load_run("mine.yaml", ["output_dir=new", "seed=7", "resume=true"])
    assert (config.seed, config.resume, notes) == (7, True, [])


@pytest.mark.parametrize("text", ["seed: 1\nsteps: 50\nreward: empo\npretrain_steps: 550\n", "model: [", ""])
def test_a_saved_configuration_that_cannot_be_read_is_one_error(text, run, tmp_path):
    (tmp_path / "runs" / "mine" / "config.yaml").write_text(text)
    with pytest.raises(InputError, match="--resume needs the configuration of the run, runs/mine/config.yaml"):
        load_run("runs/mine", ["resume=true"])
