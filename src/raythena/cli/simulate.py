"""`raythena simulate`: made-up sites, made-up faults, the real engine and the real ledger; every promise checked on the way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from raythena.domain.errors import ExitCode, InvalidInput

if TYPE_CHECKING:
    from raythena.testing.simulation.campaign import Tally
    from raythena.testing.simulation.large_site import SitePlan

_PROGRESS_S = 10.0


def simulate_command(
    *,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="How many sites to try.")] = 100,
    first: Annotated[int, typer.Option("--first", metavar="SEED", min=0, help="The first seed; the others follow it.")] = 0,
    nodes: Annotated[int, typer.Option("--nodes", metavar="N", min=0, help="Nodes of each site; 0 draws them.")] = 0,
    cores: Annotated[int, typer.Option("--cores", metavar="N", min=0, help="Cores of each node; 0 draws them.")] = 0,
    events: Annotated[int, typer.Option("--events", metavar="N", min=0, help="Events of each job; 0 draws them.")] = 0,
    faults: Annotated[
        str, typer.Option("--faults", metavar="KINDS", help="Kinds of faults, with commas between them; `all` or `none`.")
    ] = "all",
    processes: Annotated[
        int, typer.Option("--processes", metavar="N", min=0, help="Processes that share the work; 0 takes all cores.")
    ] = 0,
    scale: Annotated[
        bool,
        typer.Option("--scale", help="One large site instead, on which little goes wrong: how busy it is, and its coordinator."),
    ] = False,
    event_s: Annotated[
        float, typer.Option("--event-s", metavar="SECONDS", min=0.001, help="With --scale: mean time of an event.")
    ] = 300.0,
    message_us: Annotated[
        float, typer.Option("--message-us", metavar="µs", min=0.0, help="With --scale: what a message costs the coordinator.")
    ] = 700.0,
    lost: Annotated[
        float, typer.Option("--lost", metavar="SHARE", min=0.0, max=0.9, help="With --scale: share of the nodes that are lost.")
    ] = 0.0,
) -> None:
    """Try the engine at made-up sites where everything goes wrong, and say whether a promise was broken.

    Each seed draws a site and its faults. The real engine and a ledger (every 25th on a real disk) live through it in virtual
    time. Every event must end in exactly one output or be recorded as failed, whatever happens, and the job must end once the
    faults do. A seed that breaks a promise prints what led to it, the simplest site that does the same, and the command to see it
    again; the exit code is then 11. Kinds of faults: network, coordinator, nodes, payload, merges, disk, walltime, outside.

    \b
    Examples:
      raythena simulate
      raythena simulate --seeds 1000 --first 5000
      raythena simulate --seeds 20 --nodes 64 --cores 8 --faults network,nodes
      raythena simulate --scale --nodes 1000 --cores 128 --events 256000
    """
    if scale:
        from raythena.testing.simulation.large_site import SitePlan

        plan = SitePlan(nodes=nodes or 1000, cores=cores or 128, events=events, event_s=event_s, lost_share=lost, seed=first)
        typer.echo(_large_site(replace(plan, message_s=message_us / 1e6)))
        return
    from raythena.testing.simulation.campaign import run_campaign
    from raythena.testing.simulation.draw import Size

    size = Size(nodes, cores, events, _kinds(faults))
    began = time.monotonic()
    tally = run_campaign(first, seeds, size, processes or os.cpu_count() or 1, _progress(seeds))
    for broken in tally.broken:
        typer.echo(f"seed {broken.seed}: {broken.story}\n", err=True)
    typer.echo(_summary(tally, time.monotonic() - began))
    if tally.broken:
        raise typer.Exit(ExitCode.INVALID_OUTPUT)


def _large_site(plan: SitePlan) -> str:
    from raythena.testing.simulation.large_site import simulate_large_site

    figures = simulate_large_site(plan)
    each_us = 1e6 * figures.engine_cpu_s / max(figures.messages, 1)
    lines = [
        f"site         {plan.nodes:,} nodes of {plan.cores} cores, {plan.n_events:,} events of {plan.event_s:g} s",
        f"makespan     {figures.makespan_s:,.0f} s; list scheduling {figures.scheduling_s:,.0f}, bound {figures.bound_s:,.0f}",
        f"occupancy    {100 * figures.occupancy:.2f} % of all cores, from the last node's start until all is handed out",
        f"begun twice  {figures.begun_twice:,} events",
        f"messages     {figures.messages:,}: {figures.messages / figures.makespan_s:,.0f} a second, "
        f"{figures.messages / plan.n_events:.2f} an event; the longest waited {figures.longest_wait_s:.2f} s",
        f"coordinator  {100 * figures.coordinator_busy:.0f} % of a core at {1e6 * plan.message_s:g} µs a message, "
        f"of which engine and exchange take {each_us:.0f} µs here",
        f"files        {figures.groups:,} groups, one for {plan.n_events / max(figures.groups, 1):.0f} events",
        f"outcome      {figures.outcome}",
    ]
    return "\n".join(lines)


def _kinds(faults: str) -> tuple[str, ...]:
    from raythena.testing.simulation.draw import FAULTS

    if faults in ("all", "none"):
        return tuple(FAULTS) if faults == "all" else ()
    kinds = tuple(kind.strip() for kind in faults.split(","))
    for kind in kinds:
        if kind not in FAULTS:
            raise InvalidInput("command line", "--faults", f"{kind!r} is no kind of fault", expected=", ".join(FAULTS))
    return kinds


def _progress(seeds: int) -> Callable[[Tally], None]:
    """Tells people, every few seconds, how far it is."""
    began = told_at = time.monotonic()

    def tell(tally: Tally) -> None:
        nonlocal told_at
        now = time.monotonic()
        if now - told_at >= _PROGRESS_S:
            told_at = now
            left_s = (seeds - tally.schedules) * (now - began) / tally.schedules
            typer.echo(
                f"{tally.schedules:,} of {seeds:,} schedules, {len(tally.broken)} broke a promise; {left_s:.0f} s to go", err=True
            )

    return tell


def _summary(tally: Tally, wall_s: float) -> str:
    kept = tally.schedules - len(tally.broken)
    faults = ", ".join(f"{count:,} × {fault}" for fault, count in tally.faults.most_common())
    lines = [
        f"faults    {faults or 'none'}",
        f"jobs      {tally.events:,} events, {tally.merged:,} merged, {tally.failed:,} failed with a reason; "
        f"{tally.sessions:,} sessions, {tally.virtual_s / 3600:,.0f} simulated hours",
        f"cost      {tally.cpu_s:.0f} s of processor time, {1000 * tally.cpu_s / max(tally.schedules, 1):.0f} ms a schedule; "
        f"{wall_s:.0f} s",
        f"promises  {kept:,} of {tally.schedules:,} schedules kept every promise, {len(tally.broken)} broke one",
    ]
    return "\n".join(lines)
