"""What the documentation says about the front door, held against the front door."""

import inspect
import re
from pathlib import Path

import empo_rl

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_page_holds_the_whole_front_door():
    page = (DOCS / "reference" / "empo.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: empo_rl\.(\w+)$", page, re.MULTILINE)) == empo_rl.__all__


def test_the_constructor_is_shown_as_it_is():
    page = (DOCS / "empo" / "provider.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^EmpoProvider\(\n(.*?)^\)$", page, re.MULTILINE | re.DOTALL)
    parameters = re.findall(r"^    (\w+)=([^,]+),", shown, re.MULTILINE)
    signature = inspect.signature(empo_rl.EmpoProvider)
    assert [name for name, _ in parameters] == list(signature.parameters)
    for name, default in parameters:
        assert eval(default, {"math": __import__("math")}) == signature.parameters[name].default, name
