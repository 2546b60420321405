"""`raythena simulate`: made-up sites, made-up faults, the real engine; every promise checked after every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from raythena.domain.errors import ExitCode

if TYPE_CHECKING:
    from raythena.testing.simulation import Result


def simulate_command(
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="How many sites to try.")] = 20,
    first: Annotated[int, typer.Option("--first", metavar="SEED", min=0, help="The first seed; the others follow it.")] = 0,
) -> None:
    """Try the engine at made-up sites where everything goes wrong, and say whether a promise was broken.

    Each seed draws a site (nodes, event times, network) and its faults: lost, late and doubled messages, nodes that vanish and
    come back, crashes of the coordinator, poison and hanging events, damaged files, failing merges, a disk that refuses, stops.
    The real engine lives through it in virtual time. Every event must end in exactly one output or be recorded as failed,
    whatever happens. A seed that breaks a promise prints its story and how to repeat it; the exit code is then 11.

    \b
    Examples:
      raythena simulate
      raythena simulate --seeds 1000 --first 5000
    """
    from raythena.testing.simulation import PromiseBroken, simulate

    broken = 0
    results: list[Result] = []
    for seed in range(first, first + seeds):
        try:
            results.append(simulate(seed))
        except PromiseBroken as problem:
            broken += 1
            typer.echo(f"seed {seed}: {problem}", err=True)
    typer.echo(f"{len(results)} of {seeds} sites kept every promise, {broken} broke one")
    if broken:
        raise typer.Exit(ExitCode.INVALID_OUTPUT)
