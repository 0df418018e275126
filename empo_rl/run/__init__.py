"""One training run: start it, keep its files, resume it."""
