"""Models of the sentence-transformers library, loaded in safety and with errors that say what to do.

As in `models` and `checkpoints`: weights from safetensors, no code that comes with a model, all files from one commit.
The library looks after the encoder alone: it would unpickle a layer on top of it without asking, and before its version
6 import whatever a folder names. So a model of the hub is first fetched as a folder, without pickles, and a folder is
looked through before it is loaded. Nor does the library mind a folder without a tokenizer, to which all texts are one.

Left out: prompts by task, several GPUs, other back ends than torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import huggingface_hub
import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from semantic_entropy.plugin import errors, replace_surrogates
from semantic_entropy_plugins.models.batches import is_out_of_memory
from semantic_entropy_plugins.models.download_errors import explained
from semantic_entropy_plugins.models.loading import no_bars_in_logs, pick_device, pick_dtype, survive_forks, window
from semantic_entropy_plugins.models.process_lock import ProcessLock

_HOME = "sentence-transformers/"  # owner of a name without one, as the library has it
_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")  # what a model is made of, in any of its folders
_PICKLES = "*.bin"
_KNOWN = "sentence_transformers."
_PRETRAINED = ("MaskedLM", "PreTraining")  # encoders that have learned no task yet
_UNLIMITED = 10**6  # tokens: a tokenizer without a limit says 10**30


@dataclass(frozen=True, slots=True)
class SentenceModel:
    """A model on its device, for one thread at a time; others wait.

    name, revision, prompt: as asked for. commit: of the hub's repository, or a digest of the folder. device, dtype: as
    "cpu" and "float32". window: tokens that it reads; None: any number.
    """

    model: SentenceTransformer
    name: str
    revision: str | None
    commit: str
    device: str
    dtype: str
    window: int | None
    prompt: str | None
    _lock: ProcessLock = field(default_factory=ProcessLock)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, the prompt and the model's own marks included, nothing cut."""
        tokenizer = self.model.tokenizer
        if not texts or not callable(tokenizer):  # static embeddings' is not, and they read any length
            return [len(text) for text in texts]
        usual = self.model.prompts.get(self.model.default_prompt_name or "") or ""
        prompt = usual if self.prompt is None else self.prompt
        with self._lock.here:
            prompted = [prompt + _readable(text) for text in texts]
            return [len(ids) for ids in tokenizer(prompted, truncation=False, verbose=False)["input_ids"]]

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.float32] | str]:
        """A unit vector (d,) for each text, in one batch; or why there is none."""
        readable = [_readable(text) for text in texts]
        with self._lock.here:
            found = self.model.encode(readable, prompt=self.prompt, batch_size=len(texts), show_progress_bar=False)
        vectors: NDArray[np.float32] = np.asarray(found, dtype=np.float32)
        return [self._unit(vector) for vector in vectors]

    def _unit(self, vector: NDArray[np.float32]) -> NDArray[np.float32] | str:
        norm = float(np.linalg.norm(vector))
        if not 0 < norm < float("inf"):
            return f"the model's output has the norm {norm} in {self.dtype}; dtype='float32' may help"
        unit: NDArray[np.float32] = vector / np.float32(norm)
        return unit


def load_sentence_model(
    name: str,
    *,
    prompt: str | None = None,
    revision: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    allow_pickle: bool = False,
    purpose: str = "embedding",
) -> SentenceModel:
    """Load a model; the arguments are those of `Embedding`, and who asks, for messages.

    Raises:
        OptionError: no such model, revision, device or precision; pickled weights, code of its own, no tokenizer.
        EquivalenceError: the model cannot be had now: no network, no permission, no space on the disk, no memory.
    """
    survive_forks()
    said = f"{purpose}: model={name!r}"
    place = pick_device(device, purpose)
    precision = pick_dtype(dtype, place, purpose)
    own = Path(name).expanduser()
    folder = own if own.is_dir() else _fetched(name, revision, allow_pickle, said)
    _look_through(folder, allow_pickle, said)
    weights = {"use_safetensors": None if allow_pickle else True, "dtype": precision}
    try:
        with no_bars_in_logs():
            model = SentenceTransformer(str(folder), device=str(place), local_files_only=True, model_kwargs=weights)
    except Exception as error:  # four libraries load here, and each raises what it likes
        raise _not_loaded(error, said) from error
    _check_tokenizer(model, said)
    return SentenceModel(
        model,
        name,
        None if own.is_dir() else revision,
        _digest(folder) if own.is_dir() else folder.name,
        place.type,
        str(precision).removeprefix("torch."),
        _window(model),
        prompt,
    )


