"""Settings of all tests: one thread, no network, no GPU, no window, and the same random examples in every run."""

import os
import signal

# Set before any test imports torch. With matrices this small, a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A test that tries to download a model must fail here as it would without a network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"  # tokenizers warn about forks otherwise
os.environ["MPLBACKEND"] = "Agg"

# A background job of a shell ignores Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from pathlib import Path

import pytest
from hypothesis import settings

GPU_TESTS = Path(__file__).parent / "gpu"


def needs_gpu(paths, expression=""):
    """Whether a run with these paths and this expression of markers consists of the tests in tests/gpu alone."""
    chosen = [Path(path.partition("::")[0]).resolve() for path in paths]
    return expression == "gpu" or (bool(chosen) and all(path.is_relative_to(GPU_TESTS) for path in chosen))


def pytest_configure(config):
    # Before any test imports torch. On a GPU, a judge computes in bf16, and most tests compare with float32 on the CPU.
    # Processes that a test starts inherit the variable.
    if not needs_gpu(config.args, config.option.markexpr):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


# No deadline: the first example includes imports and worker processes. Derandomized: a failed run can be repeated.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """With FORBID_SKIPS=1, a skipped test fails: a session that exists for some tests must run them."""
    report = yield
    if report.skipped and os.environ.get("FORBID_SKIPS") == "1":
        report.outcome, report.longrepr = "failed", f"{item.name} was skipped: {report.longrepr}"
    return report
