"""The monitor in real TRL runs: alarms are reported and written, stop a run, and survive a resume."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from datasets import Dataset
from transformers import TrainerState
from trl import GRPOConfig, GRPOTrainer

from empo_rl import EmpoProvider, Monitor, MonitorCallback, reward_function
from empo_rl.config.resume import load_run
from empo_rl.monitor import RunStoppedError
from empo_rl.run.train import run_training
from empo_rl.trainers.trl.callbacks import WriteSamples

G = 4
STOPPED = 3
# Eight prompts a step: the condition holds from step 3 on, for any answers, and the alarm fires in step 5.
ALARM = {"share": 0.0, "times": 0, "window": 24, "fewest": 24, "steps": 3}
COMMAND = [
    *(sys.executable, "-m", "empo_rl.cli", "tiny", "training.save_every=1", "training.keep_checkpoints=2"),
    *("training.prompts_per_step=8", "training.prompts_per_micro_batch=8", "data.limit=64", "demo.pretrain_steps=2"),
    *("rollout.max_completion_tokens=6", "rollout.num_generations=4", "empo.equivalence=exact"),
    # the whole text is the answer, so that an untrained model has main answers to count
    *("empo.extract=whole", "training.steps=7"),
    *("monitor.alarms.cut_off=null", "monitor.alarms.no_signal=null"),  # the untrained model may raise both
    *(f"monitor.alarms.concentration={json.dumps(ALARM)}", "monitor.alarms.concentration.action=stop"),
]


def empo_train(directory, *more):
    command = [*COMMAND, f"output_dir={directory}", *more]
    return subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True, capture_output=True, check=False, timeout=200
    )


def lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_samples_of_a_step_without_a_sampling_are_written_at_the_next_sampling(tmp_path):
    with EmpoProvider("exact", extract="whole") as provider:
        samples = WriteSamples(provider, tmp_path, every=10, prompts=1)
        state, args = TrainerState(), SimpleNamespace(report_to=[])
        samples.on_train_begin(args, state, None)
        for step in range(1, 33):  # one sampling serves 8 steps, as in the recipe math-7b-empo
            samples.on_step_begin(args, state, None)
            if step % 8 == 1:
                provider.step([["1", "1", "2", "3"]])
            state.global_step = step
            samples.on_step_end(args, state, None)
    assert [row["step"] for row in lines(tmp_path / "samples.jsonl")] == [1, 17, 25]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that is stopped by an alarm."""
    directory = tmp_path_factory.mktemp("stopped") / "run"
    return directory, empo_train(directory)


@pytest.mark.timeout(280)
def test_an_alarm_stops_the_run_with_exit_status_3_and_a_message(stopped):
    directory, done = stopped
    assert done.returncode == STOPPED, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    assert "alarm concentration at step 5: " in done.stderr
    assert "since step 3" in done.stderr
    assert f"The last checkpoint from before the alarm's condition began is {directory / 'checkpoint-1'}: train" in (
        done.stderr
    )
    assert not (directory / "final").exists()


