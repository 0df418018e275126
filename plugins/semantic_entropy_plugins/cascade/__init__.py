"""The cascade judge: inexpensive judges first; expensive judges only for undecided pairs.

`cascade_judge` holds the judge. `cascade_stages` builds its stages and runs them.
"""

from semantic_entropy_plugins.cascade.cascade_judge import Cascade

__all__ = ["Cascade"]
