"""`empo-serve`: the service of `semantic-entropy serve`, with rewards: `POST /v1/score`.

scoring  groups in; clusters, entropies, rewards, keep, advantages out
cli      the command
"""
