"""The rollout loop of TRL's asynchronous trainer, with a provider. The loop is TRL's; the vLLM server is a fake."""

import multiprocessing
import queue
import threading
from functools import partial

import pytest
from accelerate import PartialState
from datasets import Dataset

from empo_rl import EmpoProvider, RolloutGroup
from empo_rl.core.metrics import BatchNumbers
from semantic_entropy import SemanticEntropyError
from tests.empo_rl.trainers.trl.fake_vllm import FakeVllm, make_chat_tokenizer

pytest.importorskip("aiohttp", reason="TRL's rollout worker needs aiohttp, which vLLM installs")
pytestmark = pytest.mark.filterwarnings("ignore:You are importing from 'trl.experimental'")

G = 4
SPLIT, AGREED = [r"\boxed{2}", r"\boxed{2}", r"\boxed{3}", r"\boxed{4}"], [r"\boxed{5}"] * G
UNREADABLE = "What is 2"
MATH = partial(EmpoProvider, "math", extract="boxed")


def questions(count):
    return [f"What is {number}+1?" for number in range(1, count + 1)]


def make_loop(server, provider, *, most=8, provider_state=None, **columns):
    """A loop with the queues of a worker, in this process, which records the groups that TRL scores."""
    from empo_rl.trainers.trl.async_rollouts import EmpoRolloutLoop

    PartialState()  # as in TRL's worker: its logger needs it

    class Recording(EmpoRolloutLoop):
        async def _score_group(self, group):
            self.groups.append(group)
            return await super()._score_group(group)

    asked = questions(8)
    tokenizer = make_chat_tokenizer()
    spawn = multiprocessing.get_context("spawn")
    rows = {"prompt": [[{"role": "user", "content": text}] for text in asked], **columns}
    loop = Recording(
        provider=provider,
        max_dropped_in_a_row=most,
        provider_state=provider_state,
        model_name="tiny",
        dataset=Dataset.from_dict(rows),
        reward_funcs=[],
        processing_class=tokenizer,
        eos_token_ids=[tokenizer.eos_token_id],
        rollout_buffer=spawn.Queue(),
        model_version_value=spawn.Value("i", 0),
        heartbeat_value=spawn.Value("d", 0.0),
        failed_event=spawn.Event(),
        exception_info_queue=spawn.Queue(maxsize=1),
        metrics_queue=spawn.Queue(maxsize=4096),
        num_generations=G,
        max_inflight_tasks=G,
        vllm_server_url=getattr(server, "url", "http://127.0.0.1:9"),
    )
    loop.groups = []
    return loop


def samples_of(loop, groups):
    """Run the loop until it has put the samples of so many groups into the queue: id of the group -> samples."""
    found = {}
    thread = threading.Thread(target=loop.run)
    thread.start()
    while len(found) <= groups and thread.is_alive():  # one group more, so that the others are whole
        try:
            sample = loop.rollout_buffer.get(timeout=0.1)
        except queue.Empty:
            continue
        found.setdefault(sample.group_id, []).append(sample)
    assert thread.is_alive(), loop._exception_info_queue.get(timeout=5)[2]
    loop._loop.call_soon_threadsafe(loop._stop_event.set)
    thread.join()
    return dict(list(found.items())[:groups])


def judged_until(loop, found):
    """The groups that the loop scored, up to the last group that is in `found`."""
    last = max(at for at, group in enumerate(loop.groups) if group.group_id in found)
    return loop.groups[: last + 1]


def texts_of(group):
    return tuple(completion[-1]["content"] for completion in group.completions)


