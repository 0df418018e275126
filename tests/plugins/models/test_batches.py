"""Token budgets: the content of batches, and the reaction to out-of-memory errors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy_plugins.models.batches import TokenBudget, is_out_of_memory

LENGTHS = st.lists(st.integers(1, 50), max_size=40)


class Device:
    """Runs batches of rows, each of which is its own length; out of memory above a number of tokens."""

    def __init__(self, memory: int = 10**9) -> None:
        self.memory, self.batches, self.failures = memory, [], 0

    def forward(self, rows: list[int]) -> list[str]:
        if len(rows) * max(rows) > self.memory:
            self.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.batches.append(rows)
        return [f"done {row}" for row in rows]


def run(budget: TokenBudget, device: Device, lengths: list[int]) -> list[tuple[int, str]]:
    return list(budget.run(lengths, lengths, device.forward, lambda row, tokens: f"too large {row} {tokens}"))


@given(LENGTHS, st.integers(1, 200), st.none() | st.integers(1, 5))
def test_every_item_runs_once_and_no_batch_exceeds_the_budget(lengths, tokens, most):
    device = Device()
    results = run(TokenBudget(tokens, most), device, lengths)
    assert sorted(results) == [(index, f"done {length}") for index, length in enumerate(lengths)]
    for rows in device.batches:
        assert len(rows) == 1 or (len(rows) * max(rows) <= tokens and len(rows) <= (most or len(rows)))


@given(LENGTHS, st.integers(1, 200))
def test_the_longest_rows_run_first_in_full_batches(lengths, tokens):
    device = Device()
    run(TokenBudget(tokens), device, lengths)
    assert [row for rows in device.batches for row in rows] == sorted(lengths, reverse=True)
    for rows in device.batches[:-1]:
        assert (len(rows) + 1) * max(rows) > tokens


@given(LENGTHS, st.integers(1, 400), st.integers(1, 60))
def test_batches_shrink_until_they_fit_and_a_row_that_never_fits_is_reported(lengths, tokens, memory):
    device = Device(memory)
    results = dict(run(TokenBudget(tokens), device, lengths))
    assert results == {
        index: f"done {length}" if length <= memory else f"too large {length} {length}"
        for index, length in enumerate(lengths)
    }


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(50, 400))
def test_the_smaller_budget_applies_to_the_next_call(lengths, memory):
    device, budget = Device(memory), TokenBudget(10**6)
    run(budget, device, lengths)
    before = device.failures
    run(budget, device, lengths)
    assert device.failures == before


def test_each_failure_halves_the_tokens_of_the_failed_batch():
    device, budget = Device(memory=30), TokenBudget(10**6)
    run(budget, device, [10] * 16)  # 160 tokens fail, 80 fail, 40 fail, 20 fit
    assert (device.failures, budget.tokens) == (3, 20)
    assert [len(rows) for rows in device.batches] == [2] * 8


def test_results_are_yielded_after_each_batch():
    device = Device()
    results = TokenBudget(10).run([5] * 4, [5] * 4, device.forward, lambda row, tokens: "")
    next(results)
    assert len(device.batches) == 1


@given(LENGTHS, st.integers(1, 200), st.integers(0, 60))
def test_no_batch_has_more_padding_than_the_limit_and_a_batch_ends_only_where_it_must(lengths, tokens, padding):
    device = Device()
    results = run(TokenBudget(tokens, padding=padding), device, lengths)
    assert sorted(results) == [(index, f"done {length}") for index, length in enumerate(lengths)]
    for rows, following in itertools.pairwise([*device.batches, []]):
        assert sum(max(rows) - row for row in rows) <= padding
        if following:
            more = [*rows, following[0]]
            assert len(more) * max(more) > tokens or sum(max(more) - row for row in more) > padding


class Asynchronous(Device):
    """Returns iterators, and records the order of the starts and of the reads of batches."""

    def __init__(self, memory: int = 10**9) -> None:
        super().__init__(memory)
        self.events: list[str] = []

    def forward(self, rows: list[int]) -> Iterator[str]:
        results = super().forward(rows)
        number = len(self.batches)
        self.events.append(f"start {number}")

        def read() -> Iterator[str]:
            self.events.append(f"read {number}")
            yield from results

        return read()


def test_a_batch_is_read_only_after_the_next_batch_of_any_section_has_started():
    device = Asynchronous()
    sections = [([4, 4], [4, 4]), ([], []), ([3], [3])]
    results = list(TokenBudget(4).run_sections(sections, device.forward, lambda row, tokens: ""))
    assert device.events == ["start 1", "start 2", "read 1", "start 3", "read 2", "read 3"]
    assert results == [(0, "done 4"), (1, "done 4"), (2, "done 3")]


@given(LENGTHS, st.integers(1, 400), st.integers(1, 60))
def test_a_batch_in_flight_keeps_its_results_when_the_next_batch_is_out_of_memory(lengths, tokens, memory):
    device = Asynchronous(memory)
    assert dict(run(TokenBudget(tokens), device, lengths)) == {
        index: f"done {length}" if length <= memory else f"too large {length} {length}"
        for index, length in enumerate(lengths)
    }


def test_another_error_is_not_treated_as_out_of_memory():
    def broken(rows: list[int]) -> list[str]:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        list(TokenBudget(10).run([1], [1], broken, lambda row, tokens: ""))


def test_torchs_out_of_memory_error_on_a_cpu_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),  # torch.cuda
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"), True),
        (MemoryError(), True),
        (RuntimeError("expected scalar type Half but found Float"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_errors_are_distinguished_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected
