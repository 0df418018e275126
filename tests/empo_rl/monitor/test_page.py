"""What the page says about the alarms, held against them."""

import inspect
import re
from pathlib import Path

import pytest

from empo_rl.monitor import ALARMS

PAGE = Path(__file__).parents[3] / "docs" / "empo" / "monitor.md"


@pytest.mark.parametrize("name", ALARMS)
def test_the_page_has_the_defaults_of_each_alarm(name):
    section = PAGE.read_text(encoding="utf-8").split("## The alarms")[1].split("\n## ")[0]
    (row,) = re.findall(rf"^\| `{name}` \|.*\| (.*) \|$", section, re.MULTILINE)
    shown = dict(re.findall(r"`(\w+)` ([\w.]+)", row))
    options = {
        option: "none" if parameter.default is None else str(parameter.default).removesuffix(".0")
        for option, parameter in inspect.signature(ALARMS[name]).parameters.items()
        if option != "action"
    }
    assert shown == options