def _fetched(name: str, revision: str | None, allow_pickle: bool, said: str) -> Path:
    """The folder of a model of the hub, named by its commit; without a network, the one that lies here already."""
    repository = name if "/" in name else f"{_HOME}{name}"
    patterns = [*_FILES, _PICKLES] if allow_pickle else list(_FILES)
    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except Exception as error:  # the hub's HTTP library, and so what it raises, differs by version
        raise explained(error, said, revision) from error


def _look_through(folder: Path, allow_pickle: bool, said: str) -> None:
    """What would be imported or unpickled, before anything is."""
    listed = folder / "modules.json"
    try:
        layers = json.loads(listed.read_text(encoding="utf-8")) if listed.exists() else []
        places = [(str(layer["type"]), folder / layer["path"]) for layer in layers] or [(_KNOWN, folder)]
    except (ValueError, TypeError, KeyError) as error:
        raise errors.OptionError(f"{said} has a modules.json that cannot be read: {error}") from error
    if not layers:
        _check_encoder(folder, said)
    for kind, here in places:
        if not kind.startswith(_KNOWN):
            raise errors.OptionError(
                f"{said} brings code of its own ({kind}), and none is run here: use a model made of the layers of "
                "sentence-transformers"
            )
        if not allow_pickle and list(here.glob(_PICKLES)) and not list(here.glob("*.safetensors")):
            raise errors.OptionError(
                f"{said} has pickled weights alone in {here}. A pickle can run any code when it is read. Use a model "
                "or a revision that has safetensors; or, where you trust its author, allow_pickle=True"
            )


def _check_encoder(folder: Path, said: str) -> None:
    """Of a folder that lists no layers the library takes the encoder, and the mean over its tokens: some models are
    published so. Not those that were trained for something else.
    """
    try:
        made_for = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"][0]
        _, head, task = str(made_for).partition("For")
    except (OSError, ValueError, TypeError, LookupError):
        return  # what is wrong with it the library will say
    if head and task not in _PRETRAINED:
        raise errors.OptionError(
            f"{said} is a {made_for}, and no sentence model: cosines of what lies under it say little. Choose a model "
            "that sentence-transformers has saved (it holds a modules.json)"
        )


def _not_loaded(error: Exception, said: str) -> errors.SemanticEntropyError:
    if is_out_of_memory(error):
        return errors.EquivalenceError(
            f"{said} cannot be loaded: out of memory. Use a smaller model, dtype='bfloat16' or another device"
        )
    why = " ".join(str(error).split())
    return errors.OptionError(f"{said} is no model that sentence-transformers can load: {type(error).__name__}: {why}")


def _check_tokenizer(model: SentenceTransformer, said: str) -> None:
    special = getattr(model.tokenizer, "all_special_tokens", ())
    if not set(model.tokenizer.get_vocab()) - set(special):
        raise errors.OptionError(
            f"{said} has no tokenizer: its folder holds no vocabulary. Save one beside the model, with "
            "`tokenizer.save_pretrained`"
        )


def _window(model: SentenceTransformer) -> int | None:
    """Where the library would cut, or the encoder ends."""
    limits = [model.get_max_seq_length()]
    if model.transformers_model is not None:
        limits.append(window(model.tokenizer, model.transformers_model))
    return min((int(limit) for limit in limits if limit is not None and limit < _UNLIMITED), default=None)


def _digest(folder: Path) -> str:
    """Of the content of all that a model is loaded from, in all of its folders: 16 hexadecimal digits."""
    whole = hashlib.sha256()
    for path in sorted(path for pattern in (*_FILES, _PICKLES) for path in folder.rglob(pattern)):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return whole.hexdigest()[:16]


def _readable(text: str) -> str:
    return replace_surrogates(text)
