"""Inbound media in a folder of this machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from airflow_provider_mm7.exceptions import InputError


class FolderSink:
    """Puts inbound media below a folder, durably: once a name is there, its bytes are on the disk.

    :param folder: made when it is not there; readable by its owner only, since it holds what people sent.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def store(self, name: str, body: bytes, content_type: str) -> str:
        """Write one object, replacing one of the same name.

        :param name: relative path of our own making.
        :param body: the bytes.
        :param content_type: not kept; the store's row has it.
        :return: its ``file://`` URI.
        :raises OSError: the disk refuses.
        """
        path = self._folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Whole or not at all: written beside its name, then renamed (mkstemp makes it 0600).
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
        try:
            with open(handle, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        for folder in (path.parent, *path.parent.parents):
            _sync(folder)
            if folder == self._folder:
                break
        return path.absolute().as_uri()


def folder_of(uri: str, *, field: str) -> Path:
    """Return the folder that a path or ``file://`` URI names.

    :param uri: the user's.
    :param field: where it stands, for the error.
    :raises InputError: it names something else.
    """
    if "://" not in uri and not uri.startswith("file:"):
        return Path(uri).absolute()
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise InputError(
            field, "it is neither a path nor file:///...", "Object stores are reached by `airflow mm7 receiver`"
        )
    return Path(unquote(parts.path))


def _sync(folder: Path) -> None:
    """Make names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