def test_rotation_keeps_the_last_good_checkpoint_and_the_latest(stopped):
    directory, _ = stopped
    assert sorted(entry.name for entry in directory.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-5"]


def test_each_step_logs_the_alarms_and_each_firing_is_one_line(stopped):
    directory, _ = stopped
    rows = lines(directory / "metrics.jsonl")
    assert [row["alarm/concentration"] for row in rows] == [0, 0, 0, 0, 1]
    assert ["watch/concentration" in row for row in rows] == [False, False, True, True, True]
    (firing,) = lines(directory / "alarms.jsonl")
    assert (firing["alarm"], firing["step"], firing["began"], firing["action"]) == ("concentration", 5, 3, "stop")
    assert firing["checkpoint"] == "checkpoint-1"
    assert firing["value"] == rows[-1]["watch/concentration"]


def test_a_run_stopped_at_its_last_step_is_not_finished_by_resume(stopped):
    directory, _ = stopped
    config, _ = load_run(str(directory), ["resume=true", "training.steps=5"])
    with pytest.raises(RunStoppedError, match="the run was stopped after step 5"):
        run_training(config, overwrite=False, progress=lambda *_: None, say=lambda _: None)
    assert not (directory / "final").exists()


@pytest.mark.timeout(280)
def test_a_stopped_run_is_not_resumed_until_the_alarm_action_is_warn(stopped):
    directory, _ = stopped
    again = empo_train(directory, "--resume")
    assert again.returncode == STOPPED, again.stderr[-3000:]
    assert "the run was stopped after step 5" in again.stderr
    assert "--resume monitor.alarms.concentration.action=warn" in again.stderr
    assert len(lines(directory / "metrics.jsonl")) == 5
    warned = empo_train(directory, "--resume", "monitor.alarms.concentration.action=warn")
    assert warned.returncode == 0, warned.stderr[-3000:]
    assert [row["alarm/concentration"] for row in lines(directory / "metrics.jsonl")] == [0, 0, 0, 0, 1, 1, 1]
    assert len(lines(directory / "alarms.jsonl")) == 1  # on since step 5, when it was reported
    assert (directory / "final" / "model.safetensors").exists()


def test_the_callback_works_with_the_stock_grpo_trainer(model, tokenizer, tmp_path):
    args = GRPOConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=2 * G,
        num_generations=G,
        max_completion_length=6,
        max_steps=4,
        beta=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
    )
    messages = []
    monitor = Monitor({"unparsable": {"most": 0.5, "steps": 2}, "nothing_readable": None}, action="stop")
    with EmpoProvider("exact", extract=lambda _: None) as provider:
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=reward_function(provider, args),
            args=args,
            train_dataset=Dataset.from_list([{"prompt": f"What is {n}+2?"} for n in range(1, 9)]),
            processing_class=tokenizer,
            callbacks=[callback := MonitorCallback(monitor, provider, say=messages.append)],
        )
        trainer.train()
    assert trainer.state.global_step == 2
    assert len(messages) == 1
    assert "100% of the completions have no extractable answer, more than 50%" in messages[0]
    assert "There is no checkpoint from before the alarm's condition began." in messages[0]
    assert callback.stopped.startswith("stopped after step 2")
    logged = [row["alarm/unparsable"] for row in trainer.state.log_history if "loss" in row]
    assert logged == [0.0, 1.0]


def test_an_evaluation_of_a_stock_trainer_is_not_observed(model, tokenizer, tmp_path):
    """A reward function is called for evaluations too: without the callback's care, step 2 would have 4 prompts."""
    args = GRPOConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=2 * G,
        per_device_eval_batch_size=2 * G,
        num_generations=G,
        max_completion_length=6,
        max_steps=2,
        eval_strategy="steps",
        eval_steps=1,
        beta=0.0,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
    )
    rows = Dataset.from_list([{"prompt": f"What is {n}+2?"} for n in range(1, 9)])
    sizes = []
    monitor = Monitor()
    observe = monitor.observe
    monitor.observe = lambda observation, step: sizes.append(len(observation.entropies)) or observe(observation, step)
    with EmpoProvider("exact", extract="whole") as provider:
        GRPOTrainer(
            model=model,
            reward_funcs=reward_function(provider, args),
            args=args,
            train_dataset=rows,
            eval_dataset=rows.select(range(2)),
            processing_class=tokenizer,
            callbacks=[MonitorCallback(monitor, provider)],
        ).train()
    assert sizes == [2, 2]


@pytest.mark.timeout(240)
def test_two_processes_observe_the_whole_batch_and_stop_after_the_same_step(tmp_path):
    """Real processes over gloo; monitor_in_two_processes.py has the script."""
    script = Path(__file__).with_name("monitor_in_two_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone"]
    done = subprocess.run([*command, str(script), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    assert first["step"] == second["step"] == 2
    assert first["state"] == second["state"]
    assert "50% of the completions" in first["messages"][0]
    assert second["messages"] == []
    assert len(lines(tmp_path / "alarms.jsonl")) == 1
