"""From scores to decisions: thresholds of judges."""
