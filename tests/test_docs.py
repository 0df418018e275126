"""Run the documentation: its examples work, and the shown output is the real output.

Every ```python block runs. The blocks of a page run from top to bottom, in one namespace and in one empty folder, as a
reader would type them. The line above a block that cannot run here (a GPU, a model to download) gives the reason:

    <!-- not run: needs an NLI model from the hub -->

A ```console block under the line `<!-- checked -->` runs each of its `$ ` lines in that folder. The lines after a
command must equal its output; `...` matches any text, as in doctest.

A ```text block under the line `<!-- printed -->` must equal the output of the python block before it.

Pages: README.md, docs/**/*.md, plugins/**/README.md.
"""

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/**/README.md")])
FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})\s*(?P<language>[\w-]*)")
COMMAND = re.compile(r"^\$ (?P<command>.*)\n?(?P<shown>(?:(?!\$ ).*\n?)*)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: language, text, number of its first line, and the line above its fence."""

    language: str
    text: str
    line: int
    above: str

    @property
    def is_run(self) -> bool:
        return self.language == "python" and not self.above.startswith("<!-- not run: ")

    @property
    def is_checked(self) -> bool:
        return self.language == "console" and self.above == "<!-- checked -->"

    @property
    def is_printed(self) -> bool:
        return self.language == "text" and self.above == "<!-- printed -->"


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        fence = FENCE.match(lines[number])
        if fence is None:
            number += 1
            continue
        close = next(n for n in range(number + 1, len(lines)) if lines[n].strip() == fence["ticks"])
        text = "\n".join(line.removeprefix(fence["indent"]) for line in lines[number + 1 : close])
        above = lines[number - 1].strip() if number else ""
        yield Block(fence["language"], text, number + 2, above)
        number = close + 1


def run_python(block: Block, name: str, namespace: dict[str, object]) -> None:
    """Run a block in the namespace of the page, with the line numbers of the page: a failure names the page's line."""
    source = "\n" * (block.line - 1) + block.text
    try:
        exec(compile(source, name, "exec"), namespace)
    except Exception as error:  # noqa: BLE001 - any exception is a failure of the page
        trace = error.__traceback__
        lines = []
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == name:
                lines.append(trace.tb_lineno)
            trace = trace.tb_next
        line = lines[0] if lines else getattr(error, "lineno", block.line)
        pytest.fail(f"{name}:{line}: {type(error).__name__}: {error}", pytrace=False)


def run_console(block: Block, name: str) -> None:
    """Run the commands of a block one by one, and compare each output with the page."""
    searched = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    commands = list(COMMAND.finditer(block.text))
    assert commands, f"{name}:{block.line}: a checked console block without a `$ ` line"
    for match in commands:
        done = subprocess.run(
            match["command"],
            shell=True,
            env={**os.environ, "PATH": searched, "COLUMNS": "120", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        line = block.line + block.text[: match.start()].count("\n")
        assert done.returncode == 0, f"{name}:{line}: exit status {done.returncode}\n{done.stderr}"
        shown, printed = match["shown"].rstrip() + "\n", done.stdout.rstrip() + "\n"
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        same = doctest.OutputChecker().check_output(shown, printed, flags)
        assert same, f"{name}:{line}: the page shows\n{shown}\nand the command prints\n{printed}"


PAGES_THAT_RUN = [page for page in PAGES if any(block.is_run or block.is_checked for block in blocks(page))]


@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_examples_of_a_page_run_and_print_what_it_shows(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name = page.relative_to(ROOT).as_posix()
    namespace = {"__name__": "__main__"}
    for block in blocks(page):
        if block.is_run:
            capsys.readouterr()
            run_python(block, name, namespace)
        elif block.is_printed:
            assert block.text == capsys.readouterr().out.rstrip(), f"{name}:{block.line}: python prints something else"
        elif block.is_checked:
            run_console(block, name)


def test_the_readme_starts_with_two_commands_that_need_only_python():
    first = next(blocks(ROOT / "README.md"))
    assert first.text.splitlines() == ["python3 noxfile.py demo", "python3 noxfile.py tests"]


def test_every_python_block_of_the_readme_runs():
    examples = [block for block in blocks(ROOT / "README.md") if block.language == "python"]
    assert examples
    assert all(block.is_run for block in examples)


def test_a_failing_block_is_reported_with_page_and_line(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n```python\nx = 1\n```\n\ntext\n\n```python\ny = x\nassert y == 2\n```\n")
    namespace: dict[str, object] = {}
    first, second = blocks(page)
    run_python(first, "page.md", namespace)
    with pytest.raises(pytest.fail.Exception, match=r"^page\.md:11: AssertionError"):
        run_python(second, "page.md", namespace)


def test_a_changed_output_of_a_console_block_is_reported_with_page_and_line(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- checked -->\n```console\n$ echo one\none\n$ echo two\nthree\n```\n")
    (block,) = blocks(page)
    assert block.is_checked
    with pytest.raises(AssertionError, match=r"^page\.md:5: the page shows"):
        run_console(block, "page.md")


def test_no_page_has_the_marks_of_a_merge_conflict():
    marks = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)
    assert [page for page in [*PAGES, ROOT / "CHANGELOG.md"] if marks.search(page.read_text(encoding="utf-8"))] == []


def test_every_page_is_in_the_menu_once():
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    menu = config[config.index("\nnav:") : config.index("\ntheme:")]
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").glob("**/*.md")]
    assert sorted(re.findall(r"[\w./-]+\.md", menu)) == sorted(pages)


def test_the_files_that_contributing_names_exist():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    missing = []
    package = folder = ROOT
    for line in page[page.index("## Where does") : page.index("## Rules")].splitlines():
        if started := re.match(r"`([\w/]+/)`", line):
            package = ROOT / started[1]
        if line.startswith("|") and "*new*" not in line:
            for name in re.findall(r"`([\w/]+(?:/|\.py))`", line.split("|")[2]):
                if (package / name).exists():
                    folder = package / name
                elif not (folder / name).exists():  # a name in parentheses is in the folder before it
                    missing.append(f"{package.name}/{name}")
    assert missing == []
