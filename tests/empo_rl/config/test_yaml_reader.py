"""Configurations that PyYAML reads slowly, reads with a traceback, or reads without notice of a mistake."""

import subprocess
import sys

import pytest

from empo_rl.config.load import load_config
from empo_rl.config.yaml_reader import MOST_CHARACTERS, parse_yaml
from semantic_entropy import InputError

MINIMAL = "output_dir: runs/x\ndata: {path: prompts.jsonl}\n"
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)  # 9^10 values
LONG_TEXT_BOMB = f"a: &a {'x' * 50_000}\nb: [{', '.join(['*a'] * 1000)}]\n"


CHECK_IN_TWO_GIGABYTES = """
import resource, sys
from empo_rl.check import check_run
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))  # without the limits of the reader, the bombs need 6 GB
for path in sys.argv[1:]:
    print(check_run(path)[0].text)
"""


def test_aliases_that_expand_to_a_large_value_are_refused_in_little_memory(tmp_path):
    for key in ("model", "extends", "template", "unknown"):
        (tmp_path / f"{key}-values.yaml").write_text(f"{BOMB}{key}: *a9\n{MINIMAL}")
        (tmp_path / f"{key}-text.yaml").write_text(f"{LONG_TEXT_BOMB}{key}: *a\n{MINIMAL}")
    command = [sys.executable, "-c", CHECK_IN_TWO_GIGABYTES, *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    for line in lines:
        assert f"more than {MOST_CHARACTERS:,} characters, where an alias counts as its value" in line
        assert len(line) < 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: " + "[" * 100_000, "more than 20 nested levels"),
        ("model: " + "[" * 40 + "]" * 40, "line 1: more than 20 nested levels"),
        ("a: &a [*a]", "line 1: an alias is inside of its own value"),
        ("seed: " + "9" * 5000, "Exceeds the limit"),
        ("seed: 0x" + "f" * 5000, "seed: the number has more than 64 bits"),
        ("made: 2026-99-99", "not readable as YAML: month must be in 1..12"),
        ("seed: 1\nmodel: x\nseed: 2", "line 1: the key 'seed' is given twice"),
        ("1: x", "the key 1 is not text. Write it in quotes"),
        ('model: "\\ud83d"', "model: the text contains half of a UTF-16 pair"),
        ("model: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: b\n---\nc: d", "expected a single document"),
        ("model: \0", "special characters are not allowed"),
    ],
)
def test_a_text_that_is_not_a_configuration_is_one_error(text, message, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        load_config(str(path))
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 600


def test_ordinary_anchors_and_merged_sections_are_read():
    text = "base: &base {a: 1, b: 2}\nmine: {<<: *base, b: 3}\nsame: *base\n"
    assert parse_yaml(text, "x")["mine"] == {"a": 1, "b": 3}
    assert parse_yaml(text, "x")["same"] == {"a": 1, "b": 2}


def test_an_override_changes_one_of_two_sections_that_share_an_anchor(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("model: x\noutput_dir: y\ndata: &d {path: p}\ntrl: *d\n")
    assert load_config(str(path), ["trl.path=q"]).data.path == "p"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "model: caf\xe9\n".encode("latin-1"),
            r"line 1 is not UTF-8 \(byte 0xe9\). Save the file",
        ),
        ("model: x\n".encode("utf-16"), r"line 1 is not UTF-8 \(byte 0xff\)"),
        (b"#" * (4 * MOST_CHARACTERS + 1), "too large for a configuration"),
    ],
)
def test_a_file_in_another_encoding_or_too_large_is_refused(content, message, tmp_path):
    (tmp_path / "run.yaml").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_config(str(tmp_path / "run.yaml"))


def test_a_file_with_the_mark_of_a_windows_editor_is_read(tmp_path):
    (tmp_path / "run.yaml").write_bytes(b"\xef\xbb\xbfmodel: x\n" + MINIMAL.encode())
    assert load_config(str(tmp_path / "run.yaml")).model == "x"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learning_rate=.inf", "training.learning_rate=inf: expected a finite number"),
        ("training.learning_rate=.nan", "training.learning_rate=nan: expected a finite number"),
        ("training.steps=" + "9" * 5000, "Exceeds the limit"),
        ("empo.reward_options." + "a." * 5000 + "b=1", "has more than 20 parts"),
        ("seed=[" + "[" * 5000, "nested levels"),
    ],
)
def test_an_argument_beyond_all_limits_is_one_short_error(override, message):
    with pytest.raises(InputError, match=message) as caught:
        load_config("tiny", [override])
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("source", ["x" * 5000, "a\0b"])
def test_a_name_that_cannot_be_a_file_is_no_traceback(source):
    with pytest.raises(InputError, match="no such file, and no recipe of that name"):
        load_config(source)
