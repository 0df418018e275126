"""Two real processes over gloo decide and learn as one process does, and fail together."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from empo_rl import EmpoProvider
from empo_rl.core.groups import group_by_position
from empo_rl.run.tiny_model import make_model, make_tokenizer
from empo_rl.trainers.trl import distributed
from empo_rl.trainers.trl.rollouts import trl_columns

SCRIPT = Path(__file__).with_name("five_scripted_steps.py")
TORCHRUN = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone"]


def run(directory, rows, *, processes=2, loss="grpo", scale="group", kind=""):
    command = [sys.executable, *(TORCHRUN if processes == 2 else []), str(SCRIPT), str(directory), str(rows)]
    done = subprocess.run([*command, loss, scale, kind], capture_output=True, text=True, check=False, timeout=200)
    if kind not in {"", "stateful"}:
        return done
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(directory / f"{processes}-{rows}.pt")


def provider_metrics(row):
    """The metrics of the provider in a row of the log, except the duration."""
    names = (name.removeprefix("empo/") for name in row if name.startswith("empo/"))
    return {name: row[f"empo/{name}"] for name in names if name != "judging_seconds"}


@pytest.mark.timeout(280)
@pytest.mark.parametrize(
    ("rows", "loss", "scale", "kind"),
    [(12, "grpo", "group", ""), (6, "dapo", "group", ""), (6, "grpo", "batch", ""), (12, "grpo", "group", "stateful")],
    ids=["whole groups", "groups cut between processes", "scale of the batch", "stateful reward and guard"],
)
def test_two_processes_decide_and_learn_as_one_process(rows, loss, scale, kind, tmp_path):
    decided, weights, logs = run(tmp_path, rows, loss=loss, scale=scale, kind=kind)
    expected, expected_weights, expected_logs = run(tmp_path, 2 * rows, processes=1, loss=loss, scale=scale, kind=kind)
    assert [step[:2] for step in decided] == [step[:2] for step in expected]  # rewards and masks, exactly
    kept = [row for _, mask, _ in expected for row in mask]
    assert any(kept)
    assert not all(kept)
    assert torch.tensor([step[2] for step in decided]) == pytest.approx(torch.tensor([step[2] for step in expected]))
    metrics, expected_metrics = ([provider_metrics(row) for row in rows] for rows in (logs, expected_logs))
    assert metrics == expected_metrics  # TRL averages them over the processes
    names = {name for row in metrics for name in row}
    assert {"dropped_low_fraction", "undecided_fraction", "answer_concentration", "golden_correlation"} <= names
    start = make_model(make_tokenizer(), seed=0).state_dict()
    assert max((expected_weights[name] - weight).abs().max() for name, weight in start.items()) > 0.01
    for name, weight in expected_weights.items():
        torch.testing.assert_close(weights[name], weight, rtol=1e-3, atol=2e-5, msg=name)


@pytest.mark.parametrize("globally", [True, False], ids=["global batch", "own groups"])
def test_the_results_of_the_groups_do_not_travel_between_processes(globally, monkeypatch):
    sent = []
    state = SimpleNamespace(num_processes=2, process_index=0, is_main_process=True)
    monkeypatch.setattr(distributed, "PartialState", lambda: state)
    monkeypatch.setattr(distributed, "gather_object", lambda objects: objects)
    monkeypatch.setattr(distributed, "broadcast_object_list", lambda objects: sent.extend(objects) or objects)
    heard = []
    with EmpoProvider("exact", extract="whole") as provider:
        provider.listeners.append(lambda _, decision: heard.append(decision))
        decision, rows = distributed.decide(
            lambda: trl_columns(["q"] * 4, ["1", "1", "2", "3"], {}),
            lambda batch: provider.step(group_by_position(num_generations=4, **batch)),
            globally=globally,
        )
    assert [len(each.results) for each in (decision, *sent)] == [0] * (1 + globally)
    assert len(heard[0].results) == 1
    assert decision.rewards[rows].tolist() == heard[0].rewards.tolist()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("rows", "kind", "number"),
    [(12, "fail", 1), (6, "fail-rows", 1), (6, "fail-first", 0)],
    ids=["judge", "before the judge", "judge of the global batch"],
)
def test_if_one_process_fails_the_other_ends_with_its_message(rows, kind, number, tmp_path):
    done = run(tmp_path, rows, kind=kind)
    assert done.returncode != 0
    assert "OSError: the judge is gone" in done.stderr
    assert re.search(rf"process {number} failed: .*OSError: the judge is gone", done.stderr)


@pytest.mark.timeout(240)
def test_if_one_process_is_killed_the_other_does_not_wait(tmp_path):
    done = run(tmp_path, 12, kind="kill")
    assert done.returncode != 0
    assert "SIGKILL" in done.stderr
