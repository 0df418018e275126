"""`--check` on real files, on the sizes of real models and on the recipes."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from accelerate import PartialState
from transformers import LlamaConfig, LlamaForCausalLM

from empo_rl.check import check_before_training, check_run, host_memory
from empo_rl.check.disk_space import findings as disk_findings
from empo_rl.check.findings import GIB, passed, report_lines
from empo_rl.check.gpu_memory import Shape, estimate, model_shape
from empo_rl.config.load import load_config
from empo_rl.config.recipes import recipe_names
from empo_rl.config.trl_arguments import training_arguments
from semantic_entropy import InputError

ROW = {"question": "What is 1+1?", "answer": "2", "response": "It is 2."}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working directory with the files that empo-data creates, without a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    for name in ("natural.jsonl", "numina-answered.jsonl"):
        (tmp_path / name).write_text(256 * (json.dumps(ROW) + "\n"))  # the largest prompts_per_step of a recipe
    (tmp_path / "one.jsonl").write_text(json.dumps(ROW) + "\n")
    return tmp_path


def problems(source, *overrides):
    return [finding.text for finding in check_run(source, overrides) if finding.kind == "problem"]


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipe_passes_offline_and_a_change_that_splits_groups_is_a_problem(recipe):
    findings = check_run(recipe)
    assert passed(findings), list(report_lines(findings))
    assert [finding.kind for finding in findings if finding.about in ("layout", "memory")] == (
        ["ok"] if recipe == "tiny" else ["ok", "ok"]
    )
    (wrong,) = problems(
        recipe, "training.prompts_per_step=100", "training.prompts_per_micro_batch=1", "launch.processes=7"
    )
    assert "training.prompts_per_step=100 is not a multiple of" in wrong
    assert "set training.prompts_per_step=98 or 105" in wrong


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["trl.per_device_train_batch_size=12"],
            "12 rows per process would split groups of rollout.num_generations=8. Set",
        ),
        (["trl.num_generations=4"], "decided by this configuration (it is 8). Set rollout.num_generations instead."),
        (
            ["trl.steps_per_generation=3", "training.prompts_per_micro_batch=1", "training.completions_per_pass=4"],
            "12 rows",
        ),
        (["trl.generation_batch_size=6"], "6 rows per process would split groups of rollout.num_generations=8"),
        (["trl.optim=foo"], "foo is not a valid OptimizerNames"),
        (["trl.epsilon_high=abc"], "trl.epsilon_high='abc': expected a number"),
        (["trl.hub_token=hf_x"], "trl.hub_token: do not put a secret into a configuration"),
        (["trl.top_q=1"], "trl.top_q is not an argument of trl.GRPOConfig. Did you mean 'trl.top_p'?"),
        (
            ["training.completions_per_pass=3", "training.prompts_per_micro_batch=1"],
            "does not divide groups of rollout.num_generations=8. Divisors of 8: 1, 2",
        ),
        (["launch.processes=3"], "is not a multiple of training.prompts_per_micro_batch=32 x 3 processes = 96: set"),
        (["empo.equivalence=mathh"], "no equivalence named 'mathh'. Did you mean 'math'?"),
        (["empo.guards.copid=0"], "copid"),
        (["empo.reward=evol", "empo.reward_options.similarity=embeding"], "no equivalence named 'embeding'. Did you"),
        (
            ["empo.reward=composite", "empo.reward_options={weights: {evol: 1}, options: {evol: {similarity: mathh}}}"],
            "no equivalence named 'mathh'",
        ),
        (["empo.reward=evol", "empo.reward_options={similarity: ngram, similarity_options: {m: 1}}"], "'m'"),
        (["data={path: nowhere.jsonl}"], "data.path: nowhere.jsonl does not exist or is not a file"),
        (["data={path: x.jsonl, made_with: empo-data numina}"], "Make it with: empo-data numina"),
        (["data={path: natural.jsonl, columns: {question: problem}}"], "no column 'problem' (data.columns.question)"),
        (["trl.report_to=wandb"], "trl.report_to=wandb needs wandb"),
        (["model=./nowhere"], "the folder ./nowhere does not exist, and it is no name on the hub (OWNER/NAME)"),
        (["model=."], "the folder . has no config.json, so it is not a model"),
        (
            ["template.chat_template='{% for x in y %}'"],
            "template.chat_template is not Jinja: Unexpected end",
        ),
        (
            ["template.chat_template=gone.jinja"],
            "template.chat_template: 'gone.jinja' is neither a file nor Jinja",
        ),
        (["trl.report_to=Wandb"], "trl.report_to=Wandb is not a tracker of transformers. Did you mean 'wandb'?"),
        (["data.limit=31"], "31 prompts cannot fill one step of training.prompts_per_step=32, so the run would end"),
        (["data={path: one.jsonl}"], "1 prompt cannot fill one step of training.prompts_per_step=32"),
        (
            ["data.limit=40", "trl.steps_per_generation=2"],
            "40 prompts are fewer than the 64 prompts that trl.steps_per_generation or trl.generation_batch_size",
        ),
        (["launch.strategy=fsdp2"], "On the CPU, accelerate would silently run ddp"),
        (["empo.delta_low=0.2", "empo.delta_high=0.3"], "keeps no group at G=8"),
    ],
)
def test_a_wrong_setting_is_a_problem_with_advice(overrides, message):
    (found,) = problems("tiny", *overrides)
    assert message in found


def test_a_missing_file_that_a_command_makes_is_named_and_allowed_if_asked(folder):
    (folder / "natural.jsonl").unlink()
    (wrong,) = problems("natural-7b-empo")
    assert "Make it with: empo-data natural -o natural.jsonl" in wrong
    findings = check_run("natural-7b-empo", allow_missing_data=True)
    assert passed(findings)
    (named,) = [finding.text for finding in findings if finding.about == "data"]
    assert named == "because natural.jsonl does not exist yet. Make it with: empo-data natural -o natural.jsonl"
    # a file that no command makes is a problem all the same
    missing = check_run("tiny", ["data={path: nowhere.jsonl}"], allow_missing_data=True)
    assert [finding.kind for finding in missing if finding.about == "data"] == ["problem"]


def test_all_problems_are_listed():
    found = problems("tiny", "launch.processes=3", "trl.beta=1", "empo.equivalence=mathh", "data={path: nowhere.jsonl}")
    assert len(found) == 4
    found = problems("tiny", "method=online_dpo", "training.prompts_per_step=33")
    assert len(found) == 3  # the reward, the number of completions, the multiple


def test_the_columns_of_a_local_dataset_are_checked(folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "train.jsonl").write_text(json.dumps(ROW) + "\n")
    assert not problems("tiny", "data={dataset: mine}")
    (found,) = problems(
        "tiny", "data={dataset: mine, columns: {question: problem, gold: answer}}", "empo.reward=golden"
    )
    assert "mine has no column 'problem' (data.columns.question). It has: ['question', 'answer', 'response']" in found


def test_unknown_facts_are_listed_and_are_no_failure():
    findings = check_run("tiny", ["model=nobody/nothing", "data={dataset: nobody/nothing}"])
    assert passed(findings)
    left = {finding.about: finding.text for finding in findings if finding.kind == "not checked"}
    assert "not in this machine's cache" in left["data.dataset nobody/nothing"]
    assert "give check.parameters" in left["memory"]


def test_a_dataset_with_only_another_subset_in_the_cache_is_not_checked(folder, monkeypatch):
    import datasets

    there = folder / "nobody___nothing" / "other" / "0.0.0" / "hash"
    there.mkdir(parents=True)
    (there / "dataset_info.json").write_text(json.dumps({"config_name": "other"}))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(folder))
    with pytest.raises(ValueError, match="Available configs in the cache: .'other'"):
        datasets.load_dataset("nobody/nothing", "mine", split="train")
    findings = check_run("tiny", ["data={dataset: nobody/nothing, subset: mine}"])
    assert passed(findings), list(report_lines(findings))
    assert "data.dataset nobody/nothing" in {finding.about for finding in findings if finding.kind == "not checked"}


def test_the_number_of_weights_from_the_config_equals_that_of_torch(folder):
    config = LlamaConfig(
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=2,
        vocab_size=3000,
    )
    config.save_pretrained(folder / "model")
    with torch.device("meta"):
        counted = sum(weight.numel() for weight in LlamaForCausalLM(config).parameters())
    shape = model_shape(load_config("tiny", ["model=model"]))
    assert shape.parameters == pytest.approx(counted, rel=1e-3)  # the estimate leaves out norms
    assert (shape.hidden, shape.layers, shape.keys) == (512, 6, 128)


def test_the_number_of_weights_of_a_published_model_is_right(folder):
    """Qwen2.5-7B's config.json; its model card says 7.61B."""
    (folder / "qwen").mkdir()
    published = {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "tie_word_embeddings": False,
    }
    (folder / "qwen" / "config.json").write_text(json.dumps(published))
    assert model_shape(load_config("tiny", ["model=qwen"])).parameters == pytest.approx(7.615e9, rel=1e-3)


