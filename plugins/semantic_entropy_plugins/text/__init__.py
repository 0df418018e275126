"""Judges that read text, without a model."""
