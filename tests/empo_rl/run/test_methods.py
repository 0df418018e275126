"""SFT, online DPO and LoRA: real runs of a few steps on the demo's model, resumed from a checkpoint."""

import json
import shutil
import socket

import pytest
import torch
from accelerate import PartialState
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from empo_rl.config.load import load_config
from empo_rl.config.schema import Hub
from empo_rl.data.prompts import read_prompts
from empo_rl.files import checkpoints
from empo_rl.run import final_model
from empo_rl.run.final_model import PushError, push
from empo_rl.run.models import load_model, load_tokenizer
from empo_rl.run.tiny_model import make_tokenizer
from empo_rl.run.train import run_training
from empo_rl.trainers.trl.costs import StepTimer
from empo_rl.trainers.trl.rollouts import trl_columns
from semantic_entropy import InputError

pytestmark = pytest.mark.filterwarnings("ignore:You are importing from 'trl.experimental'")

STEPS = 4
COMMON = [
    "demo.pretrain_steps=2",
    "data.limit=12",
    "data.max_prompt_tokens=40",
    "training.prompts_per_step=4",
    "training.prompts_per_micro_batch=2",
    "training.schedule=constant",
    "training.warmup_steps=0",
    "training.learning_rate=1e-2",
    "training.save_every=3",  # in the second epoch of three steps each
    "rollout.max_completion_tokens=8",
    "rollout.num_generations=2",
    "empo.equivalence=exact",
]
METHODS = {
    "sft": ["method=sft"],
    "online_dpo": ["method=online_dpo", "empo.reward=golden"],
    "lora": ["lora={r: 4}", "empo.reward=format"],
    "lora merged": ["lora={r: 4, merge: true}", "empo.reward=random"],
}


def train(directory, *overrides, steps=STEPS, resume=False):
    config = load_config(
        "tiny",
        [*COMMON, *overrides, f"training.steps={steps}", f"output_dir={directory}", f"resume={str(resume).lower()}"],
    )
    said = []
    run_training(config, overwrite=False, progress=lambda *report: None, say=said.append)
    return said


