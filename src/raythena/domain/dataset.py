"""The outputs of a task as a dataset: what a catalogue, or a workflow, must know of its files.

Files are described in Rucio's words (`scope`, `name`, `bytes`, `adler32`, `meta`), as its clients take replicas. Where they lie
is told apart, by name. The same document is a configuration for Snakemake.
"""

from __future__ import annotations

from collections.abc import Sequence

from raythena.domain.job import Job
from raythena.domain.outputs import OutputMap
from raythena.domain.ranges import RangeLayout
from raythena.domain.results import MergedOutput
from raythena.domain.upstream import InputTaken


def dataset_document(
    name: str, scope: str, outputs: Sequence[MergedOutput], paths: Sequence[str], failed: int
) -> dict[str, object]:
    """The JSON-ready description. `paths` are those of `outputs`; `failed` counts events that are in no file."""
    return {
        "scope": scope,
        "name": name,
        "events": sum(output.n_events for output in outputs if output.stream == 0),
        "failed": failed,
        "bytes": sum(output.size_bytes for output in outputs),
        "files": [_file(scope, output) for output in outputs],
        "paths": {output.lfn: path for output, path in zip(outputs, paths, strict=True)},
    }


def provenance(job: Job, outputs: Sequence[MergedOutput], taken: Sequence[InputTaken]) -> dict[str, object]:
    """Of a chained job the task its events came from, and which files of that went into which output; else nothing."""
    if job.upstream is None:
        return {}
    bounds = OutputMap.plan([file.n_events for file in job.inputs], job.events_per_output)
    starts = RangeLayout.of(job).offsets

    def parents(output: MergedOutput) -> list[dict[str, str]]:
        start, stop = bounds.interval(output.output)
        mine = (file for file in taken if starts[file.number] < stop and starts[file.number + 1] > start)
        return [{"name": file.lfn, "guid": file.guid} for file in mine]

    source = {"name": job.upstream.name, "task": job.upstream.task}
    return {"from": source, "parents": {output.lfn: parents(output) for output in outputs}}


def _file(scope: str, output: MergedOutput) -> dict[str, object]:
    return {
        "scope": scope,
        "name": output.lfn,
        "bytes": output.size_bytes,
        "adler32": f"{output.adler32:08x}",
        "meta": {"guid": output.guid, "events": output.n_events},
    }
