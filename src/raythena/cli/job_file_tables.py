"""The tables of keys in `docs/job-file.md`, written from the declaration of the job file: `make docs`.

A comment in the document names the models whose keys the table after it lists; everything else in it is written by people.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from raythena.domain import job_document
from raythena.domain.document_model import DocumentModel

_TABLE = re.compile(r"(<!-- keys: ([\w, ]+) -->\n\n)((?:\|.*\n)*)")


def with_tables(text: str) -> str:
    """The document with every table of keys as the models declare it. Raises KeyError for a model there is not."""
    return _TABLE.sub(lambda found: found[1] + _table(found[2].split(", ")), text)


def described_models(text: str) -> set[str]:
    """The models whose keys the document lists."""
    return {name for found in _TABLE.finditer(text) for name in found[2].split(", ")}


def _table(names: list[str]) -> str:
    keys: dict[str, str] = {}
    for name in names:
        model: type[DocumentModel] = vars(job_document)[name]
        for key, info in zip(model.known(), model.model_fields.values(), strict=True):
            keys.setdefault(key, info.description or "")
    return "| key | meaning |\n|---|---|\n" + "".join(f"| `{key}` | {meaning} |\n" for key, meaning in keys.items())


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_tables(path.read_text()))
