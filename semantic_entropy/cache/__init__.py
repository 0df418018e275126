"""Verdict caches: in memory and in an SQLite file."""
