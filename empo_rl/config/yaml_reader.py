"""Read the YAML text of a configuration within limits, so that no text takes long or fills the memory.

PyYAML's safe loader runs no code, but other texts still cause trouble. An alias (`*a`) costs nothing until the value is
printed: nine levels of nine aliases each become a billion values ("billion laughs"). Deep nesting ends in a
RecursionError, a number of 5,000 digits or the date 2026-99-99 in a ValueError. A key that is given twice loses its
first value. Each of these is an InputError here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semantic_entropy import InputError
from semantic_entropy.plain_text import has_surrogate, shorten

MOST_CHARACTERS = 100_000  # of a text, where an alias counts as its value; the longest recipe has 3,000
MOST_LEVELS = 20  # of nested sections and lists; the longest key of the configuration has 3 parts
_LARGEST_NUMBER = 2**63 - 1  # torch, TRL and JSON readers need whole numbers of at most 64 bits


def read_config_text(path: Path) -> str:
    """Read a configuration file.

    Raises:
        InputError: the file cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(4 * MOST_CHARACTERS + 1)  # a character of UTF-8 has at most 4 bytes
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if len(content) > 4 * MOST_CHARACTERS:
        raise InputError(f"{path}: too large for a configuration, which has at most {MOST_CHARACTERS:,} characters.")
    try:
        return content.decode("utf-8-sig")  # also without the mark that some Windows editors write
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}: line {line} is not UTF-8 (byte {content[error.start]:#04x}). Save the file in the encoding UTF-8."
        ) from error


def parse_yaml(text: str, name: str) -> Any:
    """Parse a YAML text. Error messages begin with `name`.

    Raises:
        InputError: the text is not YAML, repeats a key, or exceeds a limit of this module.
    """
    import yaml

    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _size(node, name, {}, 0)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not readable as YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise InputError(f"{name}: more than {MOST_LEVELS} nested levels.") from error
    except InputError:
        raise
    except ValueError as error:  # a number with too many digits, a date that does not exist
        raise InputError(f"{name}: not readable as YAML: {error}.") from error


def check_values(value: Any, name: str, key: str = "", level: int = 0) -> None:
    """Check that a configuration has text keys, numbers of at most 64 bits, text that UTF-8 has, and few levels.

    Raises:
        InputError: the message contains `name` and the key.
    """
    place = f"{name}: {key}" if key else name
    if level > MOST_LEVELS:
        raise InputError(f"{name}: {shorten(key, 60)}: more than {MOST_LEVELS} nested levels.")
    if isinstance(value, Mapping):
        for part, inner in value.items():
            if not isinstance(part, str):
                raise InputError(f"{place}: the key {shorten(repr(part), 60)} is not text. Write it in quotes.")
            check_values(inner, name, f"{key}.{part}" if key else part, level + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            check_values(inner, name, f"{key}[{index}]", level + 1)
    elif isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
        raise InputError(f"{place}: the number has more than 64 bits.")
    elif isinstance(value, str) and has_surrogate(value):
        raise InputError(f"{place}: the text contains half of a UTF-16 pair, which UTF-8 cannot encode. Remove it.")


def _size(node: Any, name: str, sizes: dict[Any, int], level: int) -> int:
    """The number of characters of a node of PyYAML, where an alias counts as its value, before values are created.

    Args:
        node: a scalar, a sequence, or a mapping.
        name: for error messages.
        sizes: the sizes of the nodes that were visited before; 0 for a node that is not yet complete.
        level: the number of nodes around this node.
    """
    place = f"{name}, line {node.start_mark.line + 1}"
    if node in sizes:  # an alias
        if not sizes[node]:
            raise InputError(f"{place}: an alias is inside of its own value.")
        return sizes[node]
    if level > MOST_LEVELS:
        raise InputError(f"{place}: more than {MOST_LEVELS} nested levels.")
    sizes[node] = 0
    if isinstance(node.value, str):
        size = len(node.value)
    else:
        parts = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
        size = sum(_size(part, name, sizes, level + 1) for part in parts)
        _check_keys([item[0].value for item in node.value if isinstance(item, tuple)], place)
    if size > MOST_CHARACTERS:
        raise InputError(f"{place}: more than {MOST_CHARACTERS:,} characters, where an alias counts as its value.")
    sizes[node] = size + 1
    return sizes[node]


def _check_keys(keys: list[Any], place: str) -> None:
    """Check that no key of a mapping is given twice: YAML would use the last value."""
    seen: set[str] = set()
    for key in keys:
        if isinstance(key, str) and key in seen and key != "<<":
            raise InputError(f"{place}: the key {shorten(key, 60)!r} is given twice.")
        seen.add(str(key) if isinstance(key, str) else "")
