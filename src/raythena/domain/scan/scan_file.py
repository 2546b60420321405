"""The scan file: what is searched, how, by which program, and for how long.

    name: bdt
    space:                                   # see `space_document`; or the name of a JSON file in PanDA's form
      rate: {method: loguniform, low: 1.0e-3, high: 0.5}
      depth: {method: uniformint, low: 2, high: 10}
    objective: {loss: minimize}              # what the program writes, and which way is up; several make a Pareto front
    budget: {points: 60, core_hours: 20}
    search: {method: tpe, seed: 1, parallel: 4}
    trial: {python: "training:train"}        # or {command: [./train, --fast]}
    early_stopping: {rule: asha, first_step: 3}

Rules: a key nobody knows is refused; everything that could be wrong is found before anything is started.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from raythena.domain.document import FieldPath, shown
from raythena.domain.scan.search_space import SearchSpace
from raythena.domain.scan.space_document import parse_space
from raythena.domain.scan.stopping_rule import RuleKind, StoppingRule

KEYS = ("name", "space", "objective", "budget", "search", "trial", "early_stopping", "warm_start")
MAX_POINTS = 10_000_000
MAX_OBJECTIVES = 10
MAX_STEP_RATIO = 1_000_000
DEFAULT_OBJECTIVE = "loss"


class Goal(StrEnum):
    """Which way is up."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


@dataclass(frozen=True, slots=True)
class Objective:
    """A number a trial gives back."""

    name: str
    goal: Goal = Goal.MINIMIZE

    @property
    def sign(self) -> float:
        """What a value is multiplied by so that less is better."""
        return 1.0 if self.goal is Goal.MINIMIZE else -1.0


@dataclass(frozen=True, slots=True)
class ScanBudget:
    """When no more points are proposed: the first limit that is reached counts."""

    points: int = 0
    """0: no limit, other than those of the grid."""
    core_hours: float = 0.0
    """Of finished trials; 0: no limit."""


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """How points are found."""

    method: str = "random"
    """A searcher: an entry point of `raythena.searchers`."""
    seed: int = 0
    parallel: int = 8
    """A point is proposed when the results of all points are known but those of the `parallel - 1` before it."""
    options: dict[str, object] = field(default_factory=dict)
    """Handed to the searcher untouched."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan file, read."""

    name: str
    space: SearchSpace
    objectives: tuple[Objective, ...] = (Objective(DEFAULT_OBJECTIVE),)
    budget: ScanBudget = ScanBudget()
    search: SearchSpec = field(default_factory=SearchSpec)
    trial: dict[str, object] = field(default_factory=dict)
    """Options of the payload `trial`, unchecked."""
    stopping: StoppingRule = StoppingRule()  # noqa: RUF009 (frozen)
    warm_start: tuple[str, ...] = ()
    """Task directories of earlier scans."""


def parse_scan(document: object, source: str) -> Scan:
    """The scan a document describes. Raises InvalidInput naming the field."""
    place = FieldPath(source, "", document).mapping(KEYS, required=("name", "space", "trial"))
    trial = place.entry("trial")
    if not isinstance(trial.value, dict):
        raise trial.refuse(f"is {shown(trial.value)}", expected="a mapping with python or command")
    objectives = _objectives(place.entry("objective"))
    scan = Scan(
        _name(place.entry("name")),
        parse_space(place.entry("space")),
        objectives,
        _budget(place.entry("budget")),
        _search(place.entry("search")),
        trial.plain(),
        _stopping(place.entry("early_stopping"), objectives),
        tuple(item.text("a task directory") for item in place.entry("warm_start").items())
        if place.entry("warm_start").given
        else (),
    )
    if not (scan.budget.points or scan.budget.core_hours or scan.search.method == "grid"):
        raise place.entry("budget").refuse("is missing", expected="points or core_hours: this search has no end of its own")
    return scan


def _name(place: FieldPath) -> str:
    name = place.text("a name")
    if "/" in name or name.startswith("."):
        raise place.refuse(f"is {shown(name)}", expected="a name that can be a file's")
    return name


