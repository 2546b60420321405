"""What documents print, run with the real program: the story of the README, and every job file that needs nothing from elsewhere.

The blocks themselves are run, with inputs made for them; see `tests/unit/docs` for all the others.
"""

import csv
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot
import yaml

from job_kit import MARK, RAYTHENA, raythena_processes

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "docs"))

from command_lines import console_commands
from document_blocks import BLOCKS, is_run_with_ray
from job_files import materialised

JOB_FILES = [block for block in BLOCKS if block.language == "yaml" and is_run_with_ray(block)]
SIMULATE = """

def simulate(pfn, event):
    import os, tempfile
    import numpy as np, uproot
    path = tempfile.mktemp(suffix=".root")
    with uproot.recreate(path) as file:
        file["HITS"] = {"EventNumber": np.array([event])}
    return open(path, "rb").read()
"""


def raythena(words, mark, directory):
    """One command, to its end."""
    environment = {**os.environ, MARK: mark, "COLUMNS": "200"}
    argv = [*RAYTHENA, *words]
    ended = subprocess.run(argv, cwd=directory, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert ended.returncode == 0, f"raythena {' '.join(words)}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def test_the_story_of_the_readme(tmp_path, mark):
    """The function, the job file and the four commands under *Your own events*."""
    readme = [block for block in BLOCKS if block.document == "README.md"]
    (function,) = [block.text for block in readme if block.language == "python"]
    (job,) = [block.text for block in readme if block.language == "yaml"]
    (commands,) = [block.text for block in readme if "raythena run job.yaml" in block.text]
    (tmp_path / "simulation.py").write_text(function + SIMULATE)
    (tmp_path / "job.yaml").write_text(job)
    (tmp_path / "evnt").mkdir()
    with uproot.recreate(tmp_path / "evnt" / "EVNT.000001.root") as file:
        file["EVNT"] = {"EventNumber": np.arange(12) + 1}
    printed = [raythena(words[1:], mark, tmp_path) for words in console_commands(commands)]
    with uproot.open(tmp_path / "my-simulation.raythena" / "outputs" / "HITS.000001.root") as file:
        assert file["HITS"]["EventNumber"].array().tolist() == list(range(1, 13))
    assert "proven" in printed[2]
    raythena(["validate", "my-simulation.raythena", "--strict"], mark, tmp_path)
    assert len(list(csv.reader(io.StringIO(printed[3])))) == 13
    assert raythena_processes(mark) == []


def run_first_of_chain(directory, second, mark):
    """The task a job file names as its inputs, computed in earnest in place of the one that was made up."""
    task = directory / second["inputs"]["from"]
    shutil.rmtree(task)
    with uproot.recreate(directory / "EVNT.root") as file:
        file["EVNT"] = {"EventNumber": np.arange(6) + 1}
    outputs = {"events_per_file": 6, "name": "HITS.{n}.root"}
    module = second["payload"]["python"].partition(":")[0]
    first = {"name": task.stem, "inputs": ["EVNT.root"], "outputs": outputs, "payload": {"python": f"{module}:process"}}
    (directory / "first.yaml").write_text(yaml.safe_dump(first))
    raythena(["run", "first.yaml", "--nodes", "1", "--cores", "2"], mark, directory)


@pytest.mark.parametrize("block", JOB_FILES, ids=str)
def test_a_job_file_of_a_document_runs(block, tmp_path, mark):
    path = materialised(block.text, tmp_path)
    document = yaml.safe_load(block.text)
    if isinstance(document.get("inputs"), dict):
        run_first_of_chain(tmp_path, document, mark)
    raythena(["run", path.name, "--nodes", "1", "--cores", "2"], mark, tmp_path)
    name = document["name"]
    assert any((tmp_path / f"{name}.raythena" / "outputs").iterdir())
    raythena(["validate", f"{name}.raythena", "--strict"], mark, tmp_path)
