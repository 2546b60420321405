"""What the tests of the Harvester gateway share: jobs like real ones, outputs that exist, an access point to talk through."""

import json
import zlib
from pathlib import Path

from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.gateways.harvester.access_point import AccessPoint
from raythena.gateways.harvester.harvester_config import FileNames
from raythena.gateways.harvester.messenger import JobIds, Messenger
from raythena.runtime.gateway_interface import FinalOutput

FIXTURES = Path(__file__).parents[3] / "fixtures" / "harvester"
PANDA_ID = "5750099001"
IDS = JobIds(PANDA_ID, "30737678", "5750099000")
LOG = "log.30737678._5750099001.job.log.tgz"


def fixture(name):
    return json.loads((FIXTURES / name).read_text())


def document(kind="merge"):
    return fixture(f"{kind}-HPCJobs.json")[PANDA_ID]


def merging_job(events_per_output=20, events_per_input=10):
    """The job of the captured specification, or the same inputs cut into other outputs."""
    about = document()
    inputs = tuple(
        InputFile(lfn, f"/run/inputs/{lfn}", events_per_input, guid)
        for lfn, guid in zip(about["inFiles"].split(","), about["GUID"].split(","), strict=True)
    )
    total = events_per_input * len(inputs)
    outputs = tuple(f"HITS.30737678._{n:06d}.pool.root.1" for n in range(1, total // events_per_output + 1))
    return Job(
        "panda", inputs, outputs, PayloadSpec("python"), MergeSpec("root"), events_per_output,
        job_id=PANDA_ID, task_id="30737678", jobset_id="5750099000", log_file=LOG,
    )  # fmt: skip


def final_output(directory, lfn, n_events=20):
    """An output that is there."""
    path = directory / lfn
    data = lfn.encode() * 10
    path.write_bytes(data)
    return FinalOutput(lfn, str(path), "3FC2D896-2DCD-51F2-953F-4FF5D82757C2", len(data), zlib.adler32(data), n_events)


def access_point(directory):
    directory.mkdir(parents=True, exist_ok=True)
    return AccessPoint(directory, FileNames())


def messenger(point, **options):
    about = document("events")
    return Messenger(point, IDS, {lfn: f"/run/inputs/{lfn}" for lfn in about["inFiles"].split(",")}, **options)


def put(point, name, value):
    """Harvester writes."""
    path = point.directory / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def some_ranges(count, start=1):
    """`JobsEventRanges.json` as Harvester writes it."""
    lfn, guid = (document("events")[key].split(",")[0] for key in ("inFiles", "GUID"))
    return {
        PANDA_ID: [
            {
                "eventRangeID": f"30737678-{PANDA_ID}-7000-{n}-3",
                "startEvent": n,
                "lastEvent": n,
                "LFN": lfn,
                "GUID": guid,
                "scope": "mc23_13p6TeV",
            }
            for n in range(start, start + count)
        ]
    }


def shape(value):
    """Keys and types, without what is in them; of lists the first element counts."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__
