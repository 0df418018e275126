"""What a command asks for, checked before anything is generated: sets, questions, and how they are asked."""

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
from empo_rl.evaluate.asking import Asking, check_examples, examples_for
from empo_rl.evaluate.evaluation_directory import Directory
from empo_rl.evaluate.questions import Question, load_questions
from empo_rl.evaluate.sampled_responses import Task
from semantic_entropy import InputError

# Options of a sampler that this command sets itself, and those that change no response.
_FLAGS = frozenset(
    "model temperature top_p max_tokens seed system chat template chat_template logprobs end_token token_entropies "
    "hidden_states".split()
)
_NO_PART = frozenset("device batch_tokens per_call engine compile allow_pickle".split())


@dataclass(frozen=True, slots=True)
class Wanted:
    """The choices of a command that the responses depend on.

    sets: to ask. files: in place of the hub, by set; source_column: of these files, if one holds several sets.
    template, system, user, chat_template: in place of the set's own template. limit: questions of a set at most, drawn
    under the seed. samples: beside the greedy response, under temperature and top_p.
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
class Planned:
    """A set with its questions, the way they are asked, and the texts that ask them."""

    one: QuestionSet
    questions: Sequence[Question]
    asking: Asking
    prompts: Sequence[str]


def plan(wanted: Wanted, directory: Directory) -> list[Planned]:
    """Read the questions, or take those that the directory keeps; keep them there, and the settings.

    Raises:
        InputError: a set, a template, an example or the directory is not as it must be.
    """
    if unknown := [name for name in wanted.files if name not in {one.name for one in wanted.sets}]:
        raise InputError(f"--suite-file: {unknown[0]!r} is none of the sets asked for: {_names(wanted.sets)}.")
    if taken := sorted(_FLAGS & wanted.engine_options.keys()):
        raise InputError(f"--engine-option {taken[0]}: a flag of its own sets that.")
    found = [_planned(one, wanted, directory) for one in wanted.sets]
    directory.keep_settings(settings(wanted, found))
    for planned in found:
        directory.keep_questions(planned.one.name, planned.questions, planned.prompts)
    return found


def settings(wanted: Wanted, planned: Sequence[Planned]) -> dict[str, Any]:
    """All that the responses depend on; device and batch size are no part of it."""
    sampled = wanted.samples > 0
    sets = {
        one.one.name: {
            "title": one.one.title,
            "kind": one.one.kind,
            "source": str(wanted.files.get(one.one.name, one.one.dataset)),
            **one.asking.describe(),
        }
        for one in planned
    }
    options = {key: value for key, value in sorted(wanted.engine_options.items()) if key not in _NO_PART}
    return {
        "model": wanted.model,
        "engine": wanted.engine,
        "engine_options": options,
        "max_tokens": wanted.max_tokens,
        "samples": wanted.samples,
        "temperature": wanted.temperature if sampled else None,
        "top_p": wanted.top_p if sampled else None,
        "seed": wanted.seed,
        "chat_template": planned[0].asking.template.chat_template_text() if planned else None,
        "plain": wanted.plain,
        "few_shot": wanted.few_shot,
        "few_shot_file": str(wanted.few_shot_file) if wanted.few_shot_file else None,
        "limit": wanted.limit,
        "sets": sets,
    }


def tasks(planned: Sequence[Planned], wanted: Wanted) -> list[Task]:
    """What has to be drawn: of each set the greedy responses, then the samples."""
    found = []
    for one in planned:
        common = {**one.asking.sampler_options(), "max_tokens": wanted.max_tokens, "seed": wanted.seed}
        ids = [question.id for question in one.questions]
        greedy = {**common, "temperature": 0.0, "top_p": 1.0}
        found.append(Task(one.one.name, "greedy", one.prompts, ids, 1, greedy))
        if wanted.samples:
            drawn = {**common, "temperature": wanted.temperature, "top_p": wanted.top_p}
            found.append(Task(one.one.name, "samples", one.prompts, ids, wanted.samples, drawn))
    return found


def _planned(one: QuestionSet, wanted: Wanted, directory: Directory) -> Planned:
    """A hub's set that has been asked here is not loaded again: it may have changed, or be out of reach."""
    file = wanted.files.get(one.name)
    kept = directory.questions(one.name) if directory.holds_responses() else None
    if kept is not None and file is None and wanted.few_shot_file is None:
        return Planned(one, kept, _asking(one, wanted, ()), directory.prompts(one.name))
    asking = _asking(one, wanted, examples_for(one, wanted.few_shot, wanted.few_shot_file))
    questions = _questions(one, wanted, file)
    check_examples(asking, questions)
    return Planned(one, questions, asking, [asking.text(question) for question in questions])


def _asking(one: QuestionSet, wanted: Wanted, pool: Sequence[Question]) -> Asking:
    given = {"system": wanted.system, "user": wanted.user, "chat_template": wanted.chat_template}
    chosen = {key: value for key, value in given.items() if value is not None}
    if chosen.get("system") == "":
        chosen["system"] = None  # type: ignore[assignment]  # --system "" leaves the template's out
    try:
        template = Template.model_validate({"name": wanted.template or one.template, **chosen})
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"--template/--system/--user: {said}") from error
    return Asking(template, wanted.plain, wanted.few_shot, tuple(pool))


def _questions(one: QuestionSet, wanted: Wanted, file: Path | None) -> list[Question]:
    column = wanted.source_column if one.name in SETS else None
    questions = load_questions(one, file, source_column=column, seed=wanted.seed)
    if wanted.limit is not None and wanted.limit < len(questions):
        dice = random.Random(f"questions {wanted.seed} {one.name}")
        questions = [questions[i] for i in sorted(dice.sample(range(len(questions)), wanted.limit))]
    return questions


def _names(sets: Sequence[QuestionSet]) -> str:
    return ", ".join(one.name for one in sets)
