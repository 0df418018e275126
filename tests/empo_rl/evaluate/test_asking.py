"""Prompts: templates, examples, and a model without a chat template."""

from __future__ import annotations

import json

import pytest

from empo_rl.config.templates import Template
from empo_rl.data.suites import SETS
from empo_rl.evaluate.asking import Asking, check_examples, examples_for
from empo_rl.evaluate.questions import Question
from semantic_entropy import InputError

TEMPLATE = Template(system="Be brief.", user="Q: {question}")
QUESTION = Question("s-0", "1+1?", "2", "f:1")


def example(i, category=None, worked=None):
    return Question(f"e-{i}", f"{i}+0?", str(i), f"e:{i}", category, None, worked)


def test_without_examples_the_user_turn_is_the_templates():
    asking = Asking(TEMPLATE)
    assert asking.text(QUESTION) == "Q: 1+1?"
    assert asking.sampler_options() == {"chat": True, "system": "Be brief."}


def test_examples_come_first_each_with_its_working_and_its_answer_in_a_box():
    pool = (example(1), example(2, worked="It stays."), example(3, worked=r"Clearly \boxed{3}."))
    text = Asking(TEMPLATE, shots=3, pool=pool).text(QUESTION)
    assert text == ("Q: 1+0?\n\\boxed{1}\n\nQ: 2+0?\nIt stays.\n\\boxed{2}\n\nQ: 3+0?\nClearly \\boxed{3}.\n\nQ: 1+1?")


def test_examples_are_of_the_questions_category_and_never_the_question_itself():
    law = Question("s-1", "2+0?", "2", "f:2", "law")
    pool = (example(1, "math"), example(2, "law"), example(3, "law"), example(4, "law"))
    assert "3+0?" in (text := Asking(TEMPLATE, shots=2, pool=pool).text(law))
    assert text.count("2+0?") == 1
    with pytest.raises(InputError, match="f:2: --few-shot 3, and there are 2 other examples of category 'law'"):
        check_examples(Asking(TEMPLATE, shots=3, pool=pool), [law])


def test_a_question_that_stands_twice_is_no_example_of_itself_in_whatever_order_its_choices_are(tmp_path):
    def row(question, right):
        return {
            "Question": question,
            "Correct Answer": right,
            **{f"Incorrect Answer {i}": f"no {i}" for i in (1, 2, 3)},
        }

    path = tmp_path / "gpqa.jsonl"
    twice = [row("Which  force?", "gravity"), *[row("which force? ", "gravity")] * 5]
    others = [row("Which force?", "friction"), row("Which law?", "Ohm's")]
    path.write_text("".join(json.dumps(one) + "\n" for one in [*twice, *others]))
    pool = examples_for(SETS["gpqa_diamond"], 2, path)
    assert len({one.text for one in pool[1:6]}) > 1  # the choices move
    text = Asking(TEMPLATE, shots=2, pool=pool).text(pool[0])
    assert text.count("gravity") == 1
    assert "friction" in text  # another question in the same words
    with pytest.raises(InputError, match="gpqa.jsonl:1: --few-shot 3, and there are 2 other examples"):
        check_examples(Asking(TEMPLATE, shots=3, pool=pool), pool)


def test_a_plain_prompt_holds_the_system_turn_and_needs_no_chat_template():
    asking = Asking(TEMPLATE, plain=True)
    assert asking.text(QUESTION) == "Be brief.\n\nQ: 1+1?"
    assert asking.sampler_options() == {"chat": False}


def test_another_chat_template_goes_to_the_sampler_as_text(tmp_path):
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    asking = Asking(Template(user="{question}", chat_template=str(tmp_path / "chat.jinja")))
    assert asking.sampler_options()["chat_template"] == "{{ messages }}"


def test_a_set_without_examples_asks_for_a_file_of_them(tmp_path):
    with pytest.raises(InputError, match="set 'math500' has no examples of its own.*--few-shot-file"):
        examples_for(SETS["math500"], 5, None)
    path = tmp_path / "examples.jsonl"
    path.write_text(json.dumps({"problem": "5+5?", "solution": r"Ten: \boxed{10}"}) + "\n")
    (found,) = examples_for(SETS["math500"], 1, path)
    assert (found.text, found.gold, found.worked) == ("5+5?", "10", r"Ten: \boxed{10}")
