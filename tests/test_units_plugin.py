"""A third-party plugin from start to end: build, install into a new environment, list, use, and a broken plugin.

Nothing is downloaded: a .pth file makes the packages of this environment visible in the new one. pip builds and
installs the two distributions under test as a user would: plugins/semantic-entropy-units, and the one that its README
builds from an empty folder.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
UNITS = ROOT / "plugins" / "semantic-entropy-units"
NEEDED = [name for name in ("pint", "hatchling") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(NEEDED), reason=f"not installed here: {', '.join(NEEDED)} (the dev extra)")
FILE = re.compile(r"^`(?P<path>[\w./-]+)`:\n\n(?:<!--[^\n]*-->\n)?```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
BROKEN = """[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "broken-plugin"
version = "1.0"

[project.entry-points.semantic_entropy]
broken = "broken_plugin"
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment, with methods that run commands in it."""

    path: Path

    @property
    def python(self) -> Path:
        return self.path / ("Scripts" if os.name == "nt" else "bin") / "python"

    def run(self, *arguments, cwd=None, check=True):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "COV"))}
        done = subprocess.run(
            [str(self.python), *map(str, arguments)],
            cwd=cwd or self.path,
            env={**clean, "COLUMNS": "120", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert not check or done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done

    def install(self, folder):
        offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
        self.run("-m", "pip", "install", *offline, folder)

    def command(self, *arguments):
        """The output of `semantic-entropy ...`: the script of this environment, run by the Python of the new one."""
        script = Path(sysconfig.get_path("scripts")) / "semantic-entropy"
        return self.run(script, *arguments).stdout

    def equivalences(self):
        """The source of each judge, by name."""
        listed = json.loads(self.command("plugins", "--json"))
        return {one["name"]: one["source"] for one in listed["components"]["equivalence"]}


def fresh(path):
    subprocess.run([sys.executable, "-m", "venv", str(path)], check=True, capture_output=True, timeout=240)
    environment = Environment(path)
    here = sysconfig.get_path("purelib")
    there = environment.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    # addsitedir also reads the .pth files of this environment (an editable installation).
    (Path(there) / "what_is_installed_here.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    return environment


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A new environment in which only semantic-entropy-units is installed."""
    made = fresh(tmp_path_factory.mktemp("fresh") / "venv")
    assert "units" not in made.equivalences()
    source = tmp_path_factory.mktemp("source") / "units"
    shutil.copytree(UNITS, source, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    made.install(source)
    return made


def test_the_installed_plugin_is_listed_with_its_source(environment):
    assert environment.equivalences()["units"] == "semantic-entropy-units"
    assert "FAILED" not in environment.command("plugins")


def test_the_installed_plugin_is_found_by_its_name(environment):
    look = (
        "from semantic_entropy import estimate\n"
        "import semantic_entropy_units as u, sys\n"
        "assert u.__file__.startswith(sys.prefix), u.__file__\n"
        "result = estimate(['5 cm', 'it is 0.05 m long', '5 m'], equivalence='units')\n"
        "assert result.labels == (0, 0, 1), result\n"
        "assert 'pint' in result.provenance.versions\n"
        "full = estimate(['1 km', '1000 m'], equivalence='semantic-entropy-units/units')\n"
        "assert full.entropy == 0\n"
    )
    environment.run("-c", look)


def test_the_command_line_passes_options_to_the_judge(environment):
    exact = environment.command("explain", "-e", "units", "1 mile", "1.6 km")
    rounded = environment.command("explain", "-e", "units", "--option", "tolerance=0.01", "1 mile", "1.6 km")
    assert "entropy 0.693 nats" in exact
    assert "entropy 0.000 nats" in rounded


def test_the_tests_of_the_installed_plugin_pass(environment, tmp_path):
    shutil.copytree(UNITS / "tests", tmp_path / "tests")
    shutil.copy(UNITS / "pyproject.toml", tmp_path)
    done = environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout
    assert int(passed[1]) > 100


def test_the_readme_builds_a_plugin_from_an_empty_folder(environment, tmp_path):
    files = {found["path"]: found["text"] for found in FILE.finditer((UNITS / "README.md").read_text(encoding="utf-8"))}
    assert sorted(files) == ["my_units/__init__.py", "my_units/judge.py", "pyproject.toml", "tests/test_my_units.py"]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    environment.install(tmp_path)
    assert environment.equivalences()["my-units"] == "my-units"
    begin = environment.command("plugins").splitlines()[:3]
    assert all(line in (UNITS / "README.md").read_text(encoding="utf-8") for line in begin)
    done = environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    assert "2 passed" in done.stdout


def test_a_broken_plugin_is_listed_with_its_reason_and_does_not_affect_the_others(environment, tmp_path):
    (tmp_path / "broken_plugin").mkdir()
    (tmp_path / "broken_plugin" / "__init__.py").write_text("import a_module_that_nobody_has\n")
    (tmp_path / "pyproject.toml").write_text(BROKEN)
    environment.install(tmp_path)
    shown = environment.command("plugins")
    reason = "ModuleNotFoundError: No module named 'a_module_that_nobody_has'"
    assert f"FAILED broken (broken-plugin): {reason}" in shown
    assert {"units", "math", "text"} <= set(environment.equivalences())
    use = "from semantic_entropy import estimate; print(estimate(['5 cm', '0.05 m'], equivalence='units').entropy)"
    assert float(environment.run("-c", use).stdout) == 0
    unknown = environment.run("-c", use.replace("'units'", "'unit'"), check=False)
    assert unknown.returncode != 0
    assert "units" in unknown.stderr
    assert reason in unknown.stderr