@pytest.fixture(scope="module", params=METHODS)
def whole(request, tmp_path_factory):
    """The overrides of a method, and the directory of an uninterrupted run of this method."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    train(directory, *METHODS[request.param])
    return METHODS[request.param], directory


def rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def numbers(directory):
    times = ("seconds", "memory", "step_time", "num_tokens")
    return [{k: v for k, v in row.items() if not any(word in k for word in times)} for row in rows(directory)]


def weights(directory):
    (file,) = (directory / "final").glob("*model.safetensors")
    return load_file(file)


def test_a_resumed_run_gives_the_numbers_and_weights_of_an_uninterrupted_run(whole, tmp_path):
    overrides, finished = whole
    directory = tmp_path / "run"
    shutil.copytree(finished, directory)
    for name in ("final", "adapter", f"checkpoint-{STEPS}"):
        shutil.rmtree(directory / name, ignore_errors=True)
    assert f"resuming from {directory / 'checkpoint-3'}" in train(directory, *overrides, resume=True)
    assert [row["step"] for row in rows(directory)] == list(range(1, STEPS + 1))
    assert numbers(directory) == numbers(finished)
    assert all((weights(directory)[name] == weight).all() for name, weight in weights(finished).items())


def test_a_checkpoint_of_every_method_tells_how_many_processes_it_needs(whole):
    _, finished = whole
    state = json.loads(checkpoints.state_file(finished / f"checkpoint-{STEPS}", 0).read_text())
    assert state["processes"] == 1


def test_each_step_logs_its_cost(whole):
    _, finished = whole
    for row in rows(finished):
        parts = sum(row[f"cost/{part}_seconds"] for part in ("generation", "judging", "loss"))
        assert parts == pytest.approx(row["cost/step_seconds"])
    assert json.loads((finished / "cost.json").read_text())["steps"] == STEPS


def test_after_a_kill_before_the_final_model_resume_writes_it_from_the_last_checkpoint(whole, tmp_path):
    overrides, finished = whole
    directory = tmp_path / "run"
    shutil.copytree(finished, directory)
    shutil.rmtree(directory / "final")
    shutil.rmtree(directory / "adapter", ignore_errors=True)
    assert "nothing to train" in " ".join(train(directory, *overrides, resume=True))
    for name, weight in weights(finished).items():
        torch.testing.assert_close(weights(directory)[name], weight)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (directory / "final" / name).read_bytes() == (finished / "final" / name).read_bytes()


def test_a_run_killed_after_its_last_checkpoint_returns_no_final_model_of_an_earlier_end(tmp_path, monkeypatch):
    directory, sft = tmp_path / "run", METHODS["sft"]
    train(directory, *sft, steps=1)
    earlier = weights(directory)
    monkeypatch.setattr(final_model, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(directory, *sft, steps=2, resume=True)
    assert "nothing to train" in " ".join(train(directory, *sft, steps=2, resume=True))
    assert any((weights(directory)[name] != weight).any() for name, weight in earlier.items())


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_the_model_of_a_sharded_checkpoint_is_written_without_running_its_code(model, tokenizer, tmp_path, monkeypatch):
    from torch.distributed.checkpoint import save

    checkpoint = tmp_path / "checkpoint-2"
    tokenizer.save_pretrained(checkpoint)
    model.config.save_pretrained(checkpoint)
    save({"model": model.state_dict()}, checkpoint_id=checkpoint / checkpoints.SHARDS, no_dist=True)
    final_model.export_checkpoint(checkpoint, tmp_path / "out")
    torch.testing.assert_close(load_file(tmp_path / "out" / "model.safetensors"), saved_weights(model))
    values = json.loads((checkpoint / "config.json").read_text())
    values |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}
    (checkpoint / "config.json").write_text(json.dumps(values))
    (checkpoint / "own.py").write_text('raise AssertionError("the code ran")')
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asks on stdin"))
    with pytest.raises(InputError, match="transformers cannot create the model of its config.json"):
        final_model.export_checkpoint(checkpoint, tmp_path / "own")


def saved_weights(model):
    return {name: weight for name, weight in model.state_dict().items() if name not in model.all_tied_weights_keys}


def test_the_loss_of_sft_counts_only_the_tokens_of_the_responses(tmp_path):
    """Computed by hand with the base model of the run: one step over all rows."""
    batch = ["data.limit=16", "training.prompts_per_step=16", "training.prompts_per_micro_batch=16"]
    train(tmp_path / "run", "method=sft", *batch, steps=1)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "base")
    tokenizer = make_tokenizer()
    total, count = 0.0, 0
    for row in read_prompts(load_config("tiny", ["method=sft", *batch])):
        prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=False)
        whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"], tokenize=False)
        before = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
        ids = torch.tensor(tokenizer(whole, add_special_tokens=False)["input_ids"])
        with torch.no_grad():
            logits = model(ids.unsqueeze(0)).logits[0]
        total += torch.nn.functional.cross_entropy(logits[before - 1 : -1], ids[before:], reduction="sum").item()
        count += len(ids) - before
    assert rows(tmp_path / "run")[0]["loss"] == pytest.approx(total / count, rel=1e-4)


def test_online_dpo_prefers_the_right_answer_and_counts_tied_pairs(tmp_path, monkeypatch):
    """TRL's batch is the first completions of all prompts, then the second completions."""
    from empo_rl.core.provider import EmpoProvider
    from empo_rl.trainers.baselines import online_dpo

    with EmpoProvider("exact", extract="boxed", reward="golden") as provider:
        trainer = object.__new__(online_dpo.OnlineDpoRunTrainer)
        trainer._provider, trainer._tied, trainer.costs = provider, [], StepTimer()
        trainer.accelerator = PartialState()
        # both completions of "a" are wrong, of "b" the first is right: only TRL's order of the four gives these rewards
        completions = [r"\boxed{1}", r"\boxed{5}", r"\boxed{3}", r"\boxed{4}"]
        columns = {"question": ["a", "b"] * 2, "gold": ["2", "5"] * 2}
        rewards = trainer._calculate_rewards_from_functions(["a", "b"] * 2, completions, [], **columns)
        assert rewards.tolist() == [0.0, 1.0, 0.0, 0.0]
        assert trainer._tied == [1.0, 0.0]
    logged = []
    monkeypatch.setattr(online_dpo, "gather_object", lambda tied: [*tied, 1.0, 1.0])  # of another process
    monkeypatch.setattr(online_dpo.OnlineDPOTrainer, "log", lambda self, logs, start_time: logged.append(logs))
    trainer.log({"loss": 0.5})
    assert logged[0]["pairs/tied"] == 0.75
    assert trainer._tied == []
    assert online_dpo._interleave(trl_columns(["a", "b"] * 2, completions, columns))["completions"] == [
        completions[0],
        completions[2],
        completions[1],
        completions[3],
    ]


