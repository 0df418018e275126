import pytest

from empo_rl.files.atomic_writes import open_atomically, write_atomically
from semantic_entropy import InputError


def test_several_files_are_replaced_together(tmp_path):
    (tmp_path / "a").write_text("old")
    with open_atomically(tmp_path / "a", tmp_path / "b") as (first, second):
        first.write("new")
        second.write("also new")
        assert (tmp_path / "a").read_text() == "old"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "b": "also new"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, SystemExit])
def test_an_error_leaves_the_old_files_and_no_others(error, tmp_path):
    write_atomically(tmp_path / "a", "old")

    def interrupted():
        with open_atomically(tmp_path / "a", tmp_path / "b") as (first, _):
            first.write("new")
            raise error

    with pytest.raises(error):
        interrupted()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}


def test_a_path_that_cannot_be_written_leaves_no_file(tmp_path):
    with pytest.raises(FileNotFoundError), open_atomically(tmp_path / "a", tmp_path / "no" / "b"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_place_of_a_file_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match="b: it is a folder"), open_atomically(tmp_path / "a", tmp_path / "b"):
        pytest.fail("nothing is opened")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_folder_created_during_the_write_leaves_the_first_file_unchanged(tmp_path):
    (tmp_path / "a").write_text("old")

    def create_folder():
        with open_atomically(tmp_path / "a", tmp_path / "b") as (first, _):
            first.write("new")
            (tmp_path / "b").mkdir()

    with pytest.raises(IsADirectoryError):
        create_folder()
    assert (tmp_path / "a").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_two_concurrent_writes_of_one_file_do_not_mix(tmp_path):
    with open_atomically(tmp_path / "a") as (slow,):
        slow.write("slow")
        write_atomically(tmp_path / "a", "quick")
        slow.write("ly")
        slow.flush()
        assert (tmp_path / "a").read_text() == "quick"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "slowly"}
