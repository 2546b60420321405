"""Merging by a program: a transform that behaves, and transforms that fail in every way."""

from __future__ import annotations

import re
import shutil
import sys
import time
import uuid
from pathlib import Path

import pytest
import uproot

from raythena.domain.errors import InvalidInput, MergeError
from raythena.payloads.mergers.process import lay_out
from raythena.payloads.mergers.transform import HADD, TRANSFORM
from raythena.runtime.merger_interface import BadInputs, MergeContext, Merged

STAND_INS = Path(__file__).parents[2] / "stand_ins" / "bin"
TEMPLATE = "--inputHITSFile=@inputFor_${OUTPUT0} --outputHITS_MRGFile=${OUTPUT0} --AMITag=s4162"
LFN = "HITS.1._000001.pool.root.1"
GUID = str(uuid.uuid5(uuid.NAMESPACE_URL, LFN)).upper()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Three inputs, a directory to work in, one for logs, one for the output; the stand-ins on PATH."""
    for name in ("inputs", "work", "logs", "outputs"):
        (tmp_path / name).mkdir()
    for number in range(3):
        (tmp_path / "inputs" / f"{number:010d}").write_text(f"event {number}\n")
    monkeypatch.setenv("PATH", f"{STAND_INS}:/usr/local/bin:/usr/bin:/bin")
    return tmp_path


def merge(place, merger=TRANSFORM, expected: int | None = 3, fault="", **options):
    """Merge the inputs; what the merger learned."""
    inputs = sorted((place / "inputs").iterdir())
    if merger is TRANSFORM:
        parameters = TEMPLATE + (f" --preExec fault:{fault}" if fault else "")
        options = {"transformation": "HITSMerge_tf.py", "parameters": parameters, **options}
    context = MergeContext(LFN, "ours", options, expected, place / "work", place / "logs" / "merge")
    return merger(inputs, place / "outputs" / "x", context)


def test_the_transform_merges_all_inputs_in_their_order(place):
    assert merge(place) == Merged(GUID, 3)
    assert (place / "outputs" / "x").read_text() == "event 0\nevent 1\nevent 2\n"
    assert sorted(path.name for path in (place / "logs").iterdir()) == ["merge.out.log"]
    assert f"merging 3 files in {place / 'work'}" in (place / "logs" / "merge.out.log").read_text()


def test_the_inputs_are_not_harmed(place):
    before = {path.name: path.read_text() for path in (place / "inputs").iterdir()}
    merge(place)
    assert {path.name: path.read_text() for path in (place / "inputs").iterdir()} == before


def test_inputs_on_another_disk_are_copied(place, monkeypatch):
    monkeypatch.setattr(Path, "hardlink_to", lambda *_: (_ for _ in ()).throw(OSError(18, "Invalid cross-device link")))
    merge(place)
    assert (place / "outputs" / "x").read_text() == "event 0\nevent 1\nevent 2\n"
    with pytest.raises(MergeError, match="cannot be put into"):
        lay_out([place / "nowhere"], place / "work", "y")


def test_what_an_earlier_merge_left_in_the_directory_is_no_way_to_its_inputs(place):
    """What was put there was a hard link: to write into it would be to write into the input."""
    first, second = place / "first", place / "second"
    first.write_text("one"), second.write_text("two")
    lay_out([first], place / "work", "y")
    (name,) = lay_out([second], place / "work", "y")
    assert ((place / "work" / name).read_text(), first.read_text()) == ("two", "one")


def test_a_job_report_that_cannot_be_read_is_not_missed(place):
    assert merge(place, fault="garbage") == Merged("", None)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("exit", r"HITSMerge_tf.py ended with exit code 65 \(TRF_EXEC_FAIL Non-zero return code from HITtoHITS \(8\)\); "),
        ("exit", r"the end of its output: PyJobTransforms: FATAL cannot open the geometry \(all of it: .*logs/merge.err.log\)"),
        ("mute", r"ended with exit code 65; the end of its output: merging 3 files"),
        ("killed", "was killed by signal 9; the end of its output: merging 3 files"),
        ("nothing", f"the program ended well but wrote no {LFN}"),
        ("empty", f"the program ended well but left {LFN} empty"),
        ("count", "its job report counts 2 events, expected 3"),
        ("report", r"ended with exit code 0 \(TRF_EXEC_FAIL"),
        ("damaged", "the merged file is a damaged ROOT file: "),
    ],
)
def test_every_failure_says_what_happened(place, fault, said):
    with pytest.raises(MergeError, match=said) as problem:
        merge(place, fault=fault)
    assert str(problem.value).startswith(f"{LFN}: ")
    assert problem.value.bad_ranges == ()
    assert not (place / "outputs" / "x").exists()


def test_the_transform_s_own_logs_are_kept_when_it_fails(place):
    with pytest.raises(MergeError):
        merge(place, fault="log")
    shutil.rmtree(place / "work")
    assert (place / "logs" / "merge.log.HITtoHITS").read_text() == "AthenaPool: ERROR the story is here\n"
    assert (place / "logs" / "merge.jobReport.json").exists()


def test_a_transform_that_never_ends_is_ended(place):
    with pytest.raises(MergeError, match=r"HITSMerge_tf.py did not end within 0\.5 s"):
        merge(place, fault="hang", time_limit_s=0.5)


def test_nothing_the_transform_started_outlives_the_merge(place):
    merge(place, fault="child")
    (pid,) = re.findall(r"child (\d+)", (place / "logs" / "merge.out.log").read_text())
    until = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < until, "the child is still alive"
        time.sleep(0.01)


@pytest.mark.parametrize("name", ["Nowhere_tf.py", "/nowhere/x_tf.py"])
def test_a_transform_that_is_not_there_is_named(place, name):
    with pytest.raises(MergeError, match=f"{LFN}: {name} could not be run: .*no (such )?program"):
        merge(place, transformation=name)


def test_a_merge_may_be_given_no_directory_and_no_logs(place):
    options = {"transformation": "HITSMerge_tf.py", "parameters": TEMPLATE}
    TRANSFORM(sorted((place / "inputs").iterdir()), place / "outputs" / "x", MergeContext(LFN, "ours", options))
    assert (place / "outputs" / "x").read_text() == "event 0\nevent 1\nevent 2\n"


def test_a_wrapper_goes_before_the_command_and_the_environment_with_it(place):
    script = place / "wrap.sh"
    script.write_text('#!/bin/bash\necho "wrapped $COLOUR: $*"\nexec "$@"\n')
    script.chmod(0o755)
    merge(place, wrapper=[str(script)], environment={"COLOUR": "blue"})
    assert "wrapped blue: HITSMerge_tf.py @inputFor_" in (place / "logs" / "merge.out.log").read_text()


def test_a_set_up_script_is_sourced_before_the_command(place, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    script = place / "set up.sh"
    script.write_text(f'echo "set up for $COLOUR"\nexport PATH={STAND_INS}:$PATH\n')
    merge(place, setup_script=str(script), environment={"COLOUR": "blue"})
    assert "set up for blue" in (place / "logs" / "merge.out.log").read_text()
    script.write_text("echo no release here >&2; return 7\n")
    shutil.rmtree(place / "work")
    (place / "work").mkdir()
    with pytest.raises(MergeError, match="ended with exit code 7; the end of its output: no release here"):
        merge(place, setup_script=str(script))


def test_alrb_is_asked_for_the_container_and_the_release(place, monkeypatch):
    """A stand-in for ATLASLocalRootBase that starts what it is told to start on this machine."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    base, setup = place / "alrb", place / "AtlasSetup"
    (base / "user").mkdir(parents=True)
    (setup / "scripts").mkdir(parents=True)
    (base / "user" / "atlasLocalSetup.sh").write_text(
        'echo "alrb $*"\nexport AtlasSetup=' + str(setup) + "\n"
        'while [ $# -gt 0 ]; do if [ "$1" = -r ]; then eval "$2"; return $?; fi; shift; done\n'
    )
    (setup / "scripts" / "asetup.sh").write_text(f'echo "asetup $*"\nexport PATH={STAND_INS}:$PATH\n')
    container = {"engine": "alrb", "alrb_base": str(base)}
    release = {"home_package": "Athena/23.0.53", "platform": "x86_64-centos7-gcc11-opt"}
    assert merge(place, container=container, release=release) == Merged(GUID, 3)
    told = (place / "logs" / "merge.out.log").read_text()
    assert re.search(r"alrb -c x86_64-centos7-gcc11-opt .*-r /bin/bash .*/work/raythena_payload.sh", told)
    assert "alrb --quiet" in told
    assert "asetup Athena,23.0.53,notest --platform x86_64-centos7-gcc11-opt" in told


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"transformation": ""}, "transformation: is missing"),
        ({"parameters": None}, "parameters: is missing"),
        ({"parameters": "--x=${OUTPUT0}"}, "parameters: says nowhere what to merge"),
        ({"container": {"engine": "docker"}}, r"container\.engine"),
        ({"containers": {}}, "containers: unknown option"),
        ({"container": {"engine": "apptainer"}}, r"container\.image: is missing"),
        ({"image": 3}, "image: is 3"),
        ({"setup_script": "setup.sh"}, "setup_script: is 'setup.sh'; expected an absolute path"),
        ({"wrapper": "time"}, "wrapper"),
        ({"environment": {"A=B": "c"}}, "environment"),
        ({"time_limit_s": 0}, "time_limit_s: is 0"),
        ({"release": "23"}, "release: is '23'"),
        ({"release": {"version": "23"}}, r"release\.version: unknown option"),
    ],
)
def test_options_that_cannot_work_are_refused_before_the_job_begins(options, field):
    with pytest.raises(InvalidInput, match=rf"job\.yaml: merge\.options\.{field}"):
        TRANSFORM.check_options({"transformation": "HITSMerge_tf.py", "parameters": TEMPLATE, **options}, "job.yaml")


