"""Pool file catalogues on disk: read whole or not at all, written durably."""

from __future__ import annotations

from pathlib import Path

from raythena.domain.catalogue import Catalogue, parse_catalogue
from raythena.domain.errors import InvalidInput
from raythena.storage.atomic import write_atomically

FILE_NAME = "PoolFileCatalog.xml"
"""The name Athena looks for in its working directory."""

MAX_BYTES = 256 * 1024 * 1024
"""A million files stay below this."""


def read_catalogue(path: Path) -> Catalogue:
    """The catalogue in a file. Raises InvalidInput naming the file for one that cannot be read or is no catalogue."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInput(str(path), "", f"has more than {MAX_BYTES:,} bytes", expected="a pool file catalogue")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(str(path), "", f"cannot be read: {error.strerror}", expected="a readable file") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(str(path), "", f"is not UTF-8: {error.reason}", expected="a pool file catalogue") from error
    return parse_catalogue(text, str(path))


def write_catalogue(directory: Path, catalogue: Catalogue) -> Path:
    """Write the catalogue where Athena finds it, replacing any other. Raises StorageError."""
    path = directory / FILE_NAME
    write_atomically(path, catalogue.to_xml())
    return path
