"""The blocks of docs/how-to/evaluators.md run as a reader pastes them, in order, each tool in an empty folder.

Only the models and the servers are replaced: a model of inspect_ai with fixed answers, and a local server of Langfuse.
"""

import importlib.util
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from semantic_entropy import estimate

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "evaluators.md"
MIXED = ["Paris", "It is Paris.", "Lyon", "paris"]


def blocks(section, language="python"):
    """The blocks of a section of the page."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def run(code, namespace=None):
    exec(compile(code, PAGE.name, "exec"), namespace if namespace is not None else {"__name__": "pasted"})


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_python_block_of_the_page_is_run_here():
    python = PAGE.read_text(encoding="utf-8").count("```python")
    assert python == sum(len(blocks(name)) for name in ("inspect_ai", "MLflow", "Langfuse")) == 4


def test_the_blocks_of_inspect_ai_run(empty_folder, capsys):
    pytest.importorskip("inspect_ai", reason="the extra `inspect`: python3 noxfile.py evaluators")
    from inspect_ai import eval as run_eval
    from inspect_ai.log import read_eval_log
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    left = {"Capital of France?": itertools.cycle(MIXED), "Capital of Peru?": itertools.cycle(["Lima"])}

    def reply(messages, *_):
        output = ModelOutput.from_content("mockllm", next(left[messages[-1].text]))
        output.usage = ModelUsage(input_tokens=1, output_tokens=1)  # else it downloads a vocabulary to count tokens
        return output

    task, score = blocks("inspect_ai")
    (empty_folder / "capitals.py").write_text(task)
    (log,) = run_eval(
        "capitals.py", model=get_model("mockllm/model", custom_outputs=reply), log_dir="logs", display="none"
    )
    assert log.status == "success", log.error
    expected = estimate(MIXED).entropy
    reduced = next(each for each in log.reductions if each.reducer != "mean")
    assert reduced.samples[0].value == pytest.approx(expected)
    capsys.readouterr()
    run(score)
    assert "2 questions scored" in capsys.readouterr().out
    read = read_eval_log(log.location)
    values = sorted({sample.scores["semantic_entropy"].value for sample in read.samples})
    assert values == pytest.approx([0.0, expected])


def test_the_commands_of_lm_eval_run(empty_folder, monkeypatch):
    pytest.importorskip("lm_eval", reason="the extra `lm-eval`: python3 noxfile.py evaluators")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(empty_folder / "cache"))
    questions, command = blocks("lm-evaluation-harness", "bash")
    (task,) = blocks("lm-evaluation-harness", "yaml")
    subprocess.run(questions, shell=True, check=True)
    (empty_folder / "tasks" / "capitals.yaml").write_text(task)
    command = command.replace("lm_eval", f"{sys.executable} -m lm_eval", 1)
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "semantic_entropy_missing" in done.stdout
    assert list((empty_folder / "out").rglob("samples_capitals_*.jsonl"))


def test_the_block_of_mlflow_runs(capsys):
    mlflow = pytest.importorskip("mlflow", reason="the extra `mlflow`: python3 noxfile.py evaluators")
    before = mlflow.get_tracking_uri()
    try:
        (block,) = blocks("MLflow")
        namespace = {"__name__": "pasted"}
        run(block, namespace)
    finally:
        mlflow.set_tracking_uri(before)
    shown = capsys.readouterr().out
    assert "1 question scored, 3 scores written" in shown
    expected = estimate(["Lima", "Cuzco", "Lima"]).entropy
    assert namespace["evaluated"].metrics["semantic_entropy/mean"] == pytest.approx(expected)


def test_the_block_of_langfuse_runs(monkeypatch, capsys):
    pytest.importorskip("langfuse", reason="the extra `langfuse`: python3 noxfile.py evaluators")
    spec = importlib.util.spec_from_file_location("langfuse_server", Path(__file__).with_name("langfuse_server.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    server = module.LangfuseServer()
    for text in MIXED:
        server.add("Capital of France?", text)
    with module.running(server) as address:
        for name, value in (("PUBLIC_KEY", "pk-page"), ("SECRET_KEY", "sk-page"), ("BASE_URL", address)):
            monkeypatch.setenv(f"LANGFUSE_{name}", value)
        (block,) = blocks("Langfuse")
        run(block)
    assert "1 question scored, 4 scores written" in capsys.readouterr().out
    assert len(server.scores) == 4
