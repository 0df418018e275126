import dataclasses

import pytest
from click.testing import CliRunner

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from semantic_entropy import InputError
from semantic_entropy.cli import main
from semantic_entropy.serve import ServiceSettings, run_service
from semantic_entropy.serve.service_settings import is_loopback

TOKEN = "correct-horse-battery"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_alone(host, expected):
    assert is_loopback(host) is expected


def test_another_host_needs_a_token():
    with pytest.raises(InputError, match=r"--host 0\.0\.0\.0 can be reached.*SEMANTIC_ENTROPY_TOKEN"):
        ServiceSettings(host="0.0.0.0")
    assert ServiceSettings(host="0.0.0.0", token=TOKEN).host == "0.0.0.0"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"token": "short"}, "5 characters"),
        ({"token": "a token with spaces in it"}, "space"),
        ({"workers": 0}, "workers is 0"),
        ({"queue": 0}, "queue is 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"fail_above": float("nan")}, "fail_above is nan"),
        ({"block_above": 1.5}, "block_above is 1.5"),
        ({"min_samples": 1}, "min_samples is 1"),
        ({"fail_on": "allow"}, "'allow': use one of warn, defer, block"),
        ({"compare": "some"}, "'some': use one of whole, answer"),
        ({"on_unknown": "maybe"}, "'maybe': use one of block, allow"),
        ({"telemetry": "x"}, "'x': use one of"),
    ],
)
def test_an_impossible_setting_is_named(settings, named):
    with pytest.raises(InputError, match=named):
        ServiceSettings(**settings)


def test_the_token_is_in_no_repr_and_no_error():
    assert TOKEN not in repr(ServiceSettings(token=TOKEN))
    with pytest.raises(InputError) as caught:
        ServiceSettings(token="hunter2")
    assert "hunter2" not in str(caught.value)


def started(monkeypatch, *arguments, token=None):
    """The settings with which the command starts the service, or its error."""
    seen = []
    monkeypatch.setattr(
        "semantic_entropy.serve.run_service", lambda settings, _, on_ready: (seen.append(settings), on_ready())
    )
    environment = {"SEMANTIC_ENTROPY_TOKEN": token}
    result = CliRunner().invoke(main, ["serve", *arguments], env=environment)
    return (seen[0], result.output) if seen else (None, result.output)


def test_the_command_has_the_defaults_of_the_settings(monkeypatch):
    settings, _ = started(monkeypatch)
    fields = {each.name for each in dataclasses.fields(ServiceSettings)} - {"choices"}
    assert {name: getattr(settings, name) for name in fields} == {
        name: getattr(ServiceSettings(), name) for name in fields
    }


def test_the_command_describes_the_scorer(monkeypatch):
    options = "-e nli --option model=x --estimator discrete --sampler openai --sampler-option model=y -n 4 --model z"
    settings, _ = started(monkeypatch, *options.split(), "--fail-above", "0.5")
    assert settings.choices["equivalence_options"] == {"model": "x"}
    assert settings.choices["estimator"] == ["discrete"]
    assert (settings.choices["sampler_options"], settings.choices["n"]) == ({"model": "y"}, 4)
    assert settings.choices["model"] == "z"


def test_the_command_refuses_another_host_without_a_token(monkeypatch, tmp_path):
    settings, output = started(monkeypatch, "--host", "0.0.0.0")
    assert settings is None
    assert "there is no token" in output
    assert started(monkeypatch, "--host", "0.0.0.0", token=TOKEN)[0].token == TOKEN
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert started(monkeypatch, "--token-file", str(tmp_path / "token"))[0].token == TOKEN


def test_the_command_says_what_it_cannot_do_and_then_the_address(monkeypatch):
    _, output = started(monkeypatch)
    assert output.splitlines()[-1] == "http://127.0.0.1:8000 (1 worker); Ctrl-C ends the service"
    assert "no --calibration and no --fail-above" in output
    assert "no --sampler" in output
    options = ["--sampler", "openai", "--sampler-option", "model=x", "--workers", "2", "--fail-above", "1"]
    _, output = started(monkeypatch, *options)
    assert "use --workers 1" in output


def test_without_the_extra_the_command_names_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    _, output = started(monkeypatch)
    assert "needs fastapi" in output
    assert (
        "semantic-entropy[serve]" in output.replace("-e ", "semantic-entropy").replace("\n", "") or "[serve]" in output
    )


def test_run_service_is_public():
    assert callable(run_service)
