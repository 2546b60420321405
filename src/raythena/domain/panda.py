"""PanDA's job specification, as Harvester's `HPCJobs.json` carries it.

The document is machine-made and grows new fields without asking, so unknown fields are kept untouched; the known ones are read
strictly. PanDA writes lists as text joined by commas, booleans as "True", absent values as "NULL" and numbers sometimes as text:
`PandaJob` undoes all that. `to_job` then makes the one `Job` everything else works with.

Rules: the lists that describe inputs, and those that describe outputs, must have the length of `inFiles` and `outFiles`; the log
file may stand among `outFiles` and is no output; file names are hostile until checked. What is an event, a payload or a merger
is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, PydanticCustomError

from raythena.domain.admission import (
    MAX_EVENTS,
    canonical_path,
    check_checksum,
    check_guid,
    check_inputs,
    check_lfn,
    check_outputs,
    count_outputs,
)
from raythena.domain.document import FieldPath, shown
from raythena.domain.errors import InvalidInput
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.scan.trial import OUTPUT_PREFIX, POINTS_LFN
from raythena.domain.transform import CommandLine, vocabulary_of

_ABSENT = ("", "NULL", "None")


def _wrong(value: object, expected: str) -> PydanticCustomError:
    return PydanticCustomError("panda", "is {shown}", {"shown": shown(value), "expected": expected})


def _text(value: object) -> str:
    if value is None or value in _ABSENT:
        return ""
    if not isinstance(value, str):
        raise _wrong(value, "text")
    if "\0" in value:
        raise _wrong(value, "text without NUL characters")
    return value


def _number(value: object) -> int | None:
    if value is None or value in _ABSENT:
        return None
    if isinstance(value, str) and len(value) <= 20 and value.strip().removeprefix("-").isascii():
        value = int(value) if value.strip().removeprefix("-").isdecimal() else value
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(value, "a whole number")
    return value


def _flag(value: object) -> bool:
    if value is None or value in _ABSENT:
        return False
    if isinstance(value, bool | int) and value in (0, 1):
        return bool(value)
    known = {"true": True, "1": True, "false": False, "0": False}
    if not isinstance(value, str) or value.lower() not in known:
        raise _wrong(value, "True or False")
    return known[value.lower()]


def _texts(value: object) -> tuple[str, ...]:
    """`a,b,c` as ("a", "b", "c"); an absent element is an empty text, an absent list has no elements."""
    if value is None or value in _ABSENT:
        return ()
    elements = value.split(",") if isinstance(value, str) else value
    if not isinstance(elements, list | tuple):
        raise _wrong(value, "text joined by commas")
    return tuple(_text(element).strip() for element in elements)


def _sizes(value: object) -> tuple[int | None, ...]:
    """Sizes in bytes; 0 and NULL, which PanDA writes for files it does not know, are None."""
    elements = value if isinstance(value, list) else (value,) if isinstance(value, int) else _texts(value)
    numbers = tuple(_number(element) for element in elements)
    if any(number is not None and number < 0 for number in numbers):
        raise _wrong(value, "sizes in bytes")
    return tuple(number or None for number in numbers)


Text = Annotated[str, BeforeValidator(_text)]
Number = Annotated[int | None, BeforeValidator(_number)]
Amount = Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(_number)]
Events = Annotated[Annotated[int, Field(ge=1, le=MAX_EVENTS)] | None, BeforeValidator(_number)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Sizes = Annotated[tuple[int | None, ...], BeforeValidator(_sizes)]


class _PandaModel(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, alias_generator=to_camel, populate_by_name=False)


class MergeStep(_PandaModel):
    """How a site merges outputs itself (`esmergeSpec`)."""

    trans_path: Text = ""
    job_parameters: Text = ""
    n_events_per_output_file: Events = None


class PandaJob(_PandaModel):
    """One PanDA job. Field names are PanDA's in snake case; a field PanDA left out is empty, None or False.

    Lists that describe inputs are as long as `in_files`, lists that describe outputs as long as `out_files`; each may be empty.
    """

    panda_id: Annotated[int, Field(alias="PandaID", ge=1), BeforeValidator(_number)]
    task_id: Annotated[Amount, Field(alias="taskID")] = None
    jobset_id: Annotated[Amount, Field(alias="jobsetID")] = None
    req_id: Annotated[Number, Field(alias="reqID")] = None
    status_code: Annotated[Number, Field(alias="StatusCode")] = 0
    attempt_nr: Number = None
    job_name: Text = ""
    prod_source_label: Text = ""
    processing_type: Text = ""

    in_files: Texts = ()
    guids: Annotated[Texts, Field(alias="GUID")] = ()
    checksum: Texts = ()
    fsize: Sizes = ()
    scope_in: Texts = ()
    in_file_paths: Texts = ()
    ddm_end_point_in: Texts = ()
    real_datasets_in: Texts = ()
    prod_d_blocks: Annotated[Texts, Field(alias="prodDBlocks")] = ()
    prod_d_block_token: Annotated[Texts, Field(alias="prodDBlockToken")] = ()
    dispatch_dblock: Annotated[Texts, Field(alias="dispatchDblock")] = ()
    dispatch_d_block_token: Annotated[Texts, Field(alias="dispatchDBlockToken")] = ()

    out_files: Texts = ()
    allow_no_output: Texts = ()
    """Outputs the task lets a job end without; absent where it lets none."""
    scope_out: Texts = ()
    real_datasets: Texts = ()
    destination_dblock: Annotated[Texts, Field(alias="destinationDblock")] = ()
    destination_d_block_token: Annotated[Texts, Field(alias="destinationDBlockToken")] = ()
    dispatch_d_block_token_for_out: Annotated[Texts, Field(alias="dispatchDBlockTokenForOut")] = ()
    prod_d_block_token_for_output: Annotated[Texts, Field(alias="prodDBlockTokenForOutput")] = ()
    ddm_end_point_out: Texts = ()
    file_destination_se: Annotated[Texts, Field(alias="fileDestinationSE")] = ()

    log_file: Text = ""
    log_guid: Annotated[Text, Field(alias="logGUID")] = ""
    scope_log: Text = ""

    transformation: Text = ""
    job_pars: Text = ""
    sw_release: Text = ""
    homepackage: Text = ""
    cmt_config: Text = ""
    container_name: Annotated[Text, Field(alias="container_name")] = ""
    core_count: Amount = None
    max_walltime: Amount = None
    """Seconds."""
    max_cpu_count: Amount = None
    """Seconds."""
    min_ram_count: Amount = None
    """Megabytes."""
    max_disk_count: Amount = None
    """Megabytes."""
    resource_type: Annotated[Text, Field(alias="resource_type")] = ""
    current_priority: Number = None

    event_service: Flag = False
    on_site_merging: Flag = False
    is_scan: Annotated[Flag, Field(alias="isHPO")] = False
    """Its event ranges are points of a hyper-parameter scan."""
    n_events_per_input_file: Events = None
    esmerge_spec: MergeStep | None = None

    _document: dict[str, object] = PrivateAttr(default_factory=dict)

    @property
    def document(self) -> dict[str, object]:
        """The job as PanDA wrote it, unknown fields included."""
        return self._document

    @property
    def output_files(self) -> tuple[str, ...]:
        """`out_files` without the log file, in order."""
        return tuple(lfn for lfn in self.out_files if lfn != self.log_file)

    @property
    def may_be_missing(self) -> tuple[str, ...]:
        """Outputs, and perhaps the log, without which PanDA lets the job be finished, in order.

        PanDA says it twice: in `allowNoOutput`, and as the token `an` of each file.
        """
        words = self.dispatch_d_block_token_for_out
        marked = {lfn for lfn, word in zip(self.out_files, words, strict=True) if word == "an"} if words else set()
        return tuple(lfn for lfn in self.out_files if lfn in marked or lfn in self.allow_no_output)


_PER_INPUT = (
    "GUID",
    "checksum",
    "fsize",
    "scopeIn",
    "inFilePaths",
    "ddmEndPointIn",
    "realDatasetsIn",
    "prodDBlocks",
    "prodDBlockToken",
    "dispatchDblock",
    "dispatchDBlockToken",
)
_PER_OUTPUT = (
    "realDatasets",
    "destinationDblock",
    "destinationDBlockToken",
    "dispatchDBlockTokenForOut",
    "prodDBlockTokenForOutput",
    "ddmEndPointOut",
    "fileDestinationSE",
)


def is_panda(document: object) -> bool:
    """Whether a document is PanDA's: a job specification, or the envelope `{"<PandaID>": {...}}` of several."""
    if not isinstance(document, dict):
        return False
    return "PandaID" in document or (bool(document) and all(isinstance(key, str) and key.isdecimal() for key in document))


