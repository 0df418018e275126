"""Checkpoints as the trainer writes them, damaged as a kill or a full disk damages them."""

import json

import pytest
import torch
from safetensors.torch import save_file

from empo_rl.files import checkpoints, run_directory
from semantic_entropy import InputError


def checkpoint(directory, step):
    path = directory / f"checkpoint-{step}"
    path.mkdir(parents=True)
    save_file({"weight": torch.zeros(4, 4)}, path / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"step": torch.tensor(step)}, path / name)
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return path


def truncated(file):
    file.write_bytes(file.read_bytes()[:-20])


def emptied(file):
    file.write_bytes(b"")


def filled_with_zeros(file):
    file.write_bytes(bytes(file.stat().st_size))


def removed(file):
    file.unlink()


FILES = ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [truncated, emptied, filled_with_zeros, removed])
def test_a_damaged_checkpoint_is_skipped_and_its_file_named(damage, name, tmp_path):
    checkpoint(tmp_path, 2)
    whole, damaged = checkpoint(tmp_path, 9), checkpoint(tmp_path, 10)
    damage(damaged / name)
    found, broken = checkpoints.latest(tmp_path)
    assert found == whole
    assert list(broken) == [damaged]
    assert name.removesuffix(".pth") in broken[damaged]


def test_a_missing_shard_is_named(tmp_path):
    path = checkpoint(tmp_path, 2)
    (path / "model.safetensors").rename(path / "model-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert checkpoints.weights_fault(path) == "model-2.safetensors is missing"
    save_file({"b": torch.zeros(2)}, path / "model-2.safetensors")
    assert checkpoints.latest(tmp_path) == (path, {})


def test_a_directory_without_checkpoints_has_no_latest_one(tmp_path):
    (tmp_path / "checkpoint-x").mkdir()
    assert checkpoints.latest(tmp_path) == (None, {})
    assert checkpoints.step(None) == 0


def test_two_renamed_checkpoints_of_one_step_are_both_kept(tmp_path):
    names = [checkpoints.rename_broken(checkpoint(tmp_path, 2)).name for _ in range(2)]
    assert names == ["broken-checkpoint-2", "broken-checkpoint-2-1"]
    assert checkpoints.latest(tmp_path) == (None, {})


def lora(path):
    (path / "model.safetensors").rename(path / "adapter_model.safetensors")
    (path / "adapter_config.json").write_text("{}")


def fsdp(path):
    (path / "model.safetensors").unlink()
    (path / "optimizer.pt").rename(path / "optimizer.bin")
    torch.save({"weight": torch.zeros(2)}, path / "pytorch_model_fsdp.bin")


def fsdp_in_shards(path):
    for name in ("model.safetensors", "optimizer.pt"):
        (path / name).unlink()
    for name in ("pytorch_model_fsdp_0", "optimizer_0"):
        (path / name).mkdir()
        (path / name / ".metadata").write_bytes(b"x")
        (path / name / "__0_0.distcp").write_bytes(b"x")


def deepspeed(path):
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt"):
        (path / name).unlink()
    (path / "latest").write_text("global_step3")
    (path / "global_step3").mkdir()
    for name in ("zero_pp_rank_0_mp_rank_00_model_states.pt", "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"):
        torch.save({"x": torch.zeros(2)}, path / "global_step3" / name)


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        (lora, ["adapter_model.safetensors", "optimizer.pt"]),
        (fsdp, ["pytorch_model_fsdp.bin", "optimizer.bin", "scheduler.pt"]),
        (fsdp_in_shards, ["pytorch_model_fsdp_0/.metadata", "optimizer_0/__0_0.distcp", "optimizer_0/.metadata"]),
        (
            deepspeed,
            [
                "global_step3/zero_pp_rank_0_mp_rank_00_model_states.pt",
                "global_step3/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt",
            ],
        ),
    ],
)
def test_each_layout_is_complete_with_all_files_and_broken_without_one(layout, names, tmp_path):
    layout(checkpoint(tmp_path, 2))
    last = checkpoint(tmp_path, 3)
    layout(last)
    assert checkpoints.latest(tmp_path) == (last, {})
    for name in names:
        kept = (last / name).read_bytes()
        (last / name).unlink()
        found, broken = checkpoints.latest(tmp_path)
        assert (found.name, list(broken)) == ("checkpoint-2", [last]), name
        (last / name).write_bytes(kept)


def test_a_checkpoint_of_fsdp_in_one_file_is_not_resumed(tmp_path):
    fsdp(checkpoint(tmp_path, 2))
    with pytest.raises(InputError, match=r"checkpoint-2 was written .*fsdp2 by version 0.1.0.*empo-train merge .*OUT"):
        run_directory.plan_start(tmp_path, resume=True, overwrite=False)


def test_an_empty_fsdp_file_is_broken(tmp_path):
    path = checkpoint(tmp_path, 2)
    fsdp(path)
    (path / "pytorch_model_fsdp.bin").write_bytes(b"")
    assert checkpoints.latest(tmp_path) == (None, {path: "pytorch_model_fsdp.bin is truncated or unreadable"})


@pytest.mark.parametrize("missing", ["rng_state_1.pth", "empo_state_1.json"])
def test_a_missing_file_of_one_process_is_named(missing, tmp_path):
    path = checkpoint(tmp_path, 2)
    (path / "rng_state.pth").unlink()
    for number in (0, 1):
        torch.save({}, path / f"rng_state_{number}.pth")
        checkpoints.state_file(path, number).write_text('{"processes": 2}')
    assert checkpoints.latest(tmp_path) == (path, {})
    (path / missing).unlink()
    assert checkpoints.latest(tmp_path) == (None, {path: f"{missing} is missing"})


@pytest.mark.parametrize("name", ["trainer_state.json", "empo_state_0.json", "model.safetensors.index.json"])
@pytest.mark.parametrize("text", ["[]", "3", "null", "{}"])
def test_a_checkpoint_with_unexpected_json_is_skipped(name, text, tmp_path):
    path = checkpoint(tmp_path, 2)
    (path / name).write_text(text)
    found, broken = checkpoints.latest(tmp_path)
    assert found is None
    assert name in broken[path]


def test_a_checkpoint_with_the_name_of_another_step_is_skipped(tmp_path):
    path = checkpoint(tmp_path, 2)
    path.rename(tmp_path / "checkpoint-5")
    assert checkpoints.latest(tmp_path)[1] == {tmp_path / "checkpoint-5": "trainer_state.json belongs to step 2"}