def test_a_container_without_an_image_gets_the_job_s(place):
    """A stand-in for apptainer that says what it was given."""
    (place / "bin").mkdir()
    engine = place / "bin" / "apptainer"
    engine.write_text('#!/bin/bash\necho "apptainer $*"\nexec "${@: -2}"\n')
    engine.chmod(0o755)
    path = {"PATH": f"{place / 'bin'}:{STAND_INS}:/usr/bin:/bin"}
    merge(place, container={"engine": "apptainer"}, image="/images/athena.sif", environment=path)
    told = (place / "logs" / "merge.out.log").read_text()
    assert re.search(r"apptainer exec .*--bind .*/work /images/athena.sif /bin/bash .*/raythena_payload.sh", told)


# ---- hadd


STAND_IN = """#!{python}
import sys
from pathlib import Path
from raythena.payloads.mergers.root import merge_root
from raythena.runtime.merger_interface import MergeContext
print("hadd", *sys.argv[1:])
*_, output, listed = sys.argv[1:]
inputs = [Path(name) for name in Path(listed[1:]).read_text().split()]{fault}
merge_root(inputs, Path(output), MergeContext(output, "{guid}", {{}}))
"""


@pytest.fixture
def hadd(place):
    """A stand-in for hadd on PATH, and ROOT files for it; `tests/root` has the real one."""
    for number, path in enumerate(sorted((place / "inputs").iterdir())):
        root_file(path, EventNumber=[number])
    return stand_in(place)


