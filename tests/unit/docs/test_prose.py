"""What prose tells between backticks exists: options, settings, variables, commands, files; links lead to what is there."""

import importlib.util
import json
import re
import shlex

import pytest
from command_lines import options, parse, targets, words_of_the_code
from document_blocks import DOCUMENTS, ROOT, anchors_of, blocks_of, code_in, prose_of

from raythena.cli.settings import ENVIRONMENT_PREFIX, RESERVED_VARIABLES, SETTINGS
from raythena.gateways.harvester import harvester_config
from raythena.gateways.harvester.harvester_config import FileNames, option_name, variable_name

GROUPS = {name.partition(".")[0] for name in SETTINGS}
documents = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
REPORT_KEYS = set(re.findall(r'"(\w+)"', (ROOT / "src/raythena/domain/report_document.py").read_text()))
MODULES = {"raythena", *(path.name for path in (ROOT / "src/raythena").iterdir())}


@documents
def test_links_lead_somewhere(path):
    """Files exist, and of a heading in a file its name does."""
    broken = []
    for target in re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", prose_of(path)):
        if re.match(r"[a-z]+:", target):
            continue  # somebody else's
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(target)
    assert broken == [], f"headings are called: {sorted(anchors_of(path))}"


def test_a_link_to_a_heading_that_is_not_there_is_noticed():
    assert "running-under-harvester" in anchors_of(ROOT / "docs" / "harvester.md")
    assert "the-queue-1" not in anchors_of(ROOT / "docs" / "harvester.md")


@documents
def test_settings_are_settings(path):
    """`group.name`, where the group is one of settings."""
    told = [text for text in code_in(path) if re.fullmatch(r"[a-z]+\.[a-z_]+", text) and text.partition(".")[0] in GROUPS]
    unknown = [name for name in told if name not in SETTINGS and name.partition(".")[2] not in FILE_KINDS]
    assert [name for name in unknown if not (ROOT / "src/raythena" / f"{name.replace('.', '/')}.py").exists()] == []


FILE_KINDS = {"yaml", "json", "md", "py", "txt", "out", "err", "log", "stdout", "stderr"}


@documents
def test_a_default_in_a_table_is_the_default(path):
    """Rows such as | `group.name`, `group.other` | 1, 2 | ... |"""
    row = r"^\| (`[a-z]+\.[a-z_]+`(?:, `[a-z]+\.[a-z_]+`)*) \| ([^|]+) \|"
    for names, values in re.findall(row, prose_of(path), re.MULTILINE):
        settings = [SETTINGS.get(name) for name in re.findall(r"`([^`]+)`", names)]
        told = [value.strip(" `") for value in re.split(r", (?=[\d`])", values.strip())]
        if None in settings or len(told) != len(settings) or not all(re.fullmatch(VALUE, value) for value in told):
            continue
        assert told == [_written(setting.default, value) for setting, value in zip(settings, told, strict=True)], names


VALUE = r"[\d.,]+|true|false|''|\"[^\"]*\""
"""What a default looks like; other columns tell what a setting is for."""


def _written(default, like):
    """The default as the page would write it."""
    if isinstance(default, float) and re.fullmatch(r"[\d.]+", like):
        return like if float(like) == default else str(default)
    return like if like in (json.dumps(default), repr(default)) else str(default)


@documents
def test_variables_are_variables(path):
    known = {setting.variable for setting in SETTINGS.values()} | RESERVED_VARIABLES
    harvester = {value for name, value in vars(harvester_config).items() if name.endswith("_VARIABLE")}
    harvester |= {variable_name(field) for field in FileNames.__dataclass_fields__}
    text = path.read_text()
    ours = set(re.findall(rf"\b{ENVIRONMENT_PREFIX}[A-Z_]+\b", text))
    theirs = set(re.findall(r"\bHARVESTER_[A-Z_]+\b", text))
    assert (ours - known, theirs - harvester) == (set(), set())


@documents
def test_options_are_options(path):
    """Of one of our commands, or words that the code knows, as it knows those of Athena, of Slurm and of containers."""
    words = [word for text in code_in(path) for word in text.split() if re.fullmatch(r"--[A-Za-z][\w-]*(=.*)?", word)]
    proved = "\n".join(block.text for block in blocks_of(path))
    told = {word.partition("=")[0] for word in words} - options() - OF_OTHERS
    assert [word for word in told if word[2:] not in words_of_the_code() and not re.search(rf"{word}\b", proved)] == []


OF_OTHERS = {"--mem", "--unshare-all", "--unshare-ipc"}
"""Options of `srun`, `sbatch` and `bwrap` that documents tell of and the code does not use; add yours."""


@documents
def test_commands_are_commands(path):
    """`raythena ...` is understood by the program, `make ...` can be made."""
    for text in code_in(path):
        words = shlex.split(text.replace("...", "")) if re.match(r"(raythena|make) \w", text) else []
        if words[:1] == ["make"]:
            assert {word for word in words[1:] if "=" not in word} <= targets(), text
        elif words:
            parse(words[1:], whole=False)


@documents
def test_files_of_the_project_are_there(path):
    """Paths that begin with a directory of the project."""
    beginnings = ("docs/", "tests/", "src/", "examples/", "benchmarks/", "requirements/", ".ci/", "raythena/")
    firsts = [text.split()[0] for text in code_in(path) if text.startswith(beginnings)]
    told = [name for name in firsts if re.fullmatch(r"[\w./-]+", name)]
    missing = [name for name in told if not any((base / name).exists() for base in (ROOT, ROOT / "src", path.parent))]
    assert missing == []


@documents
def test_modules_are_modules(path):
    """`raythena.something`: a module, a name in one, a group of plug-ins, or a key of the job report."""
    groups = set(re.findall(r'entry-points\."([\w.]+)"', (ROOT / "pyproject.toml").read_text()))
    sources = "\n".join(file.read_text() for file in (ROOT / "src").rglob("*.py"))
    groups |= set(re.findall(r'"(raythena\.[a-z_]+)"', sources))
    for text in code_in(path):
        name = text.removesuffix("[]")
        if not re.fullmatch(r"raythena(\.\w+)+", name) or name in groups or name.split(".")[1] in REPORT_KEYS:
            continue
        module, _, attribute = name.rpartition(".")
        found = importlib.util.find_spec(module)
        assert found is not None, text
        whole = importlib.util.find_spec(name) if found.submodule_search_locations else None
        assert whole is not None or hasattr(importlib.import_module(module), attribute), text


# ---- Harvester's guide


def test_every_option_of_harvesters_files_has_its_default_in_the_guide():
    rows = dict(re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|$", (ROOT / "docs" / "harvester.md").read_text(), re.MULTILINE))
    names = {option_name(field): value for field, value in FileNames().to_dict().items()}
    assert rows.items() <= names.items()
    assert len(rows) >= 10


def test_every_page_has_its_blocks_closed():
    for path in DOCUMENTS:
        fences = len(re.findall(r"^ *```", path.read_text(), re.MULTILINE))
        assert fences == 2 * len(list(blocks_of(path))), path
