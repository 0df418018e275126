"""Runs over inputs of any size: many files, many cores or machines, and an output of many Parquet files.

A run cuts its inputs into shards, which are ranges of rows. A shard is the unit of work and of resuming: a worker
scores it with `io.FileRun`, and publishes one complete Parquet file. The modules are: `storage` (a folder, or a bucket
of fsspec), `sections` (the inputs, and how they are cut), `shard_scoring` (the pure function that scores one shard),
`manifest` (what a run is, and which shards are finished), `earlier_results` (what is kept if the input has changed),
`local_engine` and `ray_engine` (who scores the shards), `ray_generation` (draws responses with `ray.data.llm`),
`one_file` (one file as output, and inputs of several files in one process), `output_place` (whether an output is a
folder of shards, or one file), and `bulk_run` (one run).
"""

from semantic_entropy.bulk.bulk_run import BulkRun
from semantic_entropy.bulk.one_file import OneFile, open_input
from semantic_entropy.bulk.output_place import is_cut_by_default, shards_of_output
from semantic_entropy.bulk.ray_engine import RayOptions
from semantic_entropy.bulk.ray_generation import NAME as RAY_LLM
from semantic_entropy.bulk.ray_generation import Generation

__all__ = [
    "RAY_LLM",
    "BulkRun",
    "Generation",
    "OneFile",
    "RayOptions",
    "is_cut_by_default",
    "open_input",
    "shards_of_output",
]
