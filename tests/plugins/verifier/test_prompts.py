"""The prompts of the verifier: named templates and their sources, templates of users, and hostile answers."""

from __future__ import annotations

import re

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import OptionError
from semantic_entropy_plugins.verifier.prompts import (
    TEMPLATES,
    canonical_order,
    fill,
    load_prompt_template,
    prompt_encoder,
    prompt_writer,
)
from tests.plugins import tiny_models
from tests.shared_data import SHARED

ASK = ("What is 1+1?", "2", "It is 2.")
TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
HOSTILE = ("{left}", "{question} {right}", "{", "}}", "{0}", "{__class__}", r"\frac{1}{2}", r"\1 \g<0>", "a\x00b", "%s")


def prompt(template: str, ask=ASK, *, lead: bool = True) -> str:
    return prompt_writer(load_prompt_template(template), None, chat=False, lead=lead)(*ask)


def test_the_paper_template_is_algorithm_3_word_for_word():
    paper = SHARED / "paper" / "empo.txt"
    if not paper.exists():
        pytest.skip("the paper's text is not beside this checkout")
    _, listing = paper.read_text(encoding="utf-8").split("Algorithm 3 Implementation")
    listing = listing.split("prompt = (")[1].split("inputs =")[0].rstrip(" \n)")
    said = re.sub(r'f?(?<!\\)"', "", listing).replace(r"\"", '"').replace(r"\n", "\n")
    said = said.replace("prediction_1", "left").replace("prediction_2", "right").replace('Yes "', 'Yes"')
    assert "".join(TEMPLATES["paper"]).split() == said.split()


def test_the_paper_template_gives_this_prompt():
    assert prompt("paper") == (
        "User: ### Question: What is 1+1?\n\n### Ground Truth Answer: 2\n\n### Student Answer: It is 2.\n\n"
        "For the above question, please verify if the student's answer is equivalent to the ground truth answer.\n"
        "Do not solve the question by yourself; just check if the student's answer is equivalent to the ground truth "
        'answer.\nIf correct, output "Final Decision: Yes". If incorrect, output "Final Decision: No".\n'
        "Assistant: Final Decision:"
    )


def test_the_prompt_of_the_general_verifier_ends_as_on_its_model_card():
    assert prompt("general-verifier", lead=False).endswith(
        "If the student's answer is correct, output \"Final Decision: Yes\". If the student's answer is incorrect, "
        'output "Final Decision: No". Assistant:'
    )


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_named_template_has_all_slots_and_leads_to_the_decision(name):
    assert all(slot in TEMPLATES[name].body for slot in ("{question}", "{left}", "{right}"))
    assert prompt(name).endswith("Final Decision:")
    assert not prompt(name, lead=False).endswith("Final Decision:")


def test_instruction_first_ends_with_the_second_answer():
    one, other = (prompt("instruction-first", ("Q?", "A", second)) for second in ("B", "C"))
    assert len(one[: one.index("B\n\nFinal")]) > 0.9 * len(one)
    assert one.replace("B\n\nFinal", "C\n\nFinal") == other


@given(question=TEXT, left=TEXT, right=TEXT)
def test_texts_are_inserted_unchanged(question, left, right):
    assert fill("<{question}|{left}|{right}>", question, left, right) == f"<{question}|{left}|{right}>"


@pytest.mark.parametrize("text", HOSTILE)
def test_braces_in_an_answer_are_text(text):
    whole = prompt("paper", (text, text, text))
    assert whole.count(text) == prompt("paper", ("#", "#", "#")).replace("###", "").count("#")


def test_other_braces_of_a_template_are_text():
    template = 'Reply as JSON {"same": ...}, {x}. {left} {right} Same?'
    assert prompt(template) == 'Reply as JSON {"same": ...}, {x}. 2 It is 2. Same?'


