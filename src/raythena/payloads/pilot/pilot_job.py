"""What a pilot gets from getJob: the option `job`, or the job of PanDA's made fit for this node.

Either way its parameters are written so that the pilot's editing of their text comes out as what is meant, or the job is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from raythena.domain.document import FieldPath
from raythena.domain.errors import InvalidInput
from raythena.domain.node_job import NodeFacts, derive_node_job
from raythena.domain.panda import is_panda, parse_panda_job
from raythena.domain.transform import CommandLine, refuse_operators, vocabulary_of
from raythena.domain.transform.pilot_words import pilot_job_parameters
from raythena.payloads.pilot.pilot_options import PilotOptions, served_document
from raythena.payloads.plugin_options import PREFIX
from raythena.runtime.payload_interface import PayloadContext


def takes_numbers(context: PayloadContext) -> bool:
    """Whether each start has a job number of its own: not when the options give the whole job."""
    return "job" not in context.options


def pilot_job(context: PayloadContext, options: PilotOptions, job_number: int) -> dict[str, object]:
    """The job of one start. Raises InvalidInput."""
    if "job" in context.options:
        return {**checked_document(context.options, "job"), "coreCount": context.cores}
    job = context.job
    if job is None or not is_panda(job.source):
        raise InvalidInput("job", "payload.options.job", "is missing", hint="Only a job of PanDA's says itself what to run")
    panda_job = parse_panda_job(FieldPath("job", "", job.source))
    facts = NodeFacts(job_number, context.cores, options.max_events)
    node_job = derive_node_job(panda_job, {file.lfn: file.pfn for file in job.inputs}, facts)
    return {**node_job.document, "jobPars": pilot_job_parameters(node_job.command).text}


def checked_document(options: Mapping[str, object], source: str) -> dict[str, object]:
    """The option `job`, with parameters a pilot hands on as they are meant. Raises InvalidInput."""
    document = served_document(options, source)
    parameters = str(document.get("jobPars") or "")
    if not parameters.strip():
        return document
    name = f"{source}: {PREFIX}.job.jobPars"
    refuse_operators(parameters, name)
    line = CommandLine.parse(parameters, name, vocabulary_of(str(document.get("transformation") or "")))
    return {**document, "jobPars": pilot_job_parameters(line).text}
