"""Read and prepare training questions, define the evaluation sets, and find questions that are in both.

    records.py           reads rows of a Hugging Face dataset, a JSONL file or a Parquet file
    prompts.py           makes the prompts that a trainer reads
    arithmetic.py        generated arithmetic questions of the demo
    suites.py            table of the evaluation sets
    sources.py           NuminaMath-CoT and Natural Reasoning: columns, and rules that remove rows
    prepare.py           samples rows with a seed, compares, drops, writes
    normal_form.py       tokens of a question, and the form in which questions are compared
    overlap.py           finds duplicates, and overlap with evaluation sets (exact and near)
    comparison_sets.py   loads the questions of the evaluation sets that overlap.py searches
    report.py            the result of a comparison as text and as JSON
    cli.py               the command `empo-data`

Training with EMPO needs no gold answers. The output files keep the answers of a data set for measurements, and for
baselines that train with gold answers. The search for overlap finds no translations, and no paraphrases that share few
words.
"""

from empo_rl.data.prompts import PromptSet, drop_long_prompts, prompt_columns, prompt_token_limit, read_prompts
from empo_rl.data.records import file_records, hub_records, jsonl_records, open_records
from empo_rl.data.suites import SETS, SUITES, QuestionSet, SetColumns, select_sets

__all__ = [
    "SETS",
    "SUITES",
    "PromptSet",
    "QuestionSet",
    "SetColumns",
    "drop_long_prompts",
    "file_records",
    "hub_records",
    "jsonl_records",
    "open_records",
    "prompt_columns",
    "prompt_token_limit",
    "read_prompts",
    "select_sets",
]
