"""Pool file catalogues on disk."""

from __future__ import annotations

import pytest

from raythena.domain.catalogue import CatalogueEntry, catalogue_of
from raythena.domain.errors import InvalidInput, StorageError
from raythena.storage import pool_catalogue
from raythena.storage.pool_catalogue import read_catalogue, write_catalogue

CATALOGUE = catalogue_of([CatalogueEntry("E704048D-E740-5A06-B086-C58344500B35", "/data/é & <x>", "x")])


def test_what_is_written_is_read_again(tmp_path):
    path = write_catalogue(tmp_path, CATALOGUE)
    assert path == tmp_path / "PoolFileCatalog.xml"
    assert read_catalogue(path) == CATALOGUE
    write_catalogue(tmp_path, catalogue_of([]))
    assert read_catalogue(path).entries == ()
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_is_not_there_is_the_disk_s_refusal(tmp_path):
    with pytest.raises(StorageError, match="nowhere"):
        write_catalogue(tmp_path / "nowhere", CATALOGUE)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"\xff", "is not UTF-8"),
        (b"<POOLFILECATALOG>", "is not valid XML"),
        (b"x" * 200, "more than 100"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path, monkeypatch, content, said):
    monkeypatch.setattr(pool_catalogue, "MAX_BYTES", 100)
    path = tmp_path / "catalogue.xml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=said) as problem:
        read_catalogue(path)
    assert problem.value.source == str(path)
