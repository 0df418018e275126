"""Checkpoints as the trainer writes them, damaged as a kill or a full disk damages them."""

import json

import pytest
import torch
from safetensors.torch import save_file

from empo_rl import checkpoints


def checkpoint(directory, step):
    path = directory / f"checkpoint-{step}"
    path.mkdir(parents=True)
    save_file({"weight": torch.zeros(4, 4)}, path / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"step": torch.tensor(step)}, path / name)
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return path


def cut_short(file):
    file.write_bytes(file.read_bytes()[:-20])


def emptied(file):
    file.write_bytes(b"")


def filled_with_zeros(file):
    file.write_bytes(bytes(file.stat().st_size))


def removed(file):
    file.unlink()


FILES = ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [cut_short, emptied, filled_with_zeros, removed])
def test_a_damaged_checkpoint_is_passed_over_and_the_file_named(damage, name, tmp_path):
    checkpoint(tmp_path, 2)
    whole, damaged = checkpoint(tmp_path, 9), checkpoint(tmp_path, 10)
    damage(damaged / name)
    found, broken = checkpoints.latest(tmp_path)
    assert found == whole
    assert list(broken) == [damaged]
    assert name.removesuffix(".pth") in broken[damaged]


def test_a_shard_that_is_missing_is_named(tmp_path):
    path = checkpoint(tmp_path, 2)
    (path / "model.safetensors").rename(path / "model-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert checkpoints.weights_fault(path) == "model-2.safetensors is missing"
    save_file({"b": torch.zeros(2)}, path / "model-2.safetensors")
    assert checkpoints.latest(tmp_path) == (path, {})


def test_without_checkpoints_there_is_none(tmp_path):
    (tmp_path / "checkpoint-x").mkdir()
    assert checkpoints.latest(tmp_path) == (None, {})
    assert checkpoints.step(None) == 0


def test_a_checkpoint_set_aside_twice_keeps_both(tmp_path):
    names = [checkpoints.set_aside(checkpoint(tmp_path, 2)).name for _ in range(2)]
    assert names == ["broken-checkpoint-2", "broken-checkpoint-2-1"]
    assert checkpoints.latest(tmp_path) == (None, {})
