from empo_rl.progress import StageProgress


def test_without_a_terminal_a_stage_is_ten_lines_on_stderr(capsys):
    with StageProgress() as progress:
        for step in range(1, 51):
            progress("training", step, 50, "entropy 1.00")
        progress.say("done [really] " + "x" * 200)
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert lines[:2] == ["training 5/50 entropy 1.00", "training 10/50 entropy 1.00"]
    assert len(lines) == 11
    assert lines[-1] == "done [really] " + "x" * 200  # in one line, whatever the width
    assert captured.out == ""


def test_it_knows_how_far_a_run_came(capsys):
    with StageProgress() as progress:
        assert progress.interrupted() == "interrupted before the first step"
        progress("training", 3, 50)
        assert progress.interrupted() == "interrupted in training after step 3 of 50"
