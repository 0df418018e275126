"""The demo behind `empo-train demo`: a tiny base model made on the spot, EMPO on unlabelled questions, before
and after.
"""