def test_final_holds_the_adapter_or_with_merge_the_equivalent_whole_model(tmp_path):
    directory = tmp_path / "run"
    train(directory, *METHODS["lora merged"])
    assert checkpoints.weights_fault(directory / "adapter") is None
    base = AutoModelForCausalLM.from_pretrained(directory / "base")
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(directory / "base"), directory / "adapter")
    merged = AutoModelForCausalLM.from_pretrained(directory / "final")
    ids = torch.arange(12).unsqueeze(0)
    torch.testing.assert_close(merged(ids).logits, tuned(ids).logits, rtol=1e-4, atol=1e-4)
    assert (merged(ids).logits - base(ids).logits).abs().max() > 1e-3


def test_a_checkpoint_with_a_truncated_adapter_is_broken(tmp_path):
    directory = tmp_path / "run"
    train(directory, *METHODS["lora"])
    newest = directory / f"checkpoint-{STEPS}"
    assert checkpoints.latest(directory)[0] == newest
    (newest / "adapter_model.safetensors").write_bytes(b"short")
    assert checkpoints.latest(directory)[1] == {newest: "adapter_model.safetensors is truncated or unreadable"}


def test_splitting_a_group_into_several_passes_does_not_change_the_training(tmp_path):
    overrides = ["rollout.num_generations=4", "empo.reward=random"]
    train(tmp_path / "whole", *overrides, steps=2)
    train(
        tmp_path / "parts", *overrides, "training.prompts_per_micro_batch=1", "training.completions_per_pass=2", steps=2
    )
    before, after = rows(tmp_path / "whole"), rows(tmp_path / "parts")
    assert [row["reward"] for row in before] == [row["reward"] for row in after]
    assert [row["grad_norm"] for row in before] == pytest.approx([row["grad_norm"] for row in after], rel=1e-3)
    for name, weight in weights(tmp_path / "whole").items():
        torch.testing.assert_close(weights(tmp_path / "parts")[name], weight, rtol=1e-3, atol=1e-3)


def test_a_trained_model_is_loaded_with_its_own_tokenizer(tmp_path):
    """transformers' AutoTokenizer would load Qwen2's tokenizer, which does not know the words."""
    train(tmp_path / "run", "empo.reward=random", steps=1)
    read = load_tokenizer(load_config("tiny", [f"model={tmp_path / 'run' / 'final'}"]))
    text = "What is (1+2)*3+4?"
    assert read(text)["input_ids"] == make_tokenizer()(text)["input_ids"]


def test_trained_weights_are_fp32_and_frozen_weights_have_the_precision_of_the_run(tmp_path):
    train(tmp_path / "run", "empo.reward=random", steps=1)
    model = f"model={tmp_path / 'run' / 'final'}"
    kinds = {
        (): torch.float32,
        ("lora={}",): torch.bfloat16,
        ("training.weights=bf16",): torch.bfloat16,
    }
    for overrides, kind in kinds.items():
        assert load_model(load_config("tiny", [model, "training.precision=bf16", *overrides])).dtype == kind


