"""The entrance: what `python3 noxfile.py NAME` promises about its environments, without installing one."""

import ast
import importlib.util
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

NOXFILE = Path(__file__).resolve().parent.parent / "noxfile.py"


@pytest.fixture(scope="module")
def noxfile():
    """noxfile.py as nox imports it; once, since nox keeps a list of sessions."""
    spec = importlib.util.spec_from_file_location("noxfile_under_test", NOXFILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def steps():
    """What has been done to environments, in order."""
    return []


@pytest.fixture
def entrance(noxfile, steps, tmp_path, monkeypatch):
    """noxfile.py with its environments in an empty folder, and its two slow steps noted, not taken."""

    def create(path):
        steps.append("create")
        noxfile.executable(path, "python").parent.mkdir(parents=True, exist_ok=True)
        noxfile.executable(path, "python").touch()

    monkeypatch.setattr(noxfile, "ROOT", tmp_path)
    monkeypatch.setattr(noxfile, "ENVIRONMENTS", tmp_path / ".nox")
    monkeypatch.setattr(noxfile, "create_venv", create)
    monkeypatch.setattr(noxfile, "install", lambda path, *requirements: steps.append("install"))
    (tmp_path / "constraints.txt").write_text("nox==1\n")
    write_pyproject(tmp_path, dependency="numpy", line_length=110)
    return noxfile


def write_pyproject(folder, *, dependency, line_length):
    (folder / "pyproject.toml").write_text(
        f'[build-system]\nrequires = []\n[project]\ndependencies = ["{dependency}"]\n'
        f"[tool.hatch]\n[tool.ruff]\nline-length = {line_length}\n"
    )


def test_an_unchanged_environment_is_not_touched(entrance, steps):
    entrance.environment("tools", "nox")
    entrance.environment("tools", "nox")
    assert steps == ["create", "install"]


def test_a_changed_dependency_is_installed_into_the_environment_that_is_there(entrance, steps, tmp_path):
    entrance.environment("tools", "nox")
    write_pyproject(tmp_path, dependency="numpy>=2", line_length=110)
    entrance.environment("tools", "nox")
    assert steps == ["create", "install", "install"]


def test_a_changed_constraint_is_installed(entrance, steps, tmp_path):
    entrance.environment("tools", "nox")
    (tmp_path / "constraints.txt").write_text("nox==2\n")
    entrance.environment("tools", "nox")
    assert steps == ["create", "install", "install"]


def test_a_changed_lint_rule_installs_nothing(entrance, steps, tmp_path):
    entrance.environment("tools", "nox")
    write_pyproject(tmp_path, dependency="numpy", line_length=100)
    entrance.environment("tools", "nox")
    assert steps == ["create", "install"]


def test_an_interrupted_installation_is_done_over_from_an_empty_environment(entrance, steps, monkeypatch):
    def interrupted(path, *requirements):
        raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(entrance, "install", interrupted)
        with pytest.raises(KeyboardInterrupt):
            entrance.environment("tools", "nox")
    entrance.environment("tools", "nox")
    assert steps == ["create", "create", "install"]


def test_an_environment_whose_python_is_gone_is_made_anew(entrance, steps):
    place = entrance.environment("tools", "nox")
    entrance.executable(place, "python").unlink()
    entrance.environment("tools", "nox")
    assert steps == ["create", "install"] * 2


def test_an_environment_that_was_moved_is_made_anew(entrance, steps, tmp_path, monkeypatch):
    entrance.environment("tools", "nox")
    (tmp_path / ".nox").rename(tmp_path / "moved")
    monkeypatch.setattr(entrance, "ENVIRONMENTS", tmp_path / "moved")
    entrance.environment("tools", "nox")
    assert steps == ["create", "install"] * 2


def test_a_second_process_waits_for_the_first_to_finish_installing(entrance, tmp_path):
    waits = textwrap.dedent(
        """
        import importlib.util, pathlib, sys
        spec = importlib.util.spec_from_file_location("noxfile_under_test", sys.argv[1])
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        with module.locked(pathlib.Path(sys.argv[2])):
            print("mine", flush=True)
        """
    )
    lock = tmp_path / "tools.lock"
    with entrance.locked(lock):
        command = [sys.executable, "-c", waits, str(NOXFILE), str(lock)]
        second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert "waiting for another command" in second.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(timeout=0.5)
    assert second.communicate(timeout=30)[0] == "mine\n"
    assert second.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for a broken Python is a shell script")
def test_a_python_without_venv_is_told_what_to_install(noxfile, tmp_path, monkeypatch):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho No module named venv >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(noxfile.sys, "executable", str(broken))
    with pytest.raises(noxfile.SetupError, match=r"(?s)No module named venv.*apt install python3\.\d+-venv"):
        noxfile.create_venv(tmp_path / "environment")


def test_an_old_python_can_read_the_file_far_enough_to_refuse_it():
    tree = ast.parse(NOXFILE.read_text(encoding="utf-8"), feature_version=(3, 7))
    first = next(node for node in tree.body if isinstance(node, ast.If))
    assert "sys.version_info < (3, 11)" in ast.unparse(first.test)


def test_without_arguments_the_sessions_are_explained():
    asked = subprocess.run([sys.executable, str(NOXFILE)], capture_output=True, text=True, check=False)
    assert asked.returncode == 2
    for session in ("demo", "tests", "lint", "types", "docs", "build", "benchmarks"):
        assert f"python3 noxfile.py {session}" in asked.stdout
