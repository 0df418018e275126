"""Locks on output files."""

from __future__ import annotations

import pytest

from semantic_entropy import InputError
from tests.semantic_entropy.io.measured_files import ROWS, measure, write


def test_a_link_in_place_of_the_lock_file_is_not_followed(tmp_path, monkeypatch):
    source, precious = write(tmp_path / "in.jsonl", ROWS), tmp_path / "precious"
    precious.write_text("precious")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "locks"))
    (tmp_path / "locks").mkdir()
    measure(source, tmp_path / "out.jsonl")
    (lock,) = (tmp_path / "locks").iterdir()
    lock.unlink()
    lock.symlink_to(precious)
    with pytest.raises(InputError, match="set TMPDIR to a folder of your own"):
        measure(source, tmp_path / "out.jsonl")
    assert precious.read_text() == "precious"
