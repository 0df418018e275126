"""The cascade judge: inexpensive judges first, expensive judges only for undecided pairs."""