def _objectives(place: FieldPath) -> tuple[Objective, ...]:
    if not place.given:
        return (Objective(DEFAULT_OBJECTIVE),)
    if not isinstance(place.value, dict) or not place.value:
        raise place.refuse(f"is {shown(place.value)}", expected="names with minimize or maximize, such as {loss: minimize}")
    if len(place.value) > MAX_OBJECTIVES:
        raise place.refuse(f"has {len(place.value)} entries", expected=f"at most {MAX_OBJECTIVES}")
    return tuple(_objective(place.entry(name), name) for name in place.value)


def _objective(place: FieldPath, name: str) -> Objective:
    if name in {"status", "message"}:
        raise place.refuse("is a word of the program's answer", expected="another name")
    if place.value not in tuple(Goal):
        raise place.refuse(f"is {shown(place.value)}", expected="minimize or maximize")
    return Objective(name, Goal(place.value))


def _budget(place: FieldPath) -> ScanBudget:
    if not place.given:
        return ScanBudget()
    place.mapping(("points", "core_hours"))
    points, hours = place.entry("points"), place.entry("core_hours")
    if not points.given and not hours.given:
        raise place.refuse("is empty", expected="points or core_hours")
    return ScanBudget(points.count(maximum=MAX_POINTS) if points.given else 0, _above_zero(hours) if hours.given else 0.0)


def _above_zero(place: FieldPath) -> float:
    value = place.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < float("inf"):
        raise place.refuse(f"is {shown(value)}", expected="a number above 0")
    return float(value)


def _search(place: FieldPath) -> SearchSpec:
    if not place.given:
        return SearchSpec()
    if isinstance(place.value, str):
        return SearchSpec(place.value)
    place.mapping(("method", "seed", "parallel", "options"), required=("method",))
    seed, parallel, options = place.entry("seed"), place.entry("parallel"), place.entry("options")
    if options.given and not isinstance(options.value, dict):
        raise options.refuse(f"is {shown(options.value)}", expected="a mapping")
    return SearchSpec(
        place.entry("method").text("the name of a searcher"),
        seed.count(minimum=0, maximum=2**32 - 1) if seed.given else 0,
        parallel.count(maximum=100_000) if parallel.given else SearchSpec().parallel,
        options.plain() if options.given else {},
    )


def _stopping(place: FieldPath, objectives: Sequence[Objective]) -> StoppingRule:
    if not place.given:
        return StoppingRule()
    place.mapping(("rule", "reduction", "first_step", "last_step", "startup"), required=("rule",))
    rule, reduction = place.entry("rule"), place.entry("reduction")
    first, startup = place.entry("first_step"), place.entry("startup")
    if rule.value not in tuple(RuleKind):
        raise rule.refuse(f"is {shown(rule.value)}", expected="one of " + ", ".join(RuleKind))
    if len(objectives) > 1 and rule.value != RuleKind.NONE:
        raise place.refuse("does not go with several objectives", expected="one objective")
    usual = StoppingRule()
    read = StoppingRule(
        RuleKind(rule.value),
        reduction.count(minimum=2, maximum=100) if reduction.given else usual.reduction,
        _above_zero(first) if first.given else usual.first_step,
        startup.count(maximum=10_000) if startup.given else usual.startup,
    )
    return replace(read, last_step=_last_step(place.entry("last_step"), read))


def _last_step(place: FieldPath, rule: StoppingRule) -> float:
    """Where HyperBand's trials end by themselves; other rules do not ask."""
    if rule.kind is not RuleKind.HYPERBAND:
        if place.given:
            raise place.refuse("is of the rule hyperband alone", expected="no last_step")
        return 0.0
    last = _above_zero(place)
    if not rule.first_step < last <= rule.first_step * MAX_STEP_RATIO:
        told = f"a number above first_step, which is {rule.first_step:g}, and at most {MAX_STEP_RATIO:,} times that"
        raise place.refuse(f"is {last:g}", expected=told)
    return last
