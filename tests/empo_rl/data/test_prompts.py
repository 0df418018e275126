import json

import pytest

from empo_rl.config.schema import Config
from empo_rl.data.prompts import drop_long_prompts, read_held_out, read_prompts, shared_questions
from semantic_entropy import InputError


def count(turns):
    return sum(len(turn["content"].split()) for turn in turns)


@pytest.fixture
def load(tmp_path):
    def run(rows, *, data=None, **sections):
        path = tmp_path / "prompts.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n")
        values = {"model": "m", "output_dir": "o", "data": {"path": str(path), **(data or {})}, **sections}
        config = Config.model_validate(values)
        return drop_long_prompts(read_prompts(config), config.data.max_prompt_tokens, count)

    return run


def test_the_template_is_applied_to_questions(load):
    template = {"system": "Think.", "user": r"{question} Answer in \boxed{}."}
    (row,) = load([{"problem": "1+1?"}], data={"columns": {"question": "problem"}}, template=template).rows
    assert row == {
        "prompt": [
            {"role": "system", "content": "Think."},
            {"role": "user", "content": r"1+1? Answer in \boxed{}."},
        ],
        "question": "1+1?",
    }


def test_labels_are_read_only_if_the_reward_needs_them(load):
    rows = [{"question": "1+1?", "answer": 2}]
    columns = {"columns": {"gold": "answer"}}
    assert "gold" not in load(rows, data=columns).rows[0]
    assert load(rows, data=columns, empo={"reward": "golden"}).rows[0]["gold"] == "2"


def test_prompts_that_are_too_long_are_left_out_and_counted(load):
    prompts = load([{"question": "a b c"}, {"question": "a"}], data={"max_prompt_tokens": 2})
    assert [row["question"] for row in prompts.rows] == ["a"]
    assert prompts.too_long == 1


def test_a_limit_samples_the_same_questions_for_the_same_seed(load):
    rows = [{"question": str(n)} for n in range(100)]
    first, same_seed, other_seed = (load(rows, data={"limit": 5}, seed=seed).rows for seed in (1, 1, 2))
    assert len(first) == 5
    assert first == same_seed != other_seed


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"questions": "x"}],
            r"prompts.jsonl:1: no column 'question' .* Did you mean 'questions'\? Columns: questions",
        ),
        ([{"question": "x"}, {"question": " "}], "prompts.jsonl:2: column 'question' .* holds ' '"),
        ([{"question": None}], "holds None, which is not text"),
        (["{"], "prompts.jsonl:1: not JSON"),
        (["[1]"], "expected an object with columns, found list"),
        ([], "prompts.jsonl contains no prompts"),
    ],
)
def test_an_error_in_a_row_names_the_file_and_the_line(rows, message, load):
    with pytest.raises(InputError, match=message):
        load(rows)


def test_data_with_only_long_prompts_is_refused(load):
    with pytest.raises(InputError, match="no prompt is left: each of 1 prompt is longer than data.max_prompt_tokens=1"):
        load([{"question": "a b"}], data={"max_prompt_tokens": 1})


def test_the_error_for_a_missing_file_names_it():
    config = Config.model_validate({"model": "m", "output_dir": "o", "data": {"path": "nowhere.jsonl"}})
    with pytest.raises(InputError, match="nowhere.jsonl does not exist or is not a file"):
        read_prompts(config)


def test_a_semi_supervised_run_reads_the_gold_answers_that_exist(load):
    rows = [{"question": "a", "answer": "1"}, {"question": "b"}, {"question": "c", "answer": None}]
    prompts = load(rows, data={"columns": {"gold": "answer"}}, empo={"reward": "semi_supervised"})
    assert [row["gold"] for row in prompts.rows] == ["1", None, None]


TURNS = [
    {"role": "user", "content": "1+1?"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "And 2+2?"},
]


def test_a_conversation_is_the_prompt_and_the_judges_read_its_turns(load):
    (row,) = load([{"prompt": TURNS}], data={"columns": {"question": "prompt"}}).rows
    assert row == {"prompt": TURNS, "question": "user: 1+1?\nassistant: 2\nuser: And 2+2?"}


