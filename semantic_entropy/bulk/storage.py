"""A folder for input and output: a local folder, or a bucket or another file system that fsspec reads.

A URL such as `s3://bucket/folder` or `memory://folder` needs fsspec and its driver for the bucket. Local paths and
`file://` URLs need neither.

A file appears under its name when it is complete. In a local folder, it is written under another name, synced and
renamed. In a bucket, it is put in one step; an upload that is cut off leaves no object.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from semantic_entropy.errors import InputError, MissingDependencyError, SemanticEntropyError, install_command
from semantic_entropy.files import replacement


class Storage(ABC):
    """A folder. Names are relative to it, with `/` between their parts.

    Attributes:
        root: the path or URL of the folder, for messages.
        local: the path of a local folder; None: the folder is elsewhere.
    """

    root: str
    local: Path | None = None

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None: there is no such file."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is such a file."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a file. It is complete, or unchanged."""

    @abstractmethod
    def publish(self, file: Path, name: str) -> None:
        """Move a finished local file to this folder."""

    @abstractmethod
    def fetch(self, name: str, file: Path) -> bool:
        """Copy a file of this folder to a local file. Return False if there is no such file."""

    @abstractmethod
    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the bytes of the files directly in this folder, or in a folder inside it, by name, sorted."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, or a folder with its files, if it exists."""


class LocalStorage(Storage):
    """A folder on this machine, or on a disk that several machines share."""

    def __init__(self, path: Path) -> None:
        self.root, self.local = str(path), path

    def read(self, name: str) -> bytes | None:
        path = self._path(name)
        return path.read_bytes() if path.is_file() else None

    def exists(self, name: str) -> bool:
        return self._path(name).is_file()

    def write(self, name: str, content: bytes) -> None:
        with replacement(self._path(name)) as temporary:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)

    def publish(self, file: Path, name: str) -> None:
        with replacement(self._path(name)) as temporary:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            file.replace(temporary)  # the folder of the work is in this folder

    def fetch(self, name: str, file: Path) -> bool:
        path = self._path(name)
        if not path.is_file():
            return False
        try:
            shutil.copyfile(path, file)
        except OSError as error:
            raise SemanticEntropyError(
                f"{path} cannot be copied to {file.parent}: {error.strerror or error}"
            ) from error
        return True

    def sizes(self, folder: str = "") -> dict[str, int]:
        path = self._path(folder)
        found = sorted(path.iterdir()) if path.is_dir() else []
        return {each.name: each.stat().st_size for each in found if each.is_file()}

    def remove(self, name: str) -> None:
        path = self._path(name)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        assert self.local is not None
        return self.local / name


class BucketStorage(Storage):
    """A folder of a file system that fsspec reads."""

    def __init__(self, url: str) -> None:
        self.root = url.rstrip("/")
        self._files, path = file_system(url)
        self._folder = path.rstrip("/")

    def read(self, name: str) -> bytes | None:
        try:
            content: bytes = self._files.cat_file(self._path(name))
        except FileNotFoundError:
            return None
        return content

    def exists(self, name: str) -> bool:
        return bool(self._files.isfile(self._path(name)))

    def write(self, name: str, content: bytes) -> None:
        with _bucket_errors(f"{self.root}/{name}"):
            self._files.makedirs(self._files._parent(self._path(name)), exist_ok=True)  # noqa: SLF001  # no other name
            self._files.pipe_file(self._path(name), content)

    def publish(self, file: Path, name: str) -> None:
        with _bucket_errors(f"{self.root}/{name}"):
            self._files.makedirs(self._folder, exist_ok=True)
            self._files.put_file(str(file), self._path(name))
        file.unlink()

    def fetch(self, name: str, file: Path) -> bool:
        if not self._files.exists(self._path(name)):
            return False
        self._files.get_file(self._path(name), str(file))
        return True

    def sizes(self, folder: str = "") -> dict[str, int]:
        try:
            found = self._files.ls(self._path(folder), detail=True, refresh=True)
        except FileNotFoundError:
            return {}
        except TypeError:  # a file system without a listing cache
            found = self._files.ls(self._path(folder), detail=True)
        return dict(sorted((each["name"].rpartition("/")[2], each["size"]) for each in found if each["type"] == "file"))

    def remove(self, name: str) -> None:
        if self._files.exists(self._path(name)):
            self._files.rm(self._path(name), recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}" if name else self._folder


