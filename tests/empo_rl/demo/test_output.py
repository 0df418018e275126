import pytest

from empo_rl.demo import output
from empo_rl.demo.demo_options import DemoOptions
from semantic_entropy import InputError

OPTIONS = DemoOptions(seed=0, steps=50, learning_rate=1e-4, reward="empo", pretrain_steps=550).to_dict()


def names(directory):
    return sorted(entry.name for entry in directory.iterdir())


def test_an_earlier_demo_is_replaced_whole(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("old")
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model").write_text("old")
    (tmp_path / "checkpoint-10").mkdir()
    assert output.prepare(tmp_path, OPTIONS).notes == (f"replacing the earlier demo in {tmp_path}",)
    assert names(tmp_path) == ["config.yaml"]


def test_a_new_directory_is_made(tmp_path):
    start = output.prepare(tmp_path / "a" / "b", OPTIONS)
    assert start == output.DemoStart()
    assert start.resumed_from is None
    assert names(tmp_path / "a" / "b") == ["config.yaml"]


@pytest.mark.parametrize("how", [output.prepare, output.resume])
def test_a_directory_with_other_things_is_refused_and_left_alone(how, tmp_path):
    (tmp_path / "metrics.jsonl").write_text("old")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r"holds 'notes.txt', which no demo wrote"):
        how(tmp_path, OPTIONS)
    assert (tmp_path / "metrics.jsonl").read_text() == "old"


@pytest.mark.parametrize("how", [output.prepare, output.resume])
def test_a_file_in_its_place_is_refused(how, tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="x is a file"):
        how(tmp_path / "x", OPTIONS)


def test_resuming_where_nothing_is_begins_a_demo(tmp_path):
    start = output.resume(tmp_path / "new", OPTIONS)
    assert start.resumed_from is None
    assert start.notes == (f"nothing to resume in {tmp_path / 'new'}: beginning with the pre-training",)


def test_other_options_are_refused_with_what_differs_and_nothing_is_touched(tmp_path):
    output.prepare(tmp_path, OPTIONS)
    (tmp_path / "base").mkdir()
    other = {**OPTIONS, "steps": 60, "reward": "golden"}
    with pytest.raises(InputError, match=r"\(steps: 50 -> 60; reward: 'empo' -> 'golden'\): give the same ones"):
        output.resume(tmp_path, other)
    assert names(tmp_path) == ["base", "config.yaml"]


def test_another_version_of_a_library_is_told_and_not_refused(tmp_path):
    output.prepare(tmp_path, OPTIONS)
    newer = {**OPTIONS, "versions": {**OPTIONS["versions"], "torch": "99.0"}}
    start = output.resume(tmp_path, newer)
    assert "'99.0' since this demo began: the numbers may differ" in start.notes[0]
    assert start.resumed_from == 0


def test_a_finished_demo_has_nothing_left_to_do_and_what_a_kill_left_beside_it_goes(tmp_path):
    output.prepare(tmp_path, OPTIONS)
    (tmp_path / "summary.json").write_text("{}")
    (tmp_path / "checkpoint-50").mkdir()
    (tmp_path / "seconds.json").write_text("{}")
    start = output.resume(tmp_path, OPTIONS)
    assert start.finished
    assert names(tmp_path) == ["config.yaml", "summary.json"]


@pytest.mark.parametrize("how", [output.prepare, output.resume])
@pytest.mark.parametrize(
    "left", ["base.tmp", "final.tmp", "config.yaml.0a1b2c3d.tmp", "summary.json.0.tmp", "metrics.tmp"]
)
def test_what_a_kill_left_half_written_is_not_taken_for_a_strangers(left, how, tmp_path):
    output.prepare(tmp_path, OPTIONS)
    (tmp_path / left).write_text("")
    how(tmp_path, OPTIONS)


def test_a_finished_demo_of_unknown_options_is_not_deleted_by_resuming(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(InputError, match=r"a finished demo without config.yaml.*leave --resume out to replace it"):
        output.resume(tmp_path, OPTIONS)
    assert names(tmp_path) == ["summary.json"]


def test_who_interrupts_is_told_where_it_goes_on(tmp_path):
    output.prepare(tmp_path, OPTIONS)
    assert output.way_on(tmp_path) == "The same command with --resume begins the pre-training again."
    (tmp_path / "base").mkdir()
    assert "goes on with it at step 1" in output.way_on(tmp_path)
