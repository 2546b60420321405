"""`raythena doctor`: is this site fit for a job, and if not, what is wrong on which node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raythena.cli.options import ConfigOption, JsonOption, SetOption, settings_from
from raythena.domain.errors import ExitCode
from raythena.monitor.wording import printable

if TYPE_CHECKING:
    from rich.table import Table

    from raythena.domain.site_checks import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "failure": "bold red", "skipped": "dim"}


def doctor_command(  # noqa: PLR0917 (one parameter per option)
    shared: Annotated[
        Path, typer.Option("--shared", metavar="DIR", help="Where tasks would be: a directory that all nodes see.")
    ] = Path(),
    hosts: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME", help="Look at this machine over ssh; repeatable.", show_default=False),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only what takes no time: no imports, no disks, no locks.")] = False,
    trial: Annotated[bool, typer.Option("--job/--no-job", help="Run a tiny real job over all nodes at the end.")] = True,
    config: ConfigOption = None,
    assignments: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find out what would go wrong with a job here, before one does.

    On a laptop it looks at this machine; inside an allocation at every node of it; with --host at machines over ssh. Each check
    has a name, says what it found on which node, what was expected, and what to do. Exit code 13 when something is wrong.

    \b
    Examples:
      raythena doctor
      raythena doctor --shared /lustre/my/tasks
      raythena doctor --host node1 --host node2 --no-job
      raythena doctor --quick --json
    """
    import os

    from raythena.cli.site_examination import Examination, examine_site
    from raythena.domain.site_checks import Verdict, worst

    settings = settings_from(config, assignments).settings
    wanted = Examination(shared=shared.absolute(), hosts=tuple(hosts or ()), quick=quick, trial=trial and not quick)
    findings = examine_site(wanted, settings, os.environ, lambda text: typer.echo(text, err=True))
    if as_json:
        typer.echo(json.dumps(findings_document(findings), indent=2))
    else:
        from rich.console import Console

        Console(soft_wrap=True).print(findings_table(findings))
    if worst(findings) is Verdict.FAILURE:
        raise typer.Exit(ExitCode.UNFIT_SITE)


def findings_document(findings: list[Finding]) -> list[Mapping[str, str]]:
    """The rows for machines."""
    return [
        {
            "check": one.check,
            "verdict": str(one.verdict),
            "node": one.node,
            "found": one.found,
            "expected": one.expected,
            "advice": one.advice,
        }
        for one in findings
    ]


def findings_table(findings: list[Finding]) -> Table:
    """The rows for people: what was expected and what to do is told where something is wrong."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("check", "verdict", "node", "found"):
        table.add_column(heading, no_wrap=heading != "found", overflow="fold")
    for one in findings:
        told = Text(printable(one.found))
        if one.advice:
            told.append(f"\nexpected: {printable(one.expected)}", style="dim")
            told.append(f"\ndo: {printable(one.advice)}", style="bold")
        table.add_row(Text(one.check), Text(str(one.verdict), style=_COLOURS[str(one.verdict)]), Text(printable(one.node)), told)
    return table
