import errno

import pytest

from empo_rl.run.files import DiskError, explained, write_whole, written_whole
from semantic_entropy import InputError


def test_several_files_take_their_places_together(tmp_path):
    (tmp_path / "a").write_text("old")
    with written_whole(tmp_path / "a", tmp_path / "b") as (first, second):
        first.write("new")
        second.write("also new")
        assert (tmp_path / "a").read_text() == "old"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "b": "also new"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, SystemExit])
def test_after_an_error_the_old_files_are_there_and_no_other(error, tmp_path):
    write_whole(tmp_path / "a", "old")

    def interrupted():
        with written_whole(tmp_path / "a", tmp_path / "b") as (first, _):
            first.write("new")
            raise error

    with pytest.raises(error):
        interrupted()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}


def test_a_place_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "a", tmp_path / "no" / "b"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_one_file_leaves_all_as_it_was(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match="b is a folder"), written_whole(tmp_path / "a", tmp_path / "b"):
        pytest.fail("nothing is opened")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_place_that_is_lost_meanwhile_leaves_the_first_file_as_it_was(tmp_path):
    (tmp_path / "a").write_text("old")

    def lost():
        with written_whole(tmp_path / "a", tmp_path / "b") as (first, _):
            first.write("new")
            (tmp_path / "b").mkdir()

    with pytest.raises(IsADirectoryError):
        lost()
    assert (tmp_path / "a").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_two_that_write_the_same_file_at_once_do_not_mix(tmp_path):
    with written_whole(tmp_path / "a") as (slow,):
        slow.write("slow")
        write_whole(tmp_path / "a", "quick")
        slow.write("ly")
        slow.flush()
        assert (tmp_path / "a").read_text() == "quick"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "slowly"}


def test_a_full_disk_deletes_the_checkpoint_that_was_being_written_and_no_other(tmp_path):
    for name in ("checkpoint-3", "checkpoint-6"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-3" / "trainer_state.json").write_text("{}")  # complete, of a layout that is not known here
    with (
        pytest.raises(DiskError, match="checkpoint-6, cut short, is deleted") as raised,
        explained(tmp_path, "Free some."),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]
    assert "checkpoint-3, cut short" not in str(raised.value)
