"""When a pilot should be ended, and why. Decisions only.

A pilot that has done everything would go on for a minute, one whose payload died at once for three, one that hangs for ever.

Rules:
- After its last report a pilot is given time for its final update only if the payload has written a job report. In
  event-service mode transforms write none; the pilot then calls the job failed (1187) and needs two minutes to say so.
- A pilot whose payload dies before it has got a range is ended as soon as its log tells. The reason is what the payload said.
- A pilot whose log says that it will never ask for ranges is ended at once. The reason is its own sentence.
- A range hangs when it is not reported long after its time limit; what was logged does not hang, it is on its way.
"""

from __future__ import annotations

from dataclasses import dataclass

from raythena.payloads.pilot.pilot_options import PilotOptions
from raythena.payloads.pilot.range_queue import InFlight
from raythena.payloads.pilot.running import RunningPilot

STRAGGLERS_S = 3.0
"""For the last requests of a pilot whose log says that it has reported everything."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the decision depends on besides the pilot. Times are monotonic seconds."""

    now: float
    owed: int
    """Ranges in the pilot's hands."""
    drain_by: float | None = None
    """None: the node is not drained."""


def why_end(pilot: RunningPilot, options: PilotOptions, around: Surroundings) -> str:
    """Why the pilot should be ended now; empty when it should not. Notes at the pilot since when it owes nothing."""
    record, now = pilot.panda.record, around.now
    if pilot.status is not None:
        return pilot.exit_summary()
    if reason := _end_of_payload(pilot, around):
        return reason
    if record.final_at is not None:
        return pilot.verdict()
    if around.drain_by is not None and (now >= around.drain_by or not around.owed):
        return "the node is drained"
    if now - pilot.busy_at > options.silence_s:
        return f"it has asked nothing and used no CPU for {options.silence_s:.0f} s"
    done = pilot.panda.said_no_more and not around.owed
    if done and pilot.over_seen_at is not None and not pilot.has_job_report:
        return "it has reported everything"
    pilot.quiet_since = (pilot.quiet_since or now) if done else None
    if pilot.quiet_since is not None and now - pilot.quiet_since > options.final_update_s:
        return "it owes nothing and sends no final update"
    return ""


def _end_of_payload(pilot: RunningPilot, around: Surroundings) -> str:
    """Why a pilot whose payload is gone too early should be ended; empty while there is something to wait for."""
    if pilot.panda.said_no_more and not around.owed:
        return ""
    if pilot.panda.record.first_ranges_at is None:
        if pilot.log.refusal:
            return f"it says: {pilot.log.refusal}"
        if pilot.log.payload_status is not None:
            return pilot.payload_exit_summary()
    if pilot.over_seen_at is not None and around.now - pilot.over_seen_at > STRAGGLERS_S:
        why = pilot.payload_exit_summary() if pilot.log.payload_status else pilot.log.complaint
        return "its job ended early" + (f": {why}" if why else "")
    return ""


def hangs(pilot: RunningPilot, in_flight: InFlight, limit_s: float, now: float) -> bool:
    """Whether a range takes longer than `limit_s`, and nothing is known of its end."""
    if in_flight.running_since is None or in_flight.token in pilot.log.facts:
        return False
    return now - in_flight.running_since > limit_s
