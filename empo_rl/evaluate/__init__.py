"""The command `empo-eval`: greedy accuracy, pass@k, majority and semantic entropy on the paper's evaluation sets.

    plan.py                  checks the options, loads the questions, makes the prompts
      questions.py             questions with their gold answers
      prompt_builder.py        template, few-shot examples, chat template
    responses.py             samples responses and stores them; reads them back
    grades.py                compares answers with gold answers
    results.py, numbers.py   metrics of a set with confidence intervals
    table.py                 results as Markdown
    comparison.py            differences of two evaluations, with paired intervals
    evaluation_directory.py  the files of an evaluation
    evaluation_run.py        runs the steps above, in this order
    cli.py                   options of the command

The evaluation sets are defined in `empo_rl.data.suites`.
"""

from empo_rl.evaluate.evaluation_directory import RESULTS
from empo_rl.evaluate.numbers import pass_at_k

__all__ = ["RESULTS", "pass_at_k"]
