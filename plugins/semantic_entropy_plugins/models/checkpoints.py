"""The files of a model: a local folder, or one snapshot of a repository on the Hugging Face hub.

All files come from one commit, so the commit identifies the model in results and in cache keys. Weights must be
safetensors. Some repositories have only pickled weights on the main branch, and an open pull request of the hub's
conversion bot with the same weights as safetensors. This module uses that pull request, like transformers does. Unlike
transformers, it never requests a conversion. Pickled weights are read only with `allow_pickle`.

A local folder is identified by a digest of the content of its files. Other identities fail: a path changes when the
folder moves, and two checkpoints of one training run have equal file sizes and headers.

Errors of the hub's client are replaced by errors with a fix: `OptionError` if the name or revision is wrong,
`EquivalenceError` if the model is unavailable (network, permission, disk).

Left out: weights in other formats (GGUF, adapters, TensorFlow), files in sub-folders.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub import errors as hub
from huggingface_hub.file_download import repo_folder_name

from semantic_entropy.plugin import errors

SAFE = ("model.safetensors", "model-*-of-*.safetensors")
PICKLED = ("pytorch_model.bin", "pytorch_model-*-of-*.bin")
OTHER = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
"""Files of the configuration and the tokenizer, and index files for weights in several files."""
_BOT, _TITLE = "SFconvertbot", "Adding `safetensors` variant of this model"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that holds a model, and the identity of its content.

    Attributes:
        folder: the folder with the model's files.
        revision: the requested revision, or the pull request that is used instead of the main branch.
        commit: the commit of the repository; for a local folder, a digest of the folder's content.
    """

    folder: Path
    revision: str | None
    commit: str


class ModelIdentity(NamedTuple):
    """The names of a model: `key` is part of cache keys, `shown` appears with the model's version in results."""

    key: str
    shown: str


def model_identity(name: str, commit: str | None) -> ModelIdentity:
    """The identity of a model: the name of a hub model; the digest and the folder's name of a local folder."""
    local = Path(name).expanduser()
    return ModelIdentity(commit or name, local.resolve().name) if local.is_dir() else ModelIdentity(name, name)


def locate(name: str, *, revision: str | None, allow_pickle: bool, purpose: str) -> Checkpoint:
    """Find the files of a model; download the files that are not in the cache.

    Args:
        name: a folder, or a repository on the hub as owner/name.
        revision: a branch, tag or commit on the hub; None: the main branch.
        allow_pickle: accept pickled weights if there are no safetensors.
        purpose: the component that loads the model, for messages.

    Raises:
        OptionError: the folder, repository or revision does not exist, or there are no weights in an allowed format.
        EquivalenceError: the model is unavailable: no network, no permission, no disk space.
    """
    subject = f"{purpose}: model={name!r}"
    local = Path(name).expanduser()
    if local.is_dir():
        _check([path.name for path in local.iterdir()], local, allow_pickle, subject)
        return Checkpoint(local, None, folder_digest(local))
    with hub_errors(subject, revision):
        folder, revision = _snapshot(name, revision, allow_pickle)
        contents = [path.name for path in folder.iterdir()] if _has_weights(folder, allow_pickle) else _listing(name)
    _check(contents, folder, allow_pickle, subject)
    return Checkpoint(folder, revision, folder.name)


def folder_digest(folder: Path, files: Iterable[Path] | None = None) -> str:
    """The identity of a folder's content: 16 hexadecimal digits.

    Args:
        folder: paths in the digest are relative to this folder.
        files: the files to read; None: the files in the folder from which transformers loads a model.
    """
    if files is None:
        patterns = (*OTHER, *SAFE, *PICKLED)
        files = [path for path in folder.iterdir() if any(fnmatch(path.name, pattern) for pattern in patterns)]
    digest = hashlib.sha256()
    for path in sorted(filter(Path.is_file, files)):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()[:16]


def _snapshot(name: str, revision: str | None, allow_pickle: bool) -> tuple[Path, str | None]:
    folder = _download(name, revision, SAFE)
    if _has_weights(folder, allow_pickle=False):
        return folder, revision
    if allow_pickle:
        return _download(name, revision, PICKLED), revision
    converted = None if revision else _conversion(name)
    return (_download(name, converted, SAFE), converted) if converted else (folder, revision)


def _download(name: str, revision: str | None, weights: Sequence[str]) -> Path:
    found = huggingface_hub.snapshot_download(
        name, revision=revision, allow_patterns=[*OTHER, *weights], ignore_patterns="*/*"
    )
    return Path(found)


def _conversion(name: str) -> str | None:
    """The revision of the bot's open pull request, or None. Without a network, the cache is searched."""
    try:
        for found in huggingface_hub.HfApi().get_repo_discussions(name, author=_BOT, discussion_type="pull_request"):
            if (found.author, found.title, found.status) == (_BOT, _TITLE, "open"):
                return f"refs/pr/{found.num}"
    except Exception:  # noqa: BLE001  # no network: each version of the client raises another error
        repository = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type="model"))
        for ref in sorted((repository / "refs").glob("refs/pr/*")):
            if _has_weights(repository / "snapshots" / ref.read_text().strip(), allow_pickle=False):
                return f"refs/pr/{ref.name}"
    return None


