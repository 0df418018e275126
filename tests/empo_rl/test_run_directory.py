import json

import pytest

from empo_rl import run_directory
from semantic_entropy import InputError


def checkpoint(directory, step, *, complete=True):
    path = directory / f"checkpoint-{step}"
    path.mkdir(parents=True)
    if complete:
        (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return path


def test_a_new_directory_is_made(tmp_path):
    assert run_directory.start(tmp_path / "a" / "b", resume=False, overwrite=False) is None
    assert (tmp_path / "a" / "b").is_dir()


def test_an_earlier_run_is_not_mixed_with_a_new_one(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(InputError, match=r"holds an earlier run \(metrics.jsonl\)\. Add --resume .* --overwrite"):
        run_directory.start(tmp_path, resume=False, overwrite=False)


def test_overwriting_deletes_the_run_and_nothing_else(tmp_path):
    checkpoint(tmp_path, 2)
    (tmp_path / "metrics.jsonl").write_text("")
    (tmp_path / "notes.txt").write_text("mine")
    assert run_directory.start(tmp_path, resume=False, overwrite=True) is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]


def test_resuming_finds_the_latest_complete_checkpoint(tmp_path):
    checkpoint(tmp_path, 9)
    expected = checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 11, complete=False)
    (checkpoint(tmp_path, 12) / "trainer_state.json").write_text('{"global_st')
    assert run_directory.start(tmp_path, resume=True, overwrite=False) == expected
    assert run_directory.checkpoint_step(expected) == 10


def test_resuming_without_a_checkpoint_starts_at_the_beginning(tmp_path):
    assert run_directory.start(tmp_path, resume=True, overwrite=False) is None
    assert run_directory.checkpoint_step(None) == 0


def test_resume_and_overwrite_exclude_each_other(tmp_path):
    with pytest.raises(InputError, match="exclude each other"):
        run_directory.start(tmp_path, resume=True, overwrite=True)


def test_a_file_in_the_directorys_place_is_named(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="run is a file"):
        run_directory.start(tmp_path / "run", resume=False, overwrite=False)


def test_what_changed_since_the_run_began_is_told(tmp_path):
    config = {"seed": 1, "resume": False, "training": {"steps": 4, "loss": "grpo"}}
    assert run_directory.write_config(tmp_path, config) == []
    later = {"seed": 1, "resume": True, "training": {"steps": 8, "loss": "grpo"}}
    assert run_directory.write_config(tmp_path, later) == ["training.steps: 4 -> 8"]
