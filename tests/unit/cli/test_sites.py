"""The site files are settings that exist, with values that are possible, and a batch script comes out of them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from raythena.cli.app import app
from raythena.cli.settings import load_settings
from raythena.launch.slurm_batch import batch_script, parse_directives

SITES = sorted((Path(__file__).parents[3] / "sites").glob("*.yaml"))


def check(*files: Path):
    return CliRunner().invoke(app, ["config", "check", *map(str, files)])


def test_there_are_site_files():
    assert {path.stem for path in SITES} >= {"laptop", "slurm", "perlmutter", "bnl", "frontier", "lumi"}


@pytest.mark.parametrize("path", SITES, ids=lambda path: path.stem)
def test_a_site_file_is_accepted_and_says_how_it_is_used(path):
    done = check(path)
    assert done.exit_code == 0, done.output
    assert "all of them possible" in done.output
    text = path.read_text()
    assert f"--config sites/{path.name}" in text
    assert text.startswith("# ")


@pytest.mark.parametrize("path", SITES, ids=lambda path: path.stem)
def test_its_batch_script_is_one(path):
    settings = load_settings(path, {}).settings
    directives = parse_directives(settings.batch.directives, str(path))
    script = batch_script(directives, settings.batch.before, ["raythena", "run", "job.yaml"])
    assert script.splitlines()[0] == "#!/bin/bash"
    assert all(line.startswith("#SBATCH --") for line in script.splitlines()[1 : 1 + len(directives)])
    assert script.splitlines()[-1] == "exec raythena run job.yaml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nodes:\n  counts: 3\n", "counts"),
        ("nodes:\n  count: many\n", "count"),
        ("launcher:\n  on: slurm\n", "launcher"),
        ("launch:\n  on: Slurm\n", "launch.on"),
        ("- 3\n", "mapping"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(tmp_path, text, words):
    wrong = tmp_path / "site.yaml"
    wrong.write_text(text)
    done = CliRunner().invoke(app, ["config", "check", str(SITES[0]), str(wrong)])
    assert done.exit_code == 3, done.output
    assert words in done.output
