"""Why and when a session ends: everything is done, it is told to stop, its time is up, nobody is there, too much has failed.

After a stop nothing more is begun; running events and then merges are waited for, each until a time limit of its own. Reasons to
stop come from people, from the batch system, from the deadline, from the failure budget and from a source of ranges that does not
answer. The first one counts; later ones can only shorten the time.
"""

from __future__ import annotations

from raythena.domain.ranges import RangeState
from raythena.domain.taxonomy import EndCause
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.completion import Completion
from raythena.engine.deadline import StopTimes
from raythena.engine.drain_loss import DrainLossMeter
from raythena.engine.state import JobState


class Stopping:
    """Stops, and the end. `finished` is None until the end has come."""

    def __init__(self, state: JobState, completion: Completion) -> None:
        self._state = state
        self._completion = completion
        self._outcome = do.Outcome.STOPPED
        self._cause = EndCause.NONE
        self._times = StopTimes(0.0, 0.0)
        self.finished: do.Finish | None = None

    # ---- reasons to stop

    def requested(self, event: ev.StopRequested, now: float) -> None:
        """Somebody wants the session to end."""
        state = self._state
        if event.within_s is None:
            until = now + state.config.drain_limit_s
            times = StopTimes(until, until)
        else:
            times = state.deadline.stop_times(now, event.within_s)
        if state.stopping is None:
            outcome = do.Outcome.ABORTED if event.abort else do.Outcome.STOPPED
            self._stop(event.reason, outcome, event.cause, times, now)
        else:
            self._hurry(times)

    def deadline_set(self, event: ev.DeadlineSet, now: float) -> None:
        """The end of the allocation is known, or known better."""
        deadline = self._state.deadline
        deadline.learn_end(event.at)
        if event.at is not None and self._state.stopping is not None:
            self._hurry(deadline.stop_times(now, event.at - now))
        self.look_at_deadline(now)

    def look_at_deadline(self, now: float) -> None:
        """Stop when no node can begin an event any more that will probably finish."""
        deadline, fleet = self._state.deadline, self._state.fleet
        if deadline.at is None or self._state.stopping is not None or deadline.may_begin(now):
            return
        if deadline.left_s(now) <= 0.0 or not any(
            deadline.may_begin(now, fleet.slowness(node)) for node in fleet.up() if not node.aside
        ):
            reason = f"walltime: {deadline.at - now:.0f} s before its end no further event would finish"
            self._stop(reason, do.Outcome.STOPPED, EndCause.WALLTIME, deadline.stop_times(now, deadline.at - now), now)

    def look_at_budget(self, now: float) -> None:
        """Stop when more has failed than may."""
        budget, config = self._state.budget, self._state.config
        if budget.exceeded is not None and self._state.stopping is None and self.finished is None:
            times = StopTimes(now + config.drain_limit_s, now + config.abort_merge_limit_s)
            self._stop(budget.exceeded, do.Outcome.ABORTED, budget.exceeded_by, times, now)

    def look_at_patience(self, now: float) -> None:
        """Stop when somebody has been waited for in vain."""
        reason = self._completion.waits_in_vain(now) if self._state.stopping is None else ""
        if reason:
            self._stop(reason, do.Outcome.ABORTED, EndCause.OUTSIDE, StopTimes(now, now), now)

    def wait_no_longer(self, reason: str, now: float) -> None:
        """Stop because the upstream task does not go on."""
        if self._state.stopping is None:
            until = now + self._state.config.drain_limit_s
            self._stop(reason, do.Outcome.STOPPED, EndCause.UPSTREAM_UNFINISHED, StopTimes(until, until), now)

    # ---- the stop

    def _stop(self, reason: str, outcome: do.Outcome, cause: EndCause, times: StopTimes, now: float) -> None:
        """Begin nothing more; wait until `times` for what is under way."""
        state = self._state
        self._outcome, self._cause, self._times = outcome, cause, times
        if state.deadline.at is not None:
            self._hurry(state.deadline.stop_times(now, state.deadline.at - now))
        cores = sum(node.cores for node in state.fleet.up() if not node.aside)
        state.stop(reason, DrainLossMeter(now, state.wall_clock_offset, cores))
        for node in state.fleet.up():
            state.drain(node)

    def _hurry(self, times: StopTimes) -> None:
        before = self._times
        self._times = StopTimes(min(before.events, times.events), min(before.merges, times.merges))

    # ---- the end

    def look_for_end(self, now: float) -> None:
        """Say the last word if the time for it has come."""
        state = self._state
        if self.is_all_done():
            self.finish(*self._verdict(), EndCause.NONE, now)
        elif state.stopping is not None and self._is_drained(now):
            self.finish(self._outcome, state.stopping, self._cause, now)
        elif self._is_abandoned(now):
            limit = state.config.no_node_limit_s
            self.finish(do.Outcome.ABORTED, f"no node has been up for {limit:.0f} s", EndCause.NO_NODE, now)

    def is_all_done(self) -> bool:
        """Every range is settled, and everybody knows."""
        return self._state.journal.is_settled and self._completion.is_over

    def _is_abandoned(self, now: float) -> bool:
        """Something is left to compute, and nobody has been there to do it for too long. Merges get on without nodes."""
        since = self._state.fleet.deserted_since
        limit_s = self._state.config.no_node_limit_s
        return since is not None and now - since > limit_s and self._state.table.count(RangeState.READY) > 0

    def _is_drained(self, now: float) -> bool:
        """Nothing more can come of waiting: no result and no merge is under way, or the time is up."""
        state = self._state
        if not state.journal.is_settled or (self._completion.has_open_ends and now < self._times.merges):
            return False
        if state.table.count(RangeState.LEASED) == 0:
            return True
        if now < self._times.events:
            return False
        return now >= self._times.merges or not any(node.unreported for node in state.fleet.up())

    def _verdict(self) -> tuple[do.Outcome, str]:
        """What is to be said of a job in which everything is settled."""
        state = self._state
        failed = state.table.count(RangeState.FAILED)
        unmergeable = state.merges.unmergeable
        if unmergeable:
            output, message = min(unmergeable.items())
            more = f" (and {len(unmergeable) - 1} more)" if len(unmergeable) > 1 else ""
            return do.Outcome.UNMERGED, f"{state.job.outputs[output]} could not be merged{more}: {message}"
        if failed:
            return do.Outcome.INCOMPLETE, f"{failed} of {len(state.table)} events failed"
        return do.Outcome.COMPLETE, self._completion.success

    def finish(self, outcome: do.Outcome, reason: str, cause: EndCause, now: float) -> None:
        """The last word. Nothing happens after it."""
        state, meter = self._state, self._state.end_meter
        loss = do.DrainLoss() if meter is None else meter.read(state.fleet.up(), state.deadline.at, now)
        self.finished = do.Finish(outcome=outcome, reason=reason, loss=loss, cause=cause)
        state.journal.do(self.finished)
