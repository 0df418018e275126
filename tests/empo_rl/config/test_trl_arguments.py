"""From a checked configuration to TRL's arguments."""

import pytest
from accelerate.utils import FullyShardedDataParallelPlugin
from transformers import TrainingArguments

from empo_rl.config.batch_layout import process_count_notes
from empo_rl.config.load import load_config
from empo_rl.config.trl_arguments import (
    fsdp2_settings,
    process_timeout,
    strategy_arguments,
    training_arguments,
    vllm_model_length,
    zero3_settings,
)
from empo_rl.trainers.reward_function import check_whole_groups
from semantic_entropy import InputError


def arguments(*overrides, recipe="tiny", processes=1):
    return training_arguments(load_config(recipe, overrides), processes)


def test_a_step_is_divided_into_micro_batches_of_whole_groups():
    made = arguments("training.prompts_per_step=12", "training.prompts_per_micro_batch=2", processes=3)
    assert (made.per_device_train_batch_size, made.gradient_accumulation_steps) == (2 * 8, 2)
    check_whole_groups(made)


def test_the_run_of_the_paper_divides_among_eight_processes():
    made = arguments("training.precision=fp32", "device=cpu", recipe="math-1.5b-empo", processes=8)
    assert made.per_device_train_batch_size * made.gradient_accumulation_steps * 8 == 112 * 7


def test_prompts_that_cannot_be_divided_among_the_processes_are_refused():
    with pytest.raises(InputError, match="prompts_per_step=32 is not a multiple of .*=32 x 3 processes = 96"):
        arguments(processes=3)


def test_keys_of_the_configuration_become_arguments_of_trl():
    made = arguments("training.loss=dapo", "training.ratio=sequence", "empo.scale=none", "training.epsilon=3e-4")
    assert (made.loss_type, made.importance_sampling_level) == ("dapo", "sequence")
    assert (made.scale_rewards, made.epsilon, made.beta) == ("none", 3e-4, 0.0)
    assert (made.max_steps, made.learning_rate, made.warmup_steps) == (50, 1e-4, 5)


def test_trl_which_has_no_fixed_advantages_is_told_none():
    assert arguments("empo.preset=ddrl").scale_rewards == "none"


def test_without_steps_the_number_of_epochs_is_used():
    made = arguments("training.steps=null", "training.epochs=2")
    assert (made.max_steps, made.num_train_epochs) == (-1, 2)


def test_other_arguments_of_trl_are_passed_on():
    made = arguments("trl.top_k=20", "trl.report_to=tensorboard")
    assert (made.top_k, made.report_to) == (20, ["tensorboard"])
    assert arguments().report_to == []


@pytest.mark.parametrize("method", [[], ["method=online_dpo", "empo.reward=golden", "rollout.num_generations=2"]])
@pytest.mark.filterwarnings("ignore:You are importing from 'trl.experimental'")
def test_engine_host_and_port_become_arguments_of_trl(method):
    made = arguments(*method, "rollout.engine=vllm-server", "rollout.vllm={host: gpu7, port: 9000}")
    assert (made.use_vllm, made.vllm_mode, made.vllm_server_host, made.vllm_server_port) == (
        True,
        "server",
        "gpu7",
        9000,
    )
    made = arguments(*method, "rollout.engine=vllm-colocate", "rollout.vllm={gpu_memory: 0.4, tensor_parallel: 2}")
    assert (made.vllm_mode, made.vllm_gpu_memory_utilization, made.vllm_tensor_parallel_size) == ("colocate", 0.4, 2)
    assert not arguments(*method).use_vllm


def test_the_context_of_vllm_is_the_longest_prompt_and_completion_unless_it_is_given():
    colocated = ("rollout.engine=vllm-colocate", "rollout.max_completion_tokens=3072")
    assert arguments(*colocated, "data.max_prompt_tokens=1024").vllm_max_model_length == 4096
    given = arguments(*colocated, "data.max_prompt_tokens=1024", "trl.vllm_max_model_length=8192")
    assert given.vllm_max_model_length == 8192
    unknown = load_config("tiny", colocated)
    assert training_arguments(unknown, 1).vllm_max_model_length is None  # the run measures the longest prompt
    assert vllm_model_length(unknown, 77) == 3149
    assert vllm_model_length(load_config("tiny", ["rollout.engine=vllm-server"]), 77) is None
    assert arguments("data.max_prompt_tokens=1024").vllm_max_model_length is None


def test_the_correction_of_vllm_is_decided_by_this_configuration():
    vllm = "rollout.engine=vllm-server"
    assert arguments(vllm).vllm_importance_sampling_mode == "token_truncate"
    assert arguments(vllm, "rollout.vllm.correction=sequence_mask").vllm_importance_sampling_mode == "sequence_mask"
    assert not arguments(vllm, "rollout.vllm.correction=none").vllm_importance_sampling_correction
    with pytest.raises(InputError, match=r"it is 'token_truncate'\). Set rollout.vllm.correction instead"):
        arguments(vllm, "trl.vllm_importance_sampling_mode=token_mask")


