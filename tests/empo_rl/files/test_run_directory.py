import errno
import fcntl
import os
import stat
import subprocess
import sys

import pytest

from empo_rl.files import run_directory
from semantic_entropy import InputError


def plan(directory, *, resume=False, overwrite=False):
    return run_directory.plan_start(directory, resume=resume, overwrite=overwrite)


def begin(directory, **how):
    start = plan(directory, **how)
    run_directory.prepare(directory, start)
    return start


def names(directory):
    return sorted(entry.name for entry in directory.iterdir())


def test_the_plan_of_a_new_directory_writes_nothing(tmp_path):
    new = tmp_path / "a" / "b"
    assert plan(new) == run_directory.StartPlan()
    assert not new.exists()


@pytest.mark.parametrize("trace", ["metrics.jsonl", "final", "checkpoint-2", "config.yaml"])
def test_a_directory_with_an_earlier_run_is_refused(trace, tmp_path):
    (tmp_path / trace).write_text('{"step": 1}\n')
    with pytest.raises(InputError, match=rf"contains an earlier run \({trace}\)\. Add --resume .* --overwrite"):
        plan(tmp_path)


def test_overwriting_deletes_the_run_and_nothing_else(tmp_path):
    for folder in ("checkpoint-2", "broken-checkpoint-4", "final"):
        (tmp_path / folder).mkdir()
    for file in ("metrics.jsonl", "README.md", "notes.txt"):
        (tmp_path / file).write_text("mine\n")
    begin(tmp_path, overwrite=True)
    assert names(tmp_path) == ["README.md", "metrics.jsonl", "notes.txt"]
    assert (tmp_path / "metrics.jsonl").read_text() == ""


@pytest.mark.parametrize("name", ["config.yaml", "final"])
def test_overwriting_deletes_nothing_where_there_may_be_no_run(name, tmp_path):
    (tmp_path / name).write_text("mine\n")
    with pytest.raises(InputError, match=rf"contains {name} but neither metrics.jsonl nor a checkpoint"):
        plan(tmp_path, overwrite=True)


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples.jsonl", "evaluation.jsonl", "alarms.jsonl"])
def test_a_damaged_file_is_an_error_before_a_resumed_run_writes(name, tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    (tmp_path / name).write_text('{"step": 1}\n{"a": 1}\n')
    with pytest.raises(InputError, match=rf"{name}, line 2: 'step' is missing"):
        plan(tmp_path, resume=True)


def test_the_files_of_a_run_without_a_step_are_deleted(tmp_path):
    begin(tmp_path)
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    (tmp_path / "base").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    start = begin(tmp_path)
    assert start.notes == (f"deleting the files of a run in {tmp_path} that ended before its first step",)
    assert names(tmp_path) == ["metrics.jsonl", "notes.txt"]


def test_resuming_renames_broken_checkpoints_and_says_so(tmp_path):
    begin(tmp_path)
    (tmp_path / "checkpoint-11").mkdir()
    start = begin(tmp_path, resume=True)
    assert start.checkpoint is None
    assert start.notes == (
        (
            f"skipping and renaming the broken {tmp_path}/checkpoint-11: "
            "trainer_state.json, which is written last, is missing"
        ),
        f"no checkpoint to resume in {tmp_path}: starting at step 1",
    )
    assert names(tmp_path) == ["broken-checkpoint-11", "metrics.jsonl"]
    with pytest.raises(InputError, match="contains an earlier run"):
        plan(tmp_path)


def test_resuming_without_a_checkpoint_starts_at_the_beginning(tmp_path):
    assert plan(tmp_path, resume=True).checkpoint is None


def test_resume_and_overwrite_exclude_each_other(tmp_path):
    with pytest.raises(InputError, match="exclude each other"):
        plan(tmp_path, resume=True, overwrite=True)


def test_an_output_dir_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="run is a file"):
        plan(tmp_path / "run")


def test_config_keys_that_changed_since_the_run_began_are_listed(tmp_path):
    config = {"seed": 1, "training": {"steps": 4, "loss": "grpo"}}
    assert run_directory.write_config(tmp_path, config) == []
    later = {"seed": 1, "training": {"steps": 8, "loss": "grpo"}}
    assert run_directory.write_config(tmp_path, later) == ["training.steps: 4 -> 8"]
    fewer = {"seed": 1, "training": {"steps": 8}, "revision": None}
    assert run_directory.write_config(tmp_path, fewer) == ["training.loss: 'grpo' -> no value"]


def test_an_empty_section_is_a_value_and_a_filled_section_is_compared_by_its_keys():
    differences, missing = run_directory.differences, run_directory.NO_VALUE
    assert differences({"guards": {}}, {"guards": {"copied": {}}}) == {"guards.copied": (missing, {})}
    assert differences({"guards": {"copied": {}}}, {"guards": {}}) == {"guards.copied": ({}, missing)}
    assert differences({"a": {}}, {"a": {"b": {"c": 1}}}) == {"a.b.c": (missing, 1)}
    assert differences({"a": {}}, {}) == {"a": ({}, missing)}


