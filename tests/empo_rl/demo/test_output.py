import pytest

from empo_rl.demo import output
from semantic_entropy import InputError


def test_an_earlier_demo_is_replaced_whole(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("old")
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model").write_text("old")
    assert output.prepare(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_new_directory_is_made(tmp_path):
    assert not output.prepare(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_directory_with_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("old")
    (tmp_path / "checkpoint-10").mkdir()
    with pytest.raises(InputError, match="holds 'checkpoint-10', which no demo wrote"):
        output.prepare(tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text() == "old"


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="x is a file"):
        output.prepare(tmp_path / "x")
