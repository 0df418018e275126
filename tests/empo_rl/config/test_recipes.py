"""The recipes of the package: one for each trained row of the paper's tables, with its numbers; and `extends`.

OFFICIAL holds values of the official code (QingyangZhang/EMPO at c5eccd4) with their file and line. The page
docs/empo/recipes.md lists every difference; a test reads its tables.
"""

import math
import re
from pathlib import Path

import pytest
import yaml
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
IN_VERL = ["math-1.5b-empo-verl"]  # the official verl run of a row whose other recipe is the TRL run
CONTROLS = ["control-random", "control-self-certainty", "control-token-entropy", "control-ttrl"]
REWARDS = {"empo": "empo", "grpo": "golden", "online-dpo": "golden"}
TRL, VERL = "trl/recipes/Qwen2.5/rl/config", "verl-empo/recipe/empo/scripts/run_empo_qwen2.5_math_7b.sh"
VERL_1_5B = VERL.replace("7b", "1.5b")
OFFICIAL = [
    ("math-1.5b-empo", "training.epochs", 2, "trl/empo-1.5B-NM-COT-20K.sh:3"),
    ("math-1.5b-empo", "training.prompts_per_step", 7 * 16, "trl/empo-1.5B-NM-COT-20K.sh:1"),
    ("math-1.5b-empo", "data.dataset", "RLHFlow/numia_prompt_dpo1", f"{TRL}_EMPO_NM_COT_20K_1.5B.yaml:9"),
    ("math-1.5b-empo", "training.learning_rate", 1e-6, f"{TRL}_EMPO_NM_COT_20K_1.5B.yaml:29"),
    ("math-1.5b-empo", "training.schedule", "constant", f"{TRL}_EMPO_NM_COT_20K_1.5B.yaml:33"),
    ("math-1.5b-empo", "data.max_prompt_tokens", 512, f"{TRL}_EMPO_NM_COT_20K_1.5B.yaml:34"),
    ("math-1.5b-empo", "rollout.max_completion_tokens", 2048, f"{TRL}_EMPO_NM_COT_20K_1.5B.yaml:35"),
    ("math-1.5b-empo", "rollout.num_generations", 7, f"{TRL}_EMPO_NM_COT_20K_1.5B.yaml:37"),
    ("math-1.5b-empo", "seed", 42, f"{TRL}_EMPO_NM_COT_20K_1.5B.yaml:51"),
    ("math-1.5b-empo", "empo.preset", "official-trl-math", "trl/src/open_r1/rewards.py:203"),
    ("math-1.5b-grpo", "training.learning_rate", 5e-7, f"{TRL}_GRPO_NM_COT_20K_1.5B.yaml:29"),
    ("math-1.5b-grpo", "training.epochs", 1, f"{TRL}_GRPO_NM_COT_20K_1.5B.yaml:38"),
    ("math-7b-empo", "training.epsilon", 3e-4, f"{VERL}:37"),
    ("math-7b-empo", "trl.epsilon_high", 4e-4, f"{VERL}:38"),
    ("math-7b-empo", "data.max_prompt_tokens", 1024, f"{VERL}:43"),
    ("math-7b-empo", "rollout.max_completion_tokens", 3072, f"{VERL}:44"),
    ("math-7b-empo", "training.ratio", "sequence", f"{VERL}:49"),
    ("math-7b-empo", "training.prompts_per_step", 32, f"{VERL}:59"),
    ("math-7b-empo", "rollout.num_generations", 16, f"{VERL}:60"),
    ("math-7b-empo", "rollout.temperature", 1.0, f"{VERL}:84"),
    ("math-7b-empo", "training.learning_rate", 5e-7, f"{VERL}:135"),
    ("math-7b-empo", "training.steps", 300 * 256 // 32, f"{VERL}:180"),
    ("math-1.5b-empo-verl", "training.epsilon", 3e-4, f"{VERL_1_5B}:37"),
    ("math-1.5b-empo-verl", "trl.epsilon_high", 4e-4, f"{VERL_1_5B}:38"),
    ("math-1.5b-empo-verl", "training.ratio", "sequence", f"{VERL_1_5B}:49"),
    ("math-1.5b-empo-verl", "training.prompts_per_step", 32, f"{VERL_1_5B}:59"),
    ("math-1.5b-empo-verl", "rollout.num_generations", 16, f"{VERL_1_5B}:60"),
    ("math-1.5b-empo-verl", "rollout.temperature", 1.0, f"{VERL_1_5B}:87"),
    ("math-1.5b-empo-verl", "training.learning_rate", 5e-7, f"{VERL_1_5B}:138"),
    ("math-1.5b-empo-verl", "training.steps", 192 * 256 // 32, f"{VERL_1_5B}:185"),
    ("math-1.5b-sft", "training.learning_rate", 2e-5, "trl/recipes/Qwen2.5/sft/config_demo.yaml:23"),
    ("math-1.5b-sft", "training.schedule", "cosine", "trl/recipes/Qwen2.5/sft/config_demo.yaml:27"),
    ("math-1.5b-sft", "sft.packing", True, "trl/recipes/Qwen2.5/sft/config_demo.yaml:28"),
    ("math-1.5b-sft", "sft.max_tokens", 9000, "trl/recipes/Qwen2.5/sft/config_demo.yaml:29"),
    ("math-1.5b-sft", "training.epochs", 1, "trl/recipes/Qwen2.5/sft/config_demo.yaml:31"),
    ("natural-3b-empo", "training.prompts_per_step", 6 * 16, "trl/empo-3B-NR-50K.sh:1"),
    ("natural-3b-empo", "training.epochs", 1, "trl/empo-3B-NR-50K.sh:3"),
    ("natural-3b-empo", "training.learning_rate", 1e-6, f"{TRL}_EMPO_NR_50K_3B.yaml:28"),
    ("natural-3b-empo", "data.max_prompt_tokens", 1024, f"{TRL}_EMPO_NR_50K_3B.yaml:33"),
    ("natural-3b-empo", "rollout.max_completion_tokens", 1024, f"{TRL}_EMPO_NR_50K_3B.yaml:34"),
    ("natural-3b-empo", "rollout.num_generations", 12, f"{TRL}_EMPO_NR_50K_3B.yaml:36"),
    ("natural-3b-empo", "empo.preset", "official-trl-natural", "trl/src/open_r1/rewards.py:342"),
    ("natural-7b-grpo", "empo.guards", {"empty": -0.5}, "trl/src/open_r1/rewards.py:460"),
]
PAGE = Path(__file__).parents[3] / "docs" / "empo" / "recipes.md"


def test_there_are_recipes_for_every_row_of_the_paper_four_controls_and_a_laptop():
    rows = [f"{row}-{method}" for row, (_, methods) in ROWS.items() for method in methods]
    assert len(rows) == 18
    assert recipe_names() == sorted([*rows, *IN_VERL, *CONTROLS, "tiny"])


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


def value(config, key):
    """The value of a key with dots."""
    found = config
    for part in key.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    return found


def header(recipe):
    return [line for line in recipe_text(recipe).splitlines() if line.startswith("#")]


@pytest.mark.parametrize(("recipe", "key", "expected", "source"), OFFICIAL)
def test_a_recipe_has_the_value_of_the_official_code_and_its_header_names_the_line(recipe, key, expected, source):
    assert value(load_config(recipe), key) == expected
    path, _, line = source.rpartition(":")
    text = " ".join(line.lstrip("# ") for line in header(recipe))
    assert "QingyangZhang/EMPO at c5eccd4" in text
    _, _, after = text.partition(path)
    until_next_path = re.split("(?:trl|verl-empo)/", after)[0]
    cited = re.findall(r":(\d+)(?:-(\d+))?", until_next_path)  # `path:1-3`, and `:84` for another line of this file
    assert any(int(first) <= int(line) <= int(last or first) for first, last in cited), f"{source} not in the header"


def test_values_of_appendix_f_and_of_recipes_without_official_code():
    assert load_config("natural-14b-grpo").rollout.max_completion_tokens == 768  # "from 2 and 1024 to 1 and 768"
    for recipe, base in [("llama-3b-empo", "math-1.5b-empo"), ("llama-1b-grpo", "math-1.5b-grpo")]:
        config, of = load_config(recipe), load_config(base)
        assert (config.training, config.rollout, config.data) == (of.training, of.rollout, of.data)


def table(title):
    """The rows of the table below the line that begins with `title`, as lists of cells."""
    _, _, below = f"\n{PAGE.read_text(encoding='utf-8')}".partition(f"\n{title}")
    lines = below[below.index("\n|") :].strip().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return rows[2 : next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))]


