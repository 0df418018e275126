"""Locks on output files, and paths of a command that must be different files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from semantic_entropy import InputError
from semantic_entropy.files import check_distinct, locked_output, replacement
from tests.semantic_entropy.io.measured_files import ROWS, measure, write


def test_a_link_in_place_of_the_lock_file_is_not_followed(tmp_path):
    source, precious = write(tmp_path / "in.jsonl", ROWS), tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "out.jsonl.lock").symlink_to(precious)
    with pytest.raises(InputError, match=r"out\.jsonl\.lock cannot be opened"):
        measure(source, tmp_path / "out.jsonl")
    assert precious.read_text() == "precious"


def test_a_file_of_the_user_with_the_name_of_the_lock_is_refused_and_kept(tmp_path):
    source, mine = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl.lock"
    mine.write_text("mine")
    with pytest.raises(InputError, match="is not empty, so it is not a lock file"):
        measure(source, tmp_path / "out.jsonl")
    assert mine.read_text() == "mine"


def test_the_lock_holds_for_a_process_with_another_folder_for_temporary_files(tmp_path):
    source, output = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "semantic_entropy", "estimate", str(source), "-o", str(output)]
    with locked_output(output):
        second = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        )
    assert second.returncode == 1
    assert "another run is writing" in second.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "tmp"]


def test_a_folder_that_cannot_be_written_is_an_error_without_a_traceback(tmp_path):
    source = write(tmp_path / "in.jsonl", ROWS)
    with pytest.raises(InputError, match=r"out\.jsonl\.lock cannot be opened: .*Choose an output in a folder where"):
        measure(source, Path("/proc/out.jsonl"))


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_loop_of_links_and_a_folder_in_place_of_a_file_of_the_run_are_errors_that_name_the_path(tmp_path, suffix):
    source, loop = write(tmp_path / "in.jsonl", ROWS), tmp_path / f"loop.{suffix}"
    loop.symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(loop)
    with pytest.raises(InputError, match=rf"loop\.{suffix}: its symbolic links form a loop"):
        measure(source, loop)
    names = [f".out.{suffix}.tmp", f"out.{suffix}.bad.jsonl", f"out.{suffix}.lock"]
    for name in names if suffix == "jsonl" else [*names, "out.parquet.partial.jsonl"]:
        (tmp_path / name).mkdir()
        with pytest.raises(InputError, match=name):
            measure(source, tmp_path / f"out.{suffix}", overwrite=True)
        (tmp_path / name).rmdir()
    assert measure(source, tmp_path / f"out.{suffix}").rows == 3


def test_two_runs_on_hard_links_of_one_file_lock_each_other_out(tmp_path):
    source, output, link = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl", tmp_path / "link.jsonl"
    output.touch()
    os.link(output, link)
    with locked_output(output), pytest.raises(InputError, match=r"another run is writing .*link\.jsonl"):
        measure(source, link)
    assert measure(source, link).rows == 3


@pytest.mark.parametrize("kind", ["equal", "symbolic link", "hard link", "linked folder", "dots"])
def test_two_paths_of_one_file_are_found(tmp_path, kind):
    (tmp_path / "a").mkdir()
    file = write(tmp_path / "a" / "file.jsonl", ROWS)
    other = tmp_path / "other.jsonl"
    if kind == "symbolic link":
        other.symlink_to(file)
    elif kind == "hard link":
        os.link(file, other)
    elif kind == "linked folder":
        (tmp_path / "b").symlink_to(tmp_path / "a")
        other = tmp_path / "b" / "file.jsonl"
    else:
        other = file if kind == "equal" else tmp_path / "a" / ".." / "a" / "file.jsonl"
    with pytest.raises(InputError, match="is both input and output: choose another path for one of them"):
        check_distinct({"input": file, "cache": tmp_path / "cache", "output": other})


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_replaced_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    path.chmod(0o600)
    with replacement(path) as temporary:
        temporary.write_text("new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)
