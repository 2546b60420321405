"""`raythena schema`: what a document may say, as JSON Schema, for editors and programs that write documents."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer


class Document(StrEnum):
    """Documents people write."""

    JOB = "job"
    SETTINGS = "settings"
    SITE = "site"


def schema_command(document: Annotated[Document, typer.Argument(help="Which document.", show_default=False)]) -> None:
    """Print the JSON Schema of a document: a job file, a settings file, or a site's settings.

    With it editors complete keys, explain them and underline what would be refused. `docs/job-file.md` shows how.

    \b
    Examples:
      raythena schema job > job.schema.json
      raythena schema settings > raythena.schema.json
    """
    typer.echo(json.dumps(schema_of(document), indent=2))


def schema_of(document: Document) -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of a document."""
    if document is Document.JOB:
        from raythena.domain.document_model import json_schema
        from raythena.domain.job_document import JobDocument

        return json_schema(JobDocument, "Job file of Raythena")
    from raythena.cli.settings import settings_schema

    return settings_schema("Settings of Raythena" if document is Document.SETTINGS else "Settings of a site for Raythena")
