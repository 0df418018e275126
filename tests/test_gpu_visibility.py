"""The tests see no GPU, on any machine; only a run of tests/gpu sees one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from empo_rl.check.findings import has_gpu
from tests.conftest import needs_gpu

GPU, HERE = str(Path(__file__).parent / "gpu"), __file__


def test_neither_this_process_nor_one_that_it_starts_sees_a_gpu():
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert not torch.cuda.is_available()
    code = "import torch, sys; sys.exit(torch.cuda.device_count())"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("paths", "expression", "visible"),
    [
        ([GPU], "", True),
        ([f"{GPU}/test_training_on_gpu.py::test_a_run"], "", True),
        ([f"{GPU}/test_training_on_gpu.py", f"{GPU}/test_judges_on_gpu.py"], "", True),
        (["tests"], "gpu", True),
        (["tests"], "not gpu", False),
        (["tests"], "", False),
        ([GPU, HERE], "", False),
        ([], "", False),
    ],
)
def test_gpus_are_visible_if_the_tests_that_need_one_run_alone(paths, expression, visible):
    assert needs_gpu(paths, expression) is visible


def test_hidden_gpus_do_not_count_for_the_check(monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == "/dev/nvidiactl")
    assert not has_gpu()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert has_gpu()
