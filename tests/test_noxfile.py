"""`python3 noxfile.py NAME`: when it creates environments and when it installs; nothing is really installed here."""

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
    """noxfile.py as nox imports it; imported once, because nox keeps a list of sessions."""
    spec = importlib.util.spec_from_file_location("noxfile_under_test", NOXFILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def steps():
    """The steps that were done to environments, in order."""
    return []


@pytest.fixture
def sandboxed(noxfile, steps, tmp_path, monkeypatch):
    """noxfile.py with environments in an empty folder; its two slow steps are recorded instead of done."""

    def create(path):
        steps.append("create")
        noxfile.executable(path, "python").parent.mkdir(parents=True, exist_ok=True)
        noxfile.executable(path, "python").touch()

    monkeypatch.setattr(noxfile, "ROOT", tmp_path)
    monkeypatch.setattr(noxfile, "ENVIRONMENTS", tmp_path / ".nox")
    monkeypatch.setattr(noxfile, "create_venv", create)
    monkeypatch.setattr(noxfile, "install", lambda path, *requirements, **_: steps.append("install"))
    (tmp_path / "constraints.txt").write_text("nox==1\n")
    write_pyproject(tmp_path, dependency="numpy", line_length=110)
    return noxfile


def write_pyproject(folder, *, dependency, line_length):
    (folder / "pyproject.toml").write_text(
        f'[build-system]\nrequires = []\n[project]\ndependencies = ["{dependency}"]\n'
        f"[tool.hatch]\n[tool.ruff]\nline-length = {line_length}\n"
    )


def test_an_unchanged_environment_is_not_touched(sandboxed, steps):
    sandboxed.environment("tools", "nox")
    sandboxed.environment("tools", "nox")
    assert steps == ["create", "install"]


def test_a_changed_dependency_is_installed_into_the_existing_environment(sandboxed, steps, tmp_path):
    sandboxed.environment("tools", "nox")
    write_pyproject(tmp_path, dependency="numpy>=2", line_length=110)
    sandboxed.environment("tools", "nox")
    assert steps == ["create", "install", "install"]


def test_a_changed_constraint_is_installed(sandboxed, steps, tmp_path):
    sandboxed.environment("tools", "nox")
    (tmp_path / "constraints.txt").write_text("nox==2\n")
    sandboxed.environment("tools", "nox")
    assert steps == ["create", "install", "install"]


def test_a_changed_lint_rule_installs_nothing(sandboxed, steps, tmp_path):
    sandboxed.environment("tools", "nox")
    write_pyproject(tmp_path, dependency="numpy", line_length=100)
    sandboxed.environment("tools", "nox")
    assert steps == ["create", "install"]


def test_an_interrupted_installation_is_repeated_from_an_empty_environment(sandboxed, steps, monkeypatch):
    def interrupted(path, *requirements, **_):
        raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(sandboxed, "install", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sandboxed.environment("tools", "nox")
    sandboxed.environment("tools", "nox")
    assert steps == ["create", "create", "install"]


def test_an_environment_without_its_python_is_created_again(sandboxed, steps):
    place = sandboxed.environment("tools", "nox")
    sandboxed.executable(place, "python").unlink()
    sandboxed.environment("tools", "nox")
    assert steps == ["create", "install"] * 2


def test_a_moved_environment_is_created_again(sandboxed, steps, tmp_path, monkeypatch):
    sandboxed.environment("tools", "nox")
    (tmp_path / ".nox").rename(tmp_path / "moved")
    monkeypatch.setattr(sandboxed, "ENVIRONMENTS", tmp_path / "moved")
    sandboxed.environment("tools", "nox")
    assert steps == ["create", "install"] * 2


def test_a_second_process_waits_for_the_first_to_finish_installing(sandboxed, tmp_path):
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
    with sandboxed.locked(lock):
        command = [sys.executable, "-c", waits, str(NOXFILE), str(lock)]
        second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert "waiting for another command" in second.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(timeout=0.5)
    assert second.communicate(timeout=30)[0] == "mine\n"
    assert second.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="the test double of a broken Python is a shell script")
def test_the_error_for_a_missing_venv_module_says_what_to_install(noxfile, tmp_path, monkeypatch):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho No module named venv >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(noxfile.sys, "executable", str(broken))
    with pytest.raises(noxfile.SetupError, match=r"(?s)No module named venv.*apt install python3\.\d+-venv"):
        noxfile.create_venv(tmp_path / "environment")


def test_an_old_python_can_parse_the_file_and_print_its_error():
    tree = ast.parse(NOXFILE.read_text(encoding="utf-8"), feature_version=(3, 7))
    first = next(node for node in tree.body if isinstance(node, ast.If))
    assert "sys.version_info < (3, 11)" in ast.unparse(first.test)


def test_without_arguments_the_help_lists_all_sessions():
    help_run = subprocess.run([sys.executable, str(NOXFILE)], capture_output=True, text=True, check=False)
    assert help_run.returncode == 2
    for session in "demo tests coverage deepspeed evaluators lint parity types docs build benchmarks".split():
        assert f"python3 noxfile.py {session}" in help_run.stdout
