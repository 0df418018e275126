"""Judges are whole models in a run that shards its own model."""

import os

from transformers.integrations import deepspeed

from empo_rl.trainers.trl.sharding import whole_models

LOAD_ONCE = "FSDP_CPU_RAM_EFFICIENT_LOADING"


class Zero3:
    """What transformers asks a DeepSpeed configuration."""

    def is_zero3(self):
        return True


def test_inside_whole_models_transformers_neither_shards_nor_skips_weights_and_afterwards_it_does_again(monkeypatch):
    monkeypatch.setattr(deepspeed, "_hf_deepspeed_config_weak_ref", None)
    monkeypatch.setenv(LOAD_ONCE, "true")
    settings = Zero3()
    deepspeed.set_hf_deepspeed_config(settings)
    with whole_models():
        assert not deepspeed.is_deepspeed_zero3_enabled()
        assert os.environ[LOAD_ONCE] == "false"
    assert deepspeed.is_deepspeed_zero3_enabled()
    assert os.environ[LOAD_ONCE] == "true"


def test_whole_models_changes_nothing_in_a_run_without_sharding(monkeypatch):
    monkeypatch.setattr(deepspeed, "_hf_deepspeed_config_weak_ref", None)
    monkeypatch.delenv(LOAD_ONCE, raising=False)
    with whole_models():
        pass
    assert not deepspeed.is_deepspeed_zero3_enabled()
    assert LOAD_ONCE not in os.environ
