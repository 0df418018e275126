"""Settings of all tests: one thread, no network, no window, and the same random examples in every run."""

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

from hypothesis import settings

# No deadline: the first example includes imports and worker processes. Derandomized: a failed run can be repeated.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
