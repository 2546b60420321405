"""A scan as a job of the engine: points are event ranges that come while it runs, results are outputs that nobody merges.

The job's identity is what is searched and how. With another space, objective, searcher or seed it is another task, and the ledger
refuses it; the budget may grow, and the program may be repaired.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from raythena.domain.document import FieldPath
from raythena.domain.job import NO_MERGE, InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.scan.scan_file import Scan, SearchSpec
from raythena.domain.scan.stopping_rule import RuleKind
from raythena.domain.scan.trial import OUTPUT_PREFIX, TrialResult
from raythena.runtime.session_config import GatewaySpec, SessionConfig

_IDENTITY = ("space", "objective", "search", "early_stopping")
_NAMESPACE = uuid.UUID("5f6b2c0e-55f1-5bb5-8a3a-6f3f7f0f7a11")
GROUP_AGE_S = 0.05
"""Results wait on their node for so long at most, for others to be reported with."""
LEARN_NOTHING = ("random", "grid")
MAX_FAILED_FRACTION = 0.5
"""Of the points: in a search space there are regions in which nothing works."""


def scan_job(scan: Scan, document: Mapping[str, object], path: Path) -> Job:
    """The job; `document` is the content of the scan file at `path`. Raises InvalidInput."""
    base = path.absolute().parent
    identity = json.dumps([document.get(key) for key in _IDENTITY], sort_keys=True, default=str)
    guid = str(uuid.uuid5(_NAMESPACE, hashlib.sha256(identity.encode()).hexdigest())).upper()
    return Job(
        name=scan.name,
        inputs=(InputFile(lfn=f"{scan.name}.points", pfn=str(path.absolute()), n_events=0, guid=guid),),
        outputs=(OUTPUT_PREFIX,),
        payload=PayloadSpec("trial", trial_options(scan, base, str(path))),
        merge=MergeSpec(NO_MERGE),
        events_per_output=1,
        ranges_given=True,
        source=dict(document),
    )


def trial_options(scan: Scan, base: Path, source: str) -> dict[str, object]:
    """What the payload is told: with absolute paths, and what the scan knows besides. Raises InvalidInput."""
    options = dict(scan.trial)
    command = options.get("command")
    if isinstance(command, list) and command and isinstance(command[0], str) and "/" in command[0]:
        options["command"] = [str(base / command[0]), *command[1:]]
    if "python" in options:
        given = options.get("path", ["."])
        entries = FieldPath(source, "trial.path", given).items()
        options["path"] = [str(base / item.text("a directory")) for item in entries]
    options["objectives"] = {objective.name: str(objective.goal) for objective in scan.objectives}
    if scan.stopping.kind is not RuleKind.NONE:
        options["early_stopping"] = str(scan.stopping.kind)
    return options


def scan_session(
    config: SessionConfig, document: Mapping[str, object], source: str, warm: Sequence[TrialResult]
) -> SessionConfig:
    """A session of such a job: with the gateway of scans, and with the engine's numbers for trials."""
    options: dict[str, object] = {
        "scan": dict(document),
        "source": source,
        "warm": [result.to_bytes().decode() for result in warm],
    }
    suited = suited_to_trials(config, waited_for=search_of(document) not in LEARN_NOTHING)
    return replace(suited, gateway=GatewaySpec("tune", options))


def suited_to_trials(config: SessionConfig, *, waited_for: bool) -> SessionConfig:
    """A session with the engine's numbers where a trial is unlike an event; `waited_for`: new points depend on its results.

    No trial is computed twice at a time, because it has a checkpoint of its own; no node holds more than it computes, because
    others may be idle and the searcher has no more to give; results are not kept together for long where a searcher waits
    for them; and more may fail.
    """
    budget = replace(config.engine.budget, max_failed_fraction=max(config.engine.budget.max_failed_fraction, MAX_FAILED_FRACTION))
    engine = replace(config.engine, duplicate_stragglers=False, first_lease_per_core=1, budget=budget)
    node = replace(config.node, group_age_s=GROUP_AGE_S) if waited_for else config.node
    return replace(config, engine=engine, node=node)


def search_of(document: Mapping[str, object]) -> str:
    """The searcher a scan file names."""
    search = document.get("search", SearchSpec().method)
    return str(search["method"] if isinstance(search, Mapping) else search)