def parse_panda_jobs(document: Any, source: str) -> dict[str, PandaJob]:
    """The jobs of an `HPCJobs.json`, by PandaID; a bare specification is taken as an envelope of one.

    Raises InvalidInput naming the field, with the PandaID in front when the document is an envelope.
    """
    root = FieldPath(source, "", document)
    if not is_panda(document):
        raise root.refuse(f"is {shown(document)}", expected='PanDA jobs, {"<PandaID>": {"PandaID": ..., "inFiles": ...}}')
    if "PandaID" in document:
        job = parse_panda_job(root)
        return {str(job.panda_id): job}
    jobs = {key: parse_panda_job(root.entry(key)) for key in document}
    for key, job in jobs.items():
        if str(job.panda_id) != key:
            raise root.entry(key).entry("PandaID").refuse(f"is {job.panda_id}", expected=f"{key}, the key it stands under")
    return jobs


def parse_panda_job(place: FieldPath) -> PandaJob:
    """One job specification. Raises InvalidInput naming the field."""
    if not isinstance(place.value, dict):
        raise place.refuse(
            f"is {shown(place.value)}", expected="a job specification, a mapping with PandaID, inFiles, outFiles, …"
        )
    try:
        job = PandaJob.model_validate(place.value)
    except ValidationError as error:
        raise _explained(place, error) from error
    if job.status_code not in (0, None):
        raise place.entry("StatusCode").refuse(f"is {job.status_code}", expected="0", hint="PanDA had no job to give")
    _check_names(place, job)
    _check_lengths(place, job)
    job._document = place.plain()
    return job


