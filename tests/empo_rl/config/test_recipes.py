"""The recipes of the package: one for each trained row of the paper's tables, with its numbers; and `extends`."""

import math

import pytest
from click.testing import CliRunner

from empo_rl.cli import main
from empo_rl.config.load import load_config
from empo_rl.config.recipes import recipe_names, recipe_text
from semantic_entropy import InputError

ROWS = {  # Tables 1 to 3, and section 4.1 for the 3B model
    "math-1.5b": ("Qwen/Qwen2.5-Math-1.5B", ["sft", "grpo", "empo"]),
    "math-7b": ("Qwen/Qwen2.5-Math-7B", ["sft", "online-dpo", "grpo", "empo"]),
    "natural-3b": ("Qwen/Qwen2.5-3B", ["empo"]),
    "natural-7b": ("Qwen/Qwen2.5-7B", ["sft", "grpo", "empo"]),
    "natural-14b": ("Qwen/Qwen2.5-14B", ["sft", "grpo", "empo"]),
    "llama-1b": ("meta-llama/Llama-3.2-1B-Instruct", ["grpo", "empo"]),
    "llama-3b": ("meta-llama/Llama-3.2-3B-Instruct", ["grpo", "empo"]),
}
CONTROLS = ["control-random", "control-self-certainty", "control-token-entropy", "control-ttrl"]
REWARDS = {"empo": "empo", "grpo": "golden", "online-dpo": "golden"}


def test_there_are_recipes_for_every_row_of_the_paper_four_controls_and_a_laptop():
    rows = [f"{row}-{method}" for row, (_, methods) in ROWS.items() for method in methods]
    assert len(rows) == 18
    assert recipe_names() == sorted([*rows, *CONTROLS, "tiny"])


@pytest.mark.parametrize("row", ROWS)
def test_a_recipe_has_the_model_and_the_method_of_its_row(row):
    model, methods = ROWS[row]
    for method in methods:
        config = load_config(f"{row}-{method}")
        assert config.model == model
        assert config.output_dir == f"runs/{row}-{method}"
        assert config.method == {"sft": "sft", "online-dpo": "online_dpo"}.get(method, "empo")
        assert config.empo.reward == REWARDS.get(method, config.empo.reward)
        assert config.template.name == ("natural" if row.startswith("natural") else "math")
        assert config.launch.processes == 8
        assert (config.data.columns.gold is not None) == (method in ("grpo", "online-dpo"))


@pytest.mark.parametrize(
    ("recipe", "size", "temperature", "rate", "prompts", "tokens"),
    [
        ("math-1.5b-empo", 7, 0.9, 1e-6, 112, (512, 2048)),
        ("natural-3b-empo", 12, 0.9, 1e-6, 96, (1024, 1024)),
        ("natural-7b-empo", 12, 0.9, 1e-6, 96, (1024, 1024)),
        ("natural-14b-grpo", 12, 0.9, 1e-6, 96, (1024, 768)),  # "from 2 and 1024 to 1 and 768" (Appendix F)
        ("math-7b-empo", 16, 1.0, 5e-7, 32, (1024, 3072)),
    ],
)
def test_a_recipe_has_the_numbers_of_the_paper_and_its_code(recipe, size, temperature, rate, prompts, tokens):
    config = load_config(recipe)
    rollout, training = config.rollout, config.training
    assert (rollout.num_generations, rollout.temperature, training.learning_rate) == (size, temperature, rate)
    assert training.prompts_per_step == prompts
    assert (config.data.max_prompt_tokens, rollout.max_completion_tokens) == tokens
    assert (training.schedule, training.loss) == ("constant", "grpo")


def test_the_7b_run_samples_256_prompts_for_eight_steps_of_32_and_saves_between_samplings():
    config = load_config("math-7b-empo")
    rows = config.training.completions_per_pass * config.trl["steps_per_generation"] * config.launch.processes
    assert rows == 256 * config.rollout.num_generations
    assert config.training.save_every % (256 // config.training.prompts_per_step) == 0
    assert (config.training.ratio, config.training.epsilon, config.trl["epsilon_high"]) == ("sequence", 3e-4, 4e-4)


@pytest.mark.parametrize("recipe", recipe_names())
def test_a_recipe_states_its_time_and_gpus_and_is_printed_without_extends(recipe, tmp_path):
    header = [line for line in recipe_text(recipe).splitlines() if line.startswith("#")]
    if recipe != "tiny":
        assert any(
            "A100" in line or "as math-" in line or "as llama-" in line or "as natural-" in line for line in header
        )
        assert any(line.startswith("# Time: ") for line in header)
    printed = CliRunner().invoke(main, ["recipes", recipe]).output
    assert "extends:" not in printed
    assert printed.startswith(header[0])
    (tmp_path / "mine.yaml").write_text(printed)
    assert load_config(str(tmp_path / "mine.yaml")) == load_config(recipe)


def test_a_file_overrides_the_recipe_that_it_extends_section_by_section(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: math-1.5b-empo\noutput_dir: runs/mine\nempo: {delta_low: 0.5}\n")
    config = load_config(str(mine), ["rollout.temperature=0.7"])
    assert (config.model, config.output_dir) == ("Qwen/Qwen2.5-Math-1.5B", "runs/mine")
    assert (config.empo.delta_low, config.empo.delta_high, config.empo.extract) == (0.5, math.inf, "boxed")
    assert config.rollout.temperature == 0.7


def test_extending_itself_or_an_unknown_recipe_is_refused(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"extends: {mine}\n")
    with pytest.raises(InputError, match="`extends` forms a circle"):
        load_config(str(mine))
    mine.write_text("extends: math-1.5b-emp\n")
    with pytest.raises(InputError, match="Did you mean 'math-1.5b-empo'"):
        load_config(str(mine))
    mine.write_text("extends: [a]\n")
    with pytest.raises(InputError, match="extends: expected the name of a recipe or file"):
        load_config(str(mine))
