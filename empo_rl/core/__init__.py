"""From answers to advantages: rewards, filters, guards and the provider. Imports neither torch nor a trainer."""
