"""Sections of files: each row is in one section, in its order, whatever the lines are."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy.bulk.sections import BulkInput, cut, find_inputs, unread_files, write_section
from semantic_entropy.errors import InputError
from semantic_entropy.io import InputOptions
from tests.semantic_entropy.bulk.bulk_runs import estimate, rows, write

pa = pytest.importorskip("pyarrow", reason="the extra bulk is not installed")
pq = pytest.importorskip("pyarrow.parquet")

# Lines of very different lengths, blank ones, and a last line without its end
TEXTS = st.lists(st.sampled_from(["", "a", "bc", "é", "x" * 30, "y" * 100]), max_size=20)


@given(lines=TEXTS, size=st.integers(1, 50), ends=st.booleans())
def test_the_sections_of_a_file_are_the_file(lines, size, ends, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    content = "\n".join(lines).encode() + b"\n" * ends
    (folder / "in.jsonl").write_bytes(content)
    source = BulkInput(str(folder / "in.jsonl"), len(content), "", "jsonl")
    parts, numbers = [], []
    for section in cut(source, size / 1e6):
        numbers.append(write_section(section, folder / "part"))
        parts.append((folder / "part").read_bytes())
    assert b"".join(parts) == content
    assert sum(numbers) == len(content.splitlines(keepends=True))
    assert all(part.endswith(b"\n") for part in parts[:-1] if part) or not ends


def test_a_parquet_file_is_cut_at_its_row_groups(tmp_path):
    table = pa.Table.from_pylist(rows(100))
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=10)
    (source,) = find_inputs([str(tmp_path / "in.parquet")], InputOptions())
    sections = list(cut(source, 0.002))
    assert len(sections) > 3
    assert [section.start for section in sections[1:]] == [section.stop for section in sections[:-1]]
    found = []
    for section in sections:
        assert section.before == len(found)
        assert write_section(section, tmp_path / "part.parquet") == pq.read_metadata(tmp_path / "part.parquet").num_rows
        found += pq.read_table(tmp_path / "part.parquet").to_pylist()
    assert found == table.to_pylist()


def test_a_folder_a_pattern_and_a_url_mean_their_files(tmp_path):
    for name in ("b.jsonl", "a.ndjson", "deep/c.jsonl", "_old/d.jsonl", ".e.jsonl", "notes.txt"):
        write(tmp_path / "rows" / name, rows(1))
    found = [each.name for each in find_inputs([str(tmp_path / "rows")], InputOptions())]
    assert found == [str(tmp_path / "rows" / name) for name in ("a.ndjson", "b.jsonl", "deep/c.jsonl")]
    assert [each.name for each in find_inputs([f"{tmp_path}/rows/*.jsonl"], InputOptions())] == found[1:2]
    assert [each.name for each in find_inputs([f"file://{tmp_path}/rows"], InputOptions())] == found
    with pytest.raises(InputError, match="no such file, and no folder with files"):
        find_inputs([f"{tmp_path}/rows/*.parquet"], InputOptions())


def test_the_format_is_found_once_for_a_whole_file(tmp_path):
    reply = {"custom_id": "1", "response": {"body": {"choices": [{"message": {"content": "Paris"}}]}}}
    source = write(tmp_path / "batch.jsonl", [reply] * 3)
    (found,) = find_inputs([str(source)], InputOptions())
    assert found.format == "openai"
    array = tmp_path / "array.jsonl"
    array.write_text("[\n" + json.dumps(rows(1)[0]) + "\n]")
    with pytest.raises(InputError, match=r"array.jsonl is json, which cannot be cut"):
        find_inputs([str(array)], InputOptions())


def test_a_file_that_changes_during_a_run_is_an_error(tmp_path):
    source = write(tmp_path / "in.jsonl", rows(20))
    (found,) = find_inputs([str(source)], InputOptions())
    first, second = cut(found, 0.001 * 1.5), tmp_path / "part"
    write_section(next(first), second)
    write(source, rows(21))
    with pytest.raises(InputError, match="the file has changed since the run began"):
        write_section(next(first), second)


def test_a_file_with_several_names_is_one_file(tmp_path):
    source = write(tmp_path / "rows" / "b.jsonl", rows(20))
    (tmp_path / "rows" / "a.jsonl").symlink_to("b.jsonl")  # sorted before its target
    (tmp_path / "rows" / "c.jsonl").hardlink_to(source)
    given = [str(tmp_path / "rows")]
    assert [each.name for each in find_inputs(given, InputOptions())] == [str(source)]
    assert [each.name for each in find_inputs([*given, str(source)], InputOptions())] == [str(source)]
    folder = tmp_path / "rows"
    assert unread_files(given) == (
        f"2 other names of files in the input not read: {folder}/a.jsonl (the same file as {source}), "
        f"{folder}/c.jsonl (the same file as {source})"
    )
    assert [each.name for each in find_inputs([f"{folder}/a.jsonl"], InputOptions())] == [f"{folder}/a.jsonl"]


def test_links_that_are_not_read_are_named(tmp_path):
    write(tmp_path / "other" / "b.jsonl", rows(20))
    write(tmp_path / "rows" / "a.jsonl", rows(20))
    (tmp_path / "rows" / "more").symlink_to("../other")
    (tmp_path / "rows" / "lost.jsonl").symlink_to("nowhere")
    (tmp_path / "rows" / "_old").symlink_to("../other")
    assert unread_files([str(tmp_path / "rows")]) == (
        f"2 links in the input not read: {tmp_path}/rows/lost.jsonl (a broken link), "
        f"{tmp_path}/rows/more (a link to a folder)"
    )
    done = estimate(tmp_path / "rows", "-o", f"{tmp_path}/out/", "-e", "text", "--quiet")
    assert done.returncode == 0
    assert "rows/more (a link to a folder)" in done.stderr
    written = estimate(tmp_path / "rows", "-e", "text", "--quiet")  # one process
    assert "rows/more (a link to a folder)" in written.stderr


@pytest.mark.parametrize("output", ["out/", "out.jsonl", None])
def test_an_empty_name_does_not_mean_the_current_folder(output, tmp_path):
    write(tmp_path / "a.jsonl", rows(3))
    pq.write_table(pa.Table.from_pylist(rows(3)), tmp_path / "b.parquet")
    done = estimate("", *(["-o", output] if output else []), "-e", "text", "--quiet", cwd=tmp_path)
    assert done.returncode != 0
    assert "the name of the input is empty" in done.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.jsonl", "b.parquet"]
    done = estimate("a.jsonl", "-o", "", "-e", "text", "--quiet", cwd=tmp_path)
    assert done.returncode == 2
    assert "the name is empty" in done.stderr


LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
"""


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_full_disk_does_not_blame_the_input(suffix, tmp_path):
    source = tmp_path / f"in.{suffix}"
    if suffix == "jsonl":
        write(source, rows(300))
    else:
        pq.write_table(pa.Table.from_pylist([{**row, "text": f"{row} " * 9} for row in rows(300)]), source)
    (found,) = find_inputs([str(source)], InputOptions())
    section, target = next(cut(found, 4)), tmp_path / "work" / "part"
    target.parent.mkdir()
    code = LIMITED + (
        "import pickle, sys\n"
        "from pathlib import Path\n"
        "from semantic_entropy.bulk.sections import write_section\n"
        "section, target = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "try:\n    write_section(section, target)\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    argument = pickle.dumps((section, target)).hex()
    done = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"SemanticEntropyError the rows of a shard cannot be written to {target.parent}: "), (
        done
    )
    assert str(source) not in done.stdout


def test_a_damaged_input_is_named(tmp_path):
    source = tmp_path / "in.parquet"
    pq.write_table(pa.Table.from_pylist(rows(300)), source, write_page_checksum=True)
    content = bytearray(source.read_bytes())
    content[200] ^= 1
    source.write_bytes(content)
    (found,) = find_inputs([str(source)], InputOptions())
    with pytest.raises(InputError, match=r"in.parquet, row groups 0 to 1: cannot be read: .*verif"):
        write_section(next(cut(found, 4)), tmp_path / "part.parquet")


def test_a_damaged_name_of_a_column_is_an_error_that_names_the_file(tmp_path):
    source = tmp_path / "in.parquet"
    pq.write_table(pa.table({"responses": [["a", "b"]]}), source)
    source.write_bytes(source.read_bytes().replace(b"responses", b"respons\xe9s"))
    with pytest.raises(InputError, match=r"in\.parquet: not a Parquet file: 'utf-8' codec"):
        [*cut(*find_inputs([str(source)], InputOptions()), 1)]
