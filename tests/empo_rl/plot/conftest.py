"""Fixtures of the plot tests."""

import pytest
from matplotlib.figure import Figure


@pytest.fixture
def axes():
    return Figure().add_subplot()
