"""The job as one node runs it, derived from the job as PanDA wrote it.

A payload on a node (the pilot, or a transform started directly) cannot be given PanDA's job as it is: it would stage the inputs
in again, look for them under another path than the event ranges do, write several outputs, and draw the same random numbers as
its neighbours. `derive_node_job` gives what it must be given instead, and says what was changed and why.

    node_job = derive_node_job(panda_job, {lfn: canonical_pfn, ...}, NodeFacts(job_number=769, cores=64))
    node_job.document      the specification to serve to the pilot (a dict, ready for JSON)
    node_job.argv          the program and its arguments, for a direct start
    node_job.command       the same arguments as a CommandLine, with `.set`, `.append`, … for what an adapter must add
    node_job.catalogue     every input whose GUID PanDA knows; `.to_xml()` is the PoolFileCatalog.xml to put beside the payload
    node_job.pfn_of        LFN → PFN, the bytes that belong in every event range
    node_job.changes       each argument and field: untouched, changed, added or removed, and why

Rules: a pure function of its arguments. The paths come from the caller, who made them canonical (links resolved or not, but
always the same way); here they are only checked: absolute, one spelling, and of characters that neither AthenaMP's naive reader
of event ranges, nor a transform's file list, nor its globbing takes for something else. The same bytes then stand in the input
argument, the catalogue and the ranges. Nothing is patched by pattern: arguments are read, changed and written by
`domain.transform`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from raythena.domain.catalogue import Catalogue, CatalogueEntry, catalogue_of
from raythena.domain.document import shown
from raythena.domain.errors import InvalidInput
from raythena.domain.job_number import MAX_JOB_NUMBER
from raythena.domain.panda import PandaJob
from raythena.domain.transform import CommandLine, Kind, refuse_operators, vocabulary_of

EMPTIED = ("inFiles", "GUID", "fsize", "outFiles", "logFile")
"""Fields without which the pilot neither stages in nor transfers: it would wait for one and fail at the other."""

_PFN = re.compile(r"(/[A-Za-z0-9_.+=@:%~-]+)+", re.ASCII)
_ATTEMPT = re.compile(r"\.\d+", re.ASCII)


_SCAN = "it limits the scan of the input when the payload starts, not the events, which come as event ranges"
_SKIP = "event ranges count from the first event of their file: nothing may be skipped before they are"


class Action(StrEnum):
    """What became of an argument or field."""

    UNTOUCHED = "untouched"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one argument (`--maxEvents`) or one field of the job (`coreCount`), and why.

    Of what is untouched the reason is told only where one would expect a change.
    """

    name: str
    action: Action
    before: str
    """As it was written; empty when it was not there."""
    after: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What distinguishes this start of a payload."""

    job_number: int
    """No other start has it, see `domain.job_number`."""
    cores: int
    """What the payload may use."""
    max_events: int | None = None
    """Value for --maxEvents, -1 for all; None keeps what the job says."""
    name_every_input: bool = False
    """Give the transform every input. It scans all it is given when it starts; one is enough, ranges bring the others."""


@dataclass(frozen=True)
class NodeJob:
    """A job ready for one node. See the module for what each part is for."""

    document: dict[str, object]
    transformation: str
    command: CommandLine
    catalogue: Catalogue
    pfn_of: dict[str, str]
    changes: tuple[Change, ...]

    @property
    def argv(self) -> tuple[str, ...]:
        """The transform and its arguments, to be started without a shell."""
        return (self.transformation, *self.command.argv)


def derive_node_job(
    job: PandaJob,
    pfn_of: Mapping[str, str],
    node: NodeFacts,
    *,
    files: Mapping[str, str] | None = None,
    source: str = "job",
) -> NodeJob:
    """The job for one node.

    `pfn_of` gives the canonical absolute path of every input file by LFN; `files` the contents of argument files (`@name`) by
    name. Raises InvalidInput, naming `source` and the field, for anything a transform could not work with.
    """
    _check_node(node, source)
    paths = {lfn: _checked_pfn(lfn, index, pfn_of, source) for index, lfn in enumerate(job.in_files)}
    catalogue = _catalogue(job, paths, source)
    vocabulary = vocabulary_of(job.transformation)
    refuse_operators(job.job_pars, f"{source}: jobPars")
    before = CommandLine.parse(job.job_pars, f"{source}: jobPars", vocabulary, files)
    edits = _Edits(before.written_out())
    _edit_input(edits, job, paths, node)
    _edit_outputs(edits)
    _edit_numbers(edits, node)
    document = _document(job, edits.line, node)
    changes = (*_argument_changes(before, edits), *_field_changes(job.document, document))
    return NodeJob(document, job.transformation, edits.line, catalogue, paths, changes)


class _Edits:
    """A command line being changed, and the reasons."""

    def __init__(self, line: CommandLine) -> None:
        self.line = line
        self.reasons: dict[str, str] = {}

    def set(self, name: str, *values: str, reason: str) -> None:
        """Give an argument these values, unless it has exactly them already and once."""
        if self.line.values(name) != values or len(self.line.given(name)) > 1:
            self.line = self.line.set(name, *values)
            self.reasons[name] = reason

    def keep(self, name: str, *, reason: str) -> None:
        """Leave an argument as it is, for a reason worth telling."""
        if self.line.given(name):
            self.reasons.setdefault(name, reason)


def _check_node(node: NodeFacts, source: str) -> None:
    for name, value, least, most in (("job_number", node.job_number, 1, MAX_JOB_NUMBER), ("cores", node.cores, 1, 100_000)):
        if not least <= value <= most:
            raise InvalidInput(source, f"node.{name}", f"is {value}", expected=f"a whole number from {least} to {most}")
    if node.max_events is not None and node.max_events != -1 and node.max_events < 1:
        raise InvalidInput(source, "node.max_events", f"is {node.max_events}", expected="a number of events, or -1 for all")


def _checked_pfn(lfn: str, index: int, pfn_of: Mapping[str, str], source: str) -> str:
    field = f"inFiles[{index}]"
    if lfn not in pfn_of:
        raise InvalidInput(source, field, f"the path of {lfn} is not known", expected="a path for every input file")
    check_pfn(pfn_of[lfn], source, field)
    return pfn_of[lfn]


def check_pfn(pfn: str, source: str, field: str) -> None:
    """Refuse a path that cannot stand in an event range, a catalogue and a transform's arguments alike. Raises InvalidInput."""
    parts = pfn.split("/")
    if not pfn.startswith("/") or "." in parts or ".." in parts or "" in parts[1:]:
        raise InvalidInput(
            source, field, f"is {shown(pfn)}", expected="a canonical absolute path, without //, ./, ../ or a slash at the end"
        )
    if not _PFN.fullmatch(pfn):
        bad = next(character for character in pfn if character != "/" and not _PFN.fullmatch(f"/{character}"))
        problem = f"the path {shown(pfn)} holds {bad!r}, which AthenaMP or the transform takes for something else"
        hint = "Reach the file under another path, a symbolic link for example"
        raise InvalidInput(source, field, problem, expected="letters, digits and / _ . + = @ : % ~ -", hint=hint)


