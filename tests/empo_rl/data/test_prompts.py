import json

import pytest
from datasets import Dataset

from empo_rl.config.schema import Config
from empo_rl.data.prompts import drop_long_prompts, held_out_limit, read_held_out, read_prompts, shared_questions
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
        ([{"question": "x"}, {"question": " "}], "prompts.jsonl:2: column 'question' .* is empty"),
        ([{"question": None}], "holds None, which is not text"),
        (["{"], "prompts.jsonl:1: not JSON"),
        (["[1]"], "expected an object with columns, found list"),
        ([], "prompts.jsonl contains no questions"),
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
    saved = json.loads(json.dumps(Config.model_validate(values).model_dump(mode="json", exclude={"empo"})))
    assert read_held_out(Config.model_validate(saved)) == held_out  # a resumed run reads its config.yaml
    own = {**values, "evaluation": {"data": {"path": str(path), "limit": 1, "columns": {"question": "problem"}}}}
    assert [row["gold"] for row in read_held_out(Config.model_validate(own))] == [None]


def test_nan_is_a_missing_gold_answer_and_no_question(tmp_path):
    path = tmp_path / "held.jsonl"
    path.write_text('\ufeff{"problem": "1?", "answer": NaN}\n')  # as pandas writes it, after a mark of Windows
    assert [row["gold"] for row in read_held_out(held_out_config(path, {}))] == [None]
    path.write_text('{"problem": NaN, "answer": 1}\n')
    with pytest.raises(InputError, match=r"held.jsonl:1: column 'problem' .* holds nan, which is not text"):
        read_held_out(held_out_config(path, {}))


def held_out_config(path, data, **sections):
    columns = {"question": "problem", "gold": "answer"}
    values = {"model": "m", "output_dir": "o", "data": {"path": "train.jsonl", "columns": columns}, **sections}
    return Config.model_validate({**values, "evaluation": {"data": {"path": str(path), **data}}})


@pytest.mark.parametrize(
    ("rows", "data", "message"),
    [
        ([{"problem": "a\ud83d"}], {"columns": {"question": "problem"}}, "held.jsonl:1: the text .* lone surrogate"),
        ([{"question": "1+1?"}], {"columns": {"question": "quetion"}}, r"\(evaluation.data.columns.question\)"),
        ([{"problem": "1+1?"}], {}, r"no column 'answer' \(without evaluation.data.columns: data.columns.gold\)"),
        ([{"question": "1?", "gold": 1}], {"columns": {"gold": "golds"}}, r"columns.gold\). Did you mean 'gold'"),
        ([], {}, "^evaluation.data: .*held.jsonl contains no questions"),
    ],
)
def test_held_out_questions_are_checked_as_training_questions_and_errors_name_their_key(rows, data, message, tmp_path):
    path = tmp_path / "held.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=message):
        read_held_out(held_out_config(path, data))


def test_a_missing_held_out_file_is_an_error_about_evaluation_data(tmp_path):
    with pytest.raises(InputError, match=r"^evaluation.data.path: .* does not exist"):
        read_held_out(held_out_config(tmp_path / "none.jsonl", {}))
    with pytest.raises(InputError, match=r"^evaluation.data.path: .* Make it with: empo-data x"):
        read_held_out(held_out_config(tmp_path / "none.jsonl", {"made_with": "empo-data x"}))


def test_long_held_out_prompts_have_their_own_limit(tmp_path):
    path = tmp_path / "held.jsonl"
    path.write_text('{"problem": "1 + 1?", "answer": 2}\n{"problem": "1?", "answer": 1}\n')
    config = held_out_config(path, {"max_prompt_tokens": 2})
    limit, key = held_out_limit(config)
    prompts = drop_long_prompts(read_held_out(config), limit, count, key)
    assert ([row["gold"] for row in prompts.rows], prompts.too_long) == (["1"], 1)
    with pytest.raises(
        InputError, match=r"^evaluation.data: no prompt is left: .* evaluation.data.max_prompt_tokens=0"
    ):
        drop_long_prompts(read_held_out(config), 0, count, key)


@pytest.mark.parametrize("empo", [{"measure_gold": True}, {"reward": "semi_supervised"}])
def test_a_misspelt_gold_column_is_an_error(empo, load):
    data = {"columns": {"gold": "anwser"}}
    with pytest.raises(InputError, match=r"prompts.jsonl:1: no column 'anwser' .* Did you mean 'answer'"):
        load([{"question": "1+1?", "answer": 2}], data=data, empo=empo)
    assert load([{"question": "1+1?"}, {"question": "2?", "anwser": 2}], data=data, empo=empo).rows[0]["gold"] is None


@pytest.mark.parametrize("suffix", [".parquet", ".json", ".ndjson", ".JSONL"])
def test_each_file_that_the_configuration_calls_a_file_is_read(suffix, tmp_path):
    path, rows = tmp_path / f"q{suffix}", [{"question": "1+1?", "gold": "2"}, {"question": "1+2?", "gold": "3"}]
    if suffix == ".parquet":
        Dataset.from_list(rows).to_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluation = {"data": str(path)}
    values = {"model": "m", "output_dir": "o", "data": {"path": str(path)}, "evaluation": evaluation}
    config = Config.model_validate(values)
    assert config.evaluation.data.path == str(path)
    assert [row["question"] for row in read_prompts(config)] == ["1+1?", "1+2?"]
    assert [row["question"] for row in read_held_out(config)] == ["1+1?", "1+2?"]


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
