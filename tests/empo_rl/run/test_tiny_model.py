import pytest
import torch

from empo_rl.data.arithmetic import ArithmeticQuestion, chain, split
from empo_rl.demo.generate import complete
from empo_rl.run.tiny_model import make_model, pretrain, prompt_text


def test_every_text_of_the_task_comes_back_from_its_tokens(tokenizer):
    for question in (ArithmeticQuestion(1, 2, 3, 4), ArithmeticQuestion(9, 9, 9, 9)):
        text = prompt_text(question) + chain(question) + "<|im_end|>"
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == text


def test_the_prompt_is_what_the_chat_template_makes(tokenizer):
    question = ArithmeticQuestion(1, 2, 3, 4)
    turns = [{"role": "user", "content": question.text}]
    assert tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False) == prompt_text(question)


def test_the_longest_chain_fits_the_generation_limit(tokenizer):
    from empo_rl.demo.evaluation import MAX_NEW_TOKENS

    longest = max(
        len(tokenizer(chain(ArithmeticQuestion(9, 9, c, 9)) + "<|im_end|>")["input_ids"]) for c in range(1, 10)
    )
    assert longest == 32 < MAX_NEW_TOKENS


def test_pretraining_lowers_the_loss_and_is_the_seeds(tokenizer):
    def losses():
        seen = []
        model = make_model(tokenizer, 0)
        pretrain(model, tokenizer, split(0).pretraining, seed=0, steps=8, on_step=lambda _, loss: seen.append(loss))
        return seen

    first = losses()
    assert first == losses()
    assert first[-1] < first[0] - 0.3


def test_the_loss_of_a_batch_is_the_mean_over_all_its_answer_tokens(model, tokenizer):
    """Chains and direct answers go through apart; the sum is that of one padded batch."""
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


def test_padding_changes_no_greedy_completion(model, tokenizer):
    prompts = ["What is (1+2)*3+4?", "1+2="]
    together = complete(model, tokenizer, prompts, max_new_tokens=6, greedy=True)
    alone = [complete(model, tokenizer, [prompt], max_new_tokens=6, greedy=True)[0] for prompt in prompts]
    assert together == alone
