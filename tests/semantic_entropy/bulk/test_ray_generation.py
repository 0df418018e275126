"""`--sampler ray-llm`: responses drawn by `ray.data.llm` from a real HTTP server; vLLM needs a GPU and is not run."""

from __future__ import annotations

import pytest

from semantic_entropy.bulk import Generation
from semantic_entropy.bulk.ray_generation import by_shard
from semantic_entropy.errors import InputError, SemanticEntropyError
from tests.plugins.chat_server import ChatServer, status
from tests.semantic_entropy.bulk.bulk_runs import estimate, manifest, scored, write

pytestmark = pytest.mark.timeout(900)  # each command starts a Ray, which takes minutes on a busy machine
ANSWERS = ("Paris", "It is Paris", "Rome")


def answer(exchange, body):
    """The seed decides the answer, so a question has three answers, in a fixed order."""
    text = ANSWERS[body["seed"] % 3]
    reason = "length" if text == "Rome" else "stop"
    exchange.send({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": reason}]})


@pytest.fixture
def with_ray():
    pytest.importorskip("ray", reason="the extra ray is not installed; `python3 noxfile.py ray` runs these tests")
    pytest.importorskip("aiohttp", reason="the extra ray is not installed")


QUESTIONS = [{"id": i, "question": f"Capital number {i}?"} for i in range(5)]


def test_questions_are_drawn_stored_and_scored_and_not_drawn_again(with_ray, tmp_path):
    given = [*QUESTIONS, {"id": 5, "question": "q?", "responses": ["a", "a"]}, {"id": 6}]
    given = [{**row, "note": "x" * 400} for row in given]
    source, out = write(tmp_path / "in.jsonl", given), tmp_path / "out"
    with ChatServer(answer) as server:
        options = ["--sampler-option=model=tiny", "--sampler-option=api_key=sk-secret", "--sampler", "ray-llm"]
        fixed = [source, "-o", f"{out}/", "-e", "exact", "--engine", "ray", "--quiet", "-n", 3, *options]
        command = [*fixed, f"--sampler-option=url={server.url}"]
        done = estimate(*command, "--shard-mb", "0.001")
        assert done.returncode == 1, done.stderr  # the row without a question
        assert len(manifest(out)["shards"]) > 2
        assert "5 of 15 responses (33.3%) were cut off at the token limit" in done.stderr
        assert {headers["Authorization"] for headers in server.headers} == {"Bearer sk-secret"}
        assert sorted(body["messages"][0]["content"] for body in server.requests) == sorted(
            row["question"] for row in QUESTIONS for _ in range(3)
        )
        assert {body["model"] for body in server.requests} == {"tiny"}
        found = scored(out)
        assert [row["id"] for row in found] == [0, 1, 2, 3, 4, 5]
        assert [row["responses"] for row in found] == [list(ANSWERS)] * 5 + [["a", "a"]]
        assert [len(row["clusters"]) for row in found] == [3] * 5 + [1]
        assert {row["provenance"]["model"] for row in found} == {"tiny"}
        assert [row.get("finish_reasons") for row in found] == [["stop", "stop", "length"]] * 5 + [None]
        assert all("1 of 3 responses were cut off" in " ".join(row["warnings"]) for row in found[:5])
        written = (out / "_manifest.json").read_text()
        assert "sk-secret" not in written
        assert server.url not in written
        before = len(server.requests)
        again = estimate(*fixed, "--sampler-option=url=http://127.0.0.1:9/v1")  # another server: nothing is left to ask
        assert "6 rows were done before" in again.stderr
        assert "5 of 15 responses (33.3%) were cut off at the token limit" in again.stderr
        assert len(server.requests) == before
        other = estimate(*command, "--sampler-option=temperature=0.2")
        assert "drawn with temperature" in other.stderr
        assert len(server.requests) == before


def test_a_server_that_fails_ends_the_run_with_the_shard_and_a_rerun_continues(with_ray, tmp_path):
    source, out = write(tmp_path / "in.jsonl", QUESTIONS), tmp_path / "out"
    with ChatServer(status(400, {"error": {"message": "no such model"}})) as server:
        options = ["--sampler-option=model=tiny", f"--sampler-option=url={server.url}", "--sampler", "ray-llm"]
        command = [source, "-o", f"{out}/", "-e", "exact", "--engine", "ray", "--quiet", "-n", 2, *options]
        done = estimate(*command)
        assert done.returncode == 1
        assert "part-00000-000000" in done.stderr
        assert "tiny gave no responses" in done.stderr
        assert "Traceback" not in done.stderr
        server._script[:] = [answer]
        again = estimate(*command)
        assert again.returncode == 0, again.stderr
        assert manifest(out)["rows"] == 5


def reply(shard, row, of_shard):
    return {"shard": shard, "row": row, "sample": 0, "of_shard": of_shard, "text": f"{row}", "finish_reason": "stop"}


def test_replies_that_arrive_again_are_ignored():
    replies = [reply("a", 0, 2), reply("b", 0, 1), reply("a", 0, 2), reply("b", 0, 1), reply("a", 1, 2)]
    replies += [reply("a", 0, 2), reply("b", 0, 1)]
    found = list(by_shard(replies, int))
    assert [name for name, _ in found] == ["b", "a"]
    assert found[1][1] == {(0, 0): ("0", "stop"), (1, 0): ("1", "stop")}


def test_replies_that_are_missing_are_an_error_that_names_the_shard():
    found = by_shard([reply("a", 0, 1), reply("b", 0, 3), reply("b", 2, 3)], int)
    assert next(found)[0] == "a"
    with pytest.raises(
        SemanticEntropyError, match=r"shard b: Ray returned 2 of 3 responses, and no error.* 1 complete shard"
    ):
        next(found)


@pytest.mark.parametrize(
    ("options", "n", "message"),
    [
        ({}, 10, "needs a model"),
        ({"model": "m", "temprature": 1}, 10, "Did you mean 'temperature'"),
        ({"model": "m"}, "auto", "a fixed number"),
    ],
)
def test_options_that_generation_does_not_have_are_errors(options, n, message):
    with pytest.raises(InputError, match=message):
        Generation.from_options(options, n)


def test_it_needs_the_engine_ray(tmp_path):
    source = write(tmp_path / "in.jsonl", QUESTIONS)
    done = estimate(source, "-o", f"{tmp_path}/out/", "--sampler", "ray-llm", "--sampler-option", "model=m")
    assert done.returncode == 2
    assert "add --engine ray" in done.stderr
