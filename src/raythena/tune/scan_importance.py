"""How much each parameter matters: Optuna's importance, of the first objective, over the trials that went to their end.

It is asked with the numbers a searcher of Optuna's would see (places of categories, multiples of steps, quantiles), so that every
parameter counts alike. Parameters that not every point has are left out: Optuna compares trials in what they have in common.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence

from raythena.domain.scan.search_space import Fixed
from raythena.domain.scan.trial import TrialResult
from raythena.tune.optuna_searchers import distribution_of, to_internal
from raythena.tune.scan_results import ScanResults

LEAST_TRIALS = 10
"""Of fewer, nothing is said."""
MOST_TRIALS = 500
"""Of more an even selection is asked about: the answer hardly changes, and takes minutes."""


def parameter_importance(results: ScanResults) -> dict[str, float]:
    """Shares that add up to 1, the greatest first; empty where nothing can be said, or without Optuna and scikit-learn."""
    finished = results.finished
    if len(finished) < LEAST_TRIALS:
        return {}
    try:
        import optuna

        importlib.import_module("sklearn")  # Optuna would import it when it is too late to do without
    except ImportError:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(direction=str(results.scan.objectives[0].goal))
        study.add_trials([_trial(results, each) for each in _selected(finished)])
        try:
            found = optuna.importance.get_param_importances(study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=1))
        except (RuntimeError, ValueError):  # all values are the same, or no parameter is in every trial
            return {}
    return {str(name): float(share) for name, share in found.items()}


def _selected(finished: Sequence[TrialResult]) -> Sequence[TrialResult]:
    return finished[:: -(-len(finished) // MOST_TRIALS)]


def _trial(results: ScanResults, result: TrialResult) -> object:
    from optuna.trial import create_trial

    searched = {each.name: each for each in results.scan.space.parameters if not isinstance(each.dimension, Fixed)}
    known = {name: value for name, value in result.parameters.items() if name in searched}
    return create_trial(
        value=result.values[results.scan.objectives[0].name],
        params={name: to_internal(searched[name], value) for name, value in known.items()},
        distributions={name: distribution_of(searched[name]) for name in known},
    )