@pytest.mark.parametrize("offline", [True, False], ids=["offline mode", "a closed port"])
def test_an_unreachable_hub_loses_nothing_and_the_error_has_the_command_for_later(offline, tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))  # closed at the end of the block, so nothing listens
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{port.getsockname()[1]}")
    (tmp_path / "final").mkdir()
    with pytest.raises(PushError, match="is complete, but the upload to .*hf upload me/model .*final --private"):
        push(tmp_path / "final", Hub(repo="me/model"))
    assert final_model.push is push


def test_the_upload_contains_the_model_and_not_the_arguments_of_the_run(tmp_path, monkeypatch):
    """With the hub library's own selection of files, without the network."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects

    def upload(_, *, folder_path, ignore_patterns=None, **__):
        there = [path.name for path in folder_path.iterdir()]
        sent.extend(filter_repo_objects(there, ignore_patterns=ignore_patterns))

    sent = []
    for name in ("model.safetensors", "training_args.bin"):
        (tmp_path / name).write_bytes(b"0")
    repo = type("Repo", (), {"repo_id": "me/model", "__str__": lambda self: f"address of {self.repo_id}"})()
    monkeypatch.setattr(HfApi, "create_repo", lambda *_, **__: repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    assert push(tmp_path, Hub(repo="me/model")) == "address of me/model"
    assert sent == ["model.safetensors"]


def test_a_final_model_without_a_tokenizer_gets_the_tokenizer_of_the_checkpoint(model, tokenizer, tmp_path):
    config = load_config("tiny", [f"output_dir={tmp_path}"])
    checkpoint, final = tmp_path / "checkpoint-2", tmp_path / "final"
    model.save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)
    model.save_pretrained(final)
    assert final_model.finish_from(checkpoint, config, tmp_path) == final
    assert (final / "tokenizer.json").read_bytes() == (checkpoint / "tokenizer.json").read_bytes()


def test_sft_removes_and_counts_questions_that_leave_no_room_for_a_response(tmp_path):
    from empo_rl.run.models import count_tokens

    short, long = "What is (1+2)*3+4?", "What is (1+2)*3+4? " * 3
    questions = [{"question": text, "response": r"It is \boxed{3}."} for text in [short] * 4 + [long.strip()] * 2]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    columns = "{question: question, response: response}"
    sft = ["method=sft", f"data={{path: {tmp_path / 'q.jsonl'}, columns: {columns}}}"]
    rows_read = read_prompts(load_config("tiny", sft))
    longest = max(count_tokens(make_tokenizer(), row["prompt"]) for row in rows_read)
    said = train(tmp_path / "some", *sft, f"sft.max_tokens={longest}", steps=1)  # so that no token is left to learn
    assert "4 prompts, 2 too long and removed" in said
    with pytest.raises(InputError, match=r"each of 6 prompts is longer than sft\.max_tokens - 1=1 tokens"):
        train(tmp_path / "none", *sft, "sft.max_tokens=2", steps=1)


def test_a_run_trains_on_conversations_and_the_judge_reads_their_turns(tmp_path, monkeypatch):
    from empo_rl.core.provider import EmpoProvider

    turns = [("user", "What is 1+1?"), ("assistant", r"\boxed{2}"), ("user", "What is (1+2)*3+4?")]
    prompt = [{"role": role, "content": content} for role, content in turns]
    (tmp_path / "turns.jsonl").write_text(json.dumps({"prompt": prompt}) + "\n")
    groups, real = [], EmpoProvider.step

    def step(provider, rollouts, **options):
        groups.extend(rollouts)
        return real(provider, rollouts, **options)

    monkeypatch.setattr(EmpoProvider, "step", step)
    data = f"data={{path: {tmp_path / 'turns.jsonl'}, columns: {{question: prompt}}}}"
    one = ["training.prompts_per_step=1", "training.prompts_per_micro_batch=1", "empo.reward=random"]
    train(tmp_path / "run", data, *one, steps=1)
    assert [group.question for group in groups] == ["\n".join(f"{role}: {content}" for role, content in turns)]
    assert len(rows(tmp_path / "run")) == 1
