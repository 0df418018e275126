"""The reference pages list every name that the public modules export."""

import re
from pathlib import Path

import semantic_entropy
from semantic_entropy import plugin, testing

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_the_api_page_lists_every_exported_name_once():
    page = (REFERENCE / "api.md").read_text(encoding="utf-8")
    listed = re.findall(r"^::: semantic_entropy\.(\w+)$", page, re.MULTILINE)
    assert sorted(name for name in listed if name != "errors") == semantic_entropy.__all__


def test_the_plugin_page_lists_or_links_every_name_that_a_plugin_imports():
    page = (REFERENCE / "plugins.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^::: semantic_entropy\.plugin\.(\w+)$", page, re.MULTILINE))
    linked = set(re.findall(r"\[semantic_entropy\.(\w+)\]", page)) & set(semantic_entropy.__all__)
    assert sorted(listed | linked | {"errors", "is_stopped"}) == sorted(plugin.__all__)
    assert "`is_stopped`" in page
    assert "`errors`" in page


def test_the_plugin_page_lists_every_conformance_check():
    page = (REFERENCE / "plugins.md").read_text(encoding="utf-8")
    (members,) = re.findall(
        r"^::: semantic_entropy\.testing\n    options:\n      members: \[(.*)\]$", page, re.MULTILINE
    )
    own = [name for name, value in vars(testing).items() if getattr(value, "__module__", "") == testing.__name__]
    assert sorted(members.split(", ")) == sorted(name for name in own if not name.startswith("_"))