@pytest.mark.parametrize(
    ("overrides", "bytes_per_weight"),
    [
        (["launch.strategy=ddp", "launch.processes=1"], 16),  # fp32 weights, gradients, two moments
        (["launch.strategy=ddp"], 20),  # and the gradients in communication buckets
        (["launch.strategy=fsdp2"], 16 / 8),
        (["launch.strategy=zero3"], 16 / 8),  # ZeRO, section 3.1: (2 + 2 + K) / P with K = 12
        (["launch.strategy=ddp", "launch.processes=1", "training.weights=bf16"], 8),
        (["launch.strategy=ddp", "lora={}"], 2),  # frozen in bf16; without a shape's width the adapters are few
    ],
)
def test_the_memory_of_weights_and_optimizer_by_strategy(overrides, bytes_per_weight):
    config = load_config("math-1.5b-empo", overrides)
    states = estimate(config, Shape(1e12, None, None, None, "a test"))["weights and optimizer"]
    assert states == pytest.approx(bytes_per_weight * 1e12, rel=1e-3)


def test_a_model_too_large_for_the_gpu_is_a_problem_with_advice():
    (found,) = problems("math-1.5b-empo", "check.parameters=14e9")
    assert "more than 80 GiB less a tenth. Try training.completions_per_pass" in found
    assert "launch.strategy=fsdp2" in found


def test_checkpoints_that_do_not_fit_on_the_disk_are_a_problem():
    changes = ["device=cpu", "training.precision=fp32", "check.parameters=1e14", "check.device_gib=1e9"]
    changes += ["check.host_gib=1e9"]
    (found,) = problems("math-1.5b-empo", *changes)
    assert "3 checkpoints of 1117587.1 GiB and final/" in found  # 12 bytes a weight
    assert "Set training.keep_checkpoints=2" in found


@pytest.mark.parametrize(("kept", "checkpoints"), [("3", 4), ("null", 10)])
def test_deleting_old_checkpoints_needs_space_for_one_more_than_is_kept(kept, checkpoints):
    """The oldest checkpoint is deleted after the newest is written."""
    changes = [f"training.keep_checkpoints={kept}", "training.steps=10", "training.save_every=1"]
    (finding,) = disk_findings(
        load_config("math-1.5b-empo", changes), Shape(1e9, None, None, None, "a test"), rows=20000
    )
    assert f"and final/: {(12 * checkpoints + 4) * 1e9 / GIB:.1f} GiB" in f"{finding.about} {finding.text}"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["launch.strategy=ddp"], {"loading": 8 * 4e9}),  # each of eight processes loads the model in fp32
        (["launch.strategy=fsdp2"], {"loading": 4e9, "checkpoints": 8e9, "final/": 4e9}),
        (["launch.strategy=zero3"], {"loading": 4e9, "checkpoints": 12e9, "final/": 4e9}),
        (
            ["launch.machines=2", "launch.main_address=a", "launch.main_port=1", "launch.strategy=fsdp2"],
            {"checkpoints": 4e9},
        ),
        (["launch.strategy=ddp", "lora={merge: true}"], {"loading": 8 * 2e9, "final/": 4e9}),
    ],
)
def test_the_host_memory_of_each_strategy_is_counted(overrides, expected):
    config = load_config("math-1.5b-empo", ["launch.processes=8", *overrides])
    parts = host_memory.estimate(config, Shape(1e9, None, None, None, "a test"))
    assert {name: parts[name] for name in expected} == pytest.approx(expected)
    (finding, *_) = host_memory.findings(
        config.model_copy(update={"check": config.check.model_copy(update={"host_gib": 2.0})}),
        Shape(1e9, None, None, None, "a test"),
    )
    assert finding.kind == "problem"
    assert "more than 2 GiB less a tenth" in finding.text


def test_a_push_without_a_token_of_the_hub_is_a_problem(monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    (found,) = problems("tiny", "push_to_hub={repo: me/model}")
    assert "this machine has no token of the hub, so the hub would refuse me/model: hf auth login" in found
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_0")
    findings = check_run("tiny", ["push_to_hub={repo: me/model}"])
    assert passed(findings)
    assert not any("hf_0" in line for line in report_lines(findings))


def test_an_adapters_checkpoints_are_small():
    config = load_config("math-1.5b-empo", ["lora={r: 16}", "device=cpu", "training.precision=fp32"])
    (finding,) = disk_findings(config, Shape(1.54e9, 1536, 28, 151936, "a test"), 20000)
    assert finding.kind == "ok"
    assert f"3 checkpoints of {12 * 25 * 16 * 1536 * 28 / GIB:.1f} GiB" in finding.text


def test_the_command_prints_the_findings_and_its_exit_status_says_whether_all_passed():
    command = [sys.executable, "-m", "empo_rl.cli", "tiny", "--check"]
    done = subprocess.run(
        [*command, "--processes", "2", "training.prompts_per_micro_batch=4"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (
        "ok:          layout: 32 prompts a step = 4 a micro-batch x 2 processes x 4 passes, whole groups" in done.stdout
    )
    done = subprocess.run([*command, "training.stepz=3", "foo=1"], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Did you mean 'training.steps'?" in done.stdout
    assert "foo is not a key" in done.stdout


def test_a_check_of_the_tiny_run_imports_no_torch():
    program = "import sys; from empo_rl.check import check_run; check_run('tiny'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


ENGINE = ["rollout.engine=transformers"]
QWEN_1_5B = Shape(1.54e9, 1536, 28, 151_936, "by hand", keys=256)
QWEN_7B = Shape(7.62e9, 3584, 28, 152_064, "by hand", keys=512)
QWEN_14B = Shape(14.77e9, 5120, 48, 152_064, "by hand", keys=1024)
ONE_WAY = "empo.grader_options={policy: forward}"  # as empo.equivalence_options in the recipe


@pytest.mark.parametrize(
    ("recipe", "overrides", "shape", "part", "expected"),
    [
        # a pass: 7 completions of 512 + 2048 tokens; checkpoints 2 s h L and one layer 34 s h
        ("math-1.5b-empo", [], QWEN_1_5B, "activations", 7 * 2560 * 1536 * (2 * 28 + 34)),
        ("math-1.5b-empo", ["training.precision=fp32"], QWEN_1_5B, "activations", 7 * 2560 * 1536 * (4 * 28 + 68)),
        ("math-1.5b-empo", [], QWEN_1_5B, "logits", 10 * 7 * 2048 * 151_936),
        # sampled at once on a GPU: 256 passes of 2 completions; keys and values of 1024 + 3072 tokens in bf16
        ("math-7b-empo", ["rollout.engine=transformers"], QWEN_7B, "rollouts", 4 * 512 * 4096 * 512 * 28),
        ("math-7b-empo", ["rollout.engine=transformers"], QWEN_7B, "whole layers", 2 * 2 * 7.62e9 / 28),
        ("natural-14b-empo", [], QWEN_14B, "judge", 2 * 1.54e9),
        # one judge that clusters and grades; the same judge, asked in two ways; two judges
        ("natural-14b-grpo", ["empo.grader=verifier", ONE_WAY], QWEN_14B, "judge", 2 * 1.54e9),
        ("natural-14b-grpo", ["empo.grader=verifier"], QWEN_14B, "2 judges", 2 * 2 * 1.54e9),
        ("natural-14b-grpo", ["empo.grader=nli"], QWEN_14B, "2 judges", 2 * (1.54e9 + 4.06e8)),
        ("natural-14b-empo", ["empo.equivalence_options.dtype=float32"], QWEN_14B, "judge", 4 * 1.54e9),
        ("math-7b-online-dpo", ["launch.strategy=zero3"], QWEN_7B, "weights and optimizer", (16 + 2) * 7.62e9 / 8),
    ],
)
def test_the_parts_of_the_memory_equal_those_computed_by_hand(recipe, overrides, shape, part, expected):
    assert estimate(load_config(recipe, overrides), shape)[part] == pytest.approx(expected)


def test_a_4_bit_model_takes_the_bits_of_qlora_for_each_weight_of_its_layers():
    """Section 3 of QLoRA: 0.5 bits of scales for a weight, and 0.127 bits with double quantization."""
    embeddings = 2 * 3584 * 152_064
    adapters = 16 * 25 * 16 * 3584 * 28
    for overrides, bits in (([], 4.127), (["lora.bnb_4bit_use_double_quant=false"], 4.5)):
        config = load_config("math-7b-empo", ["lora.load_in_4bit=true", "launch={}", *ENGINE, *overrides])
        expected = 2 * embeddings + bits / 8 * (7.62e9 - embeddings) + adapters
        assert estimate(config, QWEN_7B)["weights and optimizer"] == pytest.approx(expected, rel=1e-3)


def test_the_options_of_a_judge_are_checked(monkeypatch):
    assert problems("tiny", "empo.equivalence=regex", "empo.equivalence_options.pattern=(a)") == []
    (missing,) = problems("tiny", "empo.equivalence=regex")
    assert "pattern" in missing
    (unknown,) = problems("tiny", "empo.equivalence=exact", "empo.equivalence_options.patern=a")
    assert "exact" in unknown
    (secret,) = problems("tiny", "empo.equivalence=judge", "empo.equivalence_options={model: m, api_key: sk-1}")
    assert "do not put api_key into a configuration" in secret
    assert "sk-1" not in secret


def test_a_4_bit_model_needs_bitsandbytes():
    found = check_run("math-7b-empo", ["lora.load_in_4bit=true", "launch={}", *ENGINE])
    texts = [f"{finding.about} {finding.text}" for finding in found if finding.kind != "ok"]
    assert any("bitsandbytes" in text for text in texts) != (find_spec("bitsandbytes") is not None)


def test_a_judge_on_the_cpu_needs_no_gpu_memory():
    parts = estimate(load_config("natural-14b-empo", ["empo.equivalence_options.device=cpu"]), QWEN_14B)
    assert not any("judge" in name for name in parts)


def test_a_config_file_here_comes_before_the_numbers_of_a_recipe(folder):
    config = LlamaConfig(hidden_size=512, intermediate_size=1536, num_hidden_layers=6, vocab_size=3000)
    config.save_pretrained(folder / "other")
    shape = model_shape(load_config("math-1.5b-empo", ["model=other"]))
    assert (shape.hidden, shape.layers, shape.vocabulary) == (512, 6, 3000)
    assert shape.source.endswith("other/config.json")


def test_values_under_trl_are_converted_and_those_for_gpus_are_not_checked_without_a_gpu():
    config = load_config("tiny", ["trl.epsilon_high=4e-4", "trl.tf32=true"])
    assert config.trl["epsilon_high"] == "4e-4"  # YAML 1.1
    assert problems("tiny", "trl.epsilon_high=4e-4", "trl.tf32=true") == []
    assert training_arguments(load_config("tiny", ["trl.epsilon_high=4e-4"]), 1).epsilon_high == 4e-4


def test_a_token_of_the_vocabulary_is_not_a_secret():
    assert problems("tiny", "method=sft", "trl.eos_token=<|end|>", "data.columns.response=response") == []


def test_a_check_in_a_process_of_torchrun_reads_the_number_of_processes_from_the_environment(monkeypatch):
    overrides = ["training.prompts_per_micro_batch=2"]
    for name, value in {"RANK": "0", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    (layout,) = [finding.text for finding in check_run("tiny", overrides) if finding.about == "layout"]
    assert "x 4 processes x" in layout
    uneven = load_config("tiny", ["training.prompts_per_step=6", "training.prompts_per_micro_batch=2"])
    with pytest.raises(InputError, match=r"^layout: training.prompts_per_step=6 is not a multiple of .* x 4 processes"):
        check_before_training(uneven)
    monkeypatch.delenv("RANK")  # a job queue may set WORLD_SIZE for a process that it does not start as one of several
    (layout,) = [finding.text for finding in check_run("tiny", overrides) if finding.about == "layout"]
    assert "x 1 processes x" in layout


def test_a_check_does_not_change_the_environment(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    check_run("tiny")
    assert "HF_HUB_OFFLINE" not in os.environ


@pytest.mark.timeout(60)
def test_a_check_in_one_of_several_processes_neither_joins_their_group_nor_decides_their_device(monkeypatch):
    """Before the fix, this process waited for the process with rank 1, and the run after the check was on the CPU."""
    for name, value in {
        "RANK": 0,
        "LOCAL_RANK": 0,
        "WORLD_SIZE": 2,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": 1,
    }.items():
        monkeypatch.setenv(name, str(value))
    before = dict(PartialState._shared_state)
    assert problems("tiny", "trl.top_k=5", "training.prompts_per_micro_batch=16") == []
    assert not torch.distributed.is_initialized()
    assert before == PartialState._shared_state
    assert os.environ["LOCAL_RANK"] == "0"
