"""Events, commands and records in words, as far as they concern one range: for the error of a broken rule."""

from __future__ import annotations

from raythena.domain.records import AttemptFailed, GroupStored, RangesRetracted, Record
from raythena.engine import commands as do
from raythena.engine import events as ev


def told(step: ev.Event | do.Command, index: int) -> str:
    """What a step had to do with a range; empty: nothing that can be seen from the step alone."""
    return _event_told(step, index) or _command_told(step, index)


def _event_told(step: ev.Event | do.Command, index: int) -> str:
    words = ""
    match step:
        case ev.NodeJoined() if index in step.held:
            words = f"held by {step.node}, which joins"
        case ev.NodeLost():
            words = f"node {step.node} is given up: {step.reason}"
        case ev.GroupReported() if index in step.group.entries["range"]:
            words = f"reported by {step.group.node} in {step.group.name}"
        case ev.AttemptReported() if step.failure.range_index == index:
            words = f"reported failed by {step.failure.node} ({step.failure.kind})"
        case ev.RangesReturned() if index in step.ranges:
            words = f"given back by {step.node}"
        case ev.Committed() if step.tickets:
            words = f"tickets {min(step.tickets)} to {max(step.tickets)} are committed"
    return words


def _command_told(step: ev.Event | do.Command, index: int) -> str:
    words = ""
    match step:
        case do.Lease() if index in step.ranges:
            words = f"leased to {step.node}"
        case do.Revoke() if index in step.ranges:
            words = f"revoked from {step.node}"
        case do.Commit() if of_record := _record_told(step.record, index):
            words = f"{of_record}, ticket {step.ticket}"
        case do.StartMerge() if index in step.missing:
            words = f"output {step.output} is merged without it"
    return words


def _record_told(record: Record, index: int) -> str:
    words = ""
    match record:
        case GroupStored() if index in record.group.entries["range"]:
            words = f"accepted in {record.group.name}"
        case AttemptFailed() if record.range_index == index:
            words = f"attempt {record.attempt} failed on {record.node} ({record.kind}){', for good' if record.final else ''}"
        case RangesRetracted() if index in record.ranges:
            words = f"taken back, unreadable in {record.group}"
    return words
