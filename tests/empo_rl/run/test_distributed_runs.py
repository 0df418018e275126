"""Each strategy in two real processes: load, train, checkpoint, die by kill -9, resume; the numbers of one process."""

import importlib.util
import json
import signal
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from empo_rl.cli import main
from empo_rl.run.models import saved_tokenizer
from empo_rl.run.tiny_model import make_tokenizer
from tests.empo_rl.forked_runs import ForkedRuns

STEPS, TIMEOUT = 5, 7777
OPTIONS = [
    "data.limit=12",
    "training.prompts_per_step=4",
    "training.prompts_per_micro_batch=1",
    "rollout.num_generations=4",
    "rollout.max_completion_tokens=8",
    "training.save_every=2",
    "training.schedule=constant",
    "training.warmup_steps=0",
    "training.learning_rate=1e-2",
    f"training.steps={STEPS}",
    "empo.extract=whole",
    f"trl.ddp_timeout={TIMEOUT}",
    "trl.adam_epsilon=1e-3",  # Adam divides by the size of a gradient, even if it is rounding error alone
]
LORA = ["lora={r: 2}"]
needs_deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed: python3 noxfile.py deepspeed"
)
STRATEGIES = {
    "ddp": [],
    "ddp with LoRA": LORA,
    "fsdp2": ["launch.strategy=fsdp2"],
    "fsdp2 with LoRA": ["launch.strategy=fsdp2", *LORA],
    "zero3": ["launch.strategy=zero3"],
    "zero3 with LoRA": ["launch.strategy=zero3", *LORA],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of 5,000 weights with tied embeddings."""
    folder, tokenizer = tmp_path_factory.mktemp("model"), make_tokenizer()
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=128,
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def forked():
    runs = ForkedRuns(Path(__file__).with_name("scripted_run.py"))
    yield runs
    runs.close()


@pytest.fixture(scope="module")
def run(forked, model):
    """Run `empo-train` and return what it printed. kill: the checkpoint in whose writing all processes are killed."""

    def run(directory, *overrides, processes=2, kill=None):
        log, environment = directory.with_suffix(".log"), {"KILL_WHILE_SAVING": kill} if kill else {}
        arguments = (f"model={model}", f"output_dir={directory}", *OPTIONS, *overrides)
        statuses, said = forked.run(*arguments, log=log, processes=processes, **environment)
        assert statuses == [-signal.SIGKILL if kill else 0] * processes, said[-3000:]
        return said

    return run


@pytest.fixture(scope="module")
def alone(run, tmp_path_factory):
    """(with LoRA) -> the directory of a run in one process."""
    directories = {}

    def directory(lora):
        if lora not in directories:
            directories[lora] = tmp_path_factory.mktemp("alone") / "run"
            run(directories[lora], *(LORA if lora else []), processes=1)
        return directories[lora]

    return directory


def check_strategy(run, strategy, directory, expected):
    """Kill a run with SIGKILL while it writes a checkpoint, resume it, and compare it with a run in one process."""
    run(directory, *STRATEGIES[strategy], kill=4)
    assert not (directory / "checkpoint-4" / "trainer_state.json").exists()
    said = run(directory, *STRATEGIES[strategy], "--resume")
    assert yaml.safe_load((directory / "config.yaml").read_text())["launch"]["processes"] == 2
    assert "skipping and renaming the broken" in said
    assert f"resuming from {directory / 'checkpoint-2'}" in said
    assert [row["step"] for row in rows(directory)] == list(range(1, STEPS + 1))
    assert all(row["empo/step_empty"] == 0 and row["grad_norm"] > 0 for row in rows(expected))
    for name in ("reward", "loss", "grad_norm", "empo/entropy", "empo/keep_fraction"):
        assert column(directory, name) == pytest.approx(column(expected, name), rel=1e-3, abs=1e-6), name
    trained = weights(expected / "final")
    for name, weight in weights(directory / "final").items():
        torch.testing.assert_close(weight, trained[name], rtol=1e-3, atol=1e-4, msg=name)
    return [json.loads((directory / f"observed-{rank}.json").read_text()) for rank in (0, 1)]


def rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def column(directory, name):
    return [row[name] for row in rows(directory)]


def weights(folder):
    (file,) = folder.glob("*model.safetensors")
    return load_file(file)


def check_processes(observed, model, directory):
    """Downloads in turns, whole judges with unequal numbers of pairs, and the configured time limit in each group."""
    turns = "begin 0\nend 0\nbegin 1\nend 1\n"
    assert (directory.parent / "downloads").read_text() == 2 * turns
    whole = sum(weight.numel() for weight in weights(model).values())
    assert [process["weights of the judge"] for process in observed] == [whole, whole]
    assert observed[0]["pairs"] != observed[1]["pairs"]
    limits = [limit for process in observed for limit in process["timeouts"]]
    assert limits
    assert set(limits) == {TIMEOUT}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("strategy", ["ddp", "ddp with LoRA"])
def test_ddp_in_two_processes_killed_and_resumed_gives_the_numbers_of_one_process(
    strategy, run, model, alone, tmp_path
):
    observed = check_strategy(run, strategy, tmp_path / "run", alone("LoRA" in strategy))
    check_processes(observed, model, tmp_path / "run")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("strategy", ["fsdp2", "fsdp2 with LoRA"])
def test_fsdp2_in_two_processes_killed_and_resumed_gives_the_numbers_of_one_process(
    strategy, run, model, alone, tmp_path
):
    directory = tmp_path / "run"
    observed = check_strategy(run, strategy, directory, alone("LoRA" in strategy))
    check_processes(observed, model, directory)
    assert [process["read the weights"] for process in observed] == [True, False]
    shards = directory / "checkpoint-2" / "pytorch_model_fsdp_0"
    assert {file.name for file in shards.iterdir()} == {".metadata", "__0_0.distcp", "__1_0.distcp"}
    check_merge(directory / "checkpoint-2", alone("LoRA" in strategy) / "checkpoint-2", tmp_path / "merged")


def check_merge(checkpoint, expected, out):
    """`empo-train merge` gives the weights of the checkpoint of one process, in a folder with the same files."""
    done = CliRunner().invoke(main, ["merge", str(checkpoint), str(out)])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == str(out)
    merged = weights(out)
    for name, weight in weights(expected).items():
        torch.testing.assert_close(merged[name], weight, rtol=1e-3, atol=1e-4, msg=name)
    assert merged.keys() == weights(expected).keys()
    if not (out / "adapter_config.json").exists():
        assert AutoModelForCausalLM.from_pretrained(out).config.architectures == ["Qwen2ForCausalLM"]
    assert len(saved_tokenizer(str(out))) == len(make_tokenizer())
    again = CliRunner().invoke(main, ["merge", str(checkpoint), str(out)])
    assert again.exit_code == 1
    assert f"{out} is not empty. Choose a new folder." in again.output


@needs_deepspeed
@pytest.mark.timeout(600)
@pytest.mark.parametrize("strategy", ["zero3", "zero3 with LoRA"])
def test_zero3_in_two_processes_killed_and_resumed_gives_the_numbers_of_one_process(
    strategy, run, model, alone, tmp_path
):
    observed = check_strategy(run, strategy, tmp_path / "run", alone("LoRA" in strategy))
    check_processes(observed, model, tmp_path / "run")
    assert [process["sharded by DeepSpeed"] for process in observed] == [True, True]
    assert list((tmp_path / "run" / "checkpoint-2").glob("global_step*/zero_pp_rank_1_*"))
