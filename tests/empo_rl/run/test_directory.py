import subprocess
import sys

import pytest

from empo_rl.run import directory as run_directory
from semantic_entropy import InputError


def look(directory, *, resume=False, overwrite=False):
    return run_directory.look(directory, resume=resume, overwrite=overwrite)


def begin(directory, **how):
    start = look(directory, **how)
    run_directory.prepare(directory, start)
    return start


def names(directory):
    return sorted(entry.name for entry in directory.iterdir())


def test_a_new_directory_is_made_once_the_run_is_known_to_start(tmp_path):
    new = tmp_path / "a" / "b"
    start = look(new)
    assert not new.exists()
    assert start == run_directory.Start()
    run_directory.prepare(new, start)
    assert new.is_dir()


@pytest.mark.parametrize("trace", ["metrics.jsonl", "final", "checkpoint-2", "config.yaml"])
def test_an_earlier_run_is_not_mixed_with_a_new_one(trace, tmp_path):
    (tmp_path / trace).write_text('{"step": 1}\n')
    with pytest.raises(InputError, match=rf"holds an earlier run \({trace}\)\. Add --resume .* --overwrite"):
        look(tmp_path)


def test_overwriting_deletes_the_run_and_nothing_else(tmp_path):
    for folder in ("checkpoint-2", "broken-checkpoint-4", "final"):
        (tmp_path / folder).mkdir()
    for file in ("metrics.jsonl", "README.md", "notes.txt"):
        (tmp_path / file).write_text("mine\n")
    begin(tmp_path, overwrite=True)
    assert names(tmp_path) == ["README.md", "metrics.jsonl", "notes.txt"]
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_run_that_made_no_step_makes_room_for_the_next(tmp_path):
    begin(tmp_path)
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    (tmp_path / "base").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    start = begin(tmp_path)
    assert start.notes == (f"{tmp_path} holds what is left of a run that made no step: it makes room",)
    assert names(tmp_path) == ["metrics.jsonl", "notes.txt"]


def test_resuming_sets_broken_checkpoints_aside_and_says_so(tmp_path):
    begin(tmp_path)
    (tmp_path / "checkpoint-11").mkdir()
    start = begin(tmp_path, resume=True)
    assert start.checkpoint is None
    assert start.notes == (
        f"{tmp_path}/checkpoint-11 is passed over and set aside: trainer_state.json, which is written last, is missing",
        f"nothing to resume in {tmp_path}: starting at step 1",
    )
    assert names(tmp_path) == ["broken-checkpoint-11", "metrics.jsonl"]
    with pytest.raises(InputError, match="holds an earlier run"):
        look(tmp_path)


def test_resuming_without_a_checkpoint_starts_at_the_beginning(tmp_path):
    assert look(tmp_path, resume=True).checkpoint is None


def test_resume_and_overwrite_exclude_each_other(tmp_path):
    with pytest.raises(InputError, match="exclude each other"):
        look(tmp_path, resume=True, overwrite=True)


def test_a_file_in_the_directorys_place_is_named(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="run is a file"):
        look(tmp_path / "run")


def test_what_changed_since_the_run_began_is_told(tmp_path):
    config = {"seed": 1, "resume": False, "training": {"steps": 4, "loss": "grpo"}}
    assert run_directory.write_config(tmp_path, config) == []
    later = {"seed": 1, "resume": True, "training": {"steps": 8, "loss": "grpo"}}
    assert run_directory.write_config(tmp_path, later) == ["training.steps: 4 -> 8"]


HOLD = """
import sys, time
from pathlib import Path
from empo_rl.run.directory import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_where_a_process_is_at_work_another_one_starts_nothing_until_it_is_dead(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="another process is at work"), run_directory.alone(tmp_path):
            pass
        holder.kill()
    for _ in range(2):
        with run_directory.alone(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []
