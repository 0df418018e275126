"""The math judge: equal mathematics means the same.

`math_judge` holds the judge. `keys` and `exact_numbers` compare most answers exactly in this process; the other answers
go to math-verify in worker processes (`processes`).
"""

from semantic_entropy_plugins.math.math_judge import Math

__all__ = ["Math"]
