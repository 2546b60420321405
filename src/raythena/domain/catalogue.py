"""POOL's file catalogue: which file has which GUID.

    <POOLFILECATALOG>
      <File ID="GUID"><physical><pfn filetype="ROOT_All" name="/absolute/path"/></physical><logical/></File>
    </POOLFILECATALOG>

Athena finds an input by its GUID here, and gives up when it meets a file whose GUID stands here under another path. So a
catalogue is a one-to-one list or it is refused. Harvester's catalogues give bare file names instead of paths; they are read as
they are.

Rules: a document type is allowed, because every catalogue has one, but nothing in it: entities and internal subsets are refused
before they can grow. Text in, text out; files are the business of others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from raythena.domain.admission import check_distinct, check_guid
from raythena.domain.document import FieldPath, shown
from raythena.domain.errors import InvalidInput

_HEAD = """\
<?xml version="1.0" encoding="UTF-8" standalone="no" ?>
<!DOCTYPE POOLFILECATALOG SYSTEM "InMemory">
<POOLFILECATALOG>
"""
_LINE_ENDS = {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One file: GUID (upper case), physical name (a path, or a bare file name from Harvester), logical name if there is one."""

    guid: str
    pfn: str
    lfn: str = ""
    filetype: str = "ROOT_All"


@dataclass(frozen=True)
class Catalogue:
    """Files by GUID, one to one. Make one with `catalogue_of` or `parse_catalogue`."""

    entries: tuple[CatalogueEntry, ...]

    def pfn_of(self, guid: str) -> str | None:
        """The physical name of a GUID, in either case of letters."""
        return next((entry.pfn for entry in self.entries if entry.guid == guid.upper()), None)

    def to_xml(self) -> str:
        """The text of the catalogue."""
        return _HEAD + "".join(map(_file_element, self.entries)) + "</POOLFILECATALOG>\n"


def catalogue_of(entries: Iterable[CatalogueEntry], source: str = "catalogue") -> Catalogue:
    """A catalogue of these files, GUIDs in upper case; one that is listed twice with the same names counts once.

    Raises InvalidInput for a malformed GUID, a GUID with two physical names, or a physical name with two GUIDs.
    """
    distinct = tuple(dict.fromkeys(replace(entry, guid=entry.guid.upper()) for entry in entries))
    guids = [FieldPath(source, f"File[{index}].ID", entry.guid) for index, entry in enumerate(distinct)]
    for place in guids:
        check_guid(place)
    check_distinct("the GUID", guids)
    check_distinct("the file", [FieldPath(source, f"File[{index}].pfn", entry.pfn) for index, entry in enumerate(distinct)])
    return Catalogue(distinct)


def parse_catalogue(text: str, source: str) -> Catalogue:
    """The catalogue in an XML text. Raises InvalidInput with the line, also for entities and for what is no catalogue."""
    reader = _Reader(source)
    try:
        reader.parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        problem = f"is not valid XML: {expat.errors.messages[error.code]}"
        raise InvalidInput(source, f"line {error.lineno}", problem, hint="It may be cut short") from error
    return catalogue_of(reader.entries, source)


def _file_element(entry: CatalogueEntry) -> str:
    logical = f"<logical><lfn name={_attribute(entry.lfn)}/></logical>" if entry.lfn else "<logical/>"
    physical = f"<physical><pfn filetype={_attribute(entry.filetype)} name={_attribute(entry.pfn)}/></physical>"
    return f"  <File ID={_attribute(entry.guid)}>\n    {physical}\n    {logical}\n  </File>\n"


def _attribute(value: str) -> str:
    return quoteattr(value, _LINE_ENDS)


class _Reader:
    """Collects the entries of one document."""

    def __init__(self, source: str) -> None:
        self.entries: list[CatalogueEntry] = []
        self._source = source
        self._path: list[str] = []
        self._guid = self._lfn = ""
        self._pfns: list[tuple[str, str]] = []
        self.parser = expat.ParserCreate()
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.EntityDeclHandler = self._entity
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end

    def _doctype(self, _name: str, _system: str | None, _public: str | None, has_internal_subset: bool) -> None:
        if has_internal_subset:
            raise self._refuse("declares a document type of its own", "a document type with nothing in it")

    def _entity(self, name: str, *_: object) -> None:
        raise self._refuse(f"declares the entity {name!r}", "a catalogue without entities")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        match self._path:
            case ["POOLFILECATALOG"]:
                pass
            case [other]:
                raise self._refuse(f"is a document called {shown(other)}", "POOLFILECATALOG")
            case [_, "File"]:
                self._guid, self._lfn, self._pfns = self._value(attributes, "ID").upper(), "", []
            case [_, "File", "physical", "pfn"]:
                self._pfns.append((self._value(attributes, "name"), attributes.get("filetype", "ROOT_All")))
            case [_, "File", "logical", "lfn"]:
                self._lfn = self._value(attributes, "name")

    def _end(self, _name: str) -> None:
        if self._path == ["POOLFILECATALOG", "File"]:
            if len(self._pfns) != 1:
                raise self._refuse(f"the file {self._guid} has {len(self._pfns)} physical names", "one")
            (pfn, filetype) = self._pfns[0]
            self.entries.append(CatalogueEntry(self._guid, pfn, self._lfn, filetype))
        self._path.pop()

    def _value(self, attributes: dict[str, str], key: str) -> str:
        if not attributes.get(key):
            raise self._refuse(f"the element {self._path[-1]} has no {key}", f'{key}="..."')
        return attributes[key]

    def _refuse(self, problem: str, expected: str) -> InvalidInput:
        return InvalidInput(self._source, f"line {self.parser.CurrentLineNumber}", problem, expected=expected)
