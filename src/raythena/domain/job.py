"""The job as the engine understands it, wherever it came from.

A `Job` is a pure value: which events of which input files, which output files they belong in, what computes an event and
what merges outputs. The parsers (`panda` for PanDA's job specification, `jobfile` for the native YAML) produce it; nothing
below this line knows which of the two it was.

Rules: paths are absolute, one canonical spelling per file; events are counted from `first_event`, which is 1 in files; output
files are ordered, and the events of the job, in input order, fill them one after the other (see `OutputMap`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from raythena.domain.upstream import Upstream
from raythena.domain.worker_shape import WORKER_KINDS, WorkerShape

NO_MERGE = "none"
"""`MergeSpec.kind` of a job that keeps the grouped outputs of its events as they are."""
INPUTS = "inputs"
"""Directory of a task for inputs that another one makes."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """One input (EVNT) file; in a job without input files the sequence of its events, which has no path."""

    lfn: str
    pfn: str
    """Absolute path, the same bytes everywhere."""
    n_events: int
    guid: str = ""
    scope: str = ""
    size_bytes: int | None = None
    checksum: str = ""
    """As given, for example `ad:0a1b2c3d`; empty when unknown."""
    first_event: int = 1
    """Number of the first event."""
    seed: int | None = None
    """What the seeds of events follow from, in a job without input files; None: a file."""

    @property
    def is_file(self) -> bool:
        """Whether there is a file; if not, the payload makes events from their numbers and seeds."""
        return self.seed is None


@dataclass(frozen=True, slots=True)
class PayloadSpec:
    """What computes one event.

    `kind` names an entry point of the group `raythena.payloads` (`python`, `process`, …); `options` are handed to it
    untouched. `python`: {"function": "module:name", "setup": "module:name"?, "options": {...}?, "path": [dir, ...]?}.
    `process`: {"command": [argv...], "environment": {...}?}.
    """

    kind: str
    options: dict[str, Any] = field(default_factory=dict)

    def places(self, cores: int) -> int:
        """How many ranges a node with `cores` cores computes at a time (see `WorkerShape`)."""
        return WorkerShape.of(self.options).places(cores) if self.kind in WORKER_KINDS else cores


@dataclass(frozen=True, slots=True)
class MergeSpec:
    """What turns the outputs of many events into one file.

    `kind` names an entry point of the group `raythena.mergers` (`root`, `concat`, `python`, …); `none` (`NO_MERGE`) keeps the
    grouped outputs as they are.
    """

    kind: str = "concat"
    options: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OutputStream:
    """One of several outputs of every event, merged into files of its own."""

    name: str
    outputs: tuple[str, ...]
    """LFNs of its files, in order: as many as every other stream has."""
    merge: MergeSpec


@dataclass(frozen=True, slots=True)
class Job:
    """One job: a part of a task, complete in itself."""

    name: str
    inputs: tuple[InputFile, ...]
    outputs: tuple[str, ...]
    """LFNs of the promised output files, in order; in a job with streams those of the first."""
    payload: PayloadSpec
    merge: MergeSpec
    """In a job with streams that of the first."""
    events_per_output: int
    """Events in each output file; the last of an input (1→N) or of the job (N→1) may hold fewer."""
    job_id: str = ""
    """PandaID where there is one."""
    task_id: str = ""
    jobset_id: str = ""
    log_file: str = ""
    cores_per_node: int | None = None
    ranges_given: bool = False
    """The event ranges are handed out from outside while the job runs, not cut here. Then `n_events` of the inputs may be 0
    (nobody knows), nothing is merged (`merge.kind` is `none`), and `outputs` only says what the outputs of events are called."""
    upstream: Upstream | None = None
    """The task that makes the inputs. They are what it promised, and become files while the job runs."""
    source: dict[str, object] = field(default_factory=dict)
    """The document the job was made from, unknown fields included."""
    streams: tuple[OutputStream, ...] = ()
    """Where the payload writes several outputs for each event, all of them; empty: it writes one."""

    @property
    def n_events(self) -> int:
        """Events in the whole job."""
        return sum(file.n_events for file in self.inputs)

    @property
    def reads_files(self) -> bool:
        """Whether its events come from files; if not, the payload makes them, and `inputs` is one sequence of events."""
        return all(file.is_file for file in self.inputs)

    @property
    def stream_names(self) -> tuple[str, ...]:
        """What every event has an output in; nothing in a job with one output for each event."""
        return tuple(stream.name for stream in self.streams)

    @property
    def merges(self) -> tuple[OutputStream, ...]:
        """What is merged into files of its own: each stream, or the one output, which has no name."""
        return self.streams or (OutputStream("", self.outputs, self.merge),)

    @property
    def promised(self) -> tuple[str, ...]:
        """LFNs of all files, stream after stream."""
        return tuple(lfn for stream in self.merges for lfn in stream.outputs)

    @property
    def n_ranges(self) -> int:
        """Event ranges known before the job begins."""
        return 0 if self.ranges_given else self.n_events

    def kept_in(self, directory: str) -> Job:
        """The job with its inputs where a task in this directory keeps those that another one makes."""
        if self.upstream is None:
            return self
        return replace(self, inputs=tuple(replace(file, pfn=f"{directory}/{INPUTS}/{file.lfn}") for file in self.inputs))

    def fingerprint(self) -> str:
        """Identity of the work itself: same inputs, same outputs, same mapping. SHA-256, hexadecimal.

        A ledger belongs to one fingerprint. Paths, payload options and merge options are left out on purpose: a task may
        be resumed from another mount point or with a repaired payload.
        """
        identity: dict[str, object] = {
            "inputs": [[file.lfn, file.guid, file.n_events] for file in self.inputs],
            "outputs": list(self.outputs),
            "events_per_output": self.events_per_output,
        }
        if self.ranges_given:
            identity["ranges_given"] = True
        if not self.reads_files:
            identity["generated"] = [[file.seed, file.first_event] for file in self.inputs]
        if self.upstream is not None:
            identity["upstream"] = self.upstream.fingerprint
        if self.streams:
            identity["streams"] = [[stream.name, list(stream.outputs)] for stream in self.streams]
        return hashlib.sha256(json.dumps(identity, separators=(",", ":")).encode()).hexdigest()

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready copy, the inverse of `from_dict`."""
        document = asdict(self)
        if not self.streams:
            del document["streams"]
        return document

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Job:
        """Rebuild what `to_dict` wrote. Trusts its input: it is our own file."""
        values = dict(document)
        values["inputs"] = tuple(InputFile(**entry) for entry in values["inputs"])
        values["outputs"] = tuple(values["outputs"])
        values["payload"] = PayloadSpec(**values["payload"])
        values["merge"] = MergeSpec(**values["merge"])
        values["upstream"] = Upstream.from_dict(values.get("upstream"))
        values["streams"] = tuple(
            OutputStream(entry["name"], tuple(entry["outputs"]), MergeSpec(**entry["merge"]))
            for entry in values.get("streams", ())
        )
        return cls(**values)
