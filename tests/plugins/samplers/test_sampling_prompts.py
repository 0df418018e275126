"""Prompts by chat templates that public models have, in short, and by plain text."""

from __future__ import annotations

import pytest

from semantic_entropy.plugin import errors
from semantic_entropy_plugins.samplers.sampling_prompts import Prompts, opens_reasoning
from tests.plugins.tiny_models import CHAT

TURNS = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | trim }}\n{% endfor %}"
LEAD = "{% if add_generation_prompt %}[assistant] {% endif %}"
REFUSES = (  # as Gemma's
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
)
DROPS = "{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}"
THINKS = (
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>{% else %}<think>\n{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    import transformers

    from tests.plugins.tiny_models import tiny_causal_lm

    return transformers.AutoTokenizer.from_pretrained(tiny_causal_lm(tmp_path_factory.mktemp("m")))


def prompts(tokenizer, written, **how):
    tokenizer.chat_template = written
    return Prompts("hf", tokenizer, **how)


@pytest.mark.parametrize(
    ("template", "how", "text"),
    [
        (None, {}, "Why?"),
        (None, {"template": "Q: {question}\nA:"}, "Q: Why?\nA:"),
        (None, {"template": "{a} {question} {question}"}, "{a} Why? Why?"),
        (CHAT, {"chat": False}, "Why?"),
        (None, {"chat_template": TURNS + LEAD}, "[user] Why?\n[assistant] "),
        (CHAT, {"chat_template": TURNS + LEAD, "system": "Be brief."}, "[system] Be brief.\n[user] Why?\n[assistant] "),
        (CHAT, {}, "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"),
        (TURNS + LEAD, {"system": "Be brief."}, "[system] Be brief.\n[user] Why?\n[assistant] "),
        (TURNS + LEAD, {"system": " Be brief.\n"}, "[system] Be brief.\n[user] Why?\n[assistant] "),
        (TURNS + LEAD, {"template": "Briefly: {question}"}, "[user] Briefly: Why?\n[assistant] "),
        (REFUSES + TURNS + LEAD, {}, "[user] Why?\n[assistant] "),
        (TURNS + THINKS, {}, "[user] Why?\n<think>\n"),
        (TURNS + THINKS, {"chat_template_kwargs": {"enable_thinking": False}}, "[user] Why?\n<think>\n\n</think>"),
    ],
)
def test_a_prompt_is_written_as_it_says(tokenizer, template, how, text):
    how = dict(how)
    how["options"] = how.pop("chat_template_kwargs", None)
    made = prompts(tokenizer, template, **how)
    assert made.text("Why?") == text
    assert tokenizer.decode(made.ids(text)) == text
    assert opens_reasoning(text) == text.endswith("<think>\n")


@pytest.mark.parametrize(
    ("template", "how", "says"),
    [
        (None, {"chat": True}, "no chat template: use chat=False"),
        (None, {"system": "Be brief."}, "system is for a chat template.*template="),
        (None, {"options": {"a": 1}}, "chat_template_kwargs is for a chat template"),
        (CHAT, {"chat": False, "system": "Be brief."}, "system is for a chat template"),
        (CHAT, {"chat": False, "chat_template": CHAT}, "chat_template is given, and chat=False leaves it unused"),
        (CHAT, {"template": "Why?"}, "template='Why\\?' has no {question}"),
        (CHAT, {"options": {"a": {1}}}, "not an object that JSON can hold"),
        (CHAT, {"options": {"tokenize": True}}, "holds 'tokenize'"),
        (REFUSES + CHAT, {"system": "Be brief."}, "refuses a system prompt .System role not supported.: leave system="),
        (DROPS + TURNS + LEAD, {"system": "Be brief."}, "leaves the system prompt out"),
        ("{{ 1 / 0 }}", {}, "cannot be used: ZeroDivisionError"),
        ("{{ raise_exception('tools only') }}", {}, "cannot be used: TemplateError: tools only"),
        ({"rag": CHAT}, {}, "cannot be used: ValueError"),
    ],
)
def test_what_a_template_cannot_do_is_said_at_once(tokenizer, template, how, says):
    with pytest.raises(errors.OptionError, match=f"(?s)hf: .*{says}"):
        prompts(tokenizer, template, **how)


def test_a_named_default_among_several_chat_templates_is_the_one(tokenizer):
    assert prompts(tokenizer, {"default": TURNS + LEAD, "rag": "x"}).text("Why?") == "[user] Why?\n[assistant] "


def test_a_plain_prompt_gets_the_tokenizers_own_special_tokens_and_a_chat_prompt_no_second_ones():
    class Tokenizer:
        chat_template = None

        def __call__(self, text, *, add_special_tokens, verbose):
            return {"input_ids": [0] * add_special_tokens + [1]}

        def apply_chat_template(self, messages, **_):
            return messages[-1]["content"]

    assert Prompts("hf", Tokenizer()).ids("x") == [0, 1]
    Tokenizer.chat_template = "{{ messages }}"
    assert Prompts("hf", Tokenizer()).ids("x") == [1]


@pytest.mark.parametrize("question", ["\ud800", "a\x00b", "\u6771\u4eac", "{question} {{ x }}", ""])
def test_any_question_can_be_put_into_a_prompt(tokenizer, question):
    made = prompts(tokenizer, CHAT)
    text = made.text(question)
    assert made.ids(text)
    assert question.replace("\ud800", "\ufffd") in text