def _explained(place: FieldPath, error: ValidationError) -> InvalidInput:
    """The first complaint of pydantic in our words; the others are counted."""
    first, *others = error.errors()
    for key in first["loc"]:
        place = place.entry(str(key))
    problem, expected = _complaint(first)
    names = ", ".join(sorted({".".join(map(str, other["loc"])) for other in others}))
    return place.refuse(problem, expected=expected, hint=f"Also wrong: {names}" if names else "")


def _complaint(details: ErrorDetails) -> tuple[str, str]:
    """(problem, expected) of one error of pydantic."""
    context: Mapping[str, Any] = details.get("ctx", {})
    match details["type"]:
        case "panda":
            return details["msg"], context["expected"]
        case "missing":
            return "is missing", "a value"
        case "int_type":
            return f"is {shown(details['input'])}", "a whole number"
        case "greater_than_equal":
            return f"is {shown(details['input'])}", f"at least {context['ge']}"
        case "less_than_equal":
            return f"is {shown(details['input'])}", f"at most {context['le']:,}"
        case "model_type":
            return f"is {shown(details['input'])}", "a mapping"
        case _:
            return f"is {shown(details['input'])}", details["msg"].lower()


def _listed(place: FieldPath, key: str, values: Sequence[object]) -> list[FieldPath]:
    """The places of the elements of a list PanDA joined by commas."""
    field = place.entry(key).field
    return [FieldPath(place.source, f"{field}[{index}]", value) for index, value in enumerate(values)]


def _check_names(place: FieldPath, job: PandaJob) -> None:
    for key, names in (("inFiles", job.in_files), ("outFiles", job.out_files)):
        if not names and not job.is_scan:
            raise place.entry(key).refuse("is missing or empty", expected="at least one file name")
        for item in _listed(place, key, names):
            check_lfn(item)
    if job.log_file:
        check_lfn(FieldPath(place.source, place.entry("logFile").field, job.log_file))
    for item in _listed(place, "GUID", job.guids):
        if item.value:
            check_guid(item)
    for item in _listed(place, "checksum", job.checksum):
        if item.value.startswith("ad:"):
            check_checksum(item)


