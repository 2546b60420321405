"""`raythena validate`: prove a job's outputs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from raythena.cli.options import JsonOption, TaskDirectoryArgument
from raythena.domain.errors import ExitCode
from raythena.monitor.wording import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from raythena.validation import Finding, Validation

_COLOURS = {"proven": "green", "unproven": "yellow", "wrong": "red", "absent": "dim"}
_MARKS = {"error": "red", "unproven": "yellow", "note": "dim"}
_FINDINGS_SHOWN = 50


def validate_command(
    taskdir: TaskDirectoryArgument,
    partial: Annotated[bool, typer.Option("--partial", help="The job has not ended: pass over outputs not made yet.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Also refuse outputs whose events could not be inspected.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Prove that every event is in exactly one output, or failed with a reason.

    Reads the outputs themselves and compares them with the inputs, event by event; then sizes, checksums, GUIDs and counts
    with the ledger and the job report. Exit code 0 when nothing is wrong, 11 when something is.

    \b
    Examples:
      raythena validate simulation.raythena
      raythena validate simulation.raythena --partial
      raythena validate simulation.raythena --json
    """
    from raythena.validation import Standing, validate

    validation = validate(taskdir, partial=partial)
    if as_json:
        typer.echo(json.dumps(validation.to_dict(), indent=2))
    else:
        from rich.console import Console

        Console(soft_wrap=True).print(validation_page(validation))
    refused = {Standing.WRONG, Standing.UNPROVEN} if strict else {Standing.WRONG}
    if validation.standing in refused:
        raise typer.Exit(ExitCode.INVALID_OUTPUT)


def validation_page(validation: Validation) -> RenderableType:
    """The result for a person: a line that says it all, the outputs, what was found."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(validation.summary_of_task(), style=f"bold {_COLOURS[str(validation.standing)]}")]
    if validation.files:
        parts += [Text(""), _file_table(validation)]
    if validation.findings:
        parts += [Text(""), *(_finding_line(finding) for finding in _gravest(validation.findings)[:_FINDINGS_SHOWN])]
    if len(validation.findings) > _FINDINGS_SHOWN:
        parts.append(Text(f"… and {len(validation.findings) - _FINDINGS_SHOWN} more; --json lists them all", style="dim"))
    if validation.upstream is not None:
        parts += [Text(""), Text(f"upstream: {validation.upstream.task}"), validation_page(validation.upstream)]
    return Group(*parts)


def _gravest(findings: tuple[Finding, ...]) -> list[Finding]:
    order = list(_MARKS)
    return sorted(findings, key=lambda finding: order.index(str(finding.severity)))


def _file_table(validation: Validation) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("output", "verdict"):
        table.add_column(heading, no_wrap=True)
    for heading in ("expected", "found", "failed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for file in validation.files:
        standing = str(file.standing)
        found = "–" if file.found is None else f"{file.found:,}"
        figures = (f"{file.expected:,}", found, f"{file.failed:,}")
        table.add_row(Text(printable(file.lfn)), Text(standing, style=_COLOURS[standing]), *figures)
    return table


def _finding_line(finding: Finding) -> RenderableType:
    from rich.text import Text

    severity = str(finding.severity)
    return Text.assemble((f"{severity:8} {finding.code:22} ", _MARKS[severity]), printable(finding.text))