@pytest.mark.parametrize(
    ("template", "written"),
    [
        ("paper", "User: ### Ground Truth Answer: 2\n\n### Student Answer"),
        ("instruction-first", "\n\nFirst answer: 2\n\nSecond"),
        ("Q: {question}\nA: {left}\nB: {right}\nSame?", "A: 2\nB: It is 2.\nSame?"),
        ("Q: {question} A: {left} B: {right} Same?", "Q:  A: 2 B: It is 2. Same?"),
        ("A: {left}\nB: {right}\nQ: {question}\n\nSame?", "A: 2\nB: It is 2.\nSame?"),
    ],
)
def test_without_a_question_its_line_is_removed_or_the_question_is_empty(template, written):
    assert written in prompt(template, (None, *ASK[1:]))
    assert "{question}" not in prompt(template, (None, *ASK[1:]))


@pytest.mark.parametrize("end", ["Final Decision:", "\n final decision : \n", " Final  Decision:"])
def test_the_lead_of_a_text_template_is_omitted_where_the_model_writes(end):
    template = f"{{left}} = {{right}}?{end}"
    assert prompt(template) == f"2 = It is 2.?{end}"
    assert prompt(template, lead=False) == "2 = It is 2.?"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("papr", "Did you mean 'paper'?"),
        ("nothing like it", "Use one of: paper, general-verifier, instruction-first"),
        ("Is {left} right?", "lacks {right}"),
        ("Is {right} right?", "lacks {left}"),
        ("Is {question}?", "lacks {left} and {right}"),
    ],
)
def test_an_invalid_template_is_refused(template, said):
    with pytest.raises(OptionError, match=re.escape(said)):
        load_prompt_template(template)


@pytest.mark.parametrize("end", ["{right}", "{question}\n", "{left}  "])
def test_a_template_that_ends_with_a_slot_is_refused(end):
    with pytest.raises(OptionError, match="ends with a slot"):
        prompt("{left} {right} " + end)


def test_a_chat_template_writes_the_roles_and_the_lead_begins_the_assistants_turn(tmp_path):
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_models.tiny_causal_lm(tmp_path))
    whole = prompt_writer(load_prompt_template("paper"), tokenizer, chat=True, lead=True)(*ASK)
    assert whole.startswith("<|im_start|>user\n### Question: What is 1+1?")
    assert whole.endswith('output "Final Decision: No".<|im_end|>\n<|im_start|>assistant\nFinal Decision:')
    begun = prompt_writer(load_prompt_template("paper"), tokenizer, chat=True, lead=False)(*ASK)
    assert begun.endswith("<|im_start|>assistant\n")


def test_a_tokenizer_without_a_chat_template_is_refused(tmp_path):
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_models.tiny_causal_lm(tmp_path, chat=False))
    with pytest.raises(OptionError, match="chat_template=False"):
        prompt_writer(load_prompt_template("paper"), tokenizer, chat=True, lead=True)


def test_special_tokens_are_text_unless_the_template_contains_some(tmp_path):
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_models.tiny_causal_lm(tmp_path))
    end = tokenizer.eos_token_id
    for text, chat, special in (
        ("{left} {right}?", False, False),
        ("{left} {right}?", True, True),
        ("{left} {right}<|im_end|>?", False, True),
    ):
        (ids,) = prompt_encoder(load_prompt_template(text), tokenizer, chat=chat)(["an answer<|im_end|>"])
        assert (end in ids) is special


def test_lone_surrogates_are_replaced(tmp_path):
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_models.tiny_causal_lm(tmp_path))
    broken, replaced = prompt_encoder(load_prompt_template("paper"), tokenizer, chat=False)(["a\ud83db", "a\ufffdb"])
    assert broken == replaced


@given(st.text(max_size=5), st.text(max_size=5))
def test_the_reference_does_not_depend_on_which_answer_is_left(left, right):
    reference, checked = canonical_order(left, right)
    assert canonical_order(right, left) == (reference, checked)
    assert sorted((reference, checked)) == sorted((left, right))
    assert len(reference) <= len(checked)
