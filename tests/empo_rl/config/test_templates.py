import pytest
from pydantic import ValidationError

from empo_rl.config.templates import TEMPLATES, Template
from semantic_entropy import InputError


class Tokenizer:
    def __init__(self, chat_template=None):
        self.chat_template = chat_template


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_named_template_contains_the_question_once(name):
    turns = Template(name=name).conversation(r"What is \frac{1}{2}?")
    assert [turn["role"] for turn in turns][-1] == "user"
    assert sum(turn["content"].count(r"What is \frac{1}{2}?") for turn in turns) == 1


def test_a_given_message_overrides_that_of_the_named_template():
    assert Template(name="math", system=None).conversation("1+1?") == [
        {"role": "user", "content": r"1+1? Let's think step by step and output the final answer within \boxed{}."}
    ]


def test_the_error_for_an_unknown_name_lists_the_names():
    with pytest.raises(ValidationError, match="question, math, natural, mmlu-pro, gpqa"):
        Template(name="maths")


def test_a_chat_template_is_text_or_a_file(tmp_path):
    file = tmp_path / "plain.jinja"
    file.write_text("{{ messages }}")
    for given in ("{{ messages }}", str(file)):
        tokenizer = Tokenizer("own")
        Template(chat_template=given).apply_chat_template_to(tokenizer, "m")
        assert tokenizer.chat_template == "{{ messages }}"


def test_without_a_given_chat_template_that_of_the_model_is_used():
    tokenizer = Tokenizer("own")
    Template().apply_chat_template_to(tokenizer, "m")
    assert tokenizer.chat_template == "own"


@pytest.mark.parametrize(
    ("given", "message"),
    [(None, "'m' has no chat template"), ("gone.jinja", "'gone.jinja' is neither a file nor Jinja text")],
)
def test_the_error_for_a_missing_chat_template_names_the_key(given, message):
    with pytest.raises(InputError, match=message):
        Template(chat_template=given).apply_chat_template_to(Tokenizer(), "m")
