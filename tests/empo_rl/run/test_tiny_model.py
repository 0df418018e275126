import pytest
import torch

from empo_rl.config import load_config
from empo_rl.data.arithmetic import ArithmeticQuestion, chain, split
from empo_rl.run.tiny_model import load_or_make, make_model, pretrain, pretraining_seconds, prompt_text


def test_decoding_the_tokens_of_a_task_text_gives_the_text_again(tokenizer):
    for question in (ArithmeticQuestion(1, 2, 3, 4), ArithmeticQuestion(9, 9, 9, 9)):
        text = prompt_text(question) + chain(question) + "<|im_end|>"
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == text


def test_the_prompt_equals_the_question_in_the_chat_template(tokenizer):
    question = ArithmeticQuestion(1, 2, 3, 4)
    turns = [{"role": "user", "content": question.text}]
    assert tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False) == prompt_text(question)


def test_the_longest_chain_fits_the_generation_limit_of_the_recipe(tokenizer):
    texts = [chain(ArithmeticQuestion(9, 9, c, 9)) + "<|im_end|>" for c in range(1, 10)]
    longest = max(len(tokenizer(text)["input_ids"]) for text in texts)
    assert longest == 32 < load_config("tiny").rollout.max_completion_tokens


def test_pretraining_lowers_the_loss_and_depends_only_on_the_seed(tokenizer):
    def losses():
        seen = []
        model = make_model(tokenizer, 0)
        pretrain(model, tokenizer, split(0).pretraining, seed=0, steps=8, on_step=lambda _, loss: seen.append(loss))
        return seen

    first = losses()
    assert first == losses()
    assert first[-1] < first[0] - 0.3


def test_the_loss_of_a_batch_is_the_mean_over_all_its_answer_tokens(model, tokenizer):
    """The model processes chains and direct answers in separate batches; the sum equals that of one padded batch."""
    from empo_rl.run.tiny_model import _accumulate, _batch

    question = ArithmeticQuestion(2, 3, 4, 7)
    texts = [(question, chain(question)), (question, r"\boxed{27}"), (question, r"\boxed{9}")]
    loss = _accumulate(model, tokenizer, texts)
    apart = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    ids, labels = _batch(tokenizer, texts)
    whole = model(input_ids=ids, labels=labels).loss
    whole.backward()
    assert loss == pytest.approx(whole.item(), rel=1e-5)
    for gradient, parameter in zip(apart, model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-6)


def test_a_base_model_is_created_once_and_records_the_seconds_of_its_pretraining(tokenizer, tmp_path):
    reported = []
    made = load_or_make(tokenizer, tmp_path / "base", seed=0, steps=2, report=lambda step, _: reported.append(step))
    assert reported == [1, 2]
    assert pretraining_seconds(tmp_path / "base") > 0
    loaded = load_or_make(tokenizer, tmp_path / "base", seed=0, steps=2, report=lambda step, _: reported.append(step))
    assert reported == [1, 2]
    weights = dict(loaded.named_parameters())
    assert all(torch.equal(weights[name], weight) for name, weight in made.named_parameters())


def test_the_seconds_of_a_base_model_of_version_0_1_are_read_from_the_output_directory(tmp_path):
    assert pretraining_seconds(tmp_path / "base") == 0
    (tmp_path / "seconds.json").write_text('{"pretrain": 12.5, "total": 12.5}', encoding="utf-8")
    assert pretraining_seconds(tmp_path / "base") == 12.5
