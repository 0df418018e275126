"""Rules for the whole repository: import direction, import cost, layout, names, versions, and tracked files."""

import ast
import json
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import version
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import semantic_entropy

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HEAVY = tuple(
    "torch transformers sympy trl math_verify datasets sklearn matplotlib inspect_ai lm_eval mlflow langfuse".split()
)
PACKAGES = {
    "semantic_entropy": ROOT / "semantic_entropy",
    "semantic_entropy_plugins": ROOT / "plugins" / "semantic_entropy_plugins",
    "empo_rl": ROOT / "empo_rl",
}
MOST_MODULES = 12  # of a folder: a reader can keep a dozen names in mind
MOST_LINES = 420  # of a module
LONGER = {
    "semantic_entropy/scorer.py": 580,  # the class `Scorer`, with the overloads of its two methods
}
CONVENTIONAL_NAMES = {"__init__", "__main__", "base", "cli", "plugin", "models", "groups"}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
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


def modules(package: str) -> dict[str, Path]:
    """All modules of a package: path relative to the repository -> file."""
    return {path.relative_to(ROOT).as_posix(): path for path in sorted(PACKAGES[package].rglob("*.py"))}


def duplicates(found: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """The names that are found in more than one file, with these files."""
    files = defaultdict(set)
    for name, file in found:
        files[name].add(file)
    return {name: places for name, places in files.items() if len(places) > 1}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_folder_has_at_most_a_dozen_modules(package):
    sizes = Counter(path.parent.relative_to(ROOT).as_posix() for path in modules(package).values())
    sizes.subtract(path.parent.relative_to(ROOT).as_posix() for path in PACKAGES[package].rglob("__init__.py"))
    assert {folder: size for folder, size in sizes.items() if size > MOST_MODULES} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_module_is_not_too_long(package):
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules(package).items()}
    assert {name: length for name, length in lengths.items() if length > LONGER.get(name, MOST_LINES)} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_and_folders_are_named_after_their_idea(package):
    paths = modules(package).values()
    assert {path.stem for path in paths} & VAGUE_NAMES == set()
    assert {path.parent.name for path in paths} & VAGUE_NAMES == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_the_name_of_a_module_is_unique_in_its_package(package):
    named = [(path.stem, name) for name, path in modules(package).items() if path.stem not in CONVENTIONAL_NAMES]
    assert duplicates(named) == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_name_of_a_class_is_unique_in_its_package(package):
    classes = [
        (node.name, name)
        for name, path in modules(package).items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    assert duplicates(classes) == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_folders_of_a_package_do_not_import_each_other_in_a_circle(package):
    graph = grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)
    imports: dict[str, set[str]] = {}
    for module in graph.modules - {package}:
        folder = ".".join(module.split(".")[:2])
        imported = {".".join(name.split(".")[:2]) for name in graph.find_modules_directly_imported_by(module)}
        imports.setdefault(folder, set()).update(imported - {folder, package})
    try:
        tuple(TopologicalSorter(imports).static_order())
    except CycleError as error:
        pytest.fail(f"these folders import each other in a circle: {' <- '.join(error.args[1])}")


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
    files = [ROOT / "constraints-evaluators.txt", ROOT / "constraints.txt"]  # the second is that of most extras
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    pins = [line.partition("#")[0].strip().split("==") for line in lines if line and not line.startswith("#")]
    tested = {canonicalize_name(name): pin for name, pin in pins}
    project = PYPROJECT["project"]
    extras = list(project["optional-dependencies"].values())
    for requirement in map(Requirement, sum(extras, project["dependencies"])):
        name = canonicalize_name(requirement.name)
        if name != project["name"]:
            assert name in tested, f"constraints.txt has no line for {name}"
            within = requirement.specifier.contains(tested[name])
            assert within, f"{requirement} excludes the tested {tested[name]}"