class _bucket_errors:  # noqa: N801  # used as `with _bucket_errors(...)`
    """Turn an OSError into an error that names the object."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, OSError):
            raise SemanticEntropyError(
                f"{self._name} cannot be written: {error}. Finished shards stay: run again to continue"
            ) from error


def is_url(name: str) -> bool:
    """Whether the name is a URL, such as `s3://bucket/folder`."""
    return "://" in name


def local_path(name: str) -> Path | None:
    """Return the local path that a path or a `file://` URL means; None: it is elsewhere."""
    if not is_url(name):
        return Path(name)
    parts = urlsplit(name)
    return Path(unquote(parts.netloc + parts.path)) if parts.scheme in ("file", "local") else None


def open_storage(name: str) -> Storage:
    """Return the folder of this path or URL. It need not exist."""
    path = local_path(name)
    return BucketStorage(name) if path is None else LocalStorage(path)


def file_system(url: str) -> tuple[Any, str]:
    """Return (file system of fsspec, path in it) of a URL.

    Raises:
        MissingDependencyError: fsspec, or its driver for this kind of URL, is not installed.
        InputError: fsspec does not know this kind of URL.
    """
    try:
        import fsspec
    except ImportError as error:
        command = install_command("semantic-entropy[bulk]")
        raise MissingDependencyError(f"{url}: URLs need fsspec: {command}") from error
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise MissingDependencyError(f"{url}: {error}") from error
    except ValueError as error:
        raise InputError(f"{url}: {error}") from error
    return found


def open_binary(name: str) -> IO[bytes]:
    """Open a file, given as a path or a URL, for reading."""
    path = local_path(name)
    if path is not None:
        return path.open("rb")
    files, inside = file_system(name)
    opened: IO[bytes] = files.open(inside, "rb")
    return opened


def find_files(name: str, suffixes: tuple[str, ...]) -> Iterator[tuple[str, int, str]]:
    """Yield (path or URL, bytes, version) of the files that a file, a folder, a pattern or a URL means, sorted.

    Of a folder, these are the files with one of the suffixes, in it and in its folders, without names that begin with
    `_` or `.`. The version changes when the file changes: its time of change, or what the bucket offers instead.
    """
    path = local_path(name)
    if path is not None:
        for each in _local_files(path, suffixes):
            status = each.stat()
            yield str(each), status.st_size, str(status.st_mtime_ns)
        return
    files, inside = file_system(name)
    protocol = name.partition("://")[0]
    if _is_pattern(inside):
        paths = [each for each in files.glob(inside) if files.isfile(each)]
    elif files.isdir(inside):
        paths = [each for each in files.find(inside) if _is_data(each[len(inside) :], suffixes)]
    else:
        paths = [inside] if files.exists(inside) else []
    for each in sorted(paths):
        information = files.info(each)
        version = next(
            (
                information[key]
                for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified", "created")
                if information.get(key)
            ),
            "",
        )
        yield f"{protocol}://{each.lstrip('/') if protocol == 'memory' else each}", information["size"], str(version)


def other_suffixes(name: str, suffixes: tuple[str, ...]) -> Counter[str]:
    """Return the suffixes of the files in a folder that `find_files` leaves out because of their suffix, counted.

    Files whose names begin with `_` or `.`, and files in such folders, are not counted.
    """
    path = local_path(name)
    if path is not None:
        inside = [each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file()]
    else:
        files, folder = file_system(name)
        is_folder = not _is_pattern(folder) and files.isdir(folder)
        inside = [each[len(folder) :] for each in files.find(folder)] if is_folder else []
    others = [each for each in inside if _is_data(each, ("",)) and not each.lower().endswith(suffixes)]
    return Counter(PurePosixPath(each).suffix.lower() or "no suffix" for each in others)


def unread_links(name: str) -> list[str]:
    """Return the symbolic links in a local folder that `find_files` does not read: to a folder, or to nothing."""
    path = local_path(name)
    links = [each for each in path.rglob("*") if each.is_symlink() and not each.is_file()] if path is not None else []
    shown = sorted(each for each in links if _is_data(each.relative_to(path or "").as_posix(), ("",)))
    return [f"{each} ({'a link to a folder' if each.is_dir() else 'a broken link'})" for each in shown]


def _local_files(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if path.is_dir():
        found = [each for each in path.rglob("*") if each.is_file()]
        return sorted(each for each in found if _is_data(each.relative_to(path).as_posix(), suffixes))
    if path.exists() or not _is_pattern(str(path)):
        return [path] if path.is_file() else []
    import glob

    return sorted(Path(each) for each in glob.glob(str(path), recursive=True) if Path(each).is_file())  # noqa: PTH207


def _is_pattern(path: str) -> bool:
    return any(mark in path for mark in "*?[")


def _is_data(name: str, suffixes: tuple[str, ...]) -> bool:
    parts = [part for part in name.split("/") if part]
    return name.lower().endswith(suffixes) and not any(part.startswith(("_", ".")) for part in parts)
