"""The probe of a short run, and the alarm that keeps its budget."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from empo_rl import EmpoProvider, Monitor
from empo_rl.cli import main
from empo_rl.monitor.collapse_step import Parting, Suspicion, budgets, find_parting, find_suspicion, report
from semantic_entropy import InputError


def metrics(accuracies, shares):
    pairs = enumerate(zip(accuracies, shares, strict=True), start=1)
    return [{"step": step, "empo/accuracy": accuracy, "empo/max_p": share} for step, (accuracy, share) in pairs]


RISES = [0.4, 0.5, 0.6, 0.7, 0.8]  # the mean of the 5 steps is .6, at step 5
FALLS = [0.7, 0.6, 0.3, 0.3, 0.2]
# means at steps 6 to 10: .66, .68, .62, .54, .42: the highest is .68 at step 7, and .54 is more than .05 below it
SHARES = [0.5, 0.5, 0.6, 0.6, 0.6, 0.7, 0.8, 0.8, 0.9, 0.9]


def test_the_parting_by_hand():
    found = find_parting(metrics(RISES + FALLS, SHARES))
    assert (found.highest, found.fallen) == (7, 8)
    assert found.accuracy == pytest.approx((0.68, 0.62))
    assert found.majority == pytest.approx((0.66, 0.70))
    assert budgets(None, found) == (None, 6)


def test_an_accuracy_that_falls_with_the_majority_share_is_no_parting():
    assert find_parting(metrics(RISES + FALLS, SHARES[::-1])) is None


@pytest.mark.parametrize("accuracies", [[0.5] * 10, [0.1 * n for n in range(10)], [0.5, 0.46] * 5])
def test_without_a_fall_there_is_no_parting(accuracies):
    assert find_parting(metrics(accuracies, SHARES)) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=0, max_size=30))
def test_the_parting_is_that_of_numpy(rows):
    accuracies, shares = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    found = find_parting(metrics(accuracies.tolist(), shares.tolist()))
    expected = None
    for end in range(6, len(rows) + 1):
        means = [accuracies[start : start + 5].mean() for start in range(end - 4)]
        best = int(np.argmax(means[:-1]))
        held = shares[end - 5 : end].mean() >= shares[best : best + 5].mean() - 1e-12
        if means[-1] < means[best] - 0.05 - 1e-12 and held:
            expected = best + 5, end
            break
    assert (found and (found.highest, found.fallen)) == expected


def test_steps_in_which_nothing_was_measured_do_not_count():
    gaps = metrics(RISES + FALLS, SHARES)
    gaps.insert(3, {"step": 99, "empo/accuracy": None, "empo/max_p": 0.5})
    gaps.insert(6, {"step": 98, "empo/max_p": 0.5})
    assert find_parting(gaps) == find_parting(metrics(RISES + FALLS, SHARES))


def fired(alarm, step, began):
    return {"step": step, "alarm": alarm, "began": began, "value": 1.0, "limit": 0.5, "action": "warn", "message": ""}


def test_the_suspicion_is_the_collapse_alarm_whose_condition_began_first():
    alarms = [fired("cut_off", 1, 1), fired("variety", 30, 28), fired("concentration", 33, 25)]
    assert find_suspicion(alarms) == Suspicion("concentration", 25)
    assert budgets(find_suspicion(alarms), None) == (23, None)
    assert find_suspicion(alarms[:1]) is None


def test_the_report_takes_the_smaller_budget_and_says_what_was_not_measured():
    lines = list(report([fired("variety", 30, 28)], metrics(RISES + FALLS, SHARES)))
    assert lines[0] == "10 steps"
    assert lines[1] == "without labels: alarm variety since step 28: a budget of 26 steps"
    assert "highest at step 7 (0.680) and 0.620 at step 8, while the majority share went from 0.660" in lines[2]
    assert lines[3] == "monitor: {alarms: {step_budget: {budget: 6, action: stop}}}"
    unlabelled = list(report([], [{"step": 1, "empo/max_p": 0.5}]))
    assert "The budget is not known; it may be larger" in unlabelled[1]
    assert "with labels: not measured. empo.measure_gold=true" in unlabelled[2]
    assert len(unlabelled) == 3
    assert "the accuracy did not fall" in list(report([], metrics([0.5] * 10, SHARES)))[2]


def test_a_budget_is_never_below_zero():
    assert budgets(Suspicion("variety", 1), Parting(1, 2, (0.5, 0.1), (0.5, 0.5))) == (0, 0)


def test_the_command_reads_the_directory_of_a_run(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics(RISES + FALLS, SHARES)))
    missing = CliRunner().invoke(main, ["probe", str(tmp_path)])
    assert missing.exit_code == 1
    assert "has no alarms.jsonl. Name the output_dir of an `empo-train` run" in missing.output
    (tmp_path / "alarms.jsonl").write_text(json.dumps(fired("concentration", 9, 5)) + "\n")
    done = CliRunner().invoke(main, ["probe", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "alarm concentration since step 5: a budget of 3 steps" in done.output
    assert "{budget: 3, action: stop}" in done.output


def test_the_step_budget_stops_a_run_after_its_steps_and_continues_from_a_checkpoint():
    def steps(monitor, numbers):
        with EmpoProvider("exact", extract="whole") as provider:
            decision = provider.step([["a", "a", "b"]] * 2)
        return [[firing.alarm for firing in monitor.update(decision, step=step)] for step in numbers]

    choices = {"step_budget": {"budget": 3, "action": "stop"}}
    monitor, resumed = Monitor(choices), Monitor(choices)
    assert [names for names in steps(monitor, [1, 2, 3]) if "step_budget" in names] == []
    resumed.load_state_dict(json.loads(json.dumps(monitor.state_dict())))
    assert "step_budget" in steps(resumed, [4])[0]
    assert "step_budget" in resumed.stopping
    assert "watch/step_budget" not in Monitor().columns()


@pytest.mark.parametrize("budget", [0, -1, 2.5, True])
def test_a_step_budget_is_a_number_of_steps(budget):
    with pytest.raises(InputError, match=f"step_budget.*budget.*{budget}.* whole number"):
        Monitor({"step_budget": {"budget": budget}})