def code(cell):
    """The content of a cell that is one piece of code, else None."""
    match = re.fullmatch("`([^`]+)`", cell)
    return match and match[1]


def test_the_page_lists_every_recipe_with_its_averages():
    rows = table("# Recipes")
    named = {code(command).split()[-1]: (paper, readme) for _, paper, readme, command, _, _ in rows}
    assert sorted(named) == recipe_names()
    for recipe, (paper, readme) in named.items():
        numbers = set(re.findall(r"\d+\.\d+", f"{paper} {readme}"))
        assert numbers <= set(re.findall(r"\d+\.\d+", " ".join(header(recipe)))), recipe
        assert numbers or not recipe.startswith(("math", "llama", "natural-7b", "natural-14b"))


def test_the_table_of_differences_agrees_with_the_recipes():
    checked = 0
    for name, key, _, _, ours, other in table("## Every difference"):
        recipe = code(name)
        config = load_config(recipe)
        if (dotted := code(key)) and (written := code(ours)):
            assert value(config, dotted) == yaml.safe_load(written), (recipe, dotted)
            checked += 1
        if changes := code(other):
            changed = load_config(recipe, changes.split())
            assert not dotted or value(changed, dotted) != value(config, dotted), changes
    assert checked >= 25
    listed = {(code(name), code(key)) for name, key, *_ in table("## Every difference")}
    assert ("math-1.5b-empo", "training.epochs") in listed