def _catalogue(job: PandaJob, paths: Mapping[str, str], source: str) -> Catalogue:
    known = [(lfn, guid) for lfn, guid in zip(job.in_files, job.guids, strict=False) if guid]
    return catalogue_of((CatalogueEntry(guid.upper(), paths[lfn], lfn) for lfn, guid in known), source)


def _edit_input(edits: _Edits, job: PandaJob, paths: Mapping[str, str], node: NodeFacts) -> None:
    """Name the canonical path of the first input, or of all of them, where the job names its inputs."""
    name, lfns = _input_argument(edits.line, job.in_files)
    named = [paths[lfn] for lfn in (lfns if node.name_every_input else lfns[:1])]
    only = "" if node.name_every_input or len(lfns) == 1 else f"; the other {len(lfns) - 1} come with their event ranges"
    edits.set(name, ",".join(named), reason=f"the path that stands in the event ranges and the catalogue, byte for byte{only}")


def _input_argument(line: CommandLine, in_files: tuple[str, ...]) -> tuple[str, list[str]]:
    """The argument that names the job's inputs, and which of them it names."""
    named = {name: _named_inputs(line, name, in_files) for name in line.of_kind(Kind.INPUT)}
    matching = [name for name, lfns in named.items() if any(lfns)]
    candidates = matching if len(matching) == 1 else [name for name in matching or named if name == "inputEVNTFile"]
    if len(candidates) != 1:
        found = " and ".join(f"--{name}" for name in named) or "no argument"
        expected = "one argument with the files of inFiles, such as --inputEVNTFile"
        raise InvalidInput(line.source, "", f"{found} may name the input files", expected=expected)
    (name,) = candidates
    strangers = [written for written, lfn in zip(line.file_names(name), named[name], strict=True) if lfn is None]
    if strangers:
        problem = f"names {shown(strangers[0])}, which is not among the job's inFiles"
        raise InvalidInput(line.source, f"--{name}", problem, expected="file names listed in inFiles")
    return name, [lfn for lfn in dict.fromkeys(named[name]) if lfn is not None]


