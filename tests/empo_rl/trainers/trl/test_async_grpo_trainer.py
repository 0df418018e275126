"""EmpoAsyncGRPOTrainer: TRL's trainer, its worker process and its queue, on the CPU.

In the place of the vLLM server is a fake HTTP server, in the place of the GPU's attention kernel a computation with
torch, and no weights are sent (`fake_vllm`). The workers of these tests are real processes.
"""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM

from empo_rl import EmpoProvider
from empo_rl.run.tiny_model import make_model
from semantic_entropy import InputError
from tests.empo_rl.trainers.trl.fake_vllm import OLD_LOG_PROB, FakeVllm, NoTransfer, make_chat_tokenizer, without_gpu

pytest.importorskip("aiohttp", reason="TRL's rollout worker needs aiohttp, which vLLM installs")
pytestmark = pytest.mark.filterwarnings("ignore:You are importing from 'trl.experimental'")

G = 4
KEPT = [r"\boxed{2}", r"\boxed{2}", r"\boxed{3}", "What is 2"]  # with invalid="drop", three rows are in the loss
AGREED = [r"\boxed{5}"] * G
ASKED = [f"What is {number}+1?" for number in range(1, 9)]
MIXED = {text: AGREED if at % 2 else KEPT for at, text in enumerate(ASKED)}
MAKE = partial(EmpoProvider, "math", extract="boxed", invalid="drop")


@pytest.fixture(scope="module")
def tokenizer():
    return make_chat_tokenizer()


