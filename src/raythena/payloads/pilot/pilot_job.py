"""What a pilot gets from getJob: the option `job`, or the job of PanDA's made fit for this node."""

from __future__ import annotations

from typing import Any

from raythena.domain.document import FieldPath
from raythena.domain.errors import InvalidInput
from raythena.domain.node_job import NodeFacts, derive_node_job
from raythena.domain.panda import is_panda, parse_panda_job
from raythena.payloads.pilot.pilot_options import PilotOptions, served_document
from raythena.runtime.payload_interface import PayloadContext


def takes_numbers(context: PayloadContext) -> bool:
    """Whether each start has a job number of its own: not when the options give the whole job."""
    return "job" not in context.options


def pilot_job(context: PayloadContext, options: PilotOptions, job_number: int) -> dict[str, Any]:
    """The job of one start. Raises InvalidInput."""
    if "job" in context.options:
        return {**served_document(context.options, "job"), "coreCount": context.cores}
    job = context.job
    if job is None or not is_panda(job.source):
        raise InvalidInput("job", "payload.options.job", "is missing", hint="Only a job of PanDA's says itself what to run")
    panda_job = parse_panda_job(FieldPath("job", "", job.source))
    facts = NodeFacts(job_number, context.cores, options.max_events)
    return derive_node_job(panda_job, {file.lfn: file.pfn for file in job.inputs}, facts).document
