"""What authors of plug-ins import: everything that is promised to them, and nothing else is.

    payloads        what computes events on a node       entry point group `raythena.payloads`        names a `PayloadPlugin`
    mergers         what makes one file of many outputs  entry point group `raythena.mergers`         names a `Merger`
    gateways        where ranges come from, news go to   entry point group `raythena.gateways`        names a `GatewayPlugin`
    launchers       what makes a cluster of machines     entry point group `raythena.launchers`       names a `LauncherPlugin`
    searchers       what proposes points of a scan       entry point group `raythena.searchers`       names a `SearcherPlugin`
    event readers   event numbers of a file format       entry point group `raythena.event_readers`   names an `EventReader`

Shapes, units and errors are described in `docs/plugins.md`. Programs that compute events need none of this, see
`raythena.client`. What is not exported here may change without a word.
"""

from raythena.domain.errors import (
    ClusterError,
    InternalError,
    InvalidInput,
    MergeError,
    PayloadError,
    RaythenaError,
    StorageError,
)
from raythena.domain.event_range import EventRange
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.job_number import JobNumbers
from raythena.domain.progress import NodeProgress, Progress
from raythena.domain.range_report import DeliveredFile, RangeReport, RangeStatus, ReportedRange
from raythena.domain.results import FailureKind
from raythena.domain.taxonomy import EndCause
from raythena.engine.memory_policy import MemoryLimits
from raythena.engine.node_starts import StartPolicy
from raythena.engine.scan_policy import Searcher, TrialOutcome
from raythena.launch.launcher import Cluster, Continuation, LauncherPlugin, LaunchOrder, NodeCommand, ray_session
from raythena.payloads.plugin_options import refuse_unknown, string_list, string_map
from raythena.payloads.workers.python_worker import WorkerContext
from raythena.runtime.clock import Clock
from raythena.runtime.driver import Session
from raythena.runtime.gateway_interface import (
    CoordinatorLine,
    FinalOutput,
    Gateway,
    GatewayContext,
    GatewayPlugin,
    HistoryReader,
    TaskHistory,
)
from raythena.runtime.merger_interface import BadInputs, MergeContext, Merged, Merger, StoredEvent
from raythena.runtime.payload_interface import (
    Done,
    Failed,
    LeasedRange,
    Payload,
    PayloadContext,
    PayloadOutcome,
    PayloadPlugin,
    Released,
    Remark,
    Started,
    TimeLimits,
)
from raythena.runtime.session_config import JoinedNodes
from raythena.runtime.session_end import SessionResult
from raythena.tune.searcher_interface import SearcherPlugin, SearchProblem
from raythena.validation.readers import Numbers as EventNumbers
from raythena.validation.readers import Reader as EventReader

__all__ = [
    "BadInputs",
    "Clock",
    "Cluster",
    "ClusterError",
    "Continuation",
    "CoordinatorLine",
    "DeliveredFile",
    "Done",
    "EndCause",
    "EventNumbers",
    "EventRange",
    "EventReader",
    "Failed",
    "FailureKind",
    "FinalOutput",
    "Gateway",
    "GatewayContext",
    "GatewayPlugin",
    "HistoryReader",
    "InputFile",
    "InternalError",
    "InvalidInput",
    "Job",
    "JobNumbers",
    "JoinedNodes",
    "LaunchOrder",
    "LauncherPlugin",
    "LeasedRange",
    "MemoryLimits",
    "MergeContext",
    "MergeError",
    "MergeSpec",
    "Merged",
    "Merger",
    "NodeCommand",
    "NodeProgress",
    "Payload",
    "PayloadContext",
    "PayloadError",
    "PayloadOutcome",
    "PayloadPlugin",
    "PayloadSpec",
    "Progress",
    "RangeReport",
    "RangeStatus",
    "RaythenaError",
    "Released",
    "Remark",
    "ReportedRange",
    "SearchProblem",
    "Searcher",
    "SearcherPlugin",
    "Session",
    "SessionResult",
    "StartPolicy",
    "Started",
    "StorageError",
    "StoredEvent",
    "TaskHistory",
    "TimeLimits",
    "TrialOutcome",
    "WorkerContext",
    "ray_session",
    "refuse_unknown",
    "string_list",
    "string_map",
]
