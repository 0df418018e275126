"""Uses of this package inside other tools: `assert_consistent` for tests, which pytest's fixture of this name calls.

`import semantic_entropy` does not import this folder.
"""

from semantic_entropy.integrations.consistency import ConsistencyCheck, assert_consistent, check_consistency

__all__ = ["ConsistencyCheck", "assert_consistent", "check_consistency"]
