"""Settings of the tests that need a GPU: `python -m pytest tests/gpu`. They need no network and no downloaded model."""

import pytest
import torch

HIDDEN = "torch finds no GPU: no GPU here, or it is hidden because other tests run too (`python -m pytest tests/gpu`)"


def pytest_collection_modifyitems(items):
    for item in items:
        if "/gpu/" in item.path.as_posix():
            item.add_marker("gpu")
            item.add_marker(pytest.mark.skipif(not torch.cuda.is_available(), reason=HIDDEN))
            # drivers and kernels warn about hardware, which these tests cannot know
            item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture(scope="session")
def device():
    return "cuda"
