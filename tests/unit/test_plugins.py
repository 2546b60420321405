"""The plug-in API: what is exported, with every field and method, and that the document names it all."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import tomllib
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pytest

import raythena.client
from raythena import plugins
from raythena.plugins import BadInputs, MergeContext

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "plugins.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)

EXPORTED = {
    "BadInputs": "faults",
    "Clock": "monotonic_s sleep wall_s",
    "Cluster": "add_nodes ends_at failure session start stop",
    "ClusterError": "",
    "Continuation": "argv directory environ session task_directory told_by_exit_code",
    "CoordinatorLine": "ranges_ended ranges_given reports_acknowledged stop",
    "DeliveredFile": "adler32 checksum path size_bytes",
    "Done": "cpu_s index offset path size_bytes started_at wall_s whole_file",
    "EndCause": "",
    "EventNumbers": "",
    "EventRange": "first_event guid last_event lfn pfn point range_id scope seed seeds to_panda",
    "EventReader": "",
    "Failed": "index kind message wall_s",
    "FailureKind": "",
    "FinalOutput": "adler32 guid lfn n_events path size_bytes",
    "Gateway": "ended output_merged progressed ranges_wanted report_due run",
    "GatewayContext": "job options session task_directory",
    "GatewayPlugin": "check_options factory name",
    "HistoryReader": "resumed",
    "InputFile": "checksum first_event guid is_file lfn n_events pfn scope seed size_bytes",
    "InternalError": "",
    "InvalidInput": "",
    "Job": (
        "cores_per_node events_per_output fingerprint from_dict inputs job_id jobset_id kept_in log_file merge merges "
        "n_events n_ranges name outputs payload promised ranges_given reads_files source stream_names streams task_id to_dict "
        "upstream"
    ),
    "JobNumbers": "take",
    "JoinedNodes": "cores most",
    "LaunchOrder": (
        "continuation cores environ environment head_cores hosts interface nodes policy ray_address ray_directory remote_shell "
        "remote_stdin scratch_directory session shared_directory step_options tell tls"
    ),
    "NodeCommand": "argv name",
    "LauncherPlugin": "commands is_here launch name words",
    "LeasedRange": "attempt event_range index",
    "MemoryLimits": "memory_reserve node_memory_bytes worker_memory_bytes",
    "MergeContext": "directory expected guid lfn log options",
    "MergeError": "",
    "MergeSpec": "kind options",
    "Merged": "guid is_countable n_events",
    "Merger": "",
    "NodeProgress": "busy cores finished leased mean_event_s name occupancy state",
    "Payload": "appetite collected drain feed poll release start stop",
    "PayloadContext": (
        "clock cores first_time_limit_s job job_name log_dir memory min_time_limit_s node numbers options scratch "
        "task_directory time_limit_factor"
    ),
    "PayloadError": "",
    "PayloadOutcome": "",
    "PayloadPlugin": "buffer_s check_options factory margin_s name needs_files streams",
    "PayloadSpec": "kind options places",
    "Progress": (
        "attempts_failed elapsed_s events failed finished job leased merged merging message nodes occupancy outputs "
        "outputs_merged phase rate_per_s ready remaining_s resumed stored to_dict warnings"
    ),
    "RangeReport": "archive number ranges",
    "RangeStatus": "",
    "RaythenaError": "",
    "Released": "index",
    "Remark": "text",
    "ReportedRange": "file message range_id status",
    "SearchProblem": (
        "check_options library needs_one_objective needs_plain_space objectives of options parallel points refuse seed source "
        "space"
    ),
    "Searcher": "ask learns recall size tell",
    "SearcherPlugin": "make name",
    "Session": "has_ended progress result start stop",
    "SessionResult": "core_s cores cpu_s error exit_code outcome progress reason span_s",
    "StartPolicy": "at_once first_pause_s last_pause_s max_absences max_failures stable_s start_limit_s",
    "Started": "at index",
    "StorageError": "",
    "StoredEvent": "read",
    "TaskHistory": "failed finished given",
    "TimeLimits": "first_time_limit_s min_time_limit_s time_limit_factor",
    "TrialOutcome": "number reports stopped_early values wall_s",
    "WorkerContext": "new_output options scratch state worker",
    "ray_session": "",
    "refuse_unknown": "",
    "string_list": "",
    "string_map": "",
}
"""Every name with its fields and methods. A change here is a change for authors: CHANGELOG, and docs/plugins.md."""
NOT_TOLD = {"SessionResult": {"unrecorded"}}
"""What only we call."""


def members(thing):
    """Public fields, properties and methods a class has of its own; none for errors (but ours), enumerations and aliases."""
    if not isinstance(thing, type) or issubclass(thing, Enum):
        return set()
    named = {field.name for field in fields(thing)} if is_dataclass(thing) else set()
    if issubclass(thing, Exception):
        return {"faults"} if thing is BadInputs else set()
    named |= {name for name, value in vars(thing).items() if callable(value) or isinstance(value, property | classmethod)}
    return {name for name in named if not name.startswith("_")}


def test_what_is_exported_is_what_was_promised():
    assert sorted(plugins.__all__) == sorted(EXPORTED)
    assert raythena.client.__all__ == ["Event", "EventServer", "bundled"]
    public = {name for name in vars(plugins) if not name.startswith("_")}
    assert public == set(EXPORTED)


@pytest.mark.parametrize("name", EXPORTED)
def test_fields_and_methods_are_those_promised(name):
    assert members(getattr(plugins, name)) - NOT_TOLD.get(name, set()) == set(EXPORTED[name].split())


@pytest.mark.parametrize("name", EXPORTED)
def test_the_document_names_everything(name):
    """Names in code are exact; a method may be shown with its arguments."""
    told = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", DOCUMENT))))
    assert {name, *EXPORTED[name].split()} <= told


@pytest.mark.parametrize("name", EXPORTED)
def test_every_export_says_what_it_is(name):
    thing = getattr(plugins, name)
    if inspect.isclass(thing) or inspect.isfunction(thing):  # aliases of types are explained by the document alone
        assert len(inspect.getdoc(thing) or "") > 10


def groups_in_the_source():
    for path in (ROOT / "src" / "raythena").rglob("*.py"):
        yield from re.findall(r'^\w*GROUP\w* = "(raythena\.\w+)"', path.read_text(), re.MULTILINE)


def test_every_plug_in_point_is_documented():
    groups = set(groups_in_the_source())
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert len(groups) >= 4
    assert shipped.keys() <= groups
    for group in groups:
        assert f"| `{group}` |" in DOCUMENT, f"docs/plugins.md and raythena/plugins.py do not tell of {group}"
        assert f"`{group}`" in (plugins.__doc__ or "")


def test_documents_and_examples_import_only_what_is_promised():
    promised = {"raythena.plugins", "raythena.client", "raythena.testing.payload_conformance"}
    texts = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", *(ROOT / "examples").rglob("*.py")]
    for path in texts:
        for module in re.findall(r"^\s*from (raythena[\w.]*) import", path.read_text(), re.MULTILINE):
            assert module in promised | {"raythena.testing.simulation"}, path.name


def test_the_client_needs_the_standard_library_only():
    """It is imported by event loops, in environments where nothing else of ours is."""
    path = Path(importlib.import_module("raythena.payloads.workers.event_server").__file__)
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        modules |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
        modules |= {str(node.module)} if isinstance(node, ast.ImportFrom) else set()
    assert {module.partition(".")[0] for module in modules} <= sys.stdlib_module_names | {"__future__"}


# ---- the examples


def example(number):
    namespace: dict[str, object] = {}
    exec(compile(BLOCKS[number], f"example {number}", "exec"), namespace)
    return namespace


def test_the_merger_of_the_document_merges(tmp_path):
    merge = example(0)["merge_lines"]
    for number, text in enumerate(["one\n", "two"]):
        (tmp_path / f"{number}").write_text(text)
    inputs = [tmp_path / "0", tmp_path / "1"]
    merged = merge(inputs, tmp_path / "out", MergeContext("out", "G", {}))
    assert (tmp_path / "out").read_text() == "one\ntwo\n"
    assert merged.n_events == 2
    (tmp_path / "1").write_text("")
    with pytest.raises(BadInputs) as caught:
        merge(inputs, tmp_path / "out", MergeContext("out", "G", {}))
    assert caught.value.faults == {1: "is empty"}


def test_the_reader_of_the_document_reads(tmp_path):
    read = example(1)["read_counted"]
    (tmp_path / "a").write_text("EVENTS 2\n7\n9\n")
    (tmp_path / "b").write_text("something else")
    assert np.array_equal(read(tmp_path / "a"), [7, 9])
    assert read(tmp_path / "b") is None
    (tmp_path / "a").write_text("EVENTS 3\n7\n9\n")
    with pytest.raises(ValueError, match="promises"):
        read(tmp_path / "a")
