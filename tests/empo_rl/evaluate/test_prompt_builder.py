"""Prompts with templates, with examples, and without a chat template."""

from __future__ import annotations

import json

import pytest

from empo_rl.config.templates import Template
from empo_rl.data.suites import SETS
from empo_rl.evaluate.prompt_builder import PromptBuilder, check_examples, load_examples
from empo_rl.evaluate.questions import EvaluationQuestion
from semantic_entropy import InputError

TEMPLATE = Template(system="Be brief.", user="Q: {question}")
QUESTION = EvaluationQuestion("s-0", "1+1?", "2", "f:1")


def example(i, category=None, worked=None):
    return EvaluationQuestion(f"e-{i}", f"{i}+0?", str(i), f"e:{i}", category, None, worked)


def test_without_examples_the_prompt_is_the_user_message_of_the_template():
    builder = PromptBuilder(TEMPLATE)
    assert builder.prompt(QUESTION) == "Q: 1+1?"
    assert builder.sampler_options() == {"chat": True, "system": "Be brief.", "messages": False}


def test_examples_precede_the_question_each_with_its_solution_and_a_boxed_answer():
    pool = (example(1), example(2, worked="It stays."), example(3, worked=r"Clearly \boxed{3}."))
    text = PromptBuilder(TEMPLATE, shots=3, pool=pool).prompt(QUESTION)
    assert text == ("Q: 1+0?\n\\boxed{1}\n\nQ: 2+0?\nIt stays.\n\\boxed{2}\n\nQ: 3+0?\nClearly \\boxed{3}.\n\nQ: 1+1?")


def test_examples_have_the_category_of_the_question_and_are_never_the_question():
    law = EvaluationQuestion("s-1", "2+0?", "2", "f:2", "law")
    pool = (example(1, "math"), example(2, "law"), example(3, "law"), example(4, "law"))
    assert "3+0?" in (text := PromptBuilder(TEMPLATE, shots=2, pool=pool).prompt(law))
    assert text.count("2+0?") == 1
    with pytest.raises(
        InputError, match="f:2: --few-shot 3 needs more examples: there are only 2 other examples of category 'law'"
    ):
        check_examples(PromptBuilder(TEMPLATE, shots=3, pool=pool), [law])


def test_a_copy_of_the_question_with_reordered_choices_is_not_an_example(tmp_path):
    def row(question, right):
        return {
            "Question": question,
            "Correct Answer": right,
            **{f"Incorrect Answer {i}": f"no {i}" for i in (1, 2, 3)},
        }

    path = tmp_path / "gpqa.jsonl"
    twice = [row("Which  force?", "gravity"), *[row("which force? ", "gravity")] * 5]
    others = [row("Which force?", "friction"), row("Which law?", "Ohm's")]
    path.write_text("".join(json.dumps(record) + "\n" for record in [*twice, *others]))
    pool = load_examples(SETS["gpqa_diamond"], 2, path)
    assert len({example.text for example in pool[1:6]}) > 1  # the order of the choices differs
    text = PromptBuilder(TEMPLATE, shots=2, pool=pool).prompt(pool[0])
    assert text.count("gravity") == 1
    assert "friction" in text  # a different question with the same words
    with pytest.raises(
        InputError, match="gpqa.jsonl:1: --few-shot 3 needs more examples: there are only 2 other examples"
    ):
        check_examples(PromptBuilder(TEMPLATE, shots=3, pool=pool), pool)


def test_a_plain_prompt_contains_the_system_message_and_needs_no_chat_template():
    builder = PromptBuilder(TEMPLATE, plain=True)
    assert builder.prompt(QUESTION) == "Be brief.\n\nQ: 1+1?"
    assert builder.sampler_options() == {"chat": False}


def test_the_sampler_gets_the_chat_template_as_text(tmp_path):
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    builder = PromptBuilder(Template(user="{question}", chat_template=str(tmp_path / "chat.jinja")))
    assert builder.sampler_options()["chat_template"] == "{{ messages }}"


def test_a_set_without_examples_needs_a_file(tmp_path):
    with pytest.raises(InputError, match="set 'math500' has no examples. Give a JSONL file .*--few-shot-file"):
        load_examples(SETS["math500"], 5, None)
    path = tmp_path / "examples.jsonl"
    path.write_text(json.dumps({"problem": "5+5?", "solution": r"Ten: \boxed{10}"}) + "\n")
    (found,) = load_examples(SETS["math500"], 1, path)
    assert (found.text, found.gold, found.worked) == ("5+5?", "10", r"Ten: \boxed{10}")


def test_a_conversation_is_a_prompt_as_json_with_template_and_examples_around_the_last_message():
    turns = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]
    asked = EvaluationQuestion("s-0", "...", "4", "f:1", messages=[*turns, {"role": "user", "content": "And 2+2?"}])
    builder = PromptBuilder(TEMPLATE, shots=1, pool=(example(1),), conversations=True)
    last = {"role": "user", "content": "Q: 1+0?\n\\boxed{1}\n\nQ: And 2+2?"}
    assert json.loads(builder.prompt(asked)) == [{"role": "system", "content": "Be brief."}, *turns, last]
    system, one = json.loads(builder.prompt(QUESTION))  # a question of the same set that is a text
    assert (system["role"], one["content"]) == ("system", "Q: 1+0?\n\\boxed{1}\n\nQ: 1+1?")
    assert builder.sampler_options() == {"chat": True, "system": None, "messages": True}


def test_a_conversation_needs_a_chat_template():
    asked = EvaluationQuestion("s-0", "1+1?", "2", "f:1", messages=[{"role": "user", "content": "1+1?"}])
    with pytest.raises(InputError, match="f:1: the question is a conversation, .* leave out --plain"):
        check_examples(PromptBuilder(TEMPLATE, plain=True, conversations=True), [asked])
