"""The reference pages list every name that the public modules export."""

import re
from pathlib import Path

import semantic_entropy
from semantic_entropy import plugin, testing

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


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


def test_the_tutorial_says_what_each_member_of_a_judge_changes():
    tutorial = (ROOT / "plugins" / "semantic-entropy-units" / "README.md").read_text(encoding="utf-8")
    table = tutorial.partition("### What each member of a judge changes")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)(?:\([^)]*\))?` \|", table, re.MULTILINE)
    bases = semantic_entropy.Equivalence.__mro__[:-1]
    assert sorted(listed) == sorted({name for base in bases for name in vars(base) if not name.startswith("_")})


def test_all_pages_put_the_hooks_of_a_plugin_into_the_package_itself():
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for text in (contributing, plugin.__doc__ or ""):
        assert "`my_judge/__init__.py`" in text
        assert 'my-judge = "my_judge"' in text
        assert "my_judge/plugin" not in text
