"""The rendered command in the real verl: Hydra reads each value back, and verl accepts the recipes."""

import os
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from empo_rl.check import check_run, passed
from empo_rl.config.load import load_config
from empo_rl.config.verl_command import hydra_value, verl_overrides

if find_spec("verl") is None:
    pytest.skip("verl is not installed: python3 noxfile.py verl", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore")
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("'\"\\${}[],: \n"), max_size=20)
KEYS = st.from_regex(r"[A-Za-z_]\w*", fullmatch=True).filter(str.isascii)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)


def composed(overrides):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from hydra import compose, initialize_config_module

        with initialize_config_module("verl.trainer.config", version_base=None):
            return compose("ppo_trainer", overrides=overrides)


@given(VALUES)
def test_hydra_reads_each_value_back(value):
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    override = OverridesParser.create().parse_override(f"key={hydra_value(value)}")
    config = OmegaConf.create({"key": override.value()})
    assert OmegaConf.to_container(config, resolve=True)["key"] == value


@pytest.mark.parametrize("recipe", ["math-7b-empo", "math-1.5b-empo-verl"])
def test_verl_accepts_the_official_runs(recipe):
    config = composed(verl_overrides(load_config(recipe), Path("prompts.parquet")))
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    assert (config.data.train_batch_size, rollout.n, actor.ppo_mini_batch_size) == (256, 16, 32)
    assert actor.policy_loss.loss_mode == "gspo"
    assert (actor.clip_ratio_low, actor.clip_ratio_high, actor.optim.lr) == (3e-4, 4e-4, 5e-7)
    found = check_run(recipe, engine="verl")
    assert passed(found), found
    assert any("accepts all keys" in finding.text for finding in found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("verl.overrides={trainer.no_such_key: 1}", "no_such_key"),
        ("verl.overrides={algorithm.adv_estimator: rloo}", "adv_estimator=rloo: set grpo"),
    ],
)
def test_the_check_finds_keys_and_settings_that_verl_refuses(change, message):
    found = check_run("math-7b-empo", [change], engine="verl")
    assert any(finding.kind == "problem" and message in finding.text for finding in found), found


def test_a_chat_template_arrives_unchanged(tmp_path):
    template = "{%- for m in messages %}{{ '<|im_start|>' + m['role'] + \"\\n\" + m['content'] }}{% endfor %}\n$\\"
    (tmp_path / "template.jinja").write_text(template)
    change = f"template.chat_template={tmp_path / 'template.jinja'}"
    config = composed(verl_overrides(load_config("math-7b-empo", [change]), Path("p")))
    assert config.actor_rollout_ref.model.custom_chat_template == template


def test_verls_own_command_reads_the_line():
    """`--cfg job` prints the composed configuration, and ends before anything is started."""
    command = ["-W", "ignore", "-m", "verl.trainer.main_ppo", "--cfg", "job"]
    env = {**os.environ, "VERL_USE_EXTERNAL_MODULES": "empo_rl.trainers.verl"}
    overrides = verl_overrides(load_config("math-7b-empo"), Path("prompts.parquet"))
    done = subprocess.run([sys.executable, *command, *overrides], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "trainer_mode: empo" in done.stdout


def test_the_trainer_reads_the_provider_from_the_rendered_line():
    from empo_rl.trainers.verl.verl_trainer import EmpoPPOTrainer, check_verl_config, provider_options

    config = load_config("math-7b-empo", ["empo.guards={copied: 0.0}"])
    found = composed(verl_overrides(config, Path("prompts.parquet")))
    check_verl_config(found)
    assert provider_options(found) == {**config.empo.choices(), "seed": 42}
    trainer = EmpoPPOTrainer(found)
    assert trainer.provider.reward == "empo"
    trainer.provider.close()
