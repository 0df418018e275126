"""The text of an answer and of a question in TRL's conversations."""

import pytest

from empo_rl.trainers.trl.rollouts import trl_columns
from semantic_entropy import InputError

IMAGE = {"type": "image", "image": "cat.png"}


def user(content):
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]


def text(part):
    return {"type": "text", "text": part}


CALL = {"role": "assistant", "content": "I add them.", "tool_calls": [{"function": {"name": "add", "arguments": {}}}]}
OUTPUT = {"role": "tool", "name": "add", "content": "5"}
ANSWER = {"role": "assistant", "content": r"So \boxed{5}."}


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (r"\boxed{5}", r"\boxed{5}"),
        ([ANSWER], ANSWER["content"]),
        ([CALL, OUTPUT, ANSWER], ANSWER["content"]),
        ([CALL, OUTPUT], "I add them."),  # cut off after the tool: its output is not the answer
        ([{**CALL, "content": None}, OUTPUT], ""),
        ([{"role": "assistant", "content": [text("So"), IMAGE, text("5")]}], "So\n5"),
    ],
)
def test_the_last_message_of_the_assistant_is_the_answer(completion, expected):
    assert trl_columns(["q"], [completion], {})["completions"] == [expected]


def test_a_completion_without_a_message_of_the_assistant_is_refused():
    with pytest.raises(InputError, match=r"no message of the assistant; its roles are \['tool'\]"):
        trl_columns(["q"], [[OUTPUT]], {})


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("2+3?", "2+3?"),
        (user("2+3?"), "2+3?"),
        (user([IMAGE, text("What is"), text("shown?")]), "What is\nshown?"),
        ([*user("2+3?"), ANSWER, *user("and 4+5?")], "and 4+5?"),
        ([{"role": "system", "content": "2+3?"}], "2+3?"),
    ],
)
def test_the_question_is_the_text_of_the_last_message_of_the_user(prompt, expected):
    assert trl_columns([prompt], ["5"], {})["questions"] == [expected]
    assert trl_columns([prompt], ["5"], {"question": ["in the dataset"]})["questions"] == ["in the dataset"]


@pytest.mark.parametrize("missing", [None, "", "  "])
def test_a_row_without_a_question_in_its_column_has_the_question_of_its_prompt(missing):
    """A column that only some files of a dataset have is None in the other rows."""
    columns = {"question": ["in the dataset", missing]}
    found = trl_columns([user("2+3?"), user("4+5?")], ["5", "9"], columns)
    assert found["questions"] == ["in the dataset", "4+5?"]
    assert trl_columns([user([IMAGE])], ["5"], {"question": ["a picture"]})["questions"] == ["a picture"]


def test_a_question_without_text_is_refused_with_the_fix():
    with pytest.raises(InputError, match=r"the last user message of a prompt has no text.*Add a column `question`"):
        trl_columns([user([IMAGE])], ["5"], {})
    with pytest.raises(InputError, match=r"the column `question` contains \[{'type': 'image'"):
        trl_columns(["q"], ["5"], {"question": [[IMAGE]]})
