"""A canary for new releases of TRL: every private name of TRL that this package overrides or reads.

The pin `trl>=1.16,<1.17` is raised after this test and the tests that compare losses pass with the new release. The
last test reads the source of this package, so no name can be missing in the tables.
"""

import ast
import dataclasses
import inspect
import re
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
# Class of trl.experimental.async_grpo -> method that is overridden -> (its parameters, what to check)
ASYNC_OVERRIDDEN = {
    "_AsyncRolloutLoop": {
        "_score_group": (
            "group",
            "its samples are in the order of the completions; `_score_loop` puts them into the queue, also if none",
        ),
        "run": ("", "it is the whole life of the worker; it puts an exception into `_exception_info_queue`"),
    },
    "AsyncRolloutWorker": {
        "stop": ("", "it sets `_stop_event_mp`, which waits for the stop watcher of the worker: see EmpoRolloutWorker")
    },
    "AsyncGRPOTrainer": {
        "log": ("logs start_time", "it averages `_metrics`, by the rules of `_reduce_metric`, and clears them"),
        "_save_checkpoint": ("model trial", "it writes rollout_state.json into the folder `checkpoint-STEP`"),
        "_inner_training_loop": (
            "args kwargs",
            "it gives the worker its first prompt, from the keyword argument `resume_from_checkpoint`",
        ),
    },
}
# Class -> attribute that is read or set -> what it is in TRL 1.16
ASYNC_READ = {
    "_AsyncRolloutLoop": {
        "_provides_rollout_reward": "whether the rewards are in `group.rollout_rewards`, without a reward function",
        "reward_func_names": "a list; its last name is that of `rollout_rewards`",
        "eos_token_ids": "the ids that end a completion",
        "tokenizer": "the tokenizer",
        "num_generations": "G",
        "rollout_buffer": "a multiprocessing queue of RolloutSample",
        "_metrics_queue": "a multiprocessing queue of dicts",
        "_stop_event": "an asyncio event that is set when the trainer stops the worker",
    },
    "AsyncRolloutWorker": {
        "_loop_cls": "the class of the loop that the worker process runs",
        "_loop_kwargs": "the arguments of the loop, and the only ones of the worker but child_ready_timeout",
        "_process": "the worker process, or None",
        "_failed_event": "a multiprocessing event that is set when the loop has failed",
        "rollout_buffer": "the queue that get_train_dataloader reads with get(timeout=) and qsize()",
    },
    "AsyncGRPOTrainer": {
        "_metrics": "train or eval -> name -> numbers",
        "_trained_groups": "the ids of the groups that were trained, for rollout_state.json and num_train_epochs",
        "_last_groups_trained": "the size of `_trained_groups` at the last step, for batch/groups_per_step",
        "rollout_worker": "the worker, or None if this is not the main process",
        "rollout_queue": "the queue that get_train_dataloader reads",
        "_get_output_dir": "the folder of the checkpoints, from `trial`",
    },
}
ASYNC_FIELDS = {
    "RolloutGroup": "prompts completions completions_ids completions_sequences reward_kwargs group_id rollout_rewards",
    "RolloutSample": "advantage",
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


EXPERIMENTAL = pytest.mark.filterwarnings("ignore:You are importing from 'trl.experimental'")


def parameters(function):
    return " ".join(list(inspect.signature(function).parameters)[1:])


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_an_overridden_method_of_grpo_has_the_parameters_of_trl_1_16(name):
    expected, check = OVERRIDDEN[name]
    found = parameters(getattr(GRPOTrainer, name, lambda _: None))
    assert found == expected, f"TRL changed GRPOTrainer.{name}. Check in its source: {check}."


@pytest.mark.parametrize("name", ONLINE_DPO)
@EXPERIMENTAL
def test_an_overridden_method_of_online_dpo_has_the_parameters_of_trl_1_16(name):
    from trl.experimental.online_dpo import OnlineDPOTrainer

    expected, check = ONLINE_DPO[name]
    found = parameters(getattr(OnlineDPOTrainer, name, lambda _: None))
    assert found == expected, f"TRL changed OnlineDPOTrainer.{name}. Check in its source: {check}."


def async_class(name):
    from trl.experimental.async_grpo import async_grpo_trainer, async_rollout_worker

    return getattr(async_rollout_worker, name, None) or getattr(async_grpo_trainer, name)


def attributes(cls):
    """The names of a class of TRL, and those that its methods set on `self`."""
    nodes = ast.walk(ast.parse(inspect.getsource(cls)))
    stored = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    return stored | set(dir(cls))


@pytest.mark.parametrize("name", ASYNC_OVERRIDDEN)
@EXPERIMENTAL
def test_the_overridden_methods_of_the_asynchronous_trainer_have_the_parameters_of_trl_1_16(name):
    for method, (expected, check) in ASYNC_OVERRIDDEN[name].items():
        found = parameters(getattr(async_class(name), method, lambda _: None))
        assert found == expected, f"TRL changed {name}.{method}. Check in its source: {check}."


@pytest.mark.parametrize("name", ASYNC_READ)
@EXPERIMENTAL
def test_the_attributes_of_the_asynchronous_trainer_that_are_read_exist_in_trl(name):
    found = attributes(async_class(name))
    for attribute, meaning in ASYNC_READ[name].items():
        assert attribute in found, f"TRL's {name} has no {attribute!r}. In 1.16 it is: {meaning}."


@pytest.mark.parametrize("name", ASYNC_FIELDS)
@EXPERIMENTAL
def test_the_groups_and_samples_of_the_asynchronous_trainer_have_the_fields_that_are_used(name):
    fields = {field.name for field in dataclasses.fields(async_class(name))}
    assert set(ASYNC_FIELDS[name].split()) <= fields, f"TRL's {name} has other fields: check EmpoRolloutLoop."


@EXPERIMENTAL
def test_the_tables_name_every_private_name_of_the_asynchronous_trainer_that_this_package_uses():
    of_trl = {name for cls in ASYNC_READ for name in attributes(async_class(cls)) if re.match("_[^_]", name)}
    used = set()
    for file in Path(empo_rl.trainers.__file__).parent.glob("trl/async_*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        used |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        used |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        used |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    assert len(used) > 20
    assert used & of_trl <= {
        name for table in (ASYNC_OVERRIDDEN, ASYNC_READ) for names in table.values() for name in names
    }


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
    others = {*folder.glob("verl/*.py"), *folder.glob("trl/async_*.py")}  # their trainers have names of their own
    for file in set(folder.rglob("*.py")) - others:
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        used |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        used |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    assert used & of_trl <= set(OVERRIDDEN) | set(READ)