def test_the_page_names_every_official_file_that_a_header_names():
    page = PAGE.read_text(encoding="utf-8")
    for recipe in recipe_names():
        for path in re.findall(
            r"(?:trl|verl-empo|math_data)/[\w./-]+\.(?:yaml|sh|py|parquet)", " ".join(header(recipe))
        ):
            assert path in page, (recipe, path)


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("math-1.5b-empo", "model=Qwen/Qwen2.5-Math-7B output_dir=runs/math-7b-trl launch.strategy=fsdp2 check={}"),
    ],
)
def test_the_other_result_of_a_row_is_one_command(recipe, changes):
    assert f"empo-train {recipe} {changes}" in PAGE.read_text(encoding="utf-8")
    load_config(recipe, changes.split())


@pytest.mark.parametrize("recipe", ["math-7b-empo", "math-1.5b-empo-verl"])
def test_a_verl_run_samples_256_prompts_for_eight_steps_of_32_and_saves_between_samplings(recipe):
    config = load_config(recipe)
    rows = config.training.completions_per_pass * config.trl["steps_per_generation"] * config.launch.processes
    assert rows == 256 * config.rollout.num_generations
    assert config.training.save_every % (256 // config.training.prompts_per_step) == 0
    assert (config.training.ratio, config.training.epsilon, config.trl["epsilon_high"]) == ("sequence", 3e-4, 4e-4)


@pytest.mark.parametrize("recipe", recipe_names())
def test_a_recipe_states_its_time_and_gpus_and_is_printed_without_extends(recipe, tmp_path):
    lines = header(recipe)
    if recipe != "tiny":
        (at,) = [number for number, line in enumerate(lines) if line.startswith("# Time: ")]
        time = " ".join(lines[at:])
        assert "A100" in time or re.search("as (math|llama|natural)-", time)
        assert "estimate" in time or "measured by the authors" in time
    printed = CliRunner().invoke(main, ["recipes", recipe]).output
    assert "extends:" not in printed
    assert printed.startswith(lines[0])
    (tmp_path / "mine.yaml").write_text(printed)
    assert load_config(str(tmp_path / "mine.yaml")) == load_config(recipe)


def test_a_file_overrides_the_recipe_that_it_extends_section_by_section(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: math-1.5b-empo\noutput_dir: runs/mine\nempo: {preset: paper, delta_low: 0.5}\n")
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