@pytest.mark.parametrize("engine", ["vllm-colocate", "vllm-server"])
def test_lora_with_fsdp2_and_vllm_is_refused_with_what_works(engine):
    choices = ["device=auto", "training.precision=bf16", "lora={}", f"rollout.engine={engine}"]
    with pytest.raises(InputError, match=r"cannot merge into shards of FSDP. Set launch.strategy=ddp or zero3, or"):
        load_config("tiny", [*choices, "launch.strategy=fsdp2"])
    load_config("tiny", [*choices, "launch.strategy=ddp"])


def test_schedule_and_batch_of_sft_become_arguments_of_trl():
    made = arguments("method=sft", "training.prompts_per_micro_batch=4", "sft.max_tokens=77", processes=2)
    assert (made.per_device_train_batch_size, made.gradient_accumulation_steps, made.max_length) == (4, 4, 77)
    assert (made.max_steps, made.learning_rate, made.completion_only_loss) == (50, 1e-4, True)


def test_processes_other_than_the_first_log_errors_only():
    """The default of transformers is `warning`: on resume, each process would report tied weights as missing keys."""
    assert arguments().log_level_replica == "error"
    assert arguments("trl.log_level_replica=info").log_level_replica == "info"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trl.num_generation=4", "not an argument of trl.GRPOConfig. Did you mean 'trl.num_generations'"),
        ("trl.num_generations=4", r"trl.num_generations: decided by this configuration \(it is 8\)"),
        ("trl.model_init_kwargs={dtype: bfloat16}", "has no effect, because empo-train loads the model"),
        ("trl.reward_weights=[2.0]", r"reward_weights=\[2.0\] has no effect.* Use empo.reward=composite"),
        ("trl.multi_objective_aggregation=normalize_then_sum", "has no effect, because there is one reward"),
        ("trl.top_p=.nan", "trl.top_p=nan: expected a finite number"),
        ("trl.delta=-.inf", "trl.delta=-inf: expected a finite number"),
        ("trl.delta=inf", "trl.delta='inf': expected a finite number"),
        ("trl.lr_scheduler_kwargs={power: .inf}", "trl.lr_scheduler_kwargs={'power': inf}: expected a finite number"),
        ("trl.auto_find_batch_size=true", "would split groups .* Set training.prompts_per_micro_batch"),
        ("trl.accelerator_config={split_batches: true}", "would divide the rows among the processes in another way"),
    ],
)
def test_an_argument_that_is_unknown_or_decided_or_without_effect_is_refused(override, message):
    with pytest.raises(InputError, match=message):
        arguments(override)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["rollout.engine=vllm-colocate", "data.max_prompt_tokens=1000"],
            "less than data.max_prompt_tokens=1000 [+] ",
        ),
        (["rollout.engine=vllm-server"], "no effect on a server. Start it with `trl vllm-serve --max_model_len 1024`"),
    ],
)
def test_a_context_of_vllm_that_is_too_short_or_has_no_effect_is_refused(overrides, message):
    with pytest.raises(InputError, match=message):
        arguments(*overrides, "trl.vllm_max_model_length=1024")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([], []),
        (["training.loss=bnpo"], ["training.loss=bnpo divides by the tokens of one pass"]),
        (["trl.steps_per_generation=2"], ["one sampling of 64 prompts serves 2 steps"]),
        (["method=sft"], []),
        (["method=sft", "trl.average_tokens_across_devices=false"], ["divides by the tokens of one process"]),
    ],
)
def test_what_depends_on_the_number_of_processes_is_said(overrides, words):
    layout = ["launch.processes=2", "training.prompts_per_micro_batch=16"]
    notes = process_count_notes(load_config("tiny", [*layout, *overrides]), 2)
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))
    assert process_count_notes(load_config("tiny", overrides), 1) == []


def test_transformers_and_accelerate_accept_the_settings_of_fsdp2(tmp_path):
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, **strategy_arguments(load_config("math-7b-sft")))
    plugin = FullyShardedDataParallelPlugin(**arguments.fsdp_plugin_args)
    assert (plugin.fsdp_version, plugin.reshard_after_forward) == (2, True)
    assert (plugin.state_dict_type.name, plugin.cpu_ram_efficient_loading) == ("SHARDED_STATE_DICT", True)
    assert set(fsdp2_settings()) <= {*arguments.fsdp_config, "version"}


def test_accelerate_accepts_the_settings_of_zero3():
    from accelerate.utils.deepspeed import HfDeepSpeedConfig

    settings = HfDeepSpeedConfig(zero3_settings())
    assert settings.is_zero3()
    assert not settings.is_offload()
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed, so it cannot check the settings itself")
    from accelerate.utils import DeepSpeedPlugin

    assert DeepSpeedPlugin(hf_ds_config=settings).zero_stage == 3


@pytest.mark.parametrize("value", ["0", "-5", "soon", "1.5"])
def test_a_wrong_time_limit_of_the_processes_is_refused(value):
    with pytest.raises(InputError, match=r"trl\.ddp_timeout=.*Give a number of seconds"):
        process_timeout(load_config("tiny", [f"trl.ddp_timeout={value}"]))


def test_the_time_limit_of_the_processes_is_that_of_trl_unless_given():
    assert process_timeout(load_config("tiny", ["trl.ddp_timeout=7777"])).total_seconds() == 7777
    assert (
        process_timeout(load_config("tiny")).total_seconds() == training_arguments(load_config("tiny"), 1).ddp_timeout
    )
