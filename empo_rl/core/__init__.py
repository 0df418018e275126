"""From completions to advantages: groups, rewards, filters, guards, provider. Imports no torch and no trainer."""
