"""A scan on one page: what was best, how trials learned, which values led where, what it cost, what failed.

One file, which opens anywhere. Drawings are SVG within the page; nothing is loaded from elsewhere and nothing runs. Of very many
points the best and an even selection of the others are drawn, and the page says so. Values of people and programs are escaped
wherever they stand.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from raythena.domain.scan.search_space import Categories, Fixed, Interval, Parameter, Value
from raythena.domain.scan.trial import TrialResult
from raythena.domain.short_reason import short_reason
from raythena.tune.scan_importance import parameter_importance
from raythena.tune.scan_results import ScanResults

MOST_DRAWN = 400
_MANY = 20.0
_WIDTH, _HEIGHT, _EDGE = 720, 260, 44
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}"
    "table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left}h2{margin-top:2rem}"
    "svg{width:100%;height:auto}text{font:12px system-ui,sans-serif;fill:#4a5568}path,polyline{fill:none}small{color:#4a5568}"
)


@dataclass(frozen=True, slots=True)
class Axis:
    """Numbers from `low` to `high`, perhaps in the logarithm, onto 0 to 1."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Axis:
        """One on which all of these have their place; in the logarithm where the largest is more than 20 times the smallest."""
        found = list(numbers) or [0.0]
        low, high = min(found), max(found)
        return cls(low, high, low > 0.0 and high / low > _MANY)

    def place(self, number: float) -> float:
        """Where a number lies, 0 to 1; in the middle when all are the same."""
        low, high, at = map(math.log, (self.low, self.high, number)) if self.log else (self.low, self.high, number)
        return (at - low) / (high - low) if high > low else 0.5


def scan_page(results: ScanResults) -> str:
    """The page, as HTML."""
    title = escape(results.scan.name)
    states = ((results.count(state), state) for state in ("finished", "stopped early", "failed", "open"))
    counted = ", ".join(f"{count:,} {state}" for count, state in states if count) or "none"
    drawn = drawn_of(results)
    less = f" Drawn are {len(drawn):,} of them." if len(drawn) < sum(row.result is not None for row in results.rows) else ""
    parts = [
        f"<p>{len(results.rows):,} points: {counted}.{less}</p>",
        _section("Best", _best_table(results)),
        _section("Pareto front", _front(results, drawn)),
        _section("Learning curves", _curves(results, drawn)),
        _section("Parallel coordinates", _parallel(results, drawn)),
        _section("What each parameter does", "".join(_slices(results, drawn))),
        _section("How much each parameter matters", _importance(results)),
        _section("Cost", _cost(results, drawn)),
        _section("Failures", _failures(results)),
    ]
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>{_STYLE}</style>'
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body><h1>{title}</h1>{"".join(parts)}</body></html>'


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>" if content else ""