def stand_in(place, fault=""):
    (place / "bin").mkdir(exist_ok=True)
    script = place / "bin" / "hadd"
    script.write_text(STAND_IN.format(python=sys.executable, guid=GUID, fault=fault))
    script.chmod(0o755)
    return {"environment": {"PATH": f"{place / 'bin'}:/usr/bin:/bin"}}


def root_file(path, tree="HITS", **columns):
    """A file with one tree of these columns."""
    with uproot.recreate(path) as file:
        file.mktree(tree, dict.fromkeys(columns, "int32")).extend(columns)
    return path


def test_hadd_is_given_its_inputs_in_a_file(place, hadd):
    assert merge(place, HADD, arguments=["-ff"], **hadd) == Merged("", 3)
    with uproot.open(place / "outputs" / "x") as file:
        assert file["HITS"]["EventNumber"].array().tolist() == [0, 1, 2]
    assert (place / "logs" / "merge.out.log").read_text() == f"hadd -ff {LFN} @inputs.txt\n"


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"EventNumber": [1, 1]}, "tree 'HITS' has 2 entries, where one event has 1"),
        ({"EventNumber": []}, "tree 'HITS' has 0 entries, where one event has 1"),
        ({"EventNumber": [1], "more": [1]}, "tree 'HITS' differs: branch 'more' is new"),
        ({"other": [1]}, "tree 'HITS' differs: branch 'EventNumber' is missing"),
    ],
)
def test_an_input_hadd_would_not_mind_is_charged_before_it_runs(place, hadd, columns, fault):
    root_file(place / "inputs" / "0000000001", **columns)
    with pytest.raises(BadInputs, match="1 of 3 files cannot be merged") as refusal:
        merge(place, HADD, **hadd)
    assert refusal.value.faults == {1: fault}
    assert not (place / "logs" / "merge.out.log").exists()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("[:2]", "the merged file holds 2 events, the inputs 3"),
        ("; inputs.append(inputs[0])", "the merged file holds 4 events, the inputs 3"),
        ("\nimport uproot; uproot.recreate(output).close(); sys.exit()", "is not as the inputs are: has no tree 'HITS'"),
        (
            "\nimport uproot; tree = uproot.recreate(output).mktree('HITS', {'EventNumber': 'float64'})"
            "; tree.extend({'EventNumber': [1, 2, 3]}); sys.exit()",
            "is not as the inputs are: tree 'HITS' differs: branch 'EventNumber' is double instead of int32_t",
        ),
    ],
    ids=["lost", "twice", "empty", "type"],
)
def test_what_hadd_wrote_is_looked_at_however_well_it_ended(place, hadd, fault, said):
    with pytest.raises(MergeError, match=re.escape(said)) as problem:
        merge(place, HADD, **stand_in(place, fault))
    assert "the end of its output: hadd" in str(problem.value)
    assert not isinstance(problem.value, BadInputs)
    assert not (place / "outputs" / "x").exists()


