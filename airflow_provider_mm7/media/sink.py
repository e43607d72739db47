"""Where media are kept: the interface, and a local folder."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Protocol

from airflow_provider_mm7.exceptions import InputError, StoreUnavailable

#: Names are of our own making (digests and numbers, in folders of digests); anything else is a mistake or an attack.
_NAME = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,199}/){0,4}[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


class MediaSink(Protocol):
    """Something that keeps media."""

    def store(self, name: str, body: bytes, content_type: str) -> str:
        """Keep an object; when this returns, it is durable. The same name again replaces it.

        :param name: relative path of our own making, unique to these bytes.
        :param body: its bytes.
        :param content_type: what the sender says it is; a hint for the store.
        :return: URI under which a task reads it.
        :raises StoreUnavailable: it could not be kept; try again.
        """
        ...


def checked_name(name: str) -> str:
    """A name that cannot leave its folder.

    :raises InputError: it is absolute, or a segment is empty, begins with a dot or holds anything but ASCII letters,
        digits and ``._-``.
    """
    if not _NAME.fullmatch(name):
        raise InputError("name", f"{name!r} is no safe file name", "Names of stored media are made by this package")
    return name


class FolderSink:
    """A folder of this machine. A file is complete or absent, and on the disk when ``store`` returns.

    :param folder: made when absent, readable by its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def store(self, name: str, body: bytes, content_type: str) -> str:
        """Keep a file. See :meth:`MediaSink.store`."""
        target = self._folder / checked_name(name)
        temporary = target.with_name(f".{secrets.token_hex(16)}")
        try:
            # Each by itself: the mode of mkdir does not hold for the parents it makes.
            for folder in (self._folder, *reversed(self._below(target))):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                _write(temporary, body)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
            for folder in (*self._below(target), self._folder):
                _sync_folder(folder)
        except OSError as exc:
            raise StoreUnavailable(f"media cannot be written to {self._folder}: {exc.strerror}") from exc
        return target.as_uri()

    def _below(self, target: Path) -> list[Path]:
        """The folders between the file and the sink's own, innermost first."""
        return [folder for folder in target.parents if folder.is_relative_to(self._folder) and folder != self._folder]


def _write(path: Path, body: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(body)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    """Make names durable: an entry is on the disk when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