def drawn_of(results: ScanResults) -> list[TrialResult]:
    """What is drawn, worst first, so that the best lies on top."""
    objective = results.scan.objectives[0]
    found = [row.result for row in results.rows if row.result is not None]
    found.sort(key=lambda result: -objective.sign * result.values[objective.name])
    best = found[-MOST_DRAWN // 2 :]
    others = found[: len(found) - len(best)]
    stride = max(1, -(-len(others) // (MOST_DRAWN // 2)))
    return others[::stride] + best


def _best_table(results: ScanResults) -> str:
    best = results.best()[:20]
    names = [each.name for each in results.scan.space.parameters]
    objectives = [each.name for each in results.scan.objectives]
    head = "".join(f"<th>{escape(name)}</th>" for name in ("point", *objectives, *names))
    rows = (
        [each.number, *(f"{each.values[name]:.6g}" for name in objectives), *(each.parameters.get(name, "") for name in names)]
        for each in best
    )
    body = "".join("<tr>" + "".join(f"<td>{escape(_text(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>" if best else ""


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _curves(results: ScanResults, drawn: Sequence[TrialResult]) -> str:
    told = [result for result in drawn if len(result.reports) > 1]
    if not told:
        return ""
    steps = Axis.of(report.step for result in told for report in result.reports)
    values = Axis.of(report.value for result in told for report in result.reports)
    best = {each.number for each in results.best()}
    lines = []
    for result in told:
        points = [(_x(steps.place(each.step)), _y(values.place(each.value))) for each in result.reports]
        lines.append(_line(points, *_look(result, best)))
    name = results.scan.objectives[0].name
    return _drawing("".join(lines), steps, values, "step", name)


def _look(result: TrialResult, best: set[int]) -> tuple[str, float]:
    if result.number in best:
        return "#c2410c", 1.0
    return ("#94a3b8", 0.5) if result.stopped_early else ("#1d4ed8", 0.35)


def _parallel(results: ScanResults, drawn: Sequence[TrialResult]) -> str:
    parameters = [each for each in results.scan.space.parameters if not isinstance(each.dimension, Fixed)]
    if not drawn or not parameters:
        return ""
    objective = results.scan.objectives[0].name
    values = Axis.of(result.values[objective] for result in drawn)
    axes = {each.name: _axis(each, [result.parameters.get(each.name) for result in drawn]) for each in parameters}
    best = {each.number for each in results.best()}
    lines = []
    for result in drawn:
        places = [
            _place(each, axes[each.name], result.parameters[each.name]) for each in parameters if each.name in result.parameters
        ]
        at = [index / len(parameters) for index, each in enumerate(parameters) if each.name in result.parameters]
        points = [(_x(x), _y(y)) for x, y in zip([*at, 1.0], [*places, values.place(result.values[objective])], strict=True)]
        lines.append(_line(points, *_look(result, best)))
    names = [*(each.name for each in parameters), objective]
    for index, name in enumerate(names):
        x = _x(index / len(parameters))
        lines.append(_line([(x, _y(0.0)), (x, _y(1.0))], "#4a5568", 1.0))
        axis, named = (values, []) if index == len(parameters) else (axes[name], _categories(parameters[index]))
        ends = (named[0], named[-1]) if named else (f"{axis.low:.3g}", f"{axis.high:.3g}")
        told = zip((_HEIGHT - 12, _y(0) + 16, _y(1) - 8), (name, *ends), strict=True)
        lines += [f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{escape(text[:16])}</text>' for y, text in told]
    return _svg("".join(lines))


def _slices(results: ScanResults, drawn: Sequence[TrialResult]) -> Iterable[str]:
    """For each parameter the objective over its values."""
    objective = results.scan.objectives[0].name
    best = {each.number for each in results.best()}
    for parameter in results.scan.space.parameters:
        with_it = [result for result in drawn if parameter.name in result.parameters]
        if isinstance(parameter.dimension, Fixed) or not with_it:
            continue
        axis = _axis(parameter, [result.parameters[parameter.name] for result in with_it])
        values = Axis.of(result.values[objective] for result in with_it)
        dots = []
        for result in with_it:
            colour, strength = _look(result, best)
            x, y = _x(_place(parameter, axis, result.parameters[parameter.name])), _y(values.place(result.values[objective]))
            dots.append(_dot((x, y), colour, strength))
        yield _drawing("".join(dots), axis, values, parameter.name, objective, categories=_categories(parameter))


def _front(results: ScanResults, drawn: Sequence[TrialResult]) -> str:
    """With several objectives: the second over the first, those on the front joined by a line."""
    if len(results.scan.objectives) == 1 or not drawn:
        return ""
    first, second = (objective.name for objective in results.scan.objectives[:2])
    front = results.best()
    shown = [*drawn, *front]
    across, up = (Axis.of(result.values[name] for result in shown) for name in (first, second))
    places = {each.number: (_x(across.place(each.values[first])), _y(up.place(each.values[second]))) for each in shown}
    best = {each.number for each in front}
    line = _line(sorted(places[number] for number in best), "#c2410c", 0.6) if len(results.scan.objectives) == 2 else ""
    dots = "".join(_dot(places[each.number], *_look(each, best)) for each in shown)
    return _drawing(line + dots, across, up, first, second)


def _importance(results: ScanResults) -> str:
    """A bar for each parameter that every point has."""
    bars = "".join(
        f'<tr><td>{escape(name)}</td><td><div style="background:#1d4ed8;height:.8rem;width:{30 * share:.2f}rem"></div></td>'
        f"<td>{100 * share:.0f} %</td></tr>"
        for name, share in parameter_importance(results).items()
    )
    note = "<p><small>Share of the variance of the objective (Optuna's functional analysis of variance).</small></p>"
    return f"<table>{bars}</table>{note}" if bars else ""


def _cost(results: ScanResults, drawn: Sequence[TrialResult]) -> str:
    """What trials took in all, and which were worth it."""
    spent = [row.result.wall_s for row in results.rows if row.result is not None]
    if not drawn or not sum(spent):
        return ""
    early_s = sum(row.result.wall_s for row in results.rows if row.result is not None and row.result.stopped_early)
    objective = results.scan.objectives[0].name
    seconds = Axis.of(result.wall_s for result in drawn)
    values = Axis.of(result.values[objective] for result in drawn)
    best = {each.number for each in results.best()}
    dots = "".join(
        _dot((_x(seconds.place(each.wall_s)), _y(values.place(each.values[objective]))), *_look(each, best)) for each in drawn
    )
    told = (
        f"<p>{sum(spent) / 3600:.3g} hours of trials that gave a result, {sum(spent) / len(spent):.3g} s each, at most "
        f"{max(spent):.3g} s; {early_s / 3600:.3g} hours of them in trials that were stopped early.</p>"
    )
    return told + _drawing(dots, seconds, values, "seconds of the trial", objective)


def _axis(parameter: Parameter, values: Sequence[Value]) -> Axis:
    match parameter.dimension:
        case Categories(choices):
            return Axis(0.0, float(len(choices) - 1))
        case Interval(low=low, high=high, log=log):
            return Axis(low, high, log)
    return Axis.of(float(value) for value in values if isinstance(value, int | float))


def _place(parameter: Parameter, axis: Axis, value: Value) -> float:
    if isinstance(parameter.dimension, Categories):
        return axis.place(float(parameter.dimension.choices.index(value)))
    return axis.place(float(value)) if isinstance(value, int | float) else 0.5


def _categories(parameter: Parameter) -> list[str]:
    return [str(choice) for choice in parameter.dimension.choices] if isinstance(parameter.dimension, Categories) else []


def _failures(results: ScanResults) -> str:
    reasons = Counter(short_reason(row.reason, 200) for row in results.rows if row.state == "failed")
    rows = "".join(f"<tr><td>{count:,} ×</td><td>{escape(reason)}</td></tr>" for reason, count in reasons.most_common(20))
    return f"<table>{rows}</table>" if rows else ""


# ---- drawing


def _x(place: float) -> float:
    return _EDGE + place * (_WIDTH - 2 * _EDGE)


def _y(place: float) -> float:
    return _HEIGHT - _EDGE - place * (_HEIGHT - 2 * _EDGE)


def _line(points: Sequence[tuple[float, float]], colour: str, strength: float) -> str:
    told = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{told}" stroke="{colour}" stroke-opacity="{strength}"/>'


def _dot(at: tuple[float, float], colour: str, strength: float) -> str:
    return f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="3" fill="{colour}" fill-opacity="{strength}"/>'


def _drawing(content: str, x: Axis, y: Axis, x_name: str, y_name: str, *, categories: Sequence[str] = ()) -> str:
    """Content between two axes with their ends told."""
    frame = _line([(_x(0), _y(1)), (_x(0), _y(0)), (_x(1), _y(0))], "#4a5568", 1.0)
    scale = " (logarithmic)" if x.log else ""
    told = [
        (_x(0.5), _HEIGHT - 8, "middle", f"{x_name}{scale}"),
        (_x(0), 20, "start", f"{y_name}{' (logarithmic)' if y.log else ''}"),
        (_x(0) - 4, _y(0) + 4, "end", f"{y.low:.3g}"),
        (_x(0) - 4, _y(1) + 4, "end", f"{y.high:.3g}"),
    ]
    if categories:
        last = max(1, len(categories) - 1)
        told += [(_x(index / last), _y(0) + 16, "middle", name[:12]) for index, name in enumerate(categories[:30])]
    else:
        told += [(_x(0), _y(0) + 16, "middle", f"{x.low:.3g}"), (_x(1), _y(0) + 16, "middle", f"{x.high:.3g}")]
    texts = "".join(
        f'<text x="{at:.0f}" y="{down:.0f}" text-anchor="{how}">{escape(text)}</text>' for at, down, how, text in told
    )
    return _svg(frame + content + texts)


def _svg(content: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{content}</svg>'
