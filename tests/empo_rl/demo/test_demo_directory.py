import json
from dataclasses import replace
from importlib.metadata import version

import pytest

from empo_rl.demo import demo_directory
from empo_rl.demo.demo_directory import DemoOptions, DemoStart, prepare, resume_demo, resume_hint
from empo_rl.files import checkpoints, run_directory
from semantic_entropy import InputError

OPTIONS = DemoOptions(seed=0, steps=50, learning_rate=1e-4, reward="empo", pretrain_steps=550)


def begin(directory):
    """A directory as the run leaves it before the base model exists."""
    prepare(directory)
    run_directory.write_config(directory, OPTIONS.to_dict())


def names(directory):
    return sorted(entry.name for entry in directory.iterdir())


def test_an_earlier_demo_is_replaced_whole(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("old")
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model").write_text("old")
    (tmp_path / "checkpoint-10").mkdir()
    assert prepare(tmp_path).notes == (f"replacing the earlier demo in {tmp_path}",)
    assert names(tmp_path) == []


def test_a_new_directory_is_made(tmp_path):
    start = prepare(tmp_path / "a" / "b")
    assert start == DemoStart()
    assert start.resumed_from is None
    assert names(tmp_path / "a" / "b") == []


@pytest.mark.parametrize("start", [prepare, lambda directory: resume_demo(directory, OPTIONS)], ids=["new", "resume"])
def test_a_directory_with_another_file_is_refused_and_not_changed(start, tmp_path):
    (tmp_path / "metrics.jsonl").write_text("old")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r"contains 'notes.txt', which is not a file of a demo"):
        start(tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text() == "old"


@pytest.mark.parametrize("start", [prepare, lambda directory: resume_demo(directory, OPTIONS)], ids=["new", "resume"])
def test_a_file_instead_of_a_directory_is_refused(start, tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="x is a file"):
        start(tmp_path / "x")


def test_resuming_without_an_earlier_demo_starts_a_demo(tmp_path):
    start = resume_demo(tmp_path / "new", OPTIONS)
    assert start.resumed_from is None
    assert start.notes == (f"no demo to resume in {tmp_path / 'new'}: starting with the pre-training",)


def test_other_options_are_refused_with_the_differences_and_nothing_is_changed(tmp_path):
    begin(tmp_path)
    (tmp_path / "base").mkdir()
    other = replace(OPTIONS, steps=60, reward="golden")
    with pytest.raises(InputError, match=r"\(steps: 50 -> 60; reward: 'empo' -> 'golden'\)\. Give the same options"):
        resume_demo(tmp_path, other)
    assert names(tmp_path) == ["base", "config.yaml"]


@pytest.mark.parametrize(
    ("content", "reason"), [(b"steps: [50", "expected"), (b"steps: \xff", "invalid start byte"), (b"50", "has no keys")]
)
def test_options_that_cannot_be_read_are_an_error_that_names_their_file(content, reason, tmp_path):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(InputError, match=rf"config.yaml cannot be read \(.*{reason}.*start again without --resume"):
        resume_demo(tmp_path, OPTIONS)


def test_another_version_of_a_library_is_reported_and_not_refused(tmp_path, monkeypatch):
    begin(tmp_path)
    monkeypatch.setattr(demo_directory, "version", lambda name: "99.0" if name == "torch" else version(name))
    start = resume_demo(tmp_path, OPTIONS)
    assert "'99.0' since this demo was started: the numbers may differ" in start.notes[0]
    assert start.resumed_from == 0


def test_resuming_a_finished_demo_only_deletes_leftovers_of_a_kill(tmp_path):
    begin(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    (tmp_path / "checkpoint-50").mkdir()
    (tmp_path / "seconds.json").write_text("{}")
    start = resume_demo(tmp_path, OPTIONS)
    assert start.finished
    assert names(tmp_path) == ["config.yaml", "summary.json"]


@pytest.fixture(params=[10, OPTIONS.steps], ids=["during training", "after the last step"])
def checkpoint(request, tmp_path, monkeypatch):
    """A complete checkpoint without a state file."""
    begin(tmp_path)
    folder = tmp_path / f"checkpoint-{request.param}"
    folder.mkdir()
    monkeypatch.setattr(checkpoints, "latest", lambda directory: (folder, {}))
    return folder


@pytest.mark.parametrize("state", [None, {"processes": 1, "evaluations": {}, "seconds": {}}], ids=["none", "0.1.0"])
def test_a_checkpoint_without_evaluations_is_refused_and_nothing_is_changed(state, checkpoint, tmp_path):
    if state:
        checkpoints.state_file(checkpoint, 0).write_text(json.dumps(state))
    before = (tmp_path / "config.yaml").stat().st_mtime_ns
    refusal = f"{checkpoint.name} was written by another version and contains no evaluations. Start again without"
    with pytest.raises(InputError, match=refusal):
        resume_demo(tmp_path, OPTIONS)
    assert names(tmp_path) == [checkpoint.name, "config.yaml"]
    assert (tmp_path / "config.yaml").stat().st_mtime_ns == before


def test_a_demo_is_resumed_from_a_checkpoint_with_evaluations(checkpoint, tmp_path):
    checkpoints.state_file(checkpoint, 0).write_text(json.dumps({"processes": 1, "held_out": {}, "clock": {}}))
    assert resume_demo(tmp_path, OPTIONS).checkpoint == checkpoint


@pytest.mark.parametrize("start", [prepare, lambda directory: resume_demo(directory, OPTIONS)], ids=["new", "resume"])
@pytest.mark.parametrize(
    "left", ["base.tmp", "final.tmp", "config.yaml.0a1b2c3d.tmp", "summary.json.0.tmp", "metrics.tmp"]
)
def test_an_unfinished_file_of_a_killed_demo_is_the_demos_own(left, start, tmp_path):
    begin(tmp_path)
    (tmp_path / left).write_text("")
    start(tmp_path)


def test_resuming_does_not_delete_a_finished_demo_with_unknown_options(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(InputError, match=r"a finished demo without config.yaml.*Leave out --resume to replace"):
        resume_demo(tmp_path, OPTIONS)
    assert names(tmp_path) == ["summary.json"]


def test_the_hint_after_an_interruption_says_where_resume_continues(tmp_path):
    begin(tmp_path)
    assert resume_hint(tmp_path) == "The same command with --resume starts the pre-training again."
    (tmp_path / "base").mkdir()
    assert "continues with it at step 1" in resume_hint(tmp_path)
