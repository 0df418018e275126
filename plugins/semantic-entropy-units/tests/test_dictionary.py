"""Every unit of pint converts, or is excluded by name; English words are not units; imports of the modules."""

import ast
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import pytest

import semantic_entropy_units
from semantic_entropy_units.dictionary import LOGARITHMIC, NOT_UNITS, PREFIXABLE, registry, scale, unit
from semantic_entropy_units.reading import read


def test_every_unit_of_pint_has_a_scale_unless_it_is_logarithmic():
    names = [name for name in dir(registry()) if name.isidentifier()]
    names = sorted({found[0][1] for name in names if (found := registry().parse_unit_name(name))})
    assert len(names) > 400
    for name in set(names) - LOGARITHMIC:
        assert scale(((name, 1),)).factor != 0, name


def test_excluded_and_prefixable_names_exist_in_pint():
    assert all(registry().parse_unit_name(name) for name in LOGARITHMIC | PREFIXABLE)
    assert all(registry().parse_unit_name(name) for name in NOT_UNITS)


@pytest.mark.parametrize("word", ["cat", "are", "has", "mat", "rare", "care", "points", "dB", "the", "i", "", "m" * 99])
def test_english_words_that_pint_reads_as_units_are_not_units(word):
    assert unit(word) is None


@pytest.mark.parametrize(
    ("word", "name"), [("km", "kilometer"), ("KM", "kilometer"), ("Pa", "pascal"), ("min", "minute")]
)
def test_units_are_found_by_symbol_by_name_and_with_wrong_capitals(word, name):
    assert unit(word) == name


def test_scales_are_exact():
    assert scale((("kilometer", 1), ("hour", -1))).factor == Fraction(5, 18)
    assert scale((("degree_Celsius", 1),)).offset == Fraction("273.15")
    assert scale((("degree_Celsius", 1), ("meter", -1))).offset == 0  # a difference


def test_threads_share_the_registry():
    found = []
    words = ["5 furlong/fortnight", "7 BTU", "3 psi", "2 acres", "9 GeV/c^2"] * 20
    threads = [threading.Thread(target=lambda: found.append([read(word) for word in words])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert None not in found[0]
    assert all(one == found[0] for one in found)


def test_the_hook_module_does_not_import_pint():
    look = "import sys, semantic_entropy_units as u; u.semantic_entropy_equivalences(); sys.exit('pint' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0


def test_it_imports_only_semantic_entropy_plugin():
    modules = sorted(Path(semantic_entropy_units.__file__).parent.glob("*.py"))
    imported = [
        node.module or ""
        for module in modules
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
    ]
    assert {name for name in imported if name.split(".")[0] == "semantic_entropy"} == {"semantic_entropy.plugin"}
