"""Which events that were given up get new attempts.

Somebody has mended what made them fail, a payload, a geometry, a node's disk, and says so: all of them are to be tried again, or
those that failed for some cause, or those of a list. What was told to PanDA cannot be taken back: there the events are somebody
else's by now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from raythena.domain.document import nearest
from raythena.domain.errors import InvalidInput
from raythena.domain.ranges import RangeLayout
from raythena.domain.records import AttemptFailed, RangesReopened
from raythena.domain.results import FailureKind

SOURCE = "--retry-failed"
_WORDS = "all, a cause (" + ", ".join(FailureKind) + ") or the id of an event range, as EVNT.root-17"


@dataclass(frozen=True, slots=True)
class RetryRequest:
    """What is to be tried again: everything that was given up, unless causes or ranges are named."""

    causes: frozenset[FailureKind] = frozenset()
    ranges: frozenset[str] = frozenset()
    """Ids of event ranges."""

    @classmethod
    def parse(cls, words: Iterable[str]) -> RetryRequest:
        """Of causes and ids of ranges, in any order; `all` asks for all. Raises InvalidInput for a word that can be neither."""
        causes, ranges = set(), set()
        words = [word.strip() for word in words]
        for word in words:
            if word in tuple(FailureKind):
                causes.add(FailureKind(word))
            elif _number_of(word):
                ranges.add(word)
            elif word != "all":
                hint = nearest(word, map(str, FailureKind))
                raise InvalidInput(SOURCE, "", f"{word!r} is none of these", expected=_WORDS, hint=hint)
        if "all" in words and (causes or ranges):
            raise InvalidInput(SOURCE, "", "asks for all and for some", expected="one of the two")
        return cls(frozenset(causes), frozenset(ranges))

    def wants(self, failure: AttemptFailed, range_id: str) -> bool:
        """Whether this event is to be tried again."""
        return not (self.causes or self.ranges) or failure.kind in self.causes or range_id in self.ranges


def reopening(
    request: RetryRequest, given_up: Iterable[AttemptFailed], layout: RangeLayout, *, told: bool
) -> RangesReopened | None:
    """The ranges that get new attempts; None: no event that was given up is meant.

    `told`: somebody outside was told what became of the task's ranges. Raises InvalidInput for that, and for ids of ranges the
    job has not. A range that is not given up (any more) is none of our business: the same request may be made twice.
    """
    if told:
        problem = "what became of this task's events was told to PanDA, which has them computed by others"
        raise InvalidInput(SOURCE, "", problem, expected="a task that `raythena run` began", hint="Ask PanDA to retry them")
    unknown = sorted(range_id for range_id in request.ranges if not _is_known(range_id, layout))
    if unknown:
        lfns = [file.lfn for file in layout.inputs]
        hint = nearest(unknown[0].rpartition("-")[0], lfns)
        raise InvalidInput(
            SOURCE, "", f"the job has no event range {unknown[0]!r}", expected="an id as `raythena report` lists", hint=hint
        )
    wanted = sorted(failure.range_index for failure in given_up if request.wants(failure, layout.range_id(failure.range_index)))
    return RangesReopened(tuple(wanted)) if wanted else None


def _number_of(range_id: str) -> int:
    """The number at the end of an id; 0 if there is none."""
    lfn, dash, number = range_id.rpartition("-")
    return int(number) if lfn and dash and number.isascii() and number.isdigit() else 0


def _is_known(range_id: str, layout: RangeLayout) -> bool:
    lfn, number = range_id.rpartition("-")[0], _number_of(range_id)
    return any(file.lfn == lfn and 0 <= number - file.first_event < file.n_events for file in layout.inputs)
