import math

import pytest

from empo_rl.config.error_messages import config_keys
from empo_rl.config.load import load_config
from empo_rl.config.recipes import recipe_names
from semantic_entropy import InputError

MINIMAL = """
model: some/model
output_dir: runs/x
data: {path: prompts.jsonl}
"""


@pytest.fixture
def file(tmp_path):
    def write(text=MINIMAL):
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_missing_optional_keys_have_defaults(file):
    config = load_config(file())
    assert (config.empo.reward, config.empo.delta_low, config.empo.delta_high) == ("empo", 0, math.inf)
    assert config.rollout.num_generations == 8


def test_the_command_line_changes_nested_keys(file):
    arguments = ["training.steps=3", "empo.delta_high=1.5", "data.columns.question=problem", "trl.use_vllm=true"]
    config = load_config(file(), arguments)
    assert (config.training.steps, config.empo.delta_high) == (3, 1.5)
    assert config.data.columns.question == "problem"
    assert config.trl == {"use_vllm": True}


@pytest.mark.parametrize("text", ["1e-6", "1.0e-6", "0.000001"])
def test_a_learning_rate_may_use_any_common_notation(text, file):
    assert load_config(file(), [f"training.learning_rate={text}"]).training.learning_rate == 1e-6


@pytest.mark.parametrize("text", ["inf", ".inf"])
def test_an_infinite_bound_may_be_written_with_or_without_a_dot(text, file):
    assert load_config(file(), [f"empo.delta_high={text}"]).empo.delta_high == math.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["training.stepz=3"],
            r"command line: training.stepz is not a key. Did you mean 'training.steps'\? Keys under ",
        ),
        (["learning_rate=3"], r"Did you mean 'training.learning_rate'\? Keys at the top: model, .*training"),
        (["data.colums.question=x"], r"data.colums is not a key. Did you mean 'data\.columns"),
        (["training.loss=ppo"], "command line: training.loss='ppo': expected one of grpo, dr_grpo, bnpo, dapo."),
        (["rollout.num_generations=1"], "rollout.num_generations=1: expected a number of at least 2"),
        (["empo.reward=golden"], "needs data.columns.gold"),
        (["empo.reward=composite", "empo.reward_options.weights.golden=1"], "composite needs data.columns.gold"),
        (["empo.reward=semi_supervised"], "semi_supervised needs data.columns.gold"),
        (
            [
                "empo.reward=composite",
                "empo.reward_options.weights.empo=1",
                "empo.delta_low=3",
                "rollout.num_generations=4",
            ],
            "keeps no group at G=4",
        ),
        (["empo.reward=goldn"], "empo.reward: .*goldn"),
        (["data.dataset=x"], "exactly one of data.path"),
        (["template.user=hello"], "does not contain {question}"),
        (["training.prompts_per_step=5", "training.prompts_per_micro_batch=2"], "=5 is not a multiple of .*=2"),
        (["steps"], "'steps' is not key=value"),
        (["training.STEPS=3"], r"training.STEPS is not a key. Did you mean 'training.steps'\?"),
        (["Seed=3"], r"Seed is not a key. Did you mean 'seed'\?"),
        (["training.loss=GRPO"], r"training.loss='GRPO': expected one of grpo, .*\. Did you mean 'grpo'\?"),
        (["training.steps=ten"], "training.steps='ten': expected a whole number."),
        (["training.steps=0"], "training.steps=0: expected a number greater than 0."),
        (["training.steps=1.5"], "training.steps=1.5: expected a whole number."),
        (["training.learning_rate=fast"], "training.learning_rate='fast': expected a number."),
        (["training.gradient_checkpointing=maybe"], "gradient_checkpointing='maybe': expected true or false."),
        (["model=7"], "command line: model=7: expected text; put a number or a word such as `on` in quotes."),
        (["training=3"], "command line: training=3: expected a section of keys and values."),
        (["lora.target_modules=3"], "command line: lora.target_modules=3: expected text.* or a list."),
        (["template.name=Math"], r"template.name='Math': expected one of question, .*\. Did you mean 'math'\?"),
        (["data={dataset: nofile.jsonl}"], "data.dataset=nofile.jsonl is the name of a file. Set data.path=nofile"),
        (["data={dataset: held.csv}"], "held.csv cannot be read. Convert it to a JSONL or Parquet file"),
        (["evaluation={data: ''}"], "the name of the dataset is empty"),
        (["training.steps=[1"], "not readable as YAML"),
        (["training.learning_rate=true"], "training.learning_rate: expected a number, not true"),
        (["training.steps=true"], "training.steps: expected a number, not true"),
        (["seed=-1"], "seed=-1: expected a number of at least 0"),
        (["seed=5000000000"], "seed=5000000000: expected a number less than 4294967296"),
        (["rollout.temperature=1e-300"], "rollout.temperature=.*1e-300.*: expected a number of at least 0.001"),
        (["output_dir=''"], "output_dir: a path must not be blank"),
        (['output_dir="a\\0b"'], "output_dir: a path must not be blank or contain control characters"),
    ],
)
def test_an_error_names_the_key_and_the_fix(arguments, message, file):
    with pytest.raises(InputError, match=message):
        load_config(file(), arguments)