def test_hadd_is_tried_on_the_first_event(place, hadd):
    sample, options = place / "inputs" / "0000000000", dict(hadd)
    HADD.check_sample(sample, MergeContext(LFN, GUID, options, 1, place / "work", place / "logs" / "sample"))
    root_file(sample, EventNumber=[1, 2])
    with pytest.raises(BadInputs):
        HADD.check_sample(sample, MergeContext(LFN, GUID, options, 1, place / "work", place / "logs" / "sample"))


def test_files_whose_events_nobody_can_count_are_no_job_for_hadd(place, hadd):
    for path in (place / "inputs").iterdir():
        with uproot.recreate(path) as file:
            for tree in ("one", "two"):
                file.mktree(tree, {"x": "int32"}).extend({"x": [1]})
    with pytest.raises(MergeError, match=r"which tree counts the events is not clear: it holds one, two .*merge\.options\.tree"):
        merge(place, HADD, **hadd)
    assert merge(place, HADD, tree="two", expected=3, **stand_in(place)) == Merged("", 3)


def test_where_there_is_no_hadd_the_merge_says_so(place, hadd):
    with pytest.raises(MergeError, match=r"hadd could not be run: .*no program 'hadd' in PATH"):
        merge(place, HADD, environment={"PATH": "/usr/bin:/bin"})


def test_hadd_has_few_options():
    with pytest.raises(InvalidInput, match=r"merge\.options\.tree"):
        HADD.check_options({"tree": 7}, "job")
    with pytest.raises(InvalidInput, match=r"merge\.options\.transformation: unknown option"):
        HADD.check_options({"transformation": "x"}, "job")
    with pytest.raises(InvalidInput, match=r"merge\.options\.arguments"):
        HADD.check_options({"arguments": "-f"}, "job")
    HADD.check_options({}, "job")


# ---- counting


@pytest.mark.parametrize("count", [0, 2])
def test_an_input_of_a_transform_that_is_not_one_event_is_charged(place, count):
    root_file(place / "inputs" / "0000000001", "POOLCollectionTree", Token=list(range(count)))
    root_file(place / "inputs" / "0000000002", "POOLCollectionTree", Token=[1])
    with pytest.raises(BadInputs) as refusal:
        merge(place)
    assert refusal.value.faults == {1: f"has {count} events, where there must be 1"}


def test_a_damaged_input_of_a_transform_is_charged(place):
    path = root_file(place / "inputs" / "0000000001", "POOLCollectionTree", Token=[1])
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(BadInputs, match="is cut short"):
        merge(place)
