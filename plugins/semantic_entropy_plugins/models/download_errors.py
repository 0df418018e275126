"""What the hub's client raises, as errors that say what to do.

Two kinds: the name is wrong (`OptionError`), or the model cannot be had now (`EquivalenceError`).
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub import errors as hub

from semantic_entropy.plugin import errors

_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
_GATED = f"is gated: accept its terms on its page at {{endpoint}}, then {_LOG_IN}"
_REVISION = "has no revision {revision!r}: give a branch, tag or commit that it has"
_NOT_FOUND = f"""is neither a folder here nor a model on {{endpoint}}. \
Check its spelling (owner/name); if it is private, {_LOG_IN}"""
_NAME = "is neither a folder here nor the name of a model (owner/name)"
_OFFLINE = """is not in the cache ({cache}), and HF_HUB_OFFLINE is set. \
Unset it, or run `hf download` where there is a network, or give a folder"""
_FORBIDDEN = "cannot be kept: {error}. Set HF_HOME to a folder that you may write to"

# Subclasses before their bases: a gated repository is a kind of one that is not found.
_ANSWERS: tuple[tuple[type[Exception], type[errors.SemanticEntropyError], str], ...] = (
    (hub.GatedRepoError, errors.EquivalenceError, _GATED),
    (hub.RevisionNotFoundError, errors.OptionError, _REVISION),
    (hub.RepositoryNotFoundError, errors.OptionError, _NOT_FOUND),
    (hub.HFValidationError, errors.OptionError, _NAME),
    (hub.OfflineModeIsEnabled, errors.EquivalenceError, _OFFLINE),
    (PermissionError, errors.EquivalenceError, _FORBIDDEN),
)
_FULL = ((errno.ENOSPC, "No space left on device"), (errno.EDQUOT, "Disk quota exceeded"))


def explained(error: Exception, said: str, revision: str | None = None) -> errors.SemanticEntropyError:
    """The error to raise instead; `said` names who asks for which model."""
    known = {"endpoint": constants.ENDPOINT, "cache": constants.HF_HUB_CACHE, "revision": revision, "error": error}
    chain = list(_chain(error))
    if any(_is_full(one) for one in chain):
        return errors.EquivalenceError(
            f"{said} cannot be downloaded, the disk is full: {_free(Path(constants.HF_HUB_CACHE))}. Make room, or set "
            "HF_HOME to a folder on another disk"
        )
    for kind, raised, answer in _ANSWERS:
        if any(isinstance(one, kind) for one in chain):
            return raised(f"{said} {answer.format(**known)}")
    last = f"{type(chain[-1]).__name__}: {' '.join(str(chain[-1]).split())[:500]}"
    return errors.EquivalenceError(
        f"{said} could not be downloaded from {constants.ENDPOINT}, and not in the cache: {last}. Check the network. "
        "Without one, give a folder, or run `hf download` elsewhere and bring its cache along (HF_HOME)"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_full(error: BaseException) -> bool:
    """The hub's faster downloader tells the operating system's error in its text alone."""
    number = error.errno if isinstance(error, OSError) else None
    return any(number == known or text in str(error) for known, text in _FULL)


def _free(folder: Path) -> str:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return f"{shutil.disk_usage(existing).free / 1e9:.1f} GB are free for {folder}"
