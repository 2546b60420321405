"""Trainings to scan: boosted trees and a neural network on the pictures of handwritten digits that come with scikit-learn."""

from __future__ import annotations

import pickle
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

EPOCHS = 20


@cache
def data() -> list[Any]:
    """Training and test samples, the same in every trial; read once in each worker."""
    samples, labels = load_digits(return_X_y=True)
    return train_test_split(samples / 16.0, labels, test_size=0.4, random_state=1)


def trees(parameters: dict[str, Any], report: Any) -> float:
    """Boosted trees; the loss is told after every few iterations."""
    train, test, labels, truth = data()
    options = {"learning_rate": parameters["rate"], "max_leaf_nodes": parameters["leaves"], "l2_regularization": parameters["l2"]}
    model = HistGradientBoostingClassifier(warm_start=True, max_iter=1, random_state=1, early_stopping=False, **options)
    loss = 0.0
    for iterations in range(4, parameters["iterations"] + 1, 4):
        model.set_params(max_iter=iterations).fit(train, labels)
        loss = log_loss(truth, model.predict_proba(test), labels=range(10))
        report(loss, step=iterations)
    return loss


def network(parameters: dict[str, Any], report: Any) -> dict[str, float]:
    """A small network, epoch by epoch; it goes on from its checkpoint when it has to begin again."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    train, test, labels, truth = data()
    options = {"hidden_layer_sizes": parameters["layers"], "alpha": parameters["alpha"], "learning_rate_init": parameters["rate"]}
    model, epoch = MLPClassifier(random_state=1, **options), 0
    if report.checkpoint_directory:
        model, epoch = pickle.loads((report.checkpoint_directory / "model.pickle").read_bytes())
    loss = float("nan")
    while epoch < EPOCHS:
        model.partial_fit(train, labels, classes=np.arange(10))
        epoch += 1
        loss = log_loss(truth, model.predict_proba(test), labels=range(10))
        Path("model.pickle").write_bytes(pickle.dumps((model, epoch)))
        report.checkpoint("model.pickle")
        report(loss, step=epoch)
    return {"loss": loss, "accuracy": float(model.score(test, truth))}