def _check_lengths(place: FieldPath, job: PandaJob) -> None:
    """Refuse lists that do not have one element per file. A list that is absent, or NULL as a whole, says nothing."""
    lists = {field.alias: getattr(job, name) for name, field in PandaJob.model_fields.items()}
    for keys, reference in ((_PER_INPUT, "inFiles"), (_PER_OUTPUT, "outFiles")):
        length = len(lists[reference])
        for key in keys:
            if lists[key] and len(lists[key]) != length:
                problem = f"has {len(lists[key])} elements, but {reference} has {length}"
                raise place.entry(key).refuse(problem, expected="one element per file")
    # PanDA leaves the log out of scopeOut, but older servers did not
    allowed = {len(job.output_files), len(job.out_files)}
    if job.scope_out and len(job.scope_out) not in allowed:
        problem = f"has {len(job.scope_out)} elements, but outFiles has {len(job.output_files)} outputs"
        raise place.entry("scopeOut").refuse(problem, expected="one element per output file")


def to_job(panda_job: PandaJob, payload: PayloadSpec, merge: MergeSpec, *, place: FieldPath, input_directory: str = "") -> Job:
    """The job to run: every event of every input, in the order of `inFiles`, into the outputs of `outFiles`.

    `place` is where the specification stands (its value is `panda_job.document`). Inputs are found at `inFilePaths`, or else by
    name in `input_directory` (absolute). Raises InvalidInput; in particular for a job whose event ranges come from PanDA, because
    such a job does not say how many events its inputs have.
    """
    _refuse_skipped_events(panda_job, place)
    inputs = _inputs(panda_job, place, input_directory)
    check_inputs(inputs, place.entry("inFiles"), lambda index, attribute: input_place(place, index, attribute))
    step = panda_job.esmerge_spec
    wanted = place.entry("esmergeSpec").entry("nEventsPerOutputFile")
    if step is None or step.n_events_per_output_file is None:
        raise wanted.refuse("is missing", expected="events per output file", hint=_NOT_ON_SITE)
    needed = count_outputs(inputs, step.n_events_per_output_file, wanted)
    outputs = [item for item in _listed(place, "outFiles", panda_job.out_files) if item.value != panda_job.log_file]
    check_outputs(outputs, inputs, needed, place.entry("outFiles"))
    return Job(
        name=f"panda-{panda_job.panda_id}",
        inputs=inputs,
        outputs=panda_job.output_files,
        payload=payload,
        merge=merge,
        events_per_output=step.n_events_per_output_file,
        job_id=str(panda_job.panda_id),
        task_id=_id_text(panda_job.task_id),
        jobset_id=_id_text(panda_job.jobset_id),
        log_file=panda_job.log_file,
        source=panda_job.document,
    )


def _refuse_skipped_events(job: PandaJob, place: FieldPath) -> None:
    """All events of all inputs are computed: a job that wants some of them left out would get others than it wants."""
    try:
        line = CommandLine.parse(job.job_pars, vocabulary=vocabulary_of(job.transformation))
    except InvalidInput:
        return  # the job may be no transform's; a payload that runs one says what is wrong
    skipped = [step.value for step in line.substeps("skipEvents") if step.value.strip() not in ("0", "")]
    if skipped:
        hint = "Every event of the input files is computed: list the files that are wanted, or let PanDA hand out ranges"
        problem = f"says --skipEvents={skipped[0]}"
        raise place.entry("jobPars").refuse(problem, expected="--skipEvents=0, or none", hint=hint)


def merge_spec(job: PandaJob, given: MergeSpec | None = None) -> MergeSpec | None:
    """How the outputs are merged: as `given` says, or else by the transform of the job's `esmergeSpec`; None if neither says it.

    What is given for the merger `transform` (a container, for instance) is added to what the job says, and wins.
    """
    step = job.esmerge_spec
    told: dict[str, object] = {}
    if step is not None and step.trans_path:
        told = {"transformation": step.trans_path, "parameters": step.job_parameters}
        if job.homepackage:
            told["release"] = {"home_package": job.homepackage, "platform": job.cmt_config}
        if job.container_name:
            told["image"] = job.container_name
    if given is not None:
        return MergeSpec("transform", {**told, **given.options}) if given.kind == "transform" else given
    return MergeSpec("transform", told) if told else None