def test_a_template_applies_to_the_last_message_of_the_user_and_to_a_missing_system_message(load):
    template = {"system": "Think.", "user": r"{question} Answer in \boxed{}."}
    own = [{"role": "system", "content": "Be brief."}, *TURNS]
    first, second = load([{"question": TURNS}, {"question": own}], template=template).rows
    last = {"role": "user", "content": r"And 2+2? Answer in \boxed{}."}
    assert first["prompt"] == [{"role": "system", "content": "Think."}, *TURNS[:2], last]
    assert second["prompt"] == [own[0], *TURNS[:2], last]
    assert first["question"] == second["question"] == "user: 1+1?\nassistant: 2\nuser: And 2+2?"


def test_sft_learns_a_response_in_the_conversational_format(load):
    sft = {"method": "sft", "data": {"columns": {"question": "prompt", "response": "completion"}}}
    completion = [{"role": "assistant", "content": "4"}]
    (row,) = load([{"prompt": TURNS, "completion": completion}], **sft).rows
    assert row == {"prompt": TURNS, "completion": completion}
    with pytest.raises(InputError, match="must hold text, or a list with one message of the assistant"):
        load([{"prompt": TURNS, "completion": TURNS}], **sft)


def test_trl_makes_the_text_of_a_conversation_that_the_tokenizer_makes(load, tokenizer):
    """TRL groups completions by position and applies the chat template to `prompt`."""
    from trl.data_utils import is_conversational, maybe_apply_chat_template

    (row,) = load([{"question": TURNS}]).rows
    assert is_conversational(row)
    text = tokenizer.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=True)
    assert maybe_apply_chat_template({"prompt": row["prompt"]}, tokenizer)["prompt"] == text


def test_held_out_questions_use_the_template_and_the_columns_of_the_training(tmp_path):
    path = tmp_path / "held.jsonl"
    rows = [{"problem": "1+1?", "answer": 2}, {"problem": "Why?", "answer": None}, {"problem": " 3 + 3?", "answer": ""}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {
        "model": "m",
        "output_dir": "o",
        "data": {"path": "train.jsonl", "columns": {"question": "problem", "gold": "answer"}},
        "template": {"user": "Q: {question}"},
        "evaluation": {"data": str(path)},
    }
    held_out = read_held_out(Config.model_validate(values))
    assert [row["gold"] for row in held_out] == ["2", None, None]
    assert held_out[0]["prompt"] == [{"role": "user", "content": "Q: 1+1?"}]
    assert shared_questions([{"question": "3+3?"}, {"question": "Why?"}], held_out) >= 1
    own = {**values, "evaluation": {"data": {"path": str(path), "limit": 1, "columns": {"question": "problem"}}}}
    assert [row["gold"] for row in read_held_out(Config.model_validate(own))] == [None]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "sft", "data": {"dataset": "demo"}}, "evaluation needs method=empo, not method=sft"),
        ({"training": {"keep_checkpoints": 1}}, "Set training.keep_checkpoints=2"),
    ],
)
def test_an_evaluation_that_cannot_work_is_refused(values, message):
    plain = {"model": "demo", "output_dir": "o", "data": {"dataset": "demo"}, "evaluation": {"data": "demo"}}
    with pytest.raises(ValueError, match=message):
        Config.model_validate({**plain, **values})


@pytest.mark.parametrize("rows", [[{"question": "a\ud83d"}], [{"question": [{"role": "user", "content": "a\ud83d"}]}]])
def test_half_of_a_utf_16_pair_is_an_error_with_the_line(rows, load):
    with pytest.raises(InputError, match=r"prompts.jsonl:1: the text '.*' contains a lone surrogate"):
        load(rows)


@pytest.mark.parametrize("line", ['{"question": ' + "[" * 100_000, '{"question": ' + "9" * 5000 + "}"])
def test_json_beyond_the_limits_of_python_is_an_error_with_the_line(line, load):
    with pytest.raises(InputError, match=r"prompts.jsonl:1: not readable as JSON"):
        load([line])
