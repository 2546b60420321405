"""The ledger against a dictionary, with an end, a crash or a look from outside between any two steps."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ledger_kit import failed, job, merged, retracted, stored

from raythena.domain.errors import InternalError
from raythena.domain.records import RangesReopened
from raythena.domain.results import FailureKind
from raythena.storage.ledger import Ledger, LedgerView, SessionInfo

N = 40
PER_OUTPUT = 10
JOB = job(N, outputs=tuple(f"HITS.{index}" for index in range(N // PER_OUTPUT)))
RANGES = st.integers(0, N - 1)


class LedgerMachine(RuleBasedStateMachine):
    """Whatever is asked is either done, and remembered for ever, or refused, and then nothing has changed."""

    @initialize()
    def create(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ledger-machine-"))
        self.path = self.directory / "ledger.sqlite"
        self.ledger = Ledger.create(self.path, JOB)
        self.groups: dict[str, list[int]] = {}
        self.failed: set[int] = set()
        self.attempts: dict[int, int] = {}
        self.losses: Counter[int] = Counter()
        self.merged: dict[int, set[int]] = {}
        """Output → what its latest file lacks."""
        self.sessions = 0
        self.count = 0

    @property
    def settled(self) -> set[int]:
        return self.failed.union(*self.groups.values()) if self.groups else set(self.failed)

    @rule(wanted=st.lists(RANGES, min_size=1, max_size=8))
    def store(self, wanted: list[int]) -> None:
        self.count += 1
        name = f"g{self.count}"
        record = stored(name, wanted, output=wanted[0] // PER_OUTPUT)
        if len(set(wanted)) < len(wanted) or self.settled.intersection(wanted):
            with pytest.raises(InternalError):
                self.ledger.commit([failed(0, 9), record])
        else:
            self.ledger.commit([record])
            self.groups[name] = wanted

    @rule(index=RANGES, final=st.booleans(), attempt=st.integers(1, 9), kind=st.sampled_from(FailureKind))
    def fail(self, index: int, final: bool, attempt: int, kind: FailureKind) -> None:
        if final and index in self.settled:
            with pytest.raises(InternalError):
                self.ledger.commit([failed(index, attempt, final=True)])
            return
        self.ledger.commit([failed(index, attempt, final=final, kind=kind)])
        self.losses[index] += kind is FailureKind.NODE_LOST
        self.attempts[index] = max(attempt, self.attempts.get(index, 0))
        if final:
            self.failed.add(index)

    @rule(data=st.data())
    @precondition(lambda self: any(self.groups.values()))
    def retract(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([name for name, ranges in self.groups.items() if ranges]))
        ranges = data.draw(st.lists(st.sampled_from(self.groups[name]), min_size=1, unique=True))
        self.ledger.commit([retracted(name, *ranges)])
        self.groups[name] = [index for index in self.groups[name] if index not in ranges]

    @rule(output=st.integers(0, N // PER_OUTPUT - 1))
    def merge(self, output: int) -> None:
        missing = {index for index in self.failed if index // PER_OUTPUT == output}
        if output in self.merged and not missing < self.merged[output]:
            with pytest.raises(InternalError):
                self.ledger.commit([merged(output, missing=tuple(sorted(missing)))])
        else:
            self.ledger.commit([merged(output, missing=tuple(sorted(missing)))])
            self.merged[output] = missing

    @rule(data=st.data())
    @precondition(lambda self: self.failed)
    def reopen(self, data: st.DataObject) -> None:
        ranges = data.draw(st.lists(st.sampled_from(sorted(self.failed)), min_size=1, unique=True))
        self.sessions += 1
        self.ledger.begin_session(SessionInfo(f"s{self.sessions}", "host", 1, 1.0), RangesReopened(tuple(ranges)))
        self.failed.difference_update(ranges)
        for index in ranges:
            del self.attempts[index]
            self.losses.pop(index, None)

    @rule()
    def begin_session(self) -> None:
        self.sessions += 1
        assert self.ledger.begin_session(SessionInfo(f"s{self.sessions}", "host", 1, 1.0)) == self.sessions

    @rule()
    def end_in_peace(self) -> None:
        self.ledger.close()
        self.ledger = Ledger.open(self.path, JOB)

    @rule()
    def crash(self) -> None:
        """The files as they lie there, journal and all, are what a killed process leaves."""
        left = self.directory / f"left-{self.count}"
        shutil.rmtree(left, ignore_errors=True)
        left.mkdir()
        for path in self.directory.glob("ledger.sqlite*"):
            shutil.copy(path, left)
        self.ledger.close()
        for path in left.iterdir():
            shutil.copy(path, self.directory)
        self.ledger = Ledger.open(self.path, JOB)

    @rule()
    def look_from_outside(self) -> None:
        with Ledger.read(self.path) as view:
            self.check(view)

    @invariant()
    def remembers(self) -> None:
        self.check(self.ledger)

    def check(self, view: LedgerView) -> None:
        restored = view.restore()
        open_groups = [group.name for group in view.groups_named(self.groups) if self.merged.get(group.output) != set()]
        expected = {name: sorted(self.groups[name]) for name in open_groups}
        assert {group.name: sorted(group.entries["range"].tolist()) for group in restored.groups} == expected
        assert restored.failed.tolist() == sorted(self.failed)
        assert dict(restored.attempts) == {index: count for index, count in self.attempts.items() if index not in self.failed}
        assert dict(restored.losses) == {index: n for index, n in self.losses.items() if n and index not in self.failed}
        assert {output.output for output in restored.merged} == set(self.merged)
        known = sorted(index for chunk in view.iter_events() for index in chunk.events["range"].tolist())
        assert known == sorted(index for ranges in self.groups.values() for index in ranges)
        assert len(view.sessions()) == self.sessions

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            shutil.rmtree(self.directory)


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