def to_given_job(panda_job: PandaJob, payload: PayloadSpec, *, place: FieldPath, input_directory: str = "") -> Job:
    """The job to run when PanDA hands its event ranges out while it runs: inputs of unknown length, nothing merged here.

    `place` and `input_directory` as for `to_job`. Raises InvalidInput.
    """
    if panda_job.is_scan:
        return _scan_job(panda_job, payload, place, input_directory)
    if not panda_job.event_service:
        raise place.entry("eventService").refuse("is not set", expected="True, for a job whose event ranges PanDA hands out")
    inputs = _inputs(panda_job, place, input_directory, n_events=0)
    check_inputs(inputs, place.entry("inFiles"), lambda index, attribute: input_place(place, index, attribute))
    return _given_job(panda_job, payload, inputs, panda_job.output_files)


def _given_job(panda_job: PandaJob, payload: PayloadSpec, inputs: tuple[InputFile, ...], outputs: tuple[str, ...]) -> Job:
    """A job whose ranges PanDA hands out while it runs; each result is handed over by itself."""
    return Job(
        name=f"panda-{panda_job.panda_id}",
        inputs=inputs,
        outputs=outputs,
        payload=payload,
        merge=MergeSpec("none"),
        events_per_output=1,
        job_id=str(panda_job.panda_id),
        task_id=_id_text(panda_job.task_id),
        jobset_id=_id_text(panda_job.jobset_id),
        log_file=panda_job.log_file,
        ranges_given=True,
        source=panda_job.document,
    )


def _scan_job(panda_job: PandaJob, payload: PayloadSpec, place: FieldPath, input_directory: str) -> Job:
    """A job whose event ranges are points of a scan. They belong to no file; training data are the program's own business."""
    if payload.kind != SCAN_PAYLOAD:
        raise place.entry("isHPO").refuse(
            f"is set, and the payload is {payload.kind!r}", expected=f"the payload {SCAN_PAYLOAD!r} for points of a scan"
        )
    path = canonical_path(input_directory or "/", FieldPath(place.source, "", POINTS_LFN))
    return _given_job(panda_job, payload, (InputFile(POINTS_LFN, path, 0),), (OUTPUT_PREFIX,))


SCAN_PAYLOAD = "trial"
"""What evaluates points."""

_NOT_ON_SITE = "Only jobs with on-site merging can be cut into events here; this one gets its event ranges from PanDA"

_FIELD_OF = {"lfn": "inFiles", "guid": "GUID", "size_bytes": "fsize", "checksum": "checksum"}


def input_place(place: FieldPath, index: int, attribute: str) -> FieldPath:
    """Where a specification says `attribute` (of `InputFile`) of input `index`."""
    path_key = "inFilePaths" if place.entry("inFilePaths").given else "inFiles"
    key = _FIELD_OF.get(attribute, path_key)
    return FieldPath(place.source, f"{place.entry(key).field}[{index}]", None)


def _id_text(number: int | None) -> str:
    return "" if number is None else str(number)


def _inputs(job: PandaJob, place: FieldPath, input_directory: str, n_events: int | None = None) -> tuple[InputFile, ...]:
    """The input files; `n_events` in each, or what the specification says."""
    if n_events is None:
        n_events = job.n_events_per_input_file
    if n_events is None:
        raise place.entry("nEventsPerInputFile").refuse("is missing", expected="events per input file", hint=_NOT_ON_SITE)
    if not job.in_file_paths and not input_directory:
        raise place.entry("inFilePaths").refuse("is missing", expected="paths of the inputs, or the directory they are in")
    paths = job.in_file_paths or job.in_files
    places = _listed(place, "inFilePaths" if job.in_file_paths else "inFiles", paths)
    return tuple(
        InputFile(
            lfn=lfn,
            pfn=_absolute(places[index], input_directory),
            n_events=n_events,
            guid=_at(job.guids, index, "").upper(),
            scope=_at(job.scope_in, index, ""),
            size_bytes=_at(job.fsize, index, None),
            checksum=_at(job.checksum, index, ""),
        )
        for index, lfn in enumerate(job.in_files)
    )


def _absolute(place: FieldPath, input_directory: str) -> str:
    if not input_directory and not place.text("the path of a file").startswith("/"):
        raise place.refuse(f"is {shown(place.value)}", expected="an absolute path")
    return canonical_path(input_directory or "/", place)


def _at(values: Sequence[object], index: int, absent: object) -> Any:
    return values[index] if values else absent
