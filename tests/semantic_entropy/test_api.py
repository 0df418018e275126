"""The front door: what it exports, and what importing it costs."""

from __future__ import annotations

import semantic_entropy


def test_the_front_door_is_sorted_and_holds_what_it_names():
    assert list(semantic_entropy.__all__) == sorted(semantic_entropy.__all__)
    for name in semantic_entropy.__all__:
        assert hasattr(semantic_entropy, name), name


def test_every_public_class_and_function_says_what_it_is():
    for name in semantic_entropy.__all__:
        assert (getattr(semantic_entropy, name).__doc__ or "").strip(), f"{name} has no docstring"


def test_every_error_of_the_front_door_descends_from_one_root():
    errors = [value for name in semantic_entropy.__all__ if isinstance(value := getattr(semantic_entropy, name), type)]
    errors = [error for error in errors if issubclass(error, Exception)]
    assert len(errors) == 10
    assert all(issubclass(error, semantic_entropy.SemanticEntropyError) for error in errors)
