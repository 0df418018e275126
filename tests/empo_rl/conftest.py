"""What the tests of empo_rl share: third-party notices set aside one by one, and a tiny model."""

import pytest

# TRL 1.16 turns gradient checkpointing on under its old name, whatever its user passes.
CHECKPOINTING = "ignore:.*gradient_checkpointing.* is deprecated:FutureWarning"


def pytest_collection_modifyitems(items):
    for item in items:
        if "/empo_rl/" in item.path.as_posix():
            item.add_marker(pytest.mark.filterwarnings(CHECKPOINTING))


@pytest.fixture(scope="session")
def tokenizer():
    from empo_rl.run.tiny_model import make_tokenizer

    return make_tokenizer()


@pytest.fixture
def model(tokenizer):
    from empo_rl.run.tiny_model import make_model

    return make_model(tokenizer, seed=0)
