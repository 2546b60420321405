"""The plug-in point for searchers: what proposes the points of a scan.

An entry point of the group `raythena.searchers` names a `SearcherPlugin`. What a searcher promises is said at
`engine.scan_policy.Searcher`; the promise that matters is that equal calls give equal points, because after a restart it is made
anew and led through everything it was asked and told before.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType

from raythena.domain.document import nearest, shown
from raythena.domain.errors import ExitCode, InvalidInput, RaythenaError
from raythena.domain.scan.scan_file import Objective, Scan
from raythena.domain.scan.search_space import SearchSpace, Value, Values
from raythena.engine.scan_policy import Searcher

ENTRY_POINT_GROUP = "raythena.searchers"
FIELD = "search.method"
_OPTIONS = "search.options"


class SearchDiverged(RaythenaError):
    """A searcher that was led through a scan again proposes other points than it did: its library is another version."""

    exit_code = ExitCode.INVALID_INPUT


@dataclass(frozen=True, slots=True)
class SearchProblem:
    """What a searcher is made for."""

    space: SearchSpace
    objectives: tuple[Objective, ...]
    seed: int
    parallel: int
    """So many points are open at a time."""
    points: int
    """The budget; 0: not known."""
    options: Mapping[str, object]
    source: str = "scan"
    """Where the options stand, for refusals."""

    @classmethod
    def of(cls, scan: Scan, source: str = "scan") -> SearchProblem:
        """That of a scan."""
        search = scan.search
        return cls(scan.space, scan.objectives, search.seed, search.parallel, scan.budget.points, search.options, source)

    def refuse(self, problem: str, *, field: str = FIELD, expected: str = "", hint: str = "") -> InvalidInput:
        """The error that says what a searcher cannot do; the caller raises it."""
        return InvalidInput(self.source, field, problem, expected=expected, hint=hint)

    def check_options(self, known: Collection[str]) -> None:
        """Refuse options that nobody knows. Raises InvalidInput."""
        for name in self.options:
            if name not in known:
                expected = "one of " + ", ".join(known) if known else "no options: this searcher has none"
                raise self.refuse("unknown option", field=f"{_OPTIONS}.{name}", expected=expected, hint=nearest(name, known))

    def needs_one_objective(self, searcher: str) -> None:
        """Refuse several objectives. Raises InvalidInput."""
        if len(self.objectives) > 1:
            raise self.refuse(f"{searcher} takes one objective", expected="one objective, or the searcher nsga2, tpe or random")

    def needs_plain_space(self, searcher: str) -> None:
        """Refuse parameters that depend on others. Raises InvalidInput."""
        if self.space.is_conditional:
            raise self.refuse(f"{searcher} takes no parameters with `when`", expected="the searcher tpe or random")

    def library(self, name: str, package: str = "") -> ModuleType:
        """Import what a searcher is made of. Raises InvalidInput when it is not installed."""
        try:
            return importlib.import_module(name)
        except ImportError as problem:
            package = package or name.partition(".")[0]
            hint = f"pip install {package}"
            raise self.refuse(f"needs the package {package}, which cannot be imported: {problem}", hint=hint) from problem


@dataclass(frozen=True)
class SearcherPlugin:
    """What an entry point of `raythena.searchers` names."""

    name: str
    make: Callable[[SearchProblem], Searcher]
    """Raises InvalidInput for problems and options the searcher cannot take."""


def searcher_for(problem: SearchProblem, method: str) -> Searcher:
    """The searcher registered under `method`. Raises InvalidInput."""
    known = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if method not in known:
        names = ", ".join(sorted(known))
        raise problem.refuse(f"no searcher called {shown(method)}", expected=f"one of {names}", hint=nearest(method, known))
    plugin = known[method].load()
    if not isinstance(plugin, SearcherPlugin):
        raise problem.refuse(f"{known[method].value} is not a SearcherPlugin")
    return plugin.make(problem)


def ask_again(searcher: Searcher, number: int, parameters: Values) -> None:
    """`recall` of a searcher that keeps a state of its own: it is asked again, and must say the same. Raises SearchDiverged."""
    again: dict[str, Value] = searcher.ask(number)
    if json.dumps(again, sort_keys=True) != json.dumps(parameters, sort_keys=True):
        raise SearchDiverged(
            f"point {number} of the scan was {json.dumps(parameters)}, and the searcher now proposes {json.dumps(again)}: "
            "is another version of its library installed than when the scan was begun? Install that one, or begin a new scan "
            "with warm_start"
        )
