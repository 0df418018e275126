import errno

import pytest

from empo_rl.files.disk_full import DiskError, explain_disk_full


def test_a_full_disk_deletes_the_incomplete_checkpoint_and_no_other(tmp_path):
    for name in ("checkpoint-3", "checkpoint-6"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-3" / "trainer_state.json").write_text("{}")  # complete, but of an unknown layout
    with (
        pytest.raises(DiskError, match="The incomplete checkpoint-6 was deleted") as raised,
        explain_disk_full(tmp_path, "Free some space."),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]
    assert "checkpoint-3 was deleted" not in str(raised.value)
