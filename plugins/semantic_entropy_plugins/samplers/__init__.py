"""Samplers: draw several responses to a question from a model."""
