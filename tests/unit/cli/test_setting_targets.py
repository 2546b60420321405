"""A setting is declared once: its default, where it goes, and what documents say of it follow."""

from __future__ import annotations

import ast
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pytest

from raythena.cli.harvest import _patience
from raythena.cli.session import session_config
from raythena.cli.setting_targets import Target, filled, setting
from raythena.cli.settings import SETTINGS, load_settings, placed
from raythena.domain.allocation_chain import ChainPlan
from raythena.domain.job import PayloadSpec
from raythena.gateways.harvester.conversation import Patience
from raythena.launch.launcher import LaunchOrder
from raythena.runtime.session_config import SessionConfig
from raythena.storage.taskdir import TaskDirectory
from raythena.testing.simulation.samples import small_job

ROOT = Path(__file__).parents[3]
OWN = {
    "launch.succession",
    "nodes.count",
    "nodes.cores_per_node",
    "launch.on",
    "launch.head_cores",
    "launch.step_options",
    "batch.directives",
    "batch.drop",
    "batch.before",
    "batch.warning_s",
    "batch.max_allocations",
    "runtime.takeover_s",
    "engine.walltime_s",
    "display.mode",
}
"""Settings the command itself decides by: they go nowhere else."""
FILLING = [name for name in SETTINGS if name not in OWN]
PROSE = [ROOT / "README.md", *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.name != "cli.md")]
OTHER_MEANING = {
    "payload_interface.py": {"buffer_s", "margin_s"},  # what a payload needs at least, nothing unless its author says so
    "plan.py": {"storage_patience_s"},  # simulated sites are less patient, or their schedules would be long
}
TOLD = re.compile(r"`(\w+\.\w+)`(?: \(|, )([\d.,]*\d)(?! always)")


def settings(tmp_path, **overrides):
    return load_settings(None, {}, overrides, directory=tmp_path).settings


def other_value(name):
    """A value the setting takes and does not have."""
    entry = SETTINGS[name]
    if name == "launch.interface":
        return "hsn0"
    if entry.kind is str:
        return "/somewhere/else"
    if entry.kind is bool:
        return not entry.default
    smaller = type(entry.default)(entry.default / 2)
    return smaller if smaller != entry.default else entry.default + 1


def flat(config, before=""):
    """Every number and text in a configuration by its dotted path."""
    found = {}
    for key, value in config.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found


def session(settings):
    job = replace(small_job(), payload=PayloadSpec("python"))
    return flat(asdict(replace(session_config(job, TaskDirectory(Path("/t")), settings), session="s", job=None, began_at=None)))


def configurations(settings):
    chain = placed(ChainPlan(until_done=True, max_allocations=9), settings)
    return {
        SessionConfig: session(settings),
        Patience: flat(asdict(_patience(settings))),
        LaunchOrder: flat(asdict(placed(LaunchOrder({}, "", ""), settings))),
        ChainPlan: flat(asdict(chain)),
    }


def test_every_setting_goes_somewhere_or_is_the_commands_own():
    assert {name for name, entry in SETTINGS.items() if not entry.targets} == OWN


@pytest.mark.parametrize("name", FILLING)
def test_the_default_is_the_one_of_the_configuration_it_fills(name):
    assert {target.default for target in SETTINGS[name].targets} == {SETTINGS[name].default}


@pytest.mark.parametrize("name", FILLING)
def test_a_value_arrives_at_its_targets_and_nowhere_else(tmp_path, name):
    value = other_value(name)
    before, after = configurations(settings(tmp_path)), configurations(settings(tmp_path, **{name: value}))
    changed = {
        Target(config, path): after[config][path]
        for config in before
        for path in before[config]
        if before[config][path] != after[config][path]
    }
    assert changed == dict.fromkeys(SETTINGS[name].targets, value)


def test_no_default_is_written_a_second_time():
    """A field that a setting fills has its default in one class of the source, and in no signature."""
    names = {target.path.rpartition(".")[2] for entry in SETTINGS.values() for target in entry.targets}
    declared = {}
    for path in (ROOT / "src" / "raythena").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            for name in _literal_defaults(node) & names - OTHER_MEANING.get(path.name, set()):
                declared.setdefault(name, []).append(path.name)
    assert {name: places for name, places in declared.items() if len(places) > 1} == {}
    assert len(declared) > 0.8 * len(names)


def _literal_defaults(node):
    """Names that are given a default; an empty text is none, it says that nothing was chosen."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant) and isinstance(node.target, ast.Name):
        return {node.target.id} if node.value.value != "" else set()
    if isinstance(node, ast.arguments):
        positional = zip(reversed([*node.posonlyargs, *node.args]), reversed(node.defaults), strict=False)
        pairs = [*positional, *zip(node.kwonlyargs, node.kw_defaults, strict=True)]
        return {
            argument.arg for argument, default in pairs if isinstance(default, ast.Constant) and default.value not in (None, "")
        }
    return set()


def told_defaults():
    for path in PROSE:
        for name, number in TOLD.findall(path.read_text()):
            if name in SETTINGS:
                yield path.name, name, number


@pytest.mark.parametrize(("document", "name", "number"), sorted(set(told_defaults())))
def test_a_default_told_in_prose_is_the_default(document, name, number):
    assert float(number.replace(",", "")) == SETTINGS[name].default


def test_prose_does_tell_defaults():
    assert len({name for _, name, _ in told_defaults()}) >= 12


@pytest.mark.parametrize("path", [path for path in PROSE if path.parent.name != "adr"], ids=lambda path: path.name)
def test_a_setting_named_in_prose_exists(path):
    groups = "|".join({name.partition(".")[0] for name in SETTINGS} - {"payload"})
    text = path.read_text()
    named = set(re.findall(rf"`((?:{groups})\.[a-z_]+)`", text)) | set(re.findall(r"`(payload\.\w+_s|payload\.time_\w+)`", text))
    assert named - SETTINGS.keys() == set()


# ---- the declaration itself


@dataclass(frozen=True)
class Inner:
    depth: int = 3
    name: str = field(default_factory=str)


@dataclass(frozen=True)
class Outer:
    given: int
    width: int = 4
    inner: Inner = field(default_factory=Inner)


def test_a_declaration_reads_its_default_through_the_path():
    assert setting("how deep", Target(Outer, "inner.depth"), ge=1).default == 3


def test_values_are_placed_through_the_path_and_only_in_their_own_kind():
    values = [(Target(Outer, "inner.depth"), 9), (Target(Outer, "width"), 8), (Target(Inner, "depth"), 7)]
    assert filled(Outer(1), values) == Outer(1, 8, Inner(9))


@pytest.mark.parametrize("path", ["inner.hight", "iner.depth", "given", "width.depth", "inner.name"])
def test_a_path_that_leads_to_no_default_is_refused(path):
    with pytest.raises(TypeError, match="no field with a default"):
        setting("lost", Target(Outer, path))


def test_targets_that_disagree_are_refused():
    with pytest.raises(TypeError, match="different defaults"):
        setting("two", Target(Outer, "width"), Target(Outer, "inner.depth"))