@pytest.fixture(scope="module")
def directory(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    make_model(tokenizer, seed=0).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def make_trainer(directory, tokenizer, tmp_path, monkeypatch):
    from empo_rl.trainers.trl.async_grpo_trainer import AsyncGRPOConfig, EmpoAsyncGRPOTrainer

    without_gpu(monkeypatch.setattr)

    def make(provider=MAKE, url="http://127.0.0.1:9", *, options=None, **kwargs):
        args = AsyncGRPOConfig(
            str(tmp_path / "run"),
            **{
                "vllm_server_base_url": url,
                "num_generations": G,
                "max_inflight_tasks": G,
                "per_device_train_batch_size": 6,
                "max_completion_length": 8,
                "learning_rate": 1e-3,
                "token_budget": 0,
                "use_cpu": True,
                "bf16": False,
                "gradient_checkpointing": False,
                "report_to": "none",
                "disable_tqdm": True,
                "save_strategy": "no",
                **(options or {}),
            },
        )
        rows = Dataset.from_list([{"prompt": [{"role": "user", "content": text}]} for text in ASKED])
        given = {"train_dataset": rows, "processing_class": tokenizer, "weight_transfer": NoTransfer(), **kwargs}
        return EmpoAsyncGRPOTrainer(directory, provider, args, **given)

    return make


@pytest.mark.parametrize(
    ("provider", "kwargs", "said"),
    [
        (partial(EmpoProvider, extract=lambda text: text), {}, "cannot be sent to the worker process"),
        (MAKE(), {}, "pass a function that makes it, functools.partial"),
        (partial(MAKE, scale="batch"), {}, "scale='batch': the worker decides about one group at a time"),
        (partial(MAKE, reward="self_certainty"), {}, r"\['self_certainty'\].* no model to compute them"),
        (partial(MAKE, delta_low=1.4), {}, "keeps no group at G=4"),
        (MAKE, {"reward_funcs": [len]}, "reward_funcs=.*the rewards come from the provider alone"),
        (MAKE, {"environment_factory": dict}, "environment_factory=.*Remove environment_factory"),
        (MAKE, {"rollout_worker": 1}, "rollout_worker=1: .*Remove rollout_worker"),
        (MAKE, {"max_dropped_in_a_row": 0}, "max_dropped_in_a_row=0: set it to 1 or more"),
    ],
)
def test_what_the_worker_cannot_do_is_refused_before_it_starts(provider, kwargs, said, make_trainer):
    with pytest.raises(InputError, match=said):
        make_trainer(provider, **kwargs)


def test_a_run_trains_on_full_steps_of_kept_groups_and_resumes_after_the_dropped_ones(
    make_trainer, directory, tmp_path
):
    with FakeVllm(make_chat_tokenizer(), MIXED) as server:
        options = {"num_train_epochs": 1, "save_strategy": "steps", "save_steps": 1}
        trainer = make_trainer(url=server.url, options=options)
        pulled = []
        get = trainer.rollout_queue.get
        trainer.rollout_queue.get = lambda timeout: pulled.append(get(timeout=timeout)) or pulled[-1]
        trainer.train()
    assert trainer.rollout_worker._process is None  # the worker has ended
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    with MAKE() as provider:
        decision = provider.step([KEPT, AGREED])
    advantages = dict(zip(KEPT, decision.advantages, strict=False))
    assert len(pulled) >= 6 * len(steps)
    for sample in pulled:
        assert sample.advantage == pytest.approx(advantages[sample.completion[-1]["content"]], abs=1e-6)
        assert sample.prompt[0]["content"] in ASKED[::2]
        assert sample.completion[-1]["content"] != KEPT[3]
    # Each step has two kept groups of three rows. Every second prompt is dropped, and is no prompt of the run any more.
    assert [entry["batch/samples_per_step"] for entry in steps] == [6.0] * len(steps)
    done, dropped = trainer._trained_groups, {number for sample in pulled for number in getattr(sample, "dropped", ())}
    assert dropped
    assert all(number % 2 for number in dropped)
    assert dropped <= done
    assert all(number % 2 == 0 for number in done - dropped)
    assert sum(entry["batch/groups_per_step"] for entry in steps) == len(done - dropped)
    # An epoch is a pass over the 8 prompts: 4 are kept, so there are 2 steps. TRL stops at the end of the step in which
    # the eighth prompt is done, and the data loader reads a step ahead.
    assert len(done) >= 8
    assert len(steps) <= 2
    state = json.loads((tmp_path / f"run/checkpoint-{len(steps)}/rollout_state.json").read_text(encoding="utf-8"))
    assert state["prompt_index"] == next(number for number in range(100) if number not in done) > 1
    # A resumed run starts at this prompt, and counts the prompts before it: an epoch more is at most 8 prompts more.
    with FakeVllm(make_chat_tokenizer(), MIXED) as server:
        resumed = make_trainer(url=server.url, options={"num_train_epochs": 2})
        resumed.train(resume_from_checkpoint=str(tmp_path / f"run/checkpoint-{len(steps)}"))
    assert server.asked[0] == ASKED[state["prompt_index"] % len(ASKED)]
    assert resumed._groups_before_resume == state["prompt_index"]
    assert resumed.state.global_step > len(steps)
    assert len(resumed._trained_groups) + state["prompt_index"] >= 2 * len(ASKED)
    # the metrics
    assert steps[0]["empo/keep_fraction"] == pytest.approx(0.5, abs=0.2)
    assert steps[0]["empo/groups_judged"] >= 2
    expected = {f"empo/{name}" for name in decision.metrics}
    assert expected <= set(steps[0])
    assert {name for name in steps[0] if name.startswith("empo/")} - expected == {"empo/groups_judged"}
    assert steps[0]["loss"] == pytest.approx(token_mean_loss(directory, pulled[:6]), abs=1e-5)


def test_a_resumed_run_draws_the_random_numbers_after_those_of_the_last_trained_group(make_trainer, tmp_path):
    make = partial(MAKE, invalid="singleton_zero", reward="random", scale="none", seed=5)
    options = {"per_device_train_batch_size": G, "max_steps": 3, "save_strategy": "steps", "save_steps": 1}

    def trained(checkpoint=None, steps=3):
        """The rewards of each group, in the order in which the trainer read them; the trainer."""
        groups = {}
        with FakeVllm(make_chat_tokenizer(), MIXED) as server:
            trainer = make_trainer(make, url=server.url, options={**options, "max_steps": steps})
            get = trainer.rollout_queue.get

            def read(timeout):
                sample = get(timeout=timeout)
                groups.setdefault(sample.group_id, []).append(sample.metrics["reward"])
                return sample

            trainer.rollout_queue.get = read
            trainer.train(resume_from_checkpoint=checkpoint)
        return [rewards for rewards in groups.values() if len(rewards) == G], trainer

    coin, draws, states = np.random.default_rng(5), [], []
    for _ in range(40):
        states.append(coin.bit_generator.state)
        draws.append(coin.integers(0, 2, size=G).tolist())
    first, _ = trained()
    assert first == draws[: len(first)]
    checkpoint = tmp_path / "run/checkpoint-2"
    state = json.loads((checkpoint / "empo_state.json").read_text(encoding="utf-8"))
    place = states.index(state["signal"]["coin"])
    # The state is that of a trained group: two steps of a group each, and the batches that the trainer reads ahead.
    assert 2 <= place <= len(first)
    resumed, trainer = trained(str(checkpoint), steps=4)
    assert trainer.state.global_step == 4
    assert resumed == draws[place : place + len(resumed)]
    assert len(resumed) > 1
    assert resumed != draws[: len(resumed)]


def test_a_checkpoint_of_an_earlier_version_starts_the_random_numbers_anew_and_says_so(make_trainer, tmp_path, caplog):
    assert make_trainer(partial(MAKE, reward="random"))._stored_state(str(tmp_path)) is None
    assert "empo_state.json does not exist" in caplog.text
    caplog.clear()
    assert make_trainer()._stored_state(str(tmp_path)) is None  # this provider keeps no state
    assert "empo_state" not in caplog.text


def token_mean_loss(directory, samples):
    """The clipped loss of TRL over all trained tokens of the samples, with the weights before the first step."""
    model = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager").eval()
    total, tokens = 0.0, 0
    for sample in samples:
        ids, mask = torch.as_tensor(sample.input_ids), torch.as_tensor(sample.completion_mask).bool()
        with torch.no_grad():
            logits = torch.log_softmax(model(input_ids=ids[None]).logits[0, :-1].float(), dim=-1)
        log_probs = logits.gather(1, ids[1:, None]).squeeze(1)[mask[1:]]
        ratio = torch.exp(log_probs - OLD_LOG_PROB)
        least = torch.min(ratio * sample.advantage, ratio.clamp(0.8, 1.2) * sample.advantage)
        total, tokens = total - least.sum().item(), tokens + len(log_probs)
    assert math.isfinite(total)
    return total / tokens


def test_a_run_in_which_no_group_is_kept_ends_with_the_message_of_the_worker(make_trainer):
    with FakeVllm(make_chat_tokenizer(), dict.fromkeys(ASKED, AGREED)) as server:
        trainer = make_trainer(url=server.url, options={"max_steps": 1}, max_dropped_in_a_row=6)
        with pytest.raises(RuntimeError) as raised:
            trainer.train()
    message = str(raised.value.__cause__)
    assert "the last 6 groups were all dropped (6 x entropy not above delta_low)" in message
    assert "The bounds are 0.0 < H < inf (nats)" in message
    assert trainer.rollout_worker._process is None
    assert len(server.asked) < 20 * G


@pytest.mark.parametrize("end", ["trainer is killed", "worker is killed", "Ctrl-C"])
def test_a_run_ends_with_both_processes(end, directory, tmp_path):
    root = Path(__file__).parents[4]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    with FakeVllm(make_chat_tokenizer(), MIXED) as server:
        command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("async_run.py"))]
        run = subprocess.Popen(
            [*command, server.url, directory, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        )
        try:
            lines = iter(run.stdout.readline, "")
            worker = next(int(line.split()[1]) for line in lines if line.startswith("worker "))
            if end == "Ctrl-C":
                os.killpg(run.pid, signal.SIGINT)
            else:
                os.kill(run.pid if end == "trainer is killed" else worker, signal.SIGKILL)
            output, _ = run.communicate(
                timeout=90
            )  # the worker has this pipe too: its end is the end of both processes
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()
    assert run.returncode != 0
    message = {"trainer is killed": "", "worker is killed": "heartbeat stale", "Ctrl-C": "KeyboardInterrupt"}[end]
    assert message in output
    assert "terminating" not in output  # TRL's message about a worker that does not stop
