"""Settings: every source, every precedence, and everything that must be refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.cli.settings import SETTINGS, load_settings, parse_assignments
from raythena.domain.errors import InvalidInput, RaythenaError


@pytest.fixture
def write(tmp_path):
    def write_settings(text: str | bytes, name: str = "site.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write_settings


def load(tmp_path, file=None, environ=None, **overrides):
    return load_settings(file, environ or {}, overrides, directory=tmp_path)


def test_without_sources_every_setting_has_its_default(tmp_path):
    loaded = load(tmp_path)
    assert {name: loaded.value(name) for name in SETTINGS} == {name: setting.default for name, setting in SETTINGS.items()}
    assert set(loaded.origin.values()) == {"default"}


def test_documented_defaults(tmp_path):
    settings = load(tmp_path).settings
    assert (settings.nodes.count, settings.nodes.cores_per_node) == (0, 0)
    assert (settings.engine.max_attempts, settings.engine.max_losses, settings.engine.max_lease) == (3, 5, 512)
    assert (settings.runtime.group_events, settings.runtime.group_bytes) == (256, 64 * 1024**2)
    assert settings.display.mode == "auto"


def test_later_sources_win_and_are_named(tmp_path, write):
    home = write("nodes:\n  count: 3\nengine:\n  max_merges: 7\nruntime:\n  drain_s: 5\n", "home/raythena/config.yaml")
    local = write("# ours\nnodes:\n  count: 4\n  cores_per_node: 8\nengine:\n  max_attempts: 4\n", "raythena.yaml")
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "home"), "RAYTHENA_NODES_COUNT": "5", "RAYTHENA_ENGINE_MAX_ATTEMPTS": "6"}
    loaded = load_settings(None, environ, {"nodes.count": 6}, directory=tmp_path)
    origins = {name: origin for name, origin in loaded.origin.items() if origin != "default"}
    assert origins == {
        "nodes.count": "command line",
        "nodes.cores_per_node": f"{local}:4",
        "engine.max_attempts": "environment RAYTHENA_ENGINE_MAX_ATTEMPTS",
        "engine.max_merges": f"{home}:4",
        "runtime.drain_s": f"{home}:6",
    }
    assert [loaded.value(name) for name in origins] == [6, 8, 6, 7, 5.0]


def test_home_directory_is_the_fallback_for_the_users_file(tmp_path, write):
    write("nodes:\n  count: 9\n", ".config/raythena/config.yaml")
    assert load(tmp_path, environ={"HOME": str(tmp_path)}).settings.nodes.count == 9


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_named_file_takes_the_place_of_the_others(tmp_path, write, by):
    write("nodes:\n  count: 3\n", "raythena.yaml")
    named = write("engine:\n  max_lease: 9\n")
    environ = {"RAYTHENA_CONFIG": str(named)} if by == "variable" else {}
    loaded = load(tmp_path, named if by == "option" else None, environ)
    assert (loaded.settings.nodes.count, loaded.settings.engine.max_lease) == (0, 9)


def test_settings_are_frozen(tmp_path):
    loaded = load(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        loaded.settings.nodes.count = 3
    with pytest.raises(TypeError):
        loaded.origin["nodes.count"] = "me"


@pytest.mark.parametrize("text", ["", "# nothing\n", "nodes:\n", "---\n", "nodes: {}\n", "nodes: ~\nengine: {max_lease: 512}\n"])
def test_files_that_say_little_are_fine(tmp_path, write, text):
    assert load(tmp_path, write(text)).settings == load(tmp_path).settings


def test_an_integer_will_do_for_seconds(tmp_path, write):
    buffer_s = load(tmp_path, write("engine:\n  buffer_s: 3\n")).settings.engine.buffer_s
    assert buffer_s == 3.0
    assert isinstance(buffer_s, float)


BAD_FILES = {
    "unknown group": ("node:\n  count: 2\n", "site.yaml:1: node: no such setting", "nodes"),
    "unknown name": ("nodes:\n  cuont: 2\n", "site.yaml:2: nodes.cuont: no such setting", "Did you mean nodes.count?"),
    "nothing near": ("nodes:\n  count: 2\nzebra:\n  x: 1\n", "site.yaml:3: zebra: no such setting", "config show"),
    "text for a number": ("nodes:\n  count: '2'\n", "site.yaml:2: nodes.count: '2'", "an integer from 0 to 10,000"),
    "number for a truth": ("engine:\n  duplicate_stragglers: 1\n", "engine.duplicate_stragglers: 1", "true or false"),
    "truth for a number": ("nodes:\n  count: true\n", "nodes.count: True", "an integer"),
    "fraction for a count": ("nodes:\n  count: 2.5\n", "nodes.count: 2.5", "an integer"),
    "negative nodes": ("nodes:\n  count: -1\n", "nodes.count: -1", "from 0"),
    "negative": ("runtime:\n  drain_s: -1\n", "runtime.drain_s: -1", "from 0"),
    "too large": ("engine:\n  max_attempts: 256\n", "engine.max_attempts: 256", "to 255"),
    "huge": ("nodes:\n  count: " + "9" * 400 + "\n", "nodes.count", "to 10,000"),
    "not a number": ("engine:\n  buffer_s: .nan\n", "engine.buffer_s: nan", "a number"),
    "infinite": ("payload:\n  first_time_limit_s: .inf\n", "payload.first_time_limit_s: inf", "a number"),
    "octal": ("nodes:\n  count: 010\n", "site.yaml:2: nodes.count: 010 is a number that is not written", "YAML reads it as 8"),
    "sexagesimal": ("engine:\n  walltime_s: 1:30\n", "engine.walltime_s: 1:30 is a number", "YAML reads it as 90"),
    "unknown mode": ("display:\n  mode: fancy\n", "display.mode: 'fancy'", "one of auto, live, lines, json, quiet"),
    "null value": ("nodes:\n  count:\n", "nodes.count: None", "an integer"),
    "list value": ("nodes:\n  count: [2]\n", "site.yaml:2: nodes.count: not a single value", "a number or text"),
    "mapping value": ("nodes:\n  count: {a: 1}\n", "nodes.count: not a single value", ""),
    "relative scratch": ("runtime:\n  scratch_dir: here\n", "runtime.scratch_dir: 'here'", "an absolute path"),
    "date": ("runtime:\n  scratch_dir: 2020-01-01\n", "runtime.scratch_dir", "an absolute path"),
    "a list": ("- nodes\n", "site.yaml:1: no mapping", "groups of settings"),
    "a word": ("hello\n", "site.yaml:1: no mapping", "groups of settings"),
    "flat": ("nodes: 2\n", "site.yaml:1: nodes: no mapping", "settings below `nodes:`"),
    "name twice": (
        "nodes:\n  count: 2\n  count: 3\n",
        "site.yaml:3: nodes.count: stands twice, first in line 2",
        "every key once",
    ),
    "group twice": ("nodes:\n  count: 2\nnodes:\n  count: 3\n", "site.yaml:3: nodes: stands twice", ""),
    "broken yaml": ("nodes: [1,\n", "site.yaml:2: not YAML", ""),
    "tab": ("nodes:\n\tcount: 2\n", "site.yaml:2: not YAML", ""),
    "two documents": ("nodes:\n  count: 2\n---\nnodes:\n  count: 3\n", "site.yaml:3: not YAML", ""),
    "python object": ("nodes:\n  count: !!python/object/apply:os.getpid []\n", "nodes.count: not a single value", ""),
    "python scalar": ("nodes:\n  count: !!python/name:os.getpid ''\n", "site.yaml:2: not YAML", ""),
    "list as a key": ("? [a]\n: {count: 1}\n", "site.yaml:1: ?: no such setting", ""),
    "merge key": ("x: &x {count: 2}\nnodes:\n  <<: *x\n", "site.yaml:3: nodes.<<: not a single value", ""),
    "dangling alias": ("nodes: *nowhere\n", "site.yaml:1: not YAML", ""),
    "not utf-8": (b"nodes:\n  count: \xff\n", "not text: byte 16 is not UTF-8", "YAML in UTF-8"),
    "control characters": ("nodes:\n  count: \x00\n", "not YAML", ""),
    "deep nesting": ("[" * 5000, "site.yaml", ""),
    "impossible date": ("nodes:\n  count: 2020-99-99\n", "site.yaml:2: nodes.count", ""),
    "too large a file": (b"#" * 1_000_001, "too large", "at most 1,000,000 bytes"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_with_place_and_reason(tmp_path, write, case):
    text, where, advice = BAD_FILES[case]
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path, write(text))
    assert where in str(caught.value)
    assert advice in str(caught.value)
    assert str(tmp_path / "site.yaml") in caught.value.source
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"RAYTHENA_NODES_COUNT": "two"}, "environment RAYTHENA_NODES_COUNT: nodes.count: 'two'"),
        ({"RAYTHENA_NODES_COUNT": ""}, "expected an integer from 0 to 10,000"),
        ({"RAYTHENA_NODES_COUNT": "1e3"}, "'1e3'"),
        ({"RAYTHENA_ENGINE_BUFFER_S": "nan"}, "'nan'"),
        ({"RAYTHENA_ENGINE_BUFFER_S": "inf"}, "'inf'"),
        ({"RAYTHENA_ENGINE_DUPLICATE_STRAGGLERS": "perhaps"}, "true or false"),
        ({"RAYTHENA_DISPLAY_MODE": "LIVE"}, "one of auto"),
        ({"RAYTHENA_RUNTIME_SCRATCH_DIR": "tmp/x"}, "an absolute path"),
        ({"RAYTHENA_CONFIG": "/nowhere/settings.yaml"}, "no such file, given by RAYTHENA_CONFIG"),
    ],
)
def test_bad_environment_is_refused(tmp_path, environ, message):
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path, environ=environ)
    assert message in str(caught.value)


def test_what_payload_workers_are_told_is_no_setting(tmp_path):
    environ = {"RAYTHENA_SOCKET": "/x", "RAYTHENA_WORKER": "3", "RAYTHENA_SCRATCH": "/y", "PATH": "/bin"}
    assert load(tmp_path, environ=environ).settings == load(tmp_path).settings


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("Yes", True), ("on", True), ("1", True), (" no ", False), ("OFF", False)]
)
def test_truths_in_the_environment(tmp_path, text, value):
    environ = {"RAYTHENA_ENGINE_DUPLICATE_STRAGGLERS": text}
    assert load(tmp_path, environ=environ).settings.engine.duplicate_stragglers is value


def test_a_bad_value_is_refused_even_when_overridden(tmp_path, write):
    with pytest.raises(InvalidInput, match=r"site\.yaml:2: nodes\.count"):
        load_settings(write("nodes:\n  count: -1\n"), {}, {"nodes.count": 4}, directory=tmp_path)


def test_a_missing_named_file_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="no such file, given by --config"):
        load(tmp_path, tmp_path / "none.yaml")


def test_a_directory_is_no_settings_file(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read: Is a directory"):
        load(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"nodes.count": -1}, "command line: nodes.count: -1"),
        ({"nodes.count": "x"}, "command line: nodes.count: 'x'"),
        ({"count": 2}, "no such setting"),
    ],
)
def test_bad_overrides_are_refused(tmp_path, overrides, message):
    with pytest.raises(InvalidInput) as caught:
        load_settings(None, {}, overrides, directory=tmp_path)
    assert message in str(caught.value)


def test_overrides_that_were_not_given_change_nothing(tmp_path):
    assert load_settings(None, {}, {"nodes.count": None}, directory=tmp_path).origin["nodes.count"] == "default"


@pytest.mark.parametrize(
    ("variable", "words"),
    [("RAYTHENA_NODE_COUNT", "did you mean RAYTHENA_NODES_COUNT?"), ("RAYTHENA_HOME", "config show")],
)
def test_a_variable_nobody_knows_is_warned_of(tmp_path, variable, words):
    """Sites have variables of their own, and a batch script that exports one must not stop every command."""
    loaded = load(tmp_path, environ={variable: "/opt/raythena", "RAYTHENA_SOCKET": "/x"})
    assert loaded.settings == load(tmp_path).settings
    (warning,) = loaded.warnings
    assert words in warning


def test_the_warning_is_seen(tmp_path, monkeypatch, capsys):
    from raythena.cli.options import settings_from

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYTHENA_HOME", "/opt/raythena")
    settings_from(None)
    assert "warning: the variable RAYTHENA_HOME sets nothing" in capsys.readouterr().err


def test_assignments():
    assert parse_assignments(["nodes.count=4", "runtime.scratch_dir=/a=b"]) == {"nodes.count": "4", "runtime.scratch_dir": "/a=b"}
    for bad in ("nodes.count", "nodes.cuont=1", "=1"):
        with pytest.raises(InvalidInput):
            parse_assignments([bad])


@given(st.dictionaries(st.sampled_from([setting.variable for setting in SETTINGS.values()]), st.text(max_size=20)))
def test_any_environment_is_accepted_or_named(environ):
    try:
        loaded = load_settings(None, environ, directory=Path("/nowhere"))
    except InvalidInput as error:
        assert any(variable in error.source for variable in environ)
    else:
        assert sum(origin != "default" for origin in loaded.origin.values()) == len(environ)


@given(st.text(max_size=60))
def test_any_file_is_accepted_or_refused_in_words(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load_settings(path, {})
    except RaythenaError as error:
        assert str(path) in str(error)


@given(st.sampled_from(sorted(SETTINGS)), st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=5), st.none()))
def test_whatever_is_accepted_is_what_comes_out(name, value):
    setting = SETTINGS[name]
    try:
        accepted = setting.checked(value, "here")
    except InvalidInput as error:
        assert error.field == name
        assert error.expected == setting.expected
    else:
        assert accepted == value
        assert type(accepted) is setting.kind
