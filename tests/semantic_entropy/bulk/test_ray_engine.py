"""The engine `ray`, with a real Ray on this machine: the bytes of the engine `local`; killed actors and commands."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from semantic_entropy.bulk.ray_engine import ShardScorer
from tests.semantic_entropy.bulk.bulk_runs import (
    DEADLY,
    SECONDS,
    SLOW,
    command_of,
    estimate,
    kill,
    manifest,
    rows,
    shards,
    sitecustomize,
    start,
    wait_for,
    write,
)
from tests.shared_data import rows as shared_rows

pytest.importorskip("ray", reason="the extra ray is not installed; `python3 noxfile.py ray` runs these tests")

pytestmark = pytest.mark.timeout(900)  # each command starts a Ray, which takes minutes on a busy machine
SMALL = ["--shard-mb", "0.02", "--quiet"]
RAY = ["--engine", "ray", "--actors", 2]


def actors(run):
    """The process ids of the actors of this run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            is_of_run = f"BULK_TEST={run}".encode() in path.read_bytes().split(b"\0")
        except OSError:
            continue
        if is_of_run and "ray::MapWorker" in command_of(path.parent.name):
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("judge", ["text", "auto"])
def test_ray_writes_the_bytes_of_the_local_engine(judge, tmp_path):
    given = rows(500) if judge == "text" else shared_rows("samples.jsonl")[::30]
    source = write(tmp_path / "in.jsonl", [*given, "no JSON"])
    local = estimate(source, "-o", f"{tmp_path}/local/", "-e", judge, "--workers", 2, *SMALL)
    by_ray = estimate(source, "-o", f"{tmp_path}/ray/", "-e", judge, *RAY, *SMALL)
    assert local.returncode == by_ray.returncode == 1, by_ray.stderr  # one bad row
    assert len(shards(tmp_path / "local")) > 2
    assert shards(tmp_path / "local") == shards(tmp_path / "ray")
    assert (tmp_path / "local" / "_bad.jsonl").read_bytes() == (tmp_path / "ray" / "_bad.jsonl").read_bytes()


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_ray_writes_one_file_with_the_bytes_of_one_process(suffix, tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(300)), tmp_path / f"out.{suffix}"
    done = estimate(source, "-o", out, "-e", "text", *RAY, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "; Ray" in done.stderr
    assert estimate(source, "-o", tmp_path / f"one.{suffix}", "-e", "text", "--quiet").returncode == 0
    assert out.read_bytes() == (tmp_path / f"one.{suffix}").read_bytes()


def test_an_actor_closes_its_scorer_when_ray_drops_it(tmp_path):
    closed = []

    @contextlib.contextmanager
    def opened():
        yield object()
        closed.append(True)

    actor = ShardScorer(opened, "run")
    del actor
    assert closed == [True]


def test_the_shard_of_a_killed_actor_is_retried(tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(800)), tmp_path / "out"
    environment = {**sitecustomize(tmp_path / "slow", SLOW), "BULK_TEST": tmp_path.name}
    process = start(source, "-o", f"{out}/", "-e", "text", *RAY, *SMALL, env=environment)
    wait_for(lambda: list(out.glob("_shards/*.json")), process)
    os.kill(actors(tmp_path.name)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    assert manifest(out)["rows"] == 800
    assert estimate(source, "-o", f"{tmp_path}/whole/", "-e", "text", *SMALL).returncode == 0
    assert shards(out) == shards(tmp_path / "whole")


def test_a_run_on_ray_that_was_killed_continues_and_can_continue_on_the_other_engine(tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(800)), tmp_path / "out"
    environment = {**sitecustomize(tmp_path / "slow", SLOW), "BULK_TEST": tmp_path.name}
    process = start(source, "-o", f"{out}/", "-e", "text", *RAY, *SMALL, env=environment)
    wait_for(lambda: len(list(out.glob("_shards/*.json"))) >= 2, process)
    kill(process)
    end = time.monotonic() + SECONDS
    while actors(tmp_path.name):  # Ray ends them when their driver has died
        assert time.monotonic() < end
        time.sleep(0.1)
    finished = {path.stem for path in out.glob("_shards/*.json")}
    assert 2 <= len(finished) < 6
    again = estimate(source, "-o", f"{out}/", "-e", "text", *SMALL)
    assert again.returncode == 0, again.stderr
    assert f"{len(finished)} of them finished" in again.stderr
    assert estimate(source, "-o", f"{tmp_path}/whole/", "-e", "text", *SMALL).returncode == 0
    assert shards(out) == shards(tmp_path / "whole")


def test_a_shard_that_kills_each_actor_ends_the_run_with_its_name(tmp_path):
    given = rows(300)
    given[150]["responses"] = ["poison", "b"]
    source = write(tmp_path / "in.jsonl", given)
    environment = sitecustomize(tmp_path / "deadly", DEADLY)
    done = estimate(source, "-o", f"{tmp_path}/out/", "-e", "text", *RAY, *SMALL, env=environment)
    assert done.returncode == 1
    assert "3 actors died while they scored it" in done.stderr, done.stderr
    assert f"{source}, bytes" in done.stderr


def test_more_gpus_than_the_cluster_has_are_an_error(tmp_path):
    source = write(tmp_path / "in.jsonl", rows(5))
    done = estimate(
        source, "-o", f"{tmp_path}/out/", "-e", "text", "--engine", "ray", "--gpus-per-actor", 1000, "--quiet"
    )
    assert done.returncode == 1
    assert "--gpus-per-actor 1000: the cluster has" in done.stderr
