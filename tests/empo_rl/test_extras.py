"""empo_rl without the extra `rl`: a process that cannot import any library of the extra."""

import subprocess
import sys

import pytest

from semantic_entropy import install_command

BLOCKED = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

BLOCKED = {"torch", "transformers", "trl", "accelerate", "datasets", "yaml", "matplotlib", "sklearn", "safetensors"}
sys.meta_path.insert(0, Nothing())
"""
COMMAND = "from empo_rl.cli import main; main()"

HINT = (
    f"not installed here: {install_command('semantic-entropy[rl]')} (docs/install.md says which build of torch to "
    "install, and lists the tested versions)\n"
)


def run_without_extra(code, *arguments, cwd, block=BLOCKED):
    command = [sys.executable, "-c", block + code, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [["recipes"], ["recipes", "tiny"], ["--help"], ["demo", "--help"]])
def test_commands_that_do_not_train_work_without_the_extra(arguments, tmp_path):
    done = run_without_extra(COMMAND, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("arguments", [["tiny"], ["demo"]])
def test_commands_that_train_name_the_extra(arguments, tmp_path):
    done = run_without_extra(COMMAND, *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert install_command("semantic-entropy[rl]") in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_one_missing_library_is_named_before_other_libraries_are_loaded(tmp_path):
    done = run_without_extra(COMMAND, "tiny", cwd=tmp_path, block="import sys; sys.modules['trl'] = None\n")
    assert done.stderr == f"Error: empo-train needs trl, {HINT}"


@pytest.mark.parametrize(
    "use", ["from empo_rl import EmpoGRPOTrainer", "from empo_rl.config.load import load_config; load_config('tiny')"]
)
def test_python_code_gets_an_error_of_the_package(use, tmp_path):
    code = f"""
from semantic_entropy import MissingDependencyError
try:
    {use}
except MissingDependencyError as error:
    print(error)
"""
    done = run_without_extra(code, cwd=tmp_path)
    assert done.stdout.endswith(HINT), done.stderr


def test_the_provider_works_without_the_extra(tmp_path):
    code = """
from empo_rl import EmpoProvider
with EmpoProvider("exact", extract="whole") as provider:
    print(provider.step([["a", "a", "b"]]).keep.tolist())
"""
    assert run_without_extra(code, cwd=tmp_path).stdout == "[True]\n"
