"""Plan an evaluation before any response is sampled: check the options, load the questions, make the prompts."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from empo_rl.config.templates import Template
from empo_rl.data.suites import SETS, QuestionSet
from empo_rl.evaluate.evaluation_directory import EvaluationDirectory
from empo_rl.evaluate.prompt_builder import PromptBuilder, check_examples, load_examples
from empo_rl.evaluate.questions import EvaluationQuestion, has_golds, load_questions
from empo_rl.evaluate.responses import SamplingTask
from semantic_entropy import InputError

# Sampler options that empo-eval sets itself, and sampler options that do not change the responses.
_OWN_OPTIONS = frozenset(
    "model temperature top_p max_tokens seed system chat template chat_template messages logprobs end_token "
    "token_entropies hidden_states".split()
)
_NEUTRAL_OPTIONS = frozenset("device batch_tokens per_call engine compile allow_pickle".split())


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """The options of `empo-eval` that the responses depend on.

    Attributes:
        model: name on the hub, or a folder; a folder with a LoRA adapter is used with its base model.
        sets: the evaluation sets.
        files: set name -> JSONL file that replaces the dataset on the hub.
        source_column: column with the name of the set, for files that contain several sets.
        engine: "hf" or "vllm".
        engine_options: other options of the sampler.
        max_tokens: largest number of tokens of a response.
        samples: sampled responses to each question, in addition to the greedy response.
        temperature, top_p: sampling options of the sampled responses.
        seed: seed of sampling, of the choice of questions (`limit`) and of the order of choices.
        template: name of a template that replaces the template of each set.
        system, user, chat_template: values that replace these parts of the template.
        plain: use no chat template.
        few_shot: number of examples before each question.
        few_shot_file: JSONL file with the examples.
        limit: largest number of questions of a set, chosen at random.
    """

    model: str
    sets: Sequence[QuestionSet]
    files: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    source_column: str | None = None
    engine: str = "hf"
    engine_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    max_tokens: int = 2048
    samples: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    template: str | None = None
    system: str | None = None
    user: str | None = None
    chat_template: str | None = None
    plain: bool = False
    few_shot: int = 0
    few_shot_file: Path | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedSet:
    """A set with its questions and their prompts."""

    question_set: QuestionSet
    questions: Sequence[EvaluationQuestion]
    builder: PromptBuilder
    prompts: Sequence[str]


def plan(options: EvaluationOptions, directory: EvaluationDirectory) -> list[PlannedSet]:
    """Load the questions, make their prompts, and compare them with the directory. This function writes no file.

    Raises:
        InputError: a set, a template, the examples or the directory cannot be used, or there is nothing to measure.
    """
    names = [question_set.name for question_set in options.sets]
    if unknown := [name for name in options.files if name not in names]:
        raise InputError(f"--suite-file: {unknown[0]!r} is not in the evaluated sets: {', '.join(names)}.")
    if taken := sorted(_OWN_OPTIONS & options.engine_options.keys()):
        raise InputError(f"--engine-option {taken[0]}: empo-eval sets this option itself; see empo-eval --help.")
    planned = [_plan_set(question_set, options, directory) for question_set in options.sets]
    directory.check_settings(_settings(options, planned))
    for planned_set in planned:
        name = planned_set.question_set.name
        directory.check_questions(name, planned_set.questions, planned_set.prompts)
        if not has_golds(planned_set.questions) and options.samples < 2:
            raise InputError(
                f"set {name!r} has no gold answers, so only the semantic entropy can be measured, and it needs several "
                "samples: give --samples 8. (If the set has gold answers, name their column with --answer-column.)"
            )
    return planned


def store(planned: Sequence[PlannedSet], options: EvaluationOptions, directory: EvaluationDirectory) -> None:
    """Store the settings and the questions."""
    directory.write_settings(_settings(options, planned))
    for planned_set in planned:
        directory.write_questions(planned_set.question_set.name, planned_set.questions, planned_set.prompts)


def _settings(options: EvaluationOptions, planned: Sequence[PlannedSet]) -> dict[str, Any]:
    """The settings that the responses depend on. Device and batch size are left out: they do not change responses."""
    sampled = options.samples > 0
    sets = {
        planned_set.question_set.name: {
            "title": planned_set.question_set.title,
            "kind": planned_set.question_set.kind,
            "source": str(options.files.get(planned_set.question_set.name, planned_set.question_set.dataset)),
            **planned_set.builder.settings(),
        }
        for planned_set in planned
    }
    engine_options = {
        key: value for key, value in sorted(options.engine_options.items()) if key not in _NEUTRAL_OPTIONS
    }
    return {
        "model": options.model,
        "engine": options.engine,
        "engine_options": engine_options,
        "max_tokens": options.max_tokens,
        "samples": options.samples,
        "temperature": options.temperature if sampled else None,
        "top_p": options.top_p if sampled else None,
        "seed": options.seed,
        "chat_template": planned[0].builder.template.chat_template_text() if planned else None,
        "plain": options.plain,
        "few_shot": options.few_shot,
        "few_shot_file": str(options.few_shot_file) if options.few_shot_file else None,
        "limit": options.limit,
        "sets": sets,
    }


def sampling_tasks(planned: Sequence[PlannedSet], options: EvaluationOptions) -> list[SamplingTask]:
    """The sampling tasks: for each set, the greedy responses, then the samples.

    Greedy responses are only compared with gold answers, so a set without gold answers needs none.
    """
    tasks = []
    for planned_set in planned:
        name = planned_set.question_set.name
        common = {**planned_set.builder.sampler_options(), "max_tokens": options.max_tokens, "seed": options.seed}
        ids = [question.id for question in planned_set.questions]
        greedy = {**common, "temperature": 0.0, "top_p": 1.0}
        if has_golds(planned_set.questions):
            tasks.append(SamplingTask(name, "greedy", planned_set.prompts, ids, 1, greedy))
        if options.samples:
            sampled = {**common, "temperature": options.temperature, "top_p": options.top_p}
            tasks.append(SamplingTask(name, "samples", planned_set.prompts, ids, options.samples, sampled))
    return tasks


def _plan_set(question_set: QuestionSet, options: EvaluationOptions, directory: EvaluationDirectory) -> PlannedSet:
    """Plan one set. If the questions of a hub set are stored, use them: the hub can be unreachable or have changed."""
    file = options.files.get(question_set.name)
    stored = directory.questions(question_set.name) if directory.has_responses() else None
    if stored is not None and file is None and options.few_shot_file is None:
        builder = _prompt_builder(question_set, options, (), stored)
        return PlannedSet(question_set, stored, builder, directory.prompts(question_set.name))
    examples = load_examples(question_set, options.few_shot, options.few_shot_file)
    questions = _questions(question_set, options, file)
    builder = _prompt_builder(question_set, options, examples, questions)
    check_examples(builder, questions)
    return PlannedSet(question_set, questions, builder, [builder.prompt(question) for question in questions])


def _prompt_builder(
    question_set: QuestionSet,
    options: EvaluationOptions,
    pool: Sequence[EvaluationQuestion],
    questions: Sequence[EvaluationQuestion],
) -> PromptBuilder:
    given = {"system": options.system, "user": options.user, "chat_template": options.chat_template}
    chosen = {key: value for key, value in given.items() if value is not None}
    if chosen.get("system") == "":
        chosen["system"] = None  # type: ignore[assignment]  # --system "" removes the template's message
    try:
        template = Template.model_validate({"name": options.template or question_set.template, **chosen})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"--template/--system/--user: {reason}") from error
    conversations = any(question.messages for question in questions)
    return PromptBuilder(template, options.plain, options.few_shot, tuple(pool), conversations)


def _questions(question_set: QuestionSet, options: EvaluationOptions, file: Path | None) -> list[EvaluationQuestion]:
    column = options.source_column if question_set.name in SETS else None
    questions = load_questions(question_set, file, source_column=column, seed=options.seed)
    if options.limit is not None and options.limit < len(questions):
        rng = random.Random(f"questions {options.seed} {question_set.name}")
        questions = [questions[i] for i in sorted(rng.sample(range(len(questions)), options.limit))]
    return questions
