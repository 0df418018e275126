"""The command line of verl from a configuration: values, and what is refused. No test here needs verl."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from empo_rl.check import check_run, passed
from empo_rl.cli import main
from empo_rl.config.load import load_config
from empo_rl.config.verl_command import hydra_value, updates_per_sampling, verl_command, verl_notes, verl_overrides
from semantic_entropy import InputError

PROMPTS = Path("prompts.parquet")


def values(recipe="math-7b-empo", *changes):
    """The arguments as a dict of their texts."""
    return dict(line.split("=", 1) for line in verl_overrides(load_config(recipe, changes), PROMPTS))


def test_the_recipe_for_7b_is_the_official_run_256_prompts_16_completions_gspo():
    found = values()
    expected = {
        "data.train_batch_size": "256",
        "actor_rollout_ref.rollout.n": "16",
        "actor_rollout_ref.actor.ppo_mini_batch_size": "32",
        "actor_rollout_ref.actor.policy_loss.loss_mode": "'gspo'",
        "actor_rollout_ref.actor.clip_ratio_low": "0.0003",
        "actor_rollout_ref.actor.clip_ratio_high": "0.0004",
        "actor_rollout_ref.actor.optim.lr": "5e-07",
        "actor_rollout_ref.rollout.temperature": "1.0",
        "data.max_prompt_length": "1024",
        "data.max_response_length": "3072",
        "trainer.total_training_steps": "300",  # samplings; 2400 updates
        "trainer.save_freq": "6",
        "trainer.nnodes": "1",
        "trainer.n_gpus_per_node": "8",
    }
    assert {key: found[key] for key in expected} == expected
    assert updates_per_sampling(load_config("math-7b-empo")) == 8


def test_the_recipe_for_1_5b_is_the_official_run_too():
    found = values("math-1.5b-empo-verl")
    assert found["trainer.total_training_steps"] == "192"
    assert found["actor_rollout_ref.model.path"] == "'Qwen/Qwen2.5-Math-1.5B'"


def test_the_provider_has_the_arguments_that_it_has_on_trl():
    config = load_config("math-7b-empo", ["empo.guards={copied: 0.0}", "empo.delta_low=0.3"])
    text = dict(line.split("=", 1) for line in verl_overrides(config, PROMPTS))["+empo.provider"]
    assert json.loads(text.strip("'")) == {**config.empo.choices(), "seed": 42}


def test_machines_are_nodes_of_a_ray_cluster_and_the_module_reaches_their_processes():
    found = values("math-7b-empo", "launch={processes: 16, machines: 2, main_address: a, main_port: 1}")
    assert (found["trainer.nnodes"], found["trainer.n_gpus_per_node"]) == ("2", "8")
    assert found["+ray_kwargs.ray_init.address"] == "'auto'"
    key = "+ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES"
    assert found[key] == "'empo_rl.trainers.verl'"


def test_overrides_come_last_and_refill_is_one_key():
    found = values("math-7b-empo", "verl={refill: true, overrides: {trainer.logger: [console], +new.key: 1}}")
    assert found["algorithm.filter_groups.enable"] == "true"
    assert found["trainer.logger"] == "['console']"
    assert found["+new.key"] == "1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("launch.strategy=ddp", "launch.strategy=ddp: verl shards with FSDP2"),
        ("rollout.engine=transformers", "rollout.engine=transformers: verl samples with vLLM"),
        ("training.steps=2401", "training.steps: verl counts samplings. Set a multiple of the 8 updates"),
        ("training.save_every=50", "training.save_every: verl counts samplings"),
        ("training.loss=bnpo training.completions_per_pass=null", "training.loss=bnpo: verl has grpo, dapo, dr_grpo"),
        ("training.loss=dapo", "training.ratio=sequence is GSPO"),
        ("training.schedule=linear", "training.schedule=linear: verl has"),
        ("rollout.vllm.correction=token_mask", "rollout.vllm.correction=token_mask: verl has token_truncate"),
        ("evaluation={data: demo}", "evaluation runs on TRL only"),
        ("trl.steps_per_generation=200", "no whole number"),
        ("revision=main", "revision: verl reads no revision"),
        ("verl.overrides={'two words': 1}", "'two words' is no key of Hydra"),
    ],
)
def test_what_verl_cannot_train_is_refused_with_the_fix(change, message):
    changes = [change] if change.startswith(("verl", "evaluation")) else change.split()
    with pytest.raises(InputError, match=message):
        verl_command(load_config("math-7b-empo", changes), PROMPTS)


def test_keys_for_trl_are_named_as_without_effect():
    (_, note) = verl_notes(load_config("math-7b-empo", ["trl.adam_beta2=0.95"]))
    assert "adam_beta2 have no effect" in note
    assert "epsilon_high" not in note


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (3, "3"),
        (1e-6, "1e-06"),
        ("it's", r"'it\'s'"),
        (r"a\'b", r"'a\\\'b'"),
        ("end\\", "'end\\\\'"),
        ("${x}", r"'\${x}'"),
        (["a", 1], "['a',1]"),
        ({"a": {"b": None}}, "{a:{b:null}}"),
    ],
)
def test_values_in_the_grammar_of_hydra(value, text):
    assert hydra_value(value) == text


def test_a_value_that_hydra_cannot_write_is_refused():
    with pytest.raises(InputError, match="Hydra cannot read the key 'two words'"):
        hydra_value({"two words": 1})
    with pytest.raises(InputError, match="a set"):
        hydra_value({1, 2})


@pytest.mark.parametrize("arguments", [["--engine", "verl", "math-7b-empo"], ["math-7b-empo", "--engine=verl"]])
def test_the_check_reports_problems_of_verl_and_leaves_trl_out(arguments):
    done = CliRunner().invoke(main, [*arguments, "--check", "launch.strategy=ddp"])
    assert done.exit_code == 1
    assert "launch.strategy=ddp: verl shards with FSDP2" in done.output
    assert "256 prompts" not in done.output


def test_the_check_of_a_good_configuration_passes():
    found = check_run("math-7b-empo", engine="verl")
    assert passed(found), found
    (layout,) = [finding.text for finding in found if finding.about == "layout"]
    assert layout.startswith("256 prompts x 16 completions a sampling, 8 updates of 32 prompts, 1 x 8 GPUs. ")
    assert "trl.steps_per_generation=256 counts the passes of one GPU" in layout