def test_a_path_can_begin_with_the_home_directory(file, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = load_config(file(), ["output_dir=~/run", "model=~/model", "evaluation={data: ~/held.jsonl}"])
    assert (config.output_dir, config.model) == ("/home/me/run", "/home/me/model")
    assert config.evaluation.data.path == "/home/me/held.jsonl"


def test_the_folder_of_no_run_and_a_base_that_does_not_exist_are_named(tmp_path):
    with pytest.raises(InputError, match=r"is a folder without config.yaml, so it is not the directory of a run"):
        load_config(str(tmp_path))
    (tmp_path / "mine.yaml").write_text("extends: nope\n")
    with pytest.raises(InputError, match=r"mine.yaml: extends: nope: no such file, and no recipe of that name"):
        load_config(str(tmp_path / "mine.yaml"))


def test_an_error_in_the_file_names_the_file(file):
    path = file(MINIMAL + "empo: {rewards: empo}\n")
    with pytest.raises(InputError, match=r"run\.yaml: empo.rewards is not a key. Did you mean 'empo.reward'"):
        load_config(path)


def test_all_errors_are_reported_together(file):
    with pytest.raises(InputError, match="(?s)epochz.*seeds"):
        load_config(file(), ["seeds=1", "training.epochz=1"])


@pytest.mark.parametrize(
    ("arguments", "origin"),
    [
        (["foo.bar=1"], "command line: foo is not a key"),
        (["data.columns={questoin: x}"], "command line: data.columns.questoin is not a key"),
        (["data.dataset=x"], r"run\.yaml with the command line: data: give exactly one of"),
        (["training.prompts_per_step=3", "training.prompts_per_micro_batch=2"], r"run\.yaml with the command line: "),
    ],
)
def test_an_error_on_the_command_line_names_the_command_line(arguments, origin, file):
    with pytest.raises(InputError, match=origin):
        load_config(file(), arguments)


def test_a_misspelt_section_is_reported_once(file):
    with pytest.raises(InputError) as caught:
        load_config(file(MINIMAL.replace("data:", "dta:")))
    assert "dta is not a key. Did you mean 'data'?" in str(caught.value)
    assert "missing" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_the_error_for_an_empty_file_lists_the_required_keys(text, file):
    with pytest.raises(InputError, match=r"run\.yaml: the file is empty: it needs model, output_dir and data\."):
        load_config(file(text))


def test_a_missing_key_is_named(file):
    with pytest.raises(InputError, match=r"run\.yaml: output_dir is missing"):
        load_config(file("model: x\ndata: {path: y}\n"))


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "not readable as YAML"), ("- a", "expected keys and values, found list")]
)
def test_a_file_without_keys_and_values_is_refused(text, message, file):
    with pytest.raises(InputError, match=message):
        load_config(file(text))


def test_an_unknown_source_lists_recipes_and_the_nearest_command():
    with pytest.raises(InputError, match=r"Did you mean 'demo'\? Recipes: control-random, .*, tiny\."):
        load_config("demmo")


def test_every_recipe_is_valid_under_its_own_name():
    assert {"math-1.5b-empo", "tiny"} <= set(recipe_names())
    for name in recipe_names():
        assert load_config(name) == load_config(f"{name}.yaml")


def test_the_recipe_of_the_paper_has_the_settings_of_the_paper():
    """empo.txt, section 4.1 and Appendix A; hyper-parameters of the official TRL recipe."""
    config = load_config("math-1.5b-empo")
    assert config.model == "Qwen/Qwen2.5-Math-1.5B"
    assert config.template.system == r"Please reason step by step, and output your final answer within \boxed{}."
    assert config.template.user == (r"{question} Let's think step by step and output the final answer within \boxed{}.")
    assert (config.rollout.num_generations, config.rollout.temperature) == (7, 0.9)
    assert (config.rollout.max_completion_tokens, config.data.max_prompt_tokens) == (2048, 512)
    assert (config.training.learning_rate, config.training.schedule) == (1e-6, "constant")
    assert (config.training.prompts_per_step, config.data.limit) == (112, 20_000)
    assert config.empo.reward == "empo"
    assert config.data.columns.gold is None


def test_every_key_has_a_dotted_name():
    keys = list(config_keys())
    assert {"model", "data.columns.question", "empo.delta_low", "training.steps"} <= set(keys)
    assert len(keys) == len(set(keys))


def test_a_base_is_looked_for_in_the_folder_of_the_file_and_not_of_the_command(tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "base.yaml").write_text("extends: tiny\nseed: 7\n")
    (tmp_path / "runs" / "mine.yaml").write_text("extends: base.yaml\noutput_dir: mine\n")
    (tmp_path / "base.yaml").write_text("extends: tiny\nseed: 8\n")
    monkeypatch.chdir(tmp_path)
    config = load_config("runs/mine.yaml")
    assert (config.seed, config.output_dir) == (7, "mine")
    (tmp_path / "runs" / "base.yaml").unlink()
    assert load_config("runs/mine.yaml").seed == 8
