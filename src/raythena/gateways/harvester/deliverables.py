"""Which outputs of an on-site-merging job may be handed over, and which inputs are done.

PanDA counts in input files: a file that is not done is given to another job, whole. So an output is handed over only when every
output of every input it was made from is there, and complete: else its events would come out a second time.
"""

from __future__ import annotations

from collections.abc import Sequence

from raythena.domain.job import InputFile, Job
from raythena.domain.outputs import OutputMap
from raythena.gateways.harvester import documents
from raythena.gateways.harvester.documents import Entry
from raythena.runtime.gateway_interface import FinalOutput


class Deliverables:
    """Outputs merged so far. Only for jobs that say how many events their inputs have."""

    def __init__(self, job: Job) -> None:
        plan = OutputMap.plan([file.n_events for file in job.inputs], job.events_per_output)
        bounds = [0]
        for file in job.inputs:
            bounds.append(bounds[-1] + file.n_events)
        self._inputs = job.inputs
        self._size: dict[str, int] = {}
        self._inputs_of: dict[str, list[str]] = {}
        self._outputs_of: dict[str, list[str]] = {file.lfn: [] for file in job.inputs}
        first = 0
        for number, lfn in enumerate(job.outputs):
            start, stop = plan.interval(number)
            while bounds[first + 1] <= start:
                first += 1
            last = first
            while bounds[last + 1] < stop:
                last += 1
            self._size[lfn] = stop - start
            self._inputs_of[lfn] = [file.lfn for file in job.inputs[first : last + 1]]
            for name in self._inputs_of[lfn]:
                self._outputs_of[name].append(lfn)
        self._complete: dict[str, Entry] = {}
        self._ready: dict[str, Entry] = {}

    def add(self, output: FinalOutput) -> list[Entry]:
        """An output is merged. Returns what may be handed over now, and could not before."""
        if output.n_events < self._size[output.lfn]:
            return []
        self._complete[output.lfn] = documents.file_entry("output", output.path, output.guid, output.size_bytes, output.adler32)
        related = {lfn for name in self._inputs_of[output.lfn] for lfn in self._outputs_of[name]} | {output.lfn}
        new = [lfn for lfn in self._outputs_in_order(related) if lfn not in self._ready and self._may_go(lfn)]
        self._ready |= {lfn: self._complete[lfn] for lfn in new}
        return [self._ready[lfn] for lfn in new]

    def _outputs_in_order(self, some: set[str]) -> list[str]:
        return sorted(some)

    def _may_go(self, lfn: str) -> bool:
        return all(self.done(name) for name in self._inputs_of[lfn])

    def done(self, input_lfn: str) -> bool:
        """Whether every event of an input is in an output."""
        return all(lfn in self._complete for lfn in self._outputs_of[input_lfn])

    @property
    def ready(self) -> dict[str, Entry]:
        """Outputs to be handed over, by LFN."""
        return dict(self._ready)

    @property
    def whole(self) -> bool:
        """Whether every output is to be handed over."""
        return len(self._ready) == len(self._inputs_of)

    def skipped(self) -> Sequence[InputFile]:
        """Inputs of which something is missing, or whose outputs have to wait for another input."""
        return [file for file in self._inputs if not all(lfn in self._ready for lfn in self._outputs_of[file.lfn])]

    def state(self) -> dict[str, object]:
        """`state.json`."""
        return documents.task_state(self._ready, self._inputs_of)

    def report(self, log: tuple[str, Entry] | None = None) -> str:
        """What PanDA is to make of the job as it stands, see `documents.output_report`; `log` is (LFN, entry).

        While the log is missing PanDA fails the job, as it should: nobody has said the last word yet.
        """
        return documents.output_report([*self._ready.items(), *([] if log is None else [log])], self.skipped())
