"""Prompts by short versions of the chat templates of public models, and by plain text."""

from __future__ import annotations

import json
import re

import pytest

from semantic_entropy.plugin import Request, errors
from semantic_entropy_plugins.samplers.sampling_prompts import PromptWriter, UnwritablePromptError, opens_reasoning
from semantic_entropy_plugins.samplers.sampling_requests import start_request
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


def prompts(tokenizer, own_template, **options):
    tokenizer.chat_template = own_template
    return PromptWriter("hf", tokenizer, **options)


@pytest.mark.parametrize(
    ("template", "options", "text"),
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
def test_a_question_is_written_as_a_prompt(tokenizer, template, options, text):
    writer = prompts(tokenizer, template, **options)
    assert writer.text("Why?") == text
    assert tokenizer.decode(writer.ids(text)) == text
    assert opens_reasoning(text) == text.endswith("<think>\n")


@pytest.mark.parametrize(
    ("template", "options", "message"),
    [
        (None, {"chat": True}, "no chat template: use chat=False"),
        (None, {"system": "Be brief."}, "system needs a chat template.*template="),
        (None, {"chat_template_kwargs": {"a": 1}}, "chat_template_kwargs needs a chat template"),
        (CHAT, {"chat": False, "system": "Be brief."}, "system needs a chat template"),
        (
            CHAT,
            {"chat": False, "chat_template": CHAT},
            "chat_template is given, but chat=False does not use it: remove one",
        ),
        (CHAT, {"template": "Why?"}, "template='Why\\?' has no {question}"),
        (CHAT, {"chat_template_kwargs": {"a": {1}}}, "not an object that JSON can hold"),
        (CHAT, {"chat_template_kwargs": {"tokenize": True}}, "holds 'tokenize'"),
        (
            REFUSES + CHAT,
            {"system": "Be brief."},
            "does not accept a system prompt .System role not supported.: leave system=",
        ),
        (DROPS + TURNS + LEAD, {"system": "Be brief."}, "drops the system prompt"),
        ("{{ 1 / 0 }}", {}, "cannot be used: ZeroDivisionError"),
        ("{{ raise_exception('tools only') }}", {}, "cannot be used: TemplateError: tools only"),
        ({"rag": CHAT}, {}, "cannot be used: ValueError"),
    ],
)
def test_an_unsuitable_template_is_refused_at_construction(tokenizer, template, options, message):
    with pytest.raises(errors.OptionError, match=f"(?s)hf: .*{message}"):
        prompts(tokenizer, template, **options)


CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "1+1?"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "And <|im_end|>?"},
]


def test_a_conversation_is_written_with_its_turns_and_without_control_tokens_inside(tokenizer):
    writer = prompts(tokenizer, TURNS + LEAD, messages=True)
    written = writer.text(json.dumps(CONVERSATION))
    assert written == "[system] Be brief.\n[user] 1+1?\n[assistant] 2\n[user] And < |im_end|>?\n[assistant] "


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("Why?", "not a list of messages with role and content, as JSON: JSONDecodeError"),
        ('["Why?"]', "not a list of messages with role and content"),
        ('[{"role": "user", "content": null}]', "not a list of messages with role and content"),
        (json.dumps(CONVERSATION), "the chat template does not accept the conversation: .*System role not supported"),
    ],
)
def test_a_conversation_that_cannot_be_written_fails_alone(tokenizer, question, message):
    writer = prompts(tokenizer, REFUSES + TURNS + LEAD, messages=True)
    with pytest.raises(UnwritablePromptError, match=message):
        writer.text(question)
    started = start_request(Request(0, question, 3), writer, window=None, max_tokens=4, greedy=False)
    assert re.search(message, started.problem)


@pytest.mark.parametrize("options", [{"system": "Be brief."}, {"template": "Q: {question}"}, {"chat": False}])
def test_messages_replace_the_system_prompt_and_the_template(tokenizer, options):
    with pytest.raises(
        errors.OptionError, match=f"messages=True makes the whole prompt .* leave out {next(iter(options))}"
    ):
        prompts(tokenizer, TURNS + LEAD, messages=True, **options)


def test_of_several_chat_templates_the_default_is_used(tokenizer):
    assert prompts(tokenizer, {"default": TURNS + LEAD, "rag": "x"}).text("Why?") == "[user] Why?\n[assistant] "


def test_the_tokenizer_adds_special_tokens_to_a_plain_prompt_only():
    class Tokenizer:
        chat_template = None

        def __call__(self, text, *, add_special_tokens, verbose):
            return {"input_ids": [0] * add_special_tokens + [1]}

        def apply_chat_template(self, messages, **_):
            return messages[-1]["content"]

    assert PromptWriter("hf", Tokenizer()).ids("x") == [0, 1]
    Tokenizer.chat_template = "{{ messages }}"
    assert PromptWriter("hf", Tokenizer()).ids("x") == [1]


@pytest.mark.parametrize("question", ["\ud800", "a\x00b", "\u6771\u4eac", "{question} {{ x }}", ""])
def test_any_question_can_be_written_as_a_prompt(tokenizer, question):
    writer = prompts(tokenizer, CHAT)
    text = writer.text(question)
    assert writer.ids(text)
    assert question.replace("\ud800", "\ufffd") in text
