"""A person labels rows: the command runs as a process in a pseudo-terminal, and a test types its keys."""

import os
import select
import signal
import subprocess
import sys
import time

import pytest

from tests.semantic_entropy.cli.command import COMMAND, read, write

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminals of this kind", allow_module_level=True)
import fcntl
import pty
import struct
import termios

ROWS = [{"id": i, "question": f"Question {i}?", "reply": f"Reply {i}", "gold": f"Gold {i}"} for i in range(6)]
SECONDS = 60.0


class Terminal:
    """The command in a pseudo-terminal."""

    def __init__(self, *arguments):
        self._own, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 90, 0, 0))
        command = [*COMMAND, "label", *map(str, arguments)]
        self.process = subprocess.Popen(
            command,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # so that Ctrl-C is a signal
        )
        os.close(terminal)
        self.shown, self._seen = "", 0

    def wait_for(self, text):
        """Wait until the text is shown after the last one that was waited for."""
        end = time.monotonic() + SECONDS
        while (found := self.shown.find(text, self._seen)) < 0:
            assert time.monotonic() < end, self.shown
            if not select.select([self._own], [], [], 1)[0]:
                continue
            try:
                part = os.read(self._own, 1 << 16)
            except OSError:  # the other end is closed
                part = b""
            assert part, f"the command ended: {self.shown}"
            self.shown += part.decode(errors="replace").replace("\r\n", "\n")
        self._seen = found + len(text)

    def type(self, keys, *, then):
        os.write(self._own, keys.encode())
        self.wait_for(then)

    def ends(self):
        """Return the exit status, and read what is shown until the end."""
        while True:
            try:
                part = os.read(self._own, 1 << 16)
            except OSError:
                break
            if not part:
                break
            self.shown += part.decode(errors="replace")
        return self.process.wait(SECONDS)

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(SECONDS)
        os.close(self._own)


def arguments(tmp_path, *more):
    file = tmp_path / "rows.jsonl"
    if not file.exists():
        write(file, ROWS)
    return file, "-o", tmp_path / "out.jsonl", "--answer", "reply", "--order", "file", *more


def labels(tmp_path):
    return {row["id"]: row["answer_correct"] for row in read(tmp_path / "out.jsonl")}


def test_a_person_labels_skips_undoes_and_quits(tmp_path):
    terminal = Terminal(*arguments(tmp_path, "--show", "gold"))
    terminal.wait_for("6 answers to label")
    terminal.wait_for("Gold 0")
    terminal.type("y", then="Reply 1")
    terminal.type("n", then="Reply 2")
    terminal.wait_for("Gold 2")
    assert "3 of 6; 2 labelled, 1 wrong" in terminal.shown
    terminal.type("u", then="Reply 1")
    terminal.type("x", then="y right   n wrong")  # no key of the dialog
    terminal.type("y", then="Reply 2")
    terminal.type("s", then="Reply 3")
    terminal.type("q", then="labels still needed")
    assert terminal.ends() == 0
    assert labels(tmp_path) == {0: True, 1: True, 2: None, 3: None, 4: None, 5: None}
    rows = read(tmp_path / "out.jsonl")
    assert [row["label"]["by"] for row in rows] == ["person", "person", None, None, None, None]
    assert [row["label"].get("why") for row in rows][2:4] == ["skipped", "not labelled yet"]
    assert [row["gold"] for row in rows] == [row["gold"] for row in ROWS]


def test_a_killed_dialog_loses_no_answer_and_asks_none_again(tmp_path):
    terminal = Terminal(*arguments(tmp_path))
    terminal.wait_for("Reply 0")
    terminal.type("y", then="Reply 1")
    terminal.type("n", then="Reply 2")
    terminal.kill()
    assert labels(tmp_path) == {0: True, 1: False}  # a labelled file already
    with (tmp_path / "out.jsonl").open("ab") as file:
        file.write(b'{"id": 2, "quest')  # what a kill during a write leaves
    terminal = Terminal(*arguments(tmp_path))
    terminal.wait_for("4 answers to label")
    terminal.wait_for("Reply 2")
    terminal.type("n", then="Reply 3")
    terminal.type("\x03", then="have a label")  # Ctrl-C
    assert terminal.ends() == 0
    assert "Reply 0" not in terminal.shown
    assert labels(tmp_path) == {0: True, 1: False, 2: False, 3: None, 4: None, 5: None}
    terminal = Terminal(*arguments(tmp_path))
    terminal.wait_for("Reply 3")
    for following in ("Reply 4", "Reply 5", "6 of 6 rows have a label"):
        terminal.type("y", then=following)
    assert terminal.ends() == 0
    assert labels(tmp_path) == {0: True, 1: False, 2: False, 3: True, 4: True, 5: True}
    terminal = Terminal(*arguments(tmp_path))
    terminal.wait_for("nothing to label")
    assert terminal.ends() == 0


def test_an_undone_label_is_not_in_the_file_after_a_kill(tmp_path):
    terminal = Terminal(*arguments(tmp_path))
    terminal.wait_for("Reply 0")
    terminal.type("u", then="nothing to undo")
    terminal.wait_for("Reply 0")  # keys that are typed before a row is shown are dropped
    terminal.type("y", then="Reply 1")
    terminal.type("s", then="Reply 2")
    terminal.type("u", then="Reply 1")  # undoes the skip
    terminal.type("u", then="Reply 0")  # undoes the label
    terminal.kill()
    assert labels(tmp_path) == {}


def test_a_person_labels_what_the_judge_left(tmp_path):
    rows = [
        {"question": "Q1?", "reply": "Paris", "gold": "Paris"},
        {"question": "Q2?", "reply": "Rome", "gold": None},
    ]
    file = write(tmp_path / "rows.jsonl", rows)
    command = [*COMMAND, "label", file, "-o", tmp_path / "out.jsonl", "--answer", "reply", "--gold", "gold"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    terminal = Terminal(*arguments(tmp_path))
    terminal.wait_for("Rome")
    terminal.type("n", then="2 of 2 rows have a label")
    assert terminal.ends() == 0
    assert [row["label"]["by"] for row in read(tmp_path / "out.jsonl")] == ["judge text", "person"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert [row["answer_correct"] for row in read(tmp_path / "out.jsonl")] == [True, False]


def test_what_a_model_wrote_cannot_control_the_terminal_and_a_long_text_is_cut(tmp_path):
    evil = "\x1b]0;title\x07\x1b[2J\x1b[31mred\u202e" + "".join(f"\nline {i}" for i in range(40))
    write(tmp_path / "rows.jsonl", [{"question": "\x1b[1mQ\x9b2J", "reply": evil, "no\x1b[te": "\x1b[3m"}])
    terminal = Terminal(*arguments(tmp_path, "--show", "no\x1b[te"))
    terminal.wait_for("more lines (m)")
    terminal.type("m", then="line 39")
    terminal.type("y", then="1 of 1 row")
    assert terminal.ends() == 0
    own = ("\x1b[0m", "\x1b[1m", "\x1b[2m")  # bold and dim
    rest = terminal.shown
    for code in own:
        rest = rest.replace(code, "")
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(rest)
    assert read(tmp_path / "out.jsonl")[0]["reply"] == evil


def test_two_terminals_cannot_label_into_one_file(tmp_path):
    terminal = Terminal(*arguments(tmp_path))
    terminal.wait_for("Reply 0")
    second = Terminal(*arguments(tmp_path))
    second.wait_for("another run is writing")
    assert second.ends() == 1
    terminal.type("y", then="Reply 1")
    terminal.kill()
    assert labels(tmp_path) == {0: True}