@pytest.mark.parametrize("scale", ["group", "none"])
@pytest.mark.parametrize("invalid", ["singleton_zero", "drop"])
def test_the_samples_are_the_rows_in_the_loss_with_the_advantages_of_the_provider(invalid, scale):
    unreadable = [*SPLIT[:3], UNREADABLE]
    answers = {text: (SPLIT, AGREED, unreadable)[at % 3] for at, text in enumerate(questions(8))}
    make = partial(MATH, invalid=invalid, scale=scale, guards={"overlong": None})
    with FakeVllm(make_chat_tokenizer(), answers) as server:
        loop = make_loop(server, make, gold=["2"] * 8)
        found = samples_of(loop, 5)
    assert len(found) == 5
    compared = 0
    with make() as provider:
        for group in judged_until(loop, found):
            measures = {"truncated": [0.0] * G}
            expected = provider.step([RolloutGroup(texts_of(group), "q", measures=measures)])
            samples = found.get(group.group_id, [])
            assert [sample.advantage for sample in samples] == pytest.approx(
                expected.advantages[expected.loss_mask].tolist(), abs=1e-6
            )
            assert [sample.metrics["rewards/empo"] for sample in samples] == pytest.approx(
                expected.rewards[expected.loss_mask].tolist(), abs=1e-6
            )
            assert all(sample.completion_mask.any() for sample in samples)
            compared += len(samples)
    assert compared == sum(map(len, found.values())) > 0
    rows = {len(samples) for samples in found.values()}
    assert rows == ({3, 4} if invalid == "drop" else {4})


def test_a_dropped_group_is_refilled_and_reported_with_the_next_kept_group():
    answers = {text: AGREED if at % 2 else SPLIT for at, text in enumerate(questions(8))}
    with FakeVllm(make_chat_tokenizer(), answers) as server:
        loop = make_loop(server, MATH)
        found = samples_of(loop, 4)
    judged = judged_until(loop, found)
    assert {texts_of(group) == tuple(AGREED) for group in judged} == {True, False}
    reports = [samples[0] for samples in found.values()]
    assert [sample for samples in found.values() for sample in samples[1:] if hasattr(sample, "dropped")] == []
    dropped = [number for report in reports for number in report.dropped]
    assert dropped == [group.group_id for group in judged if group.group_id not in found]
    assert dropped
    with MATH() as provider:
        expected = provider.step([RolloutGroup(texts_of(group), "q") for group in judged]).metrics
    metrics = BatchNumbers.join([report.numbers for report in reports]).metrics()
    timeless = set(expected) - {"judging_seconds"}
    assert set(metrics) == set(expected)
    assert {name: metrics[name] for name in timeless} == pytest.approx({name: expected[name] for name in timeless})


def score(loop, groups, **columns):
    """Score groups without a server: (texts of the completions, samples of each completion)."""
    from trl.experimental.async_grpo.async_rollout_worker import RolloutGroup as TrlGroup
    from trl.experimental.async_grpo.async_rollout_worker import TrainingSequence

    async def scored():
        return [
            await loop._score_group(
                TrlGroup(
                    prompts=[[{"role": "user", "content": "q"}]] * G,
                    reward_kwargs={"gold": ["5"] * G, **columns},
                    completions=[[{"role": "assistant", "content": text}] for text in texts],
                    completions_ids=[[2, 3]] * G,
                    completions_sequences=[
                        [TrainingSequence([1, 2, 3], [0, 1, 1], [0.0, -1.0, -1.0], "id")] * count for count in counts
                    ],
                    tool_call_counts=[0] * G,
                    tool_failure_counts=[0] * G,
                    model_version=0,
                    group_id=number,
                    env_rewards=[None] * G,
                    rollout_rewards=[None] * G,
                )
            )
            for number, (texts, counts) in enumerate(groups)
        ]

    try:
        return loop._loop.run_until_complete(scored())
    finally:
        loop._loop.run_until_complete(loop._loop.shutdown_default_executor())
        loop._loop.close()
        loop.provider.close()


ONE_EACH = [1] * G