def test_a_run_that_trains_further_deletes_the_final_model_of_its_earlier_end(tmp_path):
    for name in ("final", "adapter"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"of step 2")
    start = run_directory.StartPlan(checkpoint=tmp_path / "checkpoint-2")
    run_directory.prepare(tmp_path, start)
    assert names(tmp_path) == ["adapter", "final", "metrics.jsonl"]  # a model that cannot be loaded loses nothing
    run_directory.delete_final(tmp_path)
    assert names(tmp_path) == ["metrics.jsonl"]


HOLD_LOCK = """
import sys, time
from pathlib import Path
from empo_rl.files.run_directory import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_process_cannot_lock_the_directory_until_the_first_is_dead(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD_LOCK, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="another process is running"), run_directory.lock(tmp_path):
            pass
        holder.kill()
    for _ in range(2):
        with run_directory.lock(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_creates_the_directory_and_deletes_it_if_nothing_was_written(tmp_path):
    new = tmp_path / "a" / "b"
    with run_directory.lock(new):
        assert new.is_dir()
    assert list(tmp_path.iterdir()) == []
    with run_directory.lock(new):
        (new / "metrics.jsonl").touch()
    assert names(new) == ["metrics.jsonl"]


def test_a_lock_file_that_was_deleted_and_created_again_is_not_locked_by_its_first_owner(tmp_path, monkeypatch):
    """Another process ends, and deletes its lock file and the empty directory, between this one's `open` and lock."""
    run = tmp_path / "run"
    lock_file = run_directory.try_lock

    def delete_first(handle):
        if not deleted:
            (run / ".lock").unlink()
            run.rmdir()
            deleted.append(handle)
        return lock_file(handle)

    deleted = []
    monkeypatch.setattr(run_directory, "try_lock", delete_first)
    with (
        run_directory.lock(run),
        pytest.raises(InputError, match="another process is running"),
        run_directory.lock(run),
    ):
        pass


def test_the_lock_is_on_a_file_that_is_open_for_writing_as_network_file_systems_need_it(tmp_path, monkeypatch):
    locked = []

    def record(handle):
        locked.append((stat.S_ISREG(os.fstat(handle).st_mode), fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE))
        return True

    monkeypatch.setattr(run_directory, "try_lock", record)
    with run_directory.lock(tmp_path):
        assert names(tmp_path) == [".lock"]
    assert locked == [(True, os.O_RDWR)]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_is_an_error_that_names_the_directory(code, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", fails)
    with (
        pytest.raises(InputError, match=f"{tmp_path} cannot be locked: .*another file system"),
        run_directory.lock(tmp_path),
    ):
        pass


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_a_directory_that_cannot_be_created_is_refused(name, tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match=r"output_dir: .*file is a file: choose a directory"),
        run_directory.lock(tmp_path / name),
    ):
        pass


def test_a_resumed_run_must_read_the_questions_with_which_it_began(tmp_path):
    rows = [{"question": "1+1?"}, {"question": "1+2? \ud83d"}]
    run_directory.check_questions(tmp_path, rows)  # a run of version 0.1.0 recorded nothing
    run_directory.write_questions(tmp_path, rows)
    run_directory.check_questions(tmp_path, rows)
    for other, now in ((rows[:1], "1 prompt"), (rows[::-1], "2 prompts"), ([*rows, rows[0]], "3 prompts")):
        with pytest.raises(InputError, match=rf"the questions differ .* began \(2 prompts then, {now} now\)"):
            run_directory.check_questions(tmp_path, other)
    run_directory.write_questions(tmp_path, rows, run_directory.HELD_OUT)
    run_directory.check_questions(tmp_path, rows, run_directory.HELD_OUT)
    with pytest.raises(InputError, match="evaluation.data: the questions differ"):
        run_directory.check_questions(tmp_path, rows[:1], run_directory.HELD_OUT)
    (tmp_path / "questions.json").write_text("{")
    with pytest.raises(InputError, match="questions.json cannot be read"):
        run_directory.check_questions(tmp_path, rows)


def test_a_resumed_run_executes_the_files_with_which_it_began(tmp_path):
    reward, moved = tmp_path / "my_reward.py", tmp_path / "moved.py"
    reward.write_text("pay = 1\n")
    moved.write_text("pay = 1\n")
    run_directory.check_code(tmp_path, [reward])  # a run of version 0.1.0 recorded nothing
    run_directory.write_code(tmp_path, [reward])
    run_directory.check_code(tmp_path, [reward])
    run_directory.check_code(tmp_path, [moved])
    reward.write_text("pay = 2\n")
    with pytest.raises(InputError, match=r"my_reward.py changed since the run in .* began"):
        run_directory.check_code(tmp_path, [reward])
    run_directory.write_code(tmp_path, [])
    run_directory.check_code(tmp_path, [reward])
    (tmp_path / "code.json").write_text("[]")
    with pytest.raises(InputError, match="code.json cannot be read"):
        run_directory.check_code(tmp_path, [reward])
