"""From clusters to scores: probabilities and entropy estimators."""