@pytest.mark.parametrize(
    ("texts", "options", "said"),
    [
        (
            AGREED,
            {},
            "5 x entropy not above delta_low), so the trainer gets nothing to train on. The bounds are 0.0 < H",
        ),
        (AGREED, {"delta_low": 0.6}, "The bounds are 0.6 < H < inf (nats)"),
        (AGREED, {}, "the mean H of these groups is 0.000 nats. The completions of a prompt agree: lower delta_low"),
        (SPLIT, {"delta_high": 1.0}, "The completions of a prompt scatter: raise delta_high"),
        ([UNREADABLE] * G, {"invalid": "drop"}, "is not known. The completions have no answer: check `extract`"),
        (AGREED, {"reward": "golden", "filters": {"equal_rewards": {}}}, "5 x equal rewards"),
        (AGREED, {}, "raise max_dropped_in_a_row"),
    ],
)
def test_too_many_dropped_groups_in_a_row_are_an_error_that_names_the_window(texts, options, said):
    score(make_loop(None, partial(MATH, **options), most=5), [(texts, ONE_EACH)] * 4)
    with pytest.raises(SemanticEntropyError) as raised:
        score(make_loop(None, partial(MATH, **options), most=5), [(texts, ONE_EACH)] * 5)
    assert said in str(raised.value)


def test_a_kept_group_starts_the_count_of_dropped_groups_anew():
    groups = [*[(AGREED, ONE_EACH)] * 4, (SPLIT, ONE_EACH)] * 3
    found = score(make_loop(None, MATH, most=5), groups)
    assert [len(samples) for samples in found] == [0, 0, 0, 0, G] * 3
    assert [samples[0].dropped for samples in found if samples] == [(0, 1, 2, 3), (5, 6, 7, 8), (10, 11, 12, 13)]


def test_each_sample_of_a_conversation_that_trl_could_not_join_has_the_advantage_of_the_conversation():
    nothing, samples = score(make_loop(None, MATH), [(SPLIT, [0] * G), (SPLIT, [2, 1, 0, 3])])
    with MATH() as provider:
        advantages = provider.step([SPLIT]).advantages
    assert nothing == []  # no token was sampled
    assert samples[0].dropped == (0,)
    metrics = samples[0].numbers.metrics()  # of both groups
    assert (metrics["keep_fraction"], metrics["outside_fraction"]) == (0.5, 0.5)
    assert samples[0].numbers.reasons == ("no completion has a token to train on", None)
    expected = [advantages[row] for row in (0, 0, 1, 3, 3, 3)]
    assert [sample.advantage for sample in samples] == pytest.approx(expected, abs=1e-6)


def test_the_judge_receives_the_prompt_of_a_row_whose_question_column_is_empty(monkeypatch):
    asked = []
    step = EmpoProvider.step
    monkeypatch.setattr(
        EmpoProvider, "step", lambda provider, groups: asked.append(groups[0].question) or step(provider, groups)
    )
    score(make_loop(None, MATH), [(SPLIT, ONE_EACH)], question=[None] * G)
    score(make_loop(None, MATH), [(SPLIT, ONE_EACH)], question=["From the dataset?"] * G)
    assert asked == ["q", "From the dataset?"]


def test_a_sample_carries_the_state_of_a_provider_that_draws_and_a_loop_continues_with_it():
    make = partial(MATH, reward="random", seed=3)

    def drawn(provider_state=None):
        return score(make_loop(None, make, provider_state=provider_state), [(SPLIT, ONE_EACH)] * 4)

    rewards = lambda groups: [[sample.metrics["reward"] for sample in group] for group in groups]  # noqa: E731
    whole = drawn()
    assert rewards(drawn(whole[1][0].provider_state))[:2] == rewards(whole)[2:] != rewards(whole)[:2]
    assert all(sample.provider_state is None for sample in score(make_loop(None, MATH), [(SPLIT, ONE_EACH)])[0][:1])


def test_an_error_of_the_provider_is_not_caught(tmp_path):
    (tmp_path / "broken.py").write_text("def broken(completions):\n    raise ValueError('no luck')\n", encoding="utf-8")
    with pytest.raises(SemanticEntropyError, match="no luck"):
        score(make_loop(None, partial(MATH, reward=f"{tmp_path}/broken.py:broken")), [(SPLIT, ONE_EACH)])