def _has_weights(folder: Path, allow_pickle: bool) -> bool:
    names = ["model.safetensors", *(["pytorch_model.bin"] if allow_pickle else [])]
    return any((folder / f"{name}{ending}").exists() for name in names for ending in ("", ".index.json"))


def _listing(name: str) -> list[str]:
    return huggingface_hub.HfApi().list_repo_files(name)


def _check(contents: Sequence[str], folder: Path, allow_pickle: bool, subject: str) -> None:
    names = sorted(contents)
    shown = f"it contains {', '.join(names[:12])}{', ...' * (len(names) > 12)}" if names else "it is empty"
    if not (folder / "config.json").exists():
        raise errors.OptionError(f"{subject} is not a model saved by `save_pretrained`: no config.json; {shown}")
    if _has_weights(folder, allow_pickle):
        return
    if any(fnmatch(name, pattern) for name in names for pattern in PICKLED):
        raise errors.OptionError(
            f"{subject} has only pickled weights (pytorch_model.bin). Reading a pickle can run any code, and the "
            "restricted unpickler that should prevent this has had security holes. Use a model or a revision with "
            "safetensors, or allow_pickle=True if you trust the model's author"
        )
    raise errors.OptionError(f"{subject} has no weights as safetensors (model.safetensors); {shown}")


_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
_GATED = f"is gated: accept its terms on its page at {{endpoint}}, then {_LOG_IN}"
_REVISION = "has no revision {revision!r}: use a branch, tag or commit of the repository"
_NOT_FOUND = f"""is neither a local folder nor a model on {{endpoint}}. \
Check the spelling (owner/name). If the model is private, {_LOG_IN}"""
_NAME = "is neither a local folder nor a model name (owner/name)"
_OFFLINE = """is not in the cache ({cache}), and HF_HUB_OFFLINE is set. \
Unset HF_HUB_OFFLINE, run `hf download` on a machine with a network, or use a local folder"""
_FORBIDDEN = "cannot be stored: {error}. Set HF_HOME to a folder that you may write to"

# Subclasses before their base classes: GatedRepoError is a RepositoryNotFoundError.
_REASONS: tuple[tuple[type[Exception], type[errors.SemanticEntropyError], str], ...] = (
    (hub.GatedRepoError, errors.EquivalenceError, _GATED),
    (hub.RevisionNotFoundError, errors.OptionError, _REVISION),
    (hub.RepositoryNotFoundError, errors.OptionError, _NOT_FOUND),
    (hub.HFValidationError, errors.OptionError, _NAME),
    (hub.OfflineModeIsEnabled, errors.EquivalenceError, _OFFLINE),
    (PermissionError, errors.EquivalenceError, _FORBIDDEN),
)
_FULL = ((errno.ENOSPC, "No space left on device"), (errno.EDQUOT, "Disk quota exceeded"))


@contextmanager
def hub_errors(subject: str, revision: str | None = None) -> Iterator[None]:
    """Replace every error of the hub's client by an error that names the fix.

    Args:
        subject: the component and the model, such as "nli: model='x'". The message starts with this text.
        revision: the revision that was requested, for the message.
    """
    try:
        yield
    except Exception as error:  # the hub's HTTP library, and therefore its errors, differ by version
        raise _explained(error, subject, revision) from error


def _explained(error: Exception, subject: str, revision: str | None) -> errors.SemanticEntropyError:
    values = {"endpoint": constants.ENDPOINT, "cache": constants.HF_HUB_CACHE, "revision": revision, "error": error}
    chain = list(_chain(error))
    if any(_is_full(cause) for cause in chain):
        return errors.EquivalenceError(
            f"{subject} cannot be downloaded, the disk is full: {_free(Path(constants.HF_HUB_CACHE))}. Free some "
            "space, or set HF_HOME to a folder on another disk"
        )
    for kind, raised, reason in _REASONS:
        if any(isinstance(cause, kind) for cause in chain):
            return raised(f"{subject} {reason.format(**values)}")
    last = f"{type(chain[-1]).__name__}: {' '.join(str(chain[-1]).split())[:500]}"
    return errors.EquivalenceError(
        f"{subject} could not be downloaded from {constants.ENDPOINT} and is not in the cache: {last}. Check the "
        "network. Without a network, use a local folder, or run `hf download` on another machine and copy its cache "
        "(HF_HOME)"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_full(error: BaseException) -> bool:
    """Whether the disk is full. The hub's Rust downloader reports this error only in the text of its exception."""
    number = error.errno if isinstance(error, OSError) else None
    return any(number == known or text in str(error) for known, text in _FULL)


def _free(folder: Path) -> str:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return f"{shutil.disk_usage(existing).free / 1e9:.1f} GB are free for {folder}"
