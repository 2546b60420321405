"""A scan as a study of Optuna, in a journal that Optuna and its dashboard open: `optuna.storages.JournalStorage`.

Values stand there as they were tried, not as a searcher of Optuna's would number them; what no category of Optuna's may be (a
list of layers, for instance) stands there as JSON.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from raythena.domain.scan.search_space import Categories, Interval, Parameter, Value
from raythena.storage.atomic import disk_errors
from raythena.tune.scan_results import ScanResults, TrialRow

if TYPE_CHECKING:
    import optuna

MAX_TRIALS = 20_000
"""Of more, no study is made: Optuna would take minutes to open it."""


def write_study(results: ScanResults, path: Path) -> Path | None:
    """Write the study; None where Optuna is not installed, or there are too many trials. Raises StorageError."""
    if len(results.rows) > MAX_TRIALS:
        return None
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        return None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    part = path.with_name(f".{path.name}.part")
    with warnings.catch_warnings(), disk_errors("write", path):
        warnings.simplefilter("ignore")
        part.unlink(missing_ok=True)
        directions = [str(objective.goal) for objective in results.scan.objectives]
        storage = JournalStorage(JournalFileBackend(str(part)))
        study = optuna.create_study(storage=storage, study_name=results.scan.name, directions=directions)
        study.add_trials([_trial(results, row) for row in results.rows if row.state != "open"])
        part.rename(path)
    return path


def _trial(results: ScanResults, row: TrialRow) -> optuna.trial.FrozenTrial:
    from optuna.trial import TrialState, create_trial

    searched = {each.name: each for each in results.scan.space.parameters if each.name in row.point.parameters}
    parameters = {name: _shown(each, row.point.parameters[name]) for name, each in searched.items()}
    distributions = {name: _distribution(each, parameters[name]) for name, each in searched.items()}
    attributes: dict[str, object] = {"point": row.point.number, "attempts": row.attempts, "reason": row.reason}
    result = row.result
    if result is None:
        state = TrialState.FAIL
        return create_trial(state=state, params=parameters, distributions=distributions, user_attrs=attributes)
    return create_trial(
        state=TrialState.PRUNED if result.stopped_early else TrialState.COMPLETE,
        values=[result.values[objective.name] for objective in results.scan.objectives],
        params=parameters,
        distributions=distributions,
        user_attrs={**attributes, **result.metrics},
        intermediate_values={int(report.step): report.value for report in result.reports},
    )


def _shown(parameter: Parameter, value: Value) -> Value:
    plain = value is None or isinstance(value, str | int | float | bool)
    return value if plain else json.dumps(value)


def _distribution(parameter: Parameter, value: Value) -> optuna.distributions.BaseDistribution:
    """What the value was drawn from; a distribution without ends is given those Optuna needs, around the value."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match parameter.dimension:
        case Categories(choices):
            return CategoricalDistribution([_shown(parameter, choice) for choice in choices])
        case Interval(low=low, high=high, whole=True):
            return IntDistribution(int(low), int(high))
        case Interval(low=low, high=high, log=log):
            return FloatDistribution(low, high, log=log)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return FloatDistribution(value - 1.0, value + 1.0)
    return CategoricalDistribution([value])
