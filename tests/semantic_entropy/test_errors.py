"""Errors: the command that installs what is missing fits how the package was installed."""

from __future__ import annotations

import importlib.metadata
import json

import pytest

from semantic_entropy.errors import install_command, uninstall_command

DIRECTORY = {"url": "file:///home/me/my%20clone", "dir_info": {}}
EDITABLE = {"url": "file:///home/me/clone", "dir_info": {"editable": True}}
WHEEL = {"url": "file:///tmp/semantic_entropy-0.2.0-py3-none-any.whl", "archive_info": {}}
GIT = {"url": "https://example.org/se.git", "vcs_info": {"vcs": "git", "commit_id": "0f1e"}}

INSTALLED = [  # origin (direct_url.json, PEP 610), installer, command
    (None, "pip", "pip install 'semantic-entropy[nli]'"),
    (DIRECTORY, "pip", "pip install '/home/me/my clone[nli]'"),
    (EDITABLE, "pip", "pip install -e '/home/me/clone[nli]'"),
    (WHEEL, "pip", "pip install 'semantic-entropy[nli] @ file:///tmp/semantic_entropy-0.2.0-py3-none-any.whl'"),
    (GIT, "pip", "pip install 'semantic-entropy[nli] @ git+https://example.org/se.git@0f1e'"),
    (None, "uv", "uv pip install 'semantic-entropy[nli]'"),
    (EDITABLE, "uv\n", "uv pip install -e '/home/me/clone[nli]'"),
]


@pytest.fixture
def installed(monkeypatch):
    """A function that sets how the package was installed."""

    def set_origin(origin, installer):
        class Distribution:
            def read_text(self, name):
                return {"INSTALLER": installer, "direct_url.json": origin and json.dumps(origin)}[name]

        monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Distribution())

    return set_origin


@pytest.mark.parametrize(("origin", "installer", "command"), INSTALLED)
def test_the_command_installs_an_extra_from_where_the_package_came(installed, origin, installer, command):
    installed(origin, installer)
    assert install_command("semantic-entropy[nli]") == command


def test_extras_of_the_package_are_one_requirement_beside_others(installed):
    installed(EDITABLE, "pip")
    command = install_command("semantic-entropy[nli]", "vllm", "semantic-entropy[judge,nli]")
    assert command == "pip install -e '/home/me/clone[nli,judge]' 'vllm'"


@pytest.mark.parametrize("editable", [True, False])
def test_the_command_for_a_clone_uses_its_constraints(installed, tmp_path, editable):
    installed({"url": tmp_path.as_uri(), "dir_info": {"editable": editable}}, "pip")
    (tmp_path / "constraints.txt").touch()
    e = "-e " if editable else ""
    assert install_command("semantic-entropy[nli]") == (
        f"pip install -c '{tmp_path}/constraints.txt' {e}'{tmp_path}[nli]'"
    )
    assert install_command("vllm") == "pip install 'vllm'"  # vllm pins its own versions


def test_a_command_for_an_interpreter_names_it(installed):
    installed(None, "pip")
    assert install_command("vllm", python="/env/bin/python") == "/env/bin/python -m pip install 'vllm'"
    assert uninstall_command("broken", "/env/bin/python") == "/env/bin/python -m pip uninstall broken"
    installed(None, "uv")
    assert install_command("vllm", python="/env/bin/python") == "uv pip install --python /env/bin/python 'vllm'"
    assert uninstall_command("broken", "/env/bin/python") == "uv pip uninstall --python /env/bin/python broken"


def test_a_package_that_was_not_installed_gets_the_plain_command(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    assert install_command("semantic-entropy[nli]") == "pip install 'semantic-entropy[nli]'"


def test_the_origin_that_the_installer_of_this_environment_recorded_is_read():
    origin = importlib.metadata.distribution("semantic-entropy").read_text("direct_url.json")
    if origin is None or "dir_info" not in json.loads(origin):
        pytest.skip("this environment was not installed from a clone")
    folder = json.loads(origin)["url"].removeprefix("file://")
    assert f"'{folder}[nli]'" in install_command("semantic-entropy[nli]")
