"""Where a model's files are: a folder as given, or one snapshot of a repository on the Hugging Face hub.

All files come from one commit, so that the commit tells what a model's output came from. Weights are safetensors.
Where the main branch of a repository has pickled weights alone, the hub's conversion bot has often put the same
weights, as safetensors, into a pull request: that is taken, as transformers does, but nothing is ever uploaded and no
conversion is asked for. Pickled weights are read only where that is asked for.

A folder is known by a digest of its files' content, wherever it lies and however its path is written. Sizes and headers
would not do: two checkpoints of one training run have the same.

Left out: weights in other formats (GGUF, adapters, TensorFlow), files in sub-folders.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name

from semantic_entropy.plugin import errors
from semantic_entropy_plugins.models.download_errors import explained

SAFE = ("model.safetensors", "model-*-of-*.safetensors")
PICKLED = ("pytorch_model.bin", "pytorch_model-*-of-*.bin")
OTHER = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
"""Configuration, tokenizer and the indices of weights in several files."""
_BOT, _TITLE = "SFconvertbot", "Adding `safetensors` variant of this model"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that holds a model, and what its content is known by.

    revision: as asked, or the pull request that was taken instead of the main branch. commit: of the repository; of a
    folder of your own, a digest of its content.
    """

    folder: Path
    revision: str | None
    commit: str


class Known(NamedTuple):
    """What a model goes by: in the keys of what is remembered of it, and where its version is shown."""

    key: str
    shown: str


def known(name: str, commit: str | None) -> Known:
    """A model of the hub by its name; a folder by its content, shown under its own name without the path."""
    own = Path(name).expanduser()
    return Known(commit or name, own.resolve().name) if own.is_dir() else Known(name, name)


def locate(name: str, *, revision: str | None, allow_pickle: bool, purpose: str) -> Checkpoint:
    """Find the files of a model; download what is not in the cache.

    Args:
        name: a folder, or owner/name of a repository on the hub.
        revision: a branch, tag or commit there; None: its main branch.
        allow_pickle: whether pickled weights will do where there are no others.
        purpose: who asks, for messages.

    Raises:
        OptionError: no such folder, repository or revision; or it holds no weights that may be read.
        EquivalenceError: it cannot be had now: no network, no permission, no space on the disk.
    """
    said = f"{purpose}: model={name!r}"
    own = Path(name).expanduser()
    if own.is_dir():
        _check([path.name for path in own.iterdir()], own, allow_pickle, said)
        return Checkpoint(own, None, digest(own))
    try:
        folder, revision = _snapshot(name, revision, allow_pickle)
        contents = [path.name for path in folder.iterdir()] if _has_weights(folder, allow_pickle) else _listing(name)
    except Exception as error:  # the hub's HTTP library, and so what it raises, differs by version
        raise explained(error, said, revision) from error
    _check(contents, folder, allow_pickle, said)
    return Checkpoint(folder, revision, folder.name)


def digest(folder: Path) -> str:
    """Of the content of all that a model is loaded from: 16 hexadecimal digits."""
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and any(fnmatch(path.name, pattern) for pattern in (*OTHER, *SAFE, *PICKLED)):
            with path.open("rb") as file:
                whole.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()[:16]


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
    """The bot's pull request, by the hub or, without a network, by the cache."""
    try:
        for found in huggingface_hub.HfApi().get_repo_discussions(name, author=_BOT, discussion_type="pull_request"):
            if (found.author, found.title, found.status) == (_BOT, _TITLE, "open"):
                return f"refs/pr/{found.num}"
    except Exception:  # noqa: BLE001  # no network, as each version of the client has it: what an earlier run found
        repository = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type="model"))
        for ref in sorted((repository / "refs").glob("refs/pr/*")):
            if _has_weights(repository / "snapshots" / ref.read_text().strip(), allow_pickle=False):
                return f"refs/pr/{ref.name}"
    return None


def _has_weights(folder: Path, allow_pickle: bool) -> bool:
    names = ["model.safetensors", *(["pytorch_model.bin"] if allow_pickle else [])]
    return any((folder / f"{name}{ending}").exists() for name in names for ending in ("", ".index.json"))


def _listing(name: str) -> list[str]:
    """All files of a repository."""
    return huggingface_hub.HfApi().list_repo_files(name)


def _check(contents: Sequence[str], folder: Path, allow_pickle: bool, said: str) -> None:
    names = sorted(contents)
    shown = f"it holds {', '.join(names[:12])}{', ...' * (len(names) > 12)}" if names else "it is empty"
    if not (folder / "config.json").exists():
        raise errors.OptionError(f"{said} is no model that `save_pretrained` has written: no config.json; {shown}")
    if _has_weights(folder, allow_pickle):
        return
    if any(fnmatch(name, pattern) for name in names for pattern in PICKLED):
        raise errors.OptionError(
            f"{said} has pickled weights alone (pytorch_model.bin). A pickle can run any code when it is read, and the "
            "restricted unpickler that guards against that has had holes. Use a model or a revision that has "
            "safetensors; or, where you trust its author, allow_pickle=True"
        )
    raise errors.OptionError(f"{said} has no weights as safetensors (model.safetensors); {shown}")
