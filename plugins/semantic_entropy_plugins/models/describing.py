"""How a component says what it is: its name, with those options that are not the defaults."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any


def described(component: type, name: str, options: Mapping[str, Any]) -> str:
    """The name, with those options that are not the component's defaults.

    component: the class whose parameters the options are, never `type(self)`: a subclass may take others.
    """
    defaults = {p.name: p.default for p in inspect.signature(component).parameters.values()}
    shown = [f"{option}={value!r}" for option, value in options.items() if value != defaults[option]]
    return f"{name}({', '.join(shown)})"