def _named_inputs(line: CommandLine, name: str, in_files: tuple[str, ...]) -> list[str | None]:
    """For each file name in an argument the LFN it stands for; PanDA's bracket lists leave the attempt (`.1`) out."""
    by_name = {lfn: lfn for lfn in in_files}
    by_stem = {lfn[: match.start()]: lfn for lfn in in_files if (match := re.search(_ATTEMPT.pattern + "$", lfn))}
    written = [file.rpartition("/")[2] for file in line.file_names(name)]
    return [by_name.get(file) or by_stem.get(file) for file in written]


def _edit_outputs(edits: _Edits) -> None:
    outputs = edits.line.of_kind(Kind.OUTPUT)
    if not outputs:
        expected = "an argument such as --outputHITSFile"
        raise InvalidInput(edits.line.source, "", "no argument names an output file", expected=expected)
    for name in outputs:
        names = edits.line.file_names(name)
        if not names:
            raise InvalidInput(edits.line.source, f"--{name}", "names no file", expected="the name of an output file")
        edits.set(
            name, names[0], reason="a transform in event-service mode takes one output name; each event gets a file of its own"
        )


def _edit_numbers(edits: _Edits, node: NodeFacts) -> None:
    edits.set(
        "jobNumber", str(node.job_number), reason="no other start of the transform in this task has it: random seeds come from it"
    )
    edits.set(
        "eventService", "True", reason="events come as event ranges; counting and checking the output as a whole is switched off"
    )
    if node.max_events is not None:
        edits.set("maxEvents", str(node.max_events), reason=f"asked for by max_events; {_SCAN}")
    edits.keep("maxEvents", reason=f"as the job says; {_SCAN}")
    if any(step.value.strip() not in ("0", "") for step in edits.line.substeps("skipEvents")):
        edits.set("skipEvents", "0", reason=_SKIP)
    edits.keep("skipEvents", reason=_SKIP)


def _document(job: PandaJob, line: CommandLine, node: NodeFacts) -> dict[str, object]:
    changed = {"jobPars": line.text, "coreCount": node.cores, "eventService": "True"}
    return {**job.document, **dict.fromkeys(EMPTIED, ""), **changed}


def _argument_changes(before: CommandLine, edits: _Edits) -> Iterable[Change]:
    after = edits.line
    for name in dict.fromkeys(argument.name for argument in (*before.arguments, *after.arguments)):
        old, new = _spelled(before, name), _spelled(after, name)
        action = _action(old, new)
        written_out = "written out of its argument file" if action is Action.CHANGED else ""
        yield Change(f"--{name}", action, old, new, edits.reasons.get(name, written_out))


def _spelled(line: CommandLine, name: str) -> str:
    return " ".join(line.text[argument.start : argument.end] for argument in line.given(name))


_FIELD_REASONS = {
    "inFiles": "no stage-in: the file is where the command says",
    "GUID": "goes with inFiles",
    "fsize": "goes with inFiles",
    "outFiles": "outputs are collected event by event, not transferred by the pilot",
    "logFile": "the log is not transferred by the pilot",
    "coreCount": "cores of this node",
    "eventService": "the pilot must take the job for an event-service job",
}


def _field_changes(before: Mapping[str, object], after: Mapping[str, object]) -> Iterable[Change]:
    for key, reason in _FIELD_REASONS.items():
        old, new = (str(document[key]) if document.get(key) is not None else "" for document in (before, after))
        yield Change(key, _action(old, new), old, new, reason if old != new else "")


def _action(before: str, after: str) -> Action:
    if before == after:
        return Action.UNTOUCHED
    if before and after:
        return Action.CHANGED
    return Action.ADDED if after else Action.REMOVED
