"""A canary for new releases of TRL: every private name of TRL that this package overrides or reads.

The pin `trl>=1.16,<1.17` is raised after this test and the tests that compare losses pass with the new release. The
last test reads the source of this package, so no name can be missing in the tables.
"""

import ast
import inspect
from pathlib import Path

import pytest
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import RepeatSampler

import empo_rl.trainers
from empo_rl import EmpoProvider
from empo_rl.trainers.trl.run_trainer import RunTrainer

# Method of GRPOTrainer -> (its parameters in TRL 1.16, what to check in TRL's source if they change)
OVERRIDDEN = {
    "_generate": ("prompts", "the first value that it returns is the token ids of the prompts"),
    "_calculate_rewards": (
        "inputs prompts completions completion_ids_list",
        "TRL calls it once for each generated batch; it returns the rewards of all processes, (rows, reward functions)",
    ),
    "_generate_and_score_completions": (
        "inputs",
        "the keys completion_mask, tool_mask, advantages and num_items_in_batch of its result; what the loss reads",
    ),
    "_prepare_inputs": ("generation_batch", "it fills `_buffered_inputs` with one dict for each micro-batch"),
    "compute_loss": (
        "model inputs return_outputs num_items_in_batch",
        "the loss multiplies tool_mask into completion_mask; the losses that divide by rows (AVERAGE_OVER_ROWS)",
    ),
    "create_model_card": ("model_name dataset_name tags", "TRL calls it with each checkpoint"),
    "log": ("logs start_time", "logs of a training step have the key loss, and other logs do not"),
    "_get_train_sampler": ("dataset", "it returns a RepeatSampler, whose order EpochSampler repeats"),
    "_save_optimizer_and_scheduler": ("output_dir", "it runs before trainer_state.json is written"),
    "_load_optimizer_and_scheduler": ("checkpoint", "it runs after the state of the trainer is loaded"),
}
# Attribute of GRPOTrainer -> what it is in TRL 1.16
READ = {
    "_buffered_inputs": "None, then a list with a dict for each micro-batch of the generated batch",
    "_metrics": "train or eval -> name -> numbers, which log() averages and clears",
    "_logs": "the columns of the table of completions; `advantages` is one of them",
    "_step": "the number of micro-batches; TRL generates when it is a multiple of steps_per_generation",
    "_tokenizer": "the tokenizer, also if processing_class is a processor",
    "_log_metric": "a method (name, value of this process); TRL averages the values of the processes",
    "_save": "a method (folder, state_dict) that writes a model directory",
    "eos_token_ids": "the ids that end a completion",
    "loss_type": "args.loss_type",
    "temperature": "args.temperature",
    "is_deepspeed_enabled": "whether DeepSpeed makes the optimizer step",
    "model_wrapped": "the outermost module, which has the gradients",
}
ONLINE_DPO = {
    "_calculate_rewards_from_functions": (
        "prompts completions completion_ids_list reward_kwargs",
        "prompts are doubled: all first completions, then all second completions; it returns (2 B,) rewards",
    ),
    "_generate": ("model prompts images", "it generates the two completions without vLLM"),
    "_generate_vllm": ("prompts images", "it generates the two completions with vLLM"),
    "log": ("logs start_time", "logs of a training step have the key loss, and other logs do not"),
    "create_model_card": ("model_name dataset_name tags", "TRL calls it with each checkpoint"),
}
SAMPLER = (
    "data_source",
    "mini_repeat_count",
    "batch_size",
    "repeat_count",
    "shuffle",
    "seed",
    "num_samples",
    "generator",
)


def parameters(function):
    return " ".join(list(inspect.signature(function).parameters)[1:])


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_an_overridden_method_of_grpo_has_the_parameters_of_trl_1_16(name):
    expected, check = OVERRIDDEN[name]
    found = parameters(getattr(GRPOTrainer, name, lambda _: None))
    assert found == expected, f"TRL changed GRPOTrainer.{name}. Check in its source: {check}."


@pytest.mark.parametrize("name", ONLINE_DPO)
@pytest.mark.filterwarnings("ignore:You are importing from 'trl.experimental'")
def test_an_overridden_method_of_online_dpo_has_the_parameters_of_trl_1_16(name):
    from trl.experimental.online_dpo import OnlineDPOTrainer

    expected, check = ONLINE_DPO[name]
    found = parameters(getattr(OnlineDPOTrainer, name, lambda _: None))
    assert found == expected, f"TRL changed OnlineDPOTrainer.{name}. Check in its source: {check}."


@pytest.fixture(scope="module")
def trainers(tokenizer, tmp_path_factory):
    """TRL's trainer, and RunTrainer after a step."""
    from empo_rl.run.tiny_model import make_model

    args = GRPOConfig(
        str(tmp_path_factory.mktemp("run")),
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=4,
        max_steps=1,
        beta=0.0,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
    )
    rows = Dataset.from_list([{"prompt": "What is 1+1?"}])
    common = {"args": args, "train_dataset": rows, "processing_class": tokenizer}
    stock = GRPOTrainer(make_model(tokenizer, seed=0), lambda **_: [], **common)
    with EmpoProvider("exact", extract="whole") as provider:
        trainer = RunTrainer(make_model(tokenizer, seed=0), provider, **common)
        trainer.train()
    return stock, trainer


def test_the_attributes_that_are_read_exist_in_trl(trainers):
    stock, trainer = trainers
    for name, meaning in READ.items():
        assert hasattr(stock, name), f"TRL's GRPOTrainer has no {name!r}. In 1.16 it is: {meaning}."
    assert set(trainer._metrics) == {"train", "eval"}, READ["_metrics"]
    (batch,) = trainer._buffered_inputs
    missing = {"completion_mask", "tool_mask", "advantages", "num_items_in_batch"} - set(batch)
    assert not missing, f"the batch lacks {missing}. Check {OVERRIDDEN['_generate_and_score_completions'][1]}."


def test_the_sampler_of_trl_has_what_the_sampler_of_a_resumed_run_copies(trainers):
    sampler = trainers[0]._get_train_sampler()
    assert type(sampler) is RepeatSampler, "TRL uses another sampler: check EpochSampler, which repeats its order."
    for name in SAMPLER:
        assert hasattr(sampler, name), f"TRL's RepeatSampler has no {name!r}: check EpochSampler."


def test_the_tables_name_every_private_name_of_trl_that_this_package_uses(trainers):
    of_trl = {name for name in dir(trainers[0]) if name.startswith("_") and not name.startswith("__")}
    used = set()
    folder = Path(empo_rl.trainers.__file__).parent
    for file in set(folder.rglob("*.py")) - set(folder.glob("verl/*.py")):  # verl's trainer has names of its own
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        used |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        used |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    assert used & of_trl <= set(OVERRIDDEN) | set(READ)
