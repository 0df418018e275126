"""The math judge: equal mathematics means the same."""
