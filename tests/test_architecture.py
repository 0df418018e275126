"""Rules for the whole repository: import direction, import cost, layout, names, versions, and tracked files."""

import json
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import semantic_entropy

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HEAVY = ("torch", "transformers", "sympy", "trl", "math_verify", "datasets", "sklearn", "matplotlib")
LARGEST_TRACKED_FILE = 1_000_000  # bytes; a larger file is data or a build result, which git should not track


def tracked_files() -> list[Path]:
    """All tracked files that exist."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout (an unpacked sdist): git cannot list the tracked files")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_imports_go_in_the_direction_of_the_contracts():
    lint = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    verdict = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


@pytest.mark.parametrize("module", ["semantic_entropy", "semantic_entropy.plugin", "semantic_entropy_plugins"])
def test_a_fresh_import_loads_nothing_heavy(module):
    look = f"import json, sys, {module}; print(json.dumps(sorted(set(sys.modules) & set({HEAVY!r}))))"
    loaded = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert json.loads(loaded.stdout) == []


def test_the_exported_names_are_sorted_and_exist():
    assert semantic_entropy.__all__ == sorted(semantic_entropy.__all__)
    for name in semantic_entropy.__all__:
        assert getattr(semantic_entropy, name) is not None


def test_all_places_have_the_same_version():
    declared = PYPROJECT["project"]["version"]
    assert semantic_entropy.__version__ == declared
    assert version("semantic-entropy") == declared
    assert f"## [{declared}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_package_in_the_wheel_has_a_py_typed_file():
    for package in PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        assert (ROOT / package / "py.typed").is_file(), package


def test_git_tracks_no_large_file():
    sizes = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in tracked_files()}
    assert {name: size for name, size in sizes.items() if size > LARGEST_TRACKED_FILE} == {}


def test_the_tested_version_of_every_direct_dependency_is_within_its_declared_range():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.partition("#")[0].strip().split("==") for line in lines if line and not line.startswith("#")]
    tested = {canonicalize_name(name): pin for name, pin in pins}
    project = PYPROJECT["project"]
    # No test uses the extra ray yet, so no version of it is tested.
    extras = [lines for extra, lines in project["optional-dependencies"].items() if extra != "ray"]
    for requirement in map(Requirement, sum(extras, project["dependencies"])):
        name = canonicalize_name(requirement.name)
        if name != project["name"]:
            assert name in tested, f"constraints.txt has no line for {name}"
            within = requirement.specifier.contains(tested[name])
            assert within, f"{requirement} excludes the tested {tested[name]}"
