"""What names a component: in results, in cache files and in sample stores.

Judges (`Equivalence`) and samplers (`Sampler`) share the base class `Identified`. A file finds what a component
produced earlier by the class (`class_identity`), the `settings` and, for verdicts, the `versions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class PrivateSettings(int):
    """Settings that mean nothing outside this process: a number for one object. Nothing under them goes into a file."""


def class_identity(component_class: type) -> tuple[str, str]:
    """The (module, qualified name) by which cache files and sample stores know the class of a judge or a sampler.

    Default: where the class is defined. A class that moved pins its first place with
    `cache_identity = "old.module:OldName"`, so that files written before the move are still found. Subclasses do not
    inherit the pin: their verdicts and samples can differ.
    """
    pinned = component_class.__dict__.get("cache_identity")
    if pinned is None:
        return component_class.__module__, component_class.__qualname__
    module, _, name = pinned.partition(":")
    return module, name


class Identified:
    """Base of components whose results are kept in files and named in a `Result`."""

    name: str = ""
    """The name in results; default: the name of the class."""
    cache_identity: ClassVar[str | None] = None
    """ "module:Name" by which files know this class; None: where it is defined. See `class_identity`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.name and Identified not in cls.__bases__:
            cls.name = cls.__name__

    @property
    def versions(self) -> Mapping[str, str]:
        """The versions that the results depend on (libraries, model revision): for a result's provenance."""
        return {}

    def describe(self) -> str:
        """The name with the options that differ from the default: for a result's provenance."""
        return self.name

    def __repr__(self) -> str:
        try:
            return f"<{self.describe()}>"
        except AttributeError:  # a traceback may show an object whose __init__ has not finished
            return f"<{self.name}>"

    def close(self) -> None:
        """Release worker processes, models and connections; may be called twice. Default: nothing to release."""
