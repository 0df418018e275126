"""Plugins: hooks, discovery, and loading components by name."""
