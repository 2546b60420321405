"""The commands put together, and what happens when one of them fails.

Rules: a deliberate error (`RaythenaError`) ends in one red line on standard error and the exit code of its class, and so does a
refusal of the system (`OSError`), which is a condition of the machine and no defect; anything
else that escapes a command is a defect and says so, with the traceback a developer needs. Standard output carries results
only, so that `--json` can be piped.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from raythena import __version__
from raythena.cli.compare_command import compare_command
from raythena.cli.config import config_app
from raythena.cli.demo import demo_command
from raythena.cli.doctor import doctor_command
from raythena.cli.events_command import events_command
from raythena.cli.exit_codes import INTERRUPTED, exit_code_table
from raythena.cli.explain_command import explain_command
from raythena.cli.export_command import export_command
from raythena.cli.harvest import harvest_command
from raythena.cli.join_command import join_command
from raythena.cli.logs_command import logs_command
from raythena.cli.metrics_command import metrics_command
from raythena.cli.monitor_command import monitor_command
from raythena.cli.output import OutputRefused, guarded
from raythena.cli.refusals import refusal_of
from raythena.cli.report_command import report_command
from raythena.cli.run import run_command
from raythena.cli.schema_command import schema_command
from raythena.cli.simulate import simulate_command
from raythena.cli.stage_command import stage_command
from raythena.cli.status import status_command
from raythena.cli.submit import submit_command
from raythena.cli.submitted_jobs import cancel_command, jobs_command
from raythena.cli.trace_command import trace_command
from raythena.cli.tune import tune_command
from raythena.cli.validate import validate_command
from raythena.cli.why_command import why_command
from raythena.domain.errors import ExitCode, InternalError, RaythenaError
from raythena.monitor.wording import printable

_GIVEN_UP = 1
"""With this code libraries end a program whose reader has left."""


class Commands(TyperGroup):
    """The top-level group: turns what a command raises into words and an exit code."""

    def invoke(self, ctx: Any) -> object:
        """Run the command named on the command line."""
        try:
            return super().invoke(ctx)
        except InternalError:
            raise  # a defect: `main` shows it with its traceback
        except OutputRefused:
            raise  # `main` says it, once
        except RaythenaError as error:
            _complain(str(error))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            _complain("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # whoever read our output, `head` for instance, has seen enough
            raise typer.Exit(ExitCode.OK) from None
        except OSError as error:
            named = refusal_of(error)
            _complain(str(named))
            raise typer.Exit(named.exit_code) from None


app = typer.Typer(
    name="raythena",
    cls=Commands,
    add_completion=True,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=exit_code_table(),
)
app.command("demo")(demo_command)
app.command("run")(run_command)
app.command("tune")(tune_command)
app.command("harvest")(harvest_command)
app.command("submit")(submit_command)
app.command("join")(join_command)
app.command("jobs")(jobs_command)
app.command("cancel")(cancel_command)
app.command("validate")(validate_command)
app.command("simulate")(simulate_command)
app.command("status")(status_command)
app.command("why")(why_command)
app.command("report")(report_command)
app.command("compare")(compare_command)
app.command("events")(events_command)
app.command("logs")(logs_command)
app.command("trace")(trace_command)
app.command("monitor")(monitor_command)
app.command("stage")(stage_command)
app.command("metrics")(metrics_command)
app.command("doctor")(doctor_command)
app.command("explain-command")(explain_command)
app.command("export")(export_command)
app.command("schema")(schema_command)
app.add_typer(config_app, name="config")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"raythena {__version__}")
        raise typer.Exit


@app.callback()
def raythena(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Compute every event of a job once, on every core there is, and prove it.

    \b
    Examples:
      raythena demo                       two real jobs on this machine, start to finish
      raythena run job.yaml               run a job described in a file
      raythena status simulation.raythena how far it is
      raythena COMMAND --help             all about one command
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program with `arguments`, by default those of the process, and end the process."""
    with guarded() as output:
        code = _run(arguments)
        with contextlib.suppress(OutputRefused, BrokenPipeError):
            output.flush()
        if isinstance(output.failure, BrokenPipeError):
            code = ExitCode.OK if code == _GIVEN_UP else code
        elif output.failure is not None:
            _complain(f"standard output cannot be written: {output.failure.strerror}")
            code = code if code or output.patient else ExitCode.STORAGE
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int | str | None:
    try:
        get_command(app).main(args=None if arguments is None else list(arguments), prog_name="raythena")
    except SystemExit as end:
        return end.code
    except BrokenPipeError:
        return ExitCode.OK
    except OutputRefused:
        return ExitCode.STORAGE
    except Exception as error:  # noqa: BLE001 - whatever was not foreseen is a defect, and this is the last place to say so
        traceback.print_exc()
        _complain(
            f"{type(error).__name__}: {error}. This is a defect in raythena {__version__}; please report it with the lines above"
        )
        return ExitCode.INTERNAL
    return ExitCode.OK


def _complain(text: str) -> None:
    first, *rest = text.splitlines() or [""]
    typer.secho(f"error: {printable(first)}", fg=typer.colors.RED, bold=True, err=True)
    for line in rest:
        typer.echo(f"  {printable(line)}", err=True)
