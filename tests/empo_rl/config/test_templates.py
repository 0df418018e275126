import pytest
from pydantic import ValidationError

from empo_rl.config.templates import TEMPLATES, Template
from semantic_entropy import InputError


class Tokenizer:
    def __init__(self, chat_template=None):
        self.chat_template = chat_template


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_named_template_asks_the_question_once(name):
    turns = Template(name=name).conversation(r"What is \frac{1}{2}?")
    assert [turn["role"] for turn in turns][-1] == "user"
    assert sum(turn["content"].count(r"What is \frac{1}{2}?") for turn in turns) == 1


def test_what_is_given_stands_over_what_the_name_brings():
    assert Template(name="math", system=None).conversation("1+1?") == [
        {"role": "user", "content": r"1+1? Let's think step by step and output the final answer within \boxed{}."}
    ]


def test_an_unknown_name_lists_those_that_exist():
    with pytest.raises(ValidationError, match="question, math, natural, mmlu-pro, gpqa"):
        Template(name="maths")


def test_a_chat_template_is_text_or_a_file(tmp_path):
    file = tmp_path / "plain.jinja"
    file.write_text("{{ messages }}")
    for given in ("{{ messages }}", str(file)):
        tokenizer = Tokenizer("own")
        Template(chat_template=given).apply_chat_template_to(tokenizer, "m")
        assert tokenizer.chat_template == "{{ messages }}"


def test_the_models_own_chat_template_stays_where_none_is_given():
    tokenizer = Tokenizer("own")
    Template().apply_chat_template_to(tokenizer, "m")
    assert tokenizer.chat_template == "own"


@pytest.mark.parametrize(
    ("given", "message"),
    [(None, "'m' has no chat template"), ("gone.jinja", "'gone.jinja' is neither a file nor Jinja text")],
)
def test_without_a_chat_template_the_error_says_what_to_give(given, message):
    with pytest.raises(InputError, match=message):
        Template(chat_template=given).apply_chat_template_to(Tokenizer(), "m")
