"""`raythena schema`, and that a schema of settings and the settings themselves say the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from json_schemas import validator
from raythena.cli.app import app
from raythena.cli.job_file_tables import described_models, with_tables
from raythena.cli.schema_command import Document, schema_of
from raythena.cli.settings import SETTINGS, load_settings
from raythena.cli.settings_file import read_settings_file
from raythena.domain import job_document
from raythena.domain.document_model import DocumentModel
from raythena.domain.errors import InvalidInput

ROOT = Path(__file__).parents[3]
SITES = sorted((ROOT / "sites").glob("*.yaml"))
SETTINGS_VALIDATOR = validator(schema_of(Document.SETTINGS))
GROUPS = sorted({name.partition(".")[0] for name in SETTINGS})


def settings_in(path: Path) -> dict[str, dict[str, object]]:
    """The tree of a file as today's YAML reads it: `on` is a word there."""
    tree: dict[str, dict[str, object]] = {}
    for entry in read_settings_file(path):
        tree.setdefault(entry.group, {}).update({} if entry.name is None else {entry.name: entry.value})
    return tree


@pytest.mark.parametrize("document", list(Document))
def test_a_schema_is_printed_that_is_one(document):
    done = CliRunner().invoke(app, ["schema", document])
    assert done.exit_code == 0, done.output
    schema = json.loads(done.stdout)
    assert schema["$schema"].endswith("2020-12/schema")
    assert "Raythena" in schema["title"]
    assert validator(schema)


def test_an_unknown_document_is_refused():
    done = CliRunner().invoke(app, ["schema", "jobs"])
    assert done.exit_code == 2
    assert "job" in done.output


@pytest.mark.parametrize("path", SITES, ids=lambda path: path.stem)
def test_a_site_file_is_one_by_the_schema(path):
    site = validator(schema_of(Document.SITE))
    assert [error.message for error in site.iter_errors(settings_in(path))] == []


def test_every_setting_and_its_meaning_is_in_the_schema():
    schema = schema_of(Document.SETTINGS)
    for name, entry in SETTINGS.items():
        group, _, key = name.partition(".")
        reference = schema["properties"][group]["anyOf"][0]["$ref"].rpartition("/")[2]
        told = schema["$defs"][reference]["properties"][key]
        assert (told["description"], told["default"]) == (entry.description, entry.default)
        assert set(told) <= {"description", "default", "type", "minimum", "maximum", "pattern", "maxLength", "enum"}


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 5000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        [1.0, 2.0, 1e12, "auto", "live", "slurm", "Slurm", "/tmp", "tmp", "eth0", "a b", "", "x" * 300, "/x\n", "a\n"]
    ),
    st.text(max_size=6),
    st.lists(st.integers(), max_size=1),
)


@st.composite
def settings_documents(draw):
    """A settings file of any values, mostly of settings there are."""
    document = {}
    for name in draw(st.lists(st.sampled_from(sorted(SETTINGS)), max_size=3)):
        group, _, key = name.partition(".")
        document.setdefault(group, {})[key] = draw(VALUES)
    if draw(st.booleans()):
        document[draw(st.sampled_from([*GROUPS, "node"]))] = draw(st.sampled_from([None, {}, {"count": 1}, 3, []]))
    return document


@example({"nodes": {"count": 2.0}})
@example({"nodes": {"count": True}})
@given(settings_documents())
def test_the_schema_refuses_the_settings_that_we_refuse_and_no_others(tmp_path_factory, document):
    path = tmp_path_factory.getbasetemp() / "settings.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=False))
    try:
        load_settings(path, {})
    except InvalidInput as error:
        assert not SETTINGS_VALIDATOR.is_valid(document), error
    else:
        assert [error.message for error in SETTINGS_VALIDATOR.iter_errors(document)] == []


def test_a_group_nobody_knows_is_refused_though_it_is_empty(tmp_path):
    path = tmp_path / "raythena.yaml"
    path.write_text("node: {}\n")
    with pytest.raises(InvalidInput, match="no such setting"):
        load_settings(path, {})


# ---- the manual


def test_the_tables_of_the_manual_are_those_of_the_models():
    text = (ROOT / "docs" / "job-file.md").read_text()
    assert with_tables(text) == text, "run `make docs`"


def test_no_key_is_missing_in_the_manual():
    told = described_models((ROOT / "docs" / "job-file.md").read_text())
    declared = {name for name, kind in vars(job_document).items() if isinstance(kind, type) and issubclass(kind, DocumentModel)}
    assert declared - told == {"DocumentModel", "PayloadDocument"}


def test_a_table_that_is_wrong_is_written_anew_and_nothing_else():
    text = "a\n\n<!-- keys: PluginPayload -->\n\n| key | meaning |\n|---|---|\n| `kynd` | ? |\n\n| other | table |\n"
    written = with_tables(text)
    assert "`kynd`" not in written
    assert "| `kind` |" in written
    assert written.startswith("a\n\n<!--")
    assert written.endswith("\n\n| other | table |\n")
