"""POOL's file catalogue: one GUID, one file; read safely, written exactly."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.catalogue import Catalogue, CatalogueEntry, catalogue_of, parse_catalogue
from raythena.domain.errors import InvalidInput

FIXTURES = Path(__file__).parents[2] / "fixtures"
A, B = "E704048D-E740-5A06-B086-C58344500B35", "3621762D-0193-56D7-B7D6-3EB9FA87628F"
HEAD = "<POOLFILECATALOG>"
TAIL = "</POOLFILECATALOG>"


def file(guid=A, pfn="/a", inside="<logical/>"):
    return f'<File ID="{guid}"><physical><pfn filetype="ROOT_All" name="{pfn}"/></physical>{inside}</File>'


def test_what_is_written_is_the_format_pool_reads():
    written = catalogue_of(
        [
            CatalogueEntry(A, "/data/EVNT.1._000001.pool.root.1", "EVNT.1._000001.pool.root.1"),
            CatalogueEntry(B, '/data/a & b/<"quoted">/it\'s'),
        ]
    ).to_xml()
    assert written == (FIXTURES / "pool" / "PoolFileCatalog.xml").read_text()


def test_a_catalogue_of_harvester_gives_bare_names():
    text = (FIXTURES / "pool" / "PoolFileCatalog_H.xml").read_text()
    catalogue = parse_catalogue(text, "PoolFileCatalog_H.xml")
    assert len(catalogue.entries) == 4
    assert catalogue.entries[0] == CatalogueEntry(A, "EVNT.30737678._000001.pool.root.1")
    assert catalogue.pfn_of(A.lower()) == "EVNT.30737678._000001.pool.root.1"
    assert catalogue.pfn_of("0" * 36) is None


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), min_size=1)


@given(st.lists(st.tuples(st.uuids(), NAMES, NAMES | st.just("")), unique_by=(lambda item: item[0], lambda item: item[1])))
def test_what_is_written_is_read_again(files):
    catalogue = Catalogue(tuple(CatalogueEntry(str(guid).upper(), pfn, lfn) for guid, pfn, lfn in files))
    assert parse_catalogue(catalogue.to_xml(), "again") == catalogue


def test_white_space_in_names_survives():
    catalogue = catalogue_of([CatalogueEntry(A, "/a\tb\nc\rd  e")])
    assert parse_catalogue(catalogue.to_xml(), "again") == catalogue


def test_a_file_listed_twice_the_same_way_counts_once():
    entry = CatalogueEntry(A, "/a")
    assert catalogue_of([entry, entry]).entries == (entry,)


def test_a_guid_is_the_same_in_either_case():
    assert catalogue_of([CatalogueEntry(A, "/a"), CatalogueEntry(A.lower(), "/a")]).entries == (CatalogueEntry(A, "/a"),)
    with pytest.raises(InvalidInput, match="is listed twice"):
        catalogue_of([CatalogueEntry(A, "/a"), CatalogueEntry(A.lower(), "/b")])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + file(A, "/a") + file(A, "/b") + TAIL, f"the GUID '{A}' is listed twice"),
        (HEAD + file(A, "/a") + file(A.lower(), "/b") + TAIL, f"the GUID '{A}' is listed twice"),
        (HEAD + file(A, "/a") + file(B, "/a") + TAIL, "the file '/a' is listed twice"),
        (HEAD + file("not-a-guid") + TAIL, "File[0].ID: is 'NOT-A-GUID'"),
        (HEAD + file(A, "") + TAIL, "line 1: the element pfn has no name"),
        (HEAD + f'<File ID="{A}"><physical/></File>' + TAIL, "has 0 physical names"),
        (HEAD + file(A, "/a", '</File><File ID="x"><physical/>') + TAIL, "has 0 physical names"),
        (HEAD + file(), "line 1: is not valid XML: no element found"),
        (HEAD + "<File>", "has no ID"),
        ("", "line 1: is not valid XML: no element found"),
        ("{}", "is not valid XML"),
        ("<html/>", "is a document called 'html'"),
        ('<!DOCTYPE POOLFILECATALOG [<!ENTITY a "b">]>' + HEAD + TAIL, "declares a document type of its own"),
        ('<!DOCTYPE POOLFILECATALOG [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + HEAD + TAIL, "of its own"),
        (HEAD + file(A, "&undefined;") + TAIL, "undefined entity"),
    ],
)
def test_what_is_no_catalogue_is_refused(text, said):
    with pytest.raises(InvalidInput) as problem:
        parse_catalogue(text, "PoolFileCatalog.xml")
    assert said in str(problem.value)
    assert problem.value.source == "PoolFileCatalog.xml"


@given(st.text() | st.text(st.sampled_from('<>/="!?[]& File')).map(lambda text: HEAD + text))
def test_anything_else_is_read_or_refused_never_a_crash(text):
    with contextlib.suppress(InvalidInput):
        parse_catalogue(text, "some.xml")
