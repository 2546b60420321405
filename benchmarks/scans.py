"""Evaluations per second that do nothing: `raythena tune` with random points, and Ray Tune, with and without reused actors.

    python benchmarks/scans.py [--points 5000] [--cores 2] [--without-ray-tune]

Both scan the same space in this order, on this machine. The rate is that of all points from the first lease to the last result;
the searcher, the ledger and the reports are in it. For Ray Tune the packages pandas and pyarrow must be installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPACE = {name: {"method": "uniform", "low": 0.0, "high": 1.0} for name in "abcd"}
TRAINING = "def train(parameters, report):\n    return parameters['a']\n"
RAY_TUNE = """
import json, sys, time
import ray
from ray import tune

def evaluate(config):
    tune.report({"loss": config["a"]})

points, cores, reuse = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "reuse"
ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False)
space = {name: tune.uniform(0.0, 1.0) for name in "abcd"}
settings = tune.TuneConfig(num_samples=points, metric="loss", mode="min", reuse_actors=reuse)
began = time.monotonic()
tune.Tuner(evaluate, param_space=space, tune_config=settings, run_config=tune.RunConfig(verbose=0)).fit()
print(json.dumps(points / (time.monotonic() - began)))
"""


def raythena_rate(directory: Path, points: int, cores: int) -> tuple[float, float]:
    """(evaluations per second between the first and the last result, seconds of the whole command)."""
    from raythena.storage.ledger_view import LedgerView

    (directory / "training.py").write_text(TRAINING)
    scan = {
        "name": "nothing",
        "space": SPACE,
        "budget": {"points": points},
        "search": "random",
        "trial": {"python": "training:train"},
    }
    (directory / "scan.json").write_text(json.dumps(scan))
    command = [sys.executable, "-c", "from raythena.cli import main; main()", "tune", "scan.json", "--taskdir", "task", "--json"]
    began = time.monotonic()
    subprocess.run([*command, "--nodes", "1", "--cores", str(cores)], cwd=directory, check=True, stdout=subprocess.DEVNULL)
    whole_s = time.monotonic() - began
    with LedgerView.read(directory / "task" / "ledger.sqlite") as view:
        (node,) = view.summary().nodes
    return points / (node.last_end - node.first_start), whole_s


def ray_tune_rate(directory: Path, points: int, cores: int, *, reuse: bool) -> float:
    """Evaluations per second of Ray Tune."""
    (directory / "ray_tune.py").write_text(RAY_TUNE)
    arguments = [sys.executable, "ray_tune.py", str(points), str(cores), "reuse" if reuse else "fresh"]
    environment = {**os.environ, "RAY_AIR_NEW_OUTPUT": "0", "HOME": str(directory)}
    run = subprocess.run(arguments, cwd=directory, env=environment, check=False, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"Ray Tune failed: {run.stderr[-2000:]}")
    return float(run.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=5000)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--without-ray-tune", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scans-") as place:
        rate, whole_s = raythena_rate(Path(place), options.points, options.cores)
        print(f"raythena tune                {rate:8.1f} evaluations/s, {whole_s:.1f} s for the whole command")
        for reuse, points in () if options.without_ray_tune else ((True, 100), (False, 15)):
            theirs = ray_tune_rate(Path(place), points, options.cores, reuse=reuse)
            what = "with reuse_actors" if reuse else "as it comes"
            print(f"Ray Tune, {what:18} {theirs:8.1f} evaluations/s; ours is {rate / theirs:.0f} times that")


if __name__ == "__main__":
    main()
