"""Every block of every document is executed, parsed or compared; none is only looked at. See `document_blocks`."""

import ast
import inspect
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
import types
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import yaml
from command_lines import console_commands, parse, targets
from document_blocks import BLOCKS, COMPARED, EXECUTED, HOW_TO, PARSED, ROOT, Block, is_run_with_ray, proof_of, proves
from job_files import materialised

from json_schemas import validator
from needed_programs import compiler
from raythena.cli.schema_command import Document, schema_of
from raythena.cli.session import check_payload
from raythena.cli.settings import load_settings
from raythena.domain.errors import InvalidInput
from raythena.domain.records import AttemptFailed, GroupStored
from raythena.domain.results import FailureKind
from raythena.domain.scan.scan_file import parse_scan
from raythena.domain.scan.stopping_rule import EarlyEnd, RuleKind
from raythena.gateways.file import load_job, load_payload
from raythena.payloads.trials.checkpoint_store import CheckpointStore
from raythena.payloads.trials.training_report import TrainingReport
from raythena.runtime.payload_interface import payload_plugin
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.storage.taskdir import TaskDirectory
from raythena.testing.simulation.samples import group_of, small_job
from raythena.tune.scan_job import scan_job
from raythena.tune.searcher_interface import SearchProblem, searcher_for

JOB_SCHEMA, SETTINGS_SCHEMA = validator(schema_of(Document.JOB)), validator(schema_of(Document.SETTINGS))


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_is_true(block, request):
    found = proof_of(block)
    if found is None:
        pytest.fail(f"{block}{HOW_TO}", pytrace=False)
    _, proof = found
    fixtures = {name: request.getfixturevalue(name) for name in list(inspect.signature(proof).parameters)[1:]}
    proof(block, **fixtures)


def test_none_is_only_looked_at():
    proved = [(block, found[0]) for block in BLOCKS if (found := proof_of(block)) is not None]
    kinds = Counter(EXECUTED if is_run_with_ray(block) else kind for block, kind in proved)
    print(f"{len(BLOCKS)} blocks: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    assert kinds.total() == len(BLOCKS)


def test_a_block_nobody_proves_is_noticed():
    assert proof_of(Block("docs/x.md", 1, "fortran", "end")) is None
    assert proof_of(Block("docs/x.md", 1, "text", "some output")) is None


# ---- languages that are proved as a whole


@proves(PARSED, "console")
def console(block):
    """Commands exist, with these options; targets can be made."""
    commands = list(console_commands(block.text))
    assert commands, "a console block has lines that begin with `$ `"
    for program, *words in commands:
        if program == "make":
            assert set(words) <= targets()
        elif program == "raythena":
            parse(words)
        else:
            pytest.fail(f"{program}: neither raythena nor make; add a proof of its own")


@proves(EXECUTED, "bash")
def batch_script(block, tmp_path):
    """Run with a `raythena` that understands its arguments and does nothing; a warning leaves room for what it announces."""
    here = str(Path(__file__).parent)
    program = tmp_path / "raythena"
    understood = tmp_path / "understood"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {here!r})\nfrom command_lines import parse\n"
        f"parse(sys.argv[1:])\nopen({str(understood)!r}, 'a').write(' '.join(sys.argv[1:]))\n"
    )
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SCRATCH": str(tmp_path)}
    run = subprocess.run(["bash", "-eu"], input=block.text, text=True, env=environment, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr
    assert understood.exists(), "no command of ours is in it"
    warned, grace = re.search(r"--signal=B:\w+@(\d+)", block.text), re.search(r"--grace[ =](\d+)", understood.read_text())
    if warned and grace:
        assert int(grace[1]) <= int(warned[1])


@proves(PARSED, "yaml")
def job_or_payload(block, tmp_path):
    """A whole job is loaded with inputs as it describes them, and its payload looks at its options, like that of a fragment."""
    document = yaml.safe_load(block.text)
    if "container" in document:
        block = Block(block.document, block.line, "yaml", yaml.safe_dump(_with_container(document)))
        document = yaml.safe_load(block.text)
    path = materialised(block.text, tmp_path)
    if {"inputs", "events"} & set(document):
        assert [error.message for error in JOB_SCHEMA.iter_errors(document)] == []
    else:
        payload, _ = load_payload(path)
        check = payload_plugin(payload.kind).check_options
        assert check is not None
        check(payload.options, str(path))
        return
    job = load_job(path)
    assert job.n_events > 0
    if job.payload.kind == "my-plugin":
        with pytest.raises(InvalidInput, match="my-plugin"):
            check_payload(job)
    else:
        check_payload(job)


def _with_container(fragment):
    container = {"engine": "apptainer", "image": "/cvmfs/image", **fragment["container"]}
    return {"payload": {"kind": "athenamp", "options": {"container": container}}}


@proves(PARSED, "yaml", "docs/tune.md", "space:")
def a_scan_file(block):
    """It is read, its searcher made, and its payload looks at its options."""
    document = yaml.safe_load(block.text)
    scan = parse_scan(document, "scan.yaml")
    assert searcher_for(SearchProblem.of(scan), scan.search.method).ask(1)
    check = payload_plugin("trial").check_options
    assert check is not None
    check(scan_job(scan, document, Path("scan.yaml")).payload.options, "scan.yaml")


@proves(EXECUTED, "python", "docs/tune.md", "def train(parameters, report)")
def a_training(block, tmp_path, monkeypatch):
    """From its beginning, and from its checkpoint."""

    class Weights:
        def __init__(self, epoch):
            self.epoch = epoch

        def learn(self):
            self.epoch += 1
            return 1.0 / self.epoch

        def save(self, name):
            Path(name).write_text(str(self.epoch))

    monkeypatch.chdir(tmp_path)
    train = _executed(block.text, start=lambda rate: Weights(0), load=lambda path: Weights(int(path.read_text()))).train
    store = CheckpointStore(tmp_path / "task", 1, 1.0)
    reports = []
    for kept in (None, tmp_path / "kept"):
        report = TrainingReport(lambda: 0.0, EarlyEnd((), RuleKind.NONE, 1.0), store, kept)
        assert train({"rate": 0.1}, report) == {"loss": 0.05, "accuracy": 0.9}
        reports.append(len(report.reports))
        store.restore(tmp_path / "kept")
        (tmp_path / "kept" / "weights.txt").write_text("15")
    assert reports == [20, 5]


@proves(PARSED, "toml")
def entry_points(block):
    """Groups of plug-ins are those there are."""
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    for group, entries in tomllib.loads(block.text)["project"]["entry-points"].items():
        assert group in {*ours, "raythena.launchers", "raythena.event_readers"}, group
        assert all(re.fullmatch(r"[\w.]+:\w+", target) for target in entries.values())


@proves(EXECUTED, "cpp")
def compiled(block, tmp_path):
    """Statements are compiled within a program."""
    source = tmp_path / "block.cpp"
    program = block.text
    if "int main" not in program:
        program = f"static void simulate(const raythena::Event&, const std::string&) {{}}\nint main() {{\n{program}\n}}\n"
    source.write_text(f"#include <raythena/event_server.hpp>\n#include <string>\n#include <thread>\n{program}")
    include = ROOT / "src" / "raythena" / "payloads" / "include"
    subprocess.run([*compiler("c++"), "-std=c++17", "-fsyntax-only", f"-I{include}", source], check=True, capture_output=True)


@proves(PARSED, "yaml", "docs/metrics.md")
def a_scrape_of_metrics(block):
    """It asks where the command above it serves, with the token of that."""
    (scrape,) = yaml.safe_load(block.text)["scrape_configs"]
    (target,) = scrape["static_configs"][0]["targets"]
    token = Path(scrape["authorization"]["credentials_file"]).name
    assert f"--serve {token} --port {target.partition(':')[2]}" in (ROOT / block.document).read_text()


@proves(PARSED, "yaml", "docs/cli.md")
def settings_file(block, tmp_path):
    """Every setting is one, with its default or another value it takes."""
    path = tmp_path / "raythena.yaml"
    path.write_text(block.text)
    loaded = load_settings(path, {})
    assert any(origin != "default" for origin in loaded.origin.values())
    assert [error.message for error in SETTINGS_SCHEMA.iter_errors(yaml.safe_load(block.text))] == []


@proves(COMPARED, "text", "docs/cli.md")
def help_of_commands(block):
    """The whole page is written by the program."""
    assert block.text in _reference()


@cache
def _reference():
    command = [sys.executable, "-m", "raythena.cli.command_reference"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=200).stdout


# ---- examples in Python


def _executed(text, **names):
    module = types.ModuleType("block")
    vars(module).update(names)
    exec(compile(text, "block", "exec"), vars(module))
    return module


@proves(EXECUTED, "python", "README.md", "def process(event_range, context)")
def a_payload_function(block):
    """The whole of it, with Ray, is in tests/jobs/test_documents.py."""
    module = _executed(block.text, simulate=lambda pfn, event: f"{pfn} {event}".encode())
    assert module.process(types.SimpleNamespace(pfn="/d/EVNT.root", first_event=7), None) == b"/d/EVNT.root 7"


@proves(EXECUTED, "python", "docs/python.md", "raythena.Task")
def task_in_python(block, tmp_path, monkeypatch, capsys):
    """Run on a task of which one event failed and one is stored."""
    job, task = small_job((3,), 3), TaskDirectory(tmp_path / "simulation.raythena")
    task.root.mkdir()
    task.job.write_text(json.dumps(job.to_dict()))
    ledger = Ledger.create(task.ledger, job)
    ledger.begin_session(SessionInfo("s1", "host", 1, 0.0))
    failure = AttemptFailed(1, 1, "n1.1", FailureKind.CRASH, "signal 11", True, 5.0)
    ledger.commit([GroupStored(group_of("g", "n1.1", 0, [0])), failure])
    ledger.close()
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, str(block), "exec"), {})
    told = capsys.readouterr().out
    assert f"{job.inputs[0].lfn}-2 n1.1 1" in told
    assert "attempt 1 on n1.1 failed (crash; given up): signal 11" in told


@proves(EXECUTED, "python", "docs/event-server-protocol.md", "for event in EventServer()")
def a_client(block, monkeypatch, tmp_path):
    import raythena.client

    done = []
    event = types.SimpleNamespace(
        pfn="/d/EVNT.root", first=3, last=3, new_output=lambda suffix: tmp_path / f"3{suffix}", done=done.append
    )
    for name in ("new_output", "done"):
        assert callable(getattr(raythena.client.Event, name))
    monkeypatch.setattr(raythena.client, "EventServer", lambda: iter([event]))
    _executed(block.text, simulate=lambda *arguments: repr(arguments).encode())
    assert done == [tmp_path / "3.dat"]
    assert done[0].read_bytes() == b"('/d/EVNT.root', 3, 3)"


@proves(EXECUTED, "python", "docs/plugins.md", "def merge_lines")
def a_merger(block, tmp_path):
    from raythena.plugins import BadInputs

    merge = _executed(block.text).merge_lines
    inputs = [tmp_path / name for name in "ab"]
    for path in inputs:
        path.write_text(path.name)
    context = types.SimpleNamespace(lfn="OUT")
    assert merge(inputs, tmp_path / "OUT", context).n_events == 2
    assert (tmp_path / "OUT").read_text() == "a\nb\n"
    inputs[0].write_text("")
    with pytest.raises(BadInputs):
        merge(inputs, tmp_path / "OUT", context)


@proves(EXECUTED, "python", "docs/plugins.md", "def read_counted")
def an_event_reader(block, tmp_path):
    read = _executed(block.text).read_counted
    path = tmp_path / "events"
    path.write_text("EVENTS 2\n7\n8\n")
    assert read(path).tolist() == [7, 8]
    path.write_text("EVENTS 3\n7\n8\n")
    with pytest.raises(ValueError, match="2 lines"):
        read(path)
    path.write_text("something else")
    assert read(path) is None


# ---- commands that can be run here and now


@proves(EXECUTED, "console", "docs/simulation.md", "raythena simulate")
def made_up_sites(block):
    """Each command as it stands, with fewer seeds and smaller sites: of an option given twice the last one counts."""
    smaller = ["--seeds", "1", "--nodes", "4", "--processes", "1"]
    for program, *words in console_commands(block.text):
        if program == "raythena":
            parse(words)
            argv = [sys.executable, "-c", "from raythena.cli import main; main()", *words, *smaller]
            ended = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
            assert ended.returncode == 0, ended.stdout + ended.stderr
        else:
            assert (program, set(words) <= targets()) == ("make", True)


# ---- output, compared with what is printed


def _labels(text):
    """What stands in front of the first gap of each line."""
    return [re.split(r"\s{2,}", line)[0] for line in text.splitlines() if line.strip() and line != "..."]


@proves(COMPARED, "text", "README.md", "quantity")
def end_of_the_demo(block):
    """Rows and quantities are those the demo prints; its figures change from machine to machine."""
    folders = [ROOT / "src/raythena/demo", ROOT / "src/raythena/cli/demo.py"]
    sources = [path.read_text() for folder in folders for path in ([folder] if folder.is_file() else folder.rglob("*.py"))]
    texts = {
        str(node.value)
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    kinds = ("HITS", "AOD")
    known = texts | {f"{kind}{text}" for kind in kinds for text in texts if text in (" validated", " compared")}
    bare = {re.sub(r" \[.*\]$", "", text) for text in known}
    assert [label for label in _labels(block.text) if label not in known | bare] == []


@proves(COMPARED, "text", "docs/athena-arguments.md", "Sim_tf.py --inputEVNTFile")
def explained_command(block):
    """The command stands in a comment above the block."""
    page = (ROOT / block.document).read_text()
    (command,) = re.findall(r"<!-- raythena (explain-command [^>]*) -->", page)
    argv = [sys.executable, "-c", "from raythena.cli import main; main()", *command.split()]
    printed = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=200, check=True).stdout
    assert printed == block.text


@proves(COMPARED, "text", "docs/athenamp.md", "waits for the next range")
def latency_line(block):
    from raythena.payloads.latency import LatencySummary

    said = LatencySummary(94.2, 5120, 0.0019, 0.0018, 0.0039, 0.0112, exit_s=8.1).in_words()
    assert " ".join(block.text.split()) == f"AthenaMP: {said}"


@proves(COMPARED, "text", "docs/how-it-works.md", "NodeCore")
def picture(block):
    """Whatever looks like a class is one."""
    sources = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    for name in re.findall(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)*\b", block.text):
        assert re.search(rf"^class {name}\b", sources, re.MULTILINE), name


@proves(COMPARED, "text", "docs/simulation.md", "What happened last")
def a_story(block):
    """The parts that do not depend on a seed are those of the code, and the command in it is understood."""
    folders = [ROOT / "src/raythena/testing/simulation", ROOT / "src/raythena/engine"]
    sources = "\n".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    promise, *_ = block.text.partition(":")
    assert promise in sources
    (again,) = re.findall(r"^Again: raythena (.*)$", block.text, re.MULTILINE)
    parse(again.split())
    for phrase in ("What happened last:", "Simpler, the story above: python -c", "Again: "):
        assert phrase in block.text
        assert phrase in sources
    for verb in re.findall(r"^ +[\d.]+ s  .*?\b(begins|dies|is \w+|brought)\b", block.text, re.MULTILINE):
        assert verb in sources, verb


# ---- Harvester


@proves(EXECUTED, "json", "docs/harvester.md")
def a_queue(block, tmp_path):
    """Read as the worker reads it, and every key where Harvester looks for it."""
    from raythena.gateways.harvester.harvester_config import MapType, load_file_names, load_map_type, load_queue

    path = tmp_path / "panda_queueconfig.json"
    path.write_text(block.text)
    queue = load_queue(path, None, {})
    assert load_map_type(None, {}, queue) in MapType
    load_file_names(None, {}, queue)
    (said,) = json.loads(block.text).values()
    assert "zipPerMB" not in said.get("stager", {}), "Harvester reads it in the queue itself"
    for section, keys in KNOWN_KEYS.items():
        given = said.get(section, {}) if section else {key: 0 for key, value in said.items() if not isinstance(value, dict)}
        assert given.keys() <= keys, (section, given.keys() - keys)
    whole = {"submitter", "messenger", "stager"} <= said.keys()
    if whole:
        assert said["zipPerMB"] == 0
        assert said["submitter"].keys() >= {"logDir", "templateFile", "nCore", "nCorePerNode"}
        named = {(said[section]["module"].rpartition(".")[2], said[section]["name"]) for section in KNOWN_KEYS if section}
        assert named == {
            ("slurm_submitter", "SlurmSubmitter"),
            ("shared_file_messenger", "SharedFileMessenger"),
            ("go_bulk_stager", "GlobusBulkStager"),
        }


KNOWN_KEYS = {
    "": {"queueStatus", "prodSourceLabel", "maxWorkers", "nQueueLimitWorker", "mapType", "runMode", "useJobLateBinding",
         "truePilot", "zipPerMB"},
    "submitter": {"name", "module", "nCore", "nCorePerNode", "nNode", "templateFile", "logDir", "logBaseURL"},
    "messenger": {"name", "module", "accessPoint", "stripJobParams", "scanInPostProcess"},
    "stager": {"name", "module"},
}  # fmt: skip
"""Where Harvester looks for what."""


class SafeNames(dict):
    """Harvester leaves what it does not know in place."""

    def __missing__(self, key):
        return "{" + key + "}"


def rendered(template, tmp_path):
    """A batch script, made as Harvester's submitter for Slurm makes it, on this machine."""
    point = tmp_path / "point"
    point.mkdir()
    (tmp_path / "opt/raythena/bin").mkdir(parents=True)
    names = {
        "nCorePerNode": 8, "nCoreTotal": 16, "nCoreFactor": 1, "nNode": 2, "requestRam": 32000, "requestRamBytes": 32000 << 20,
        "requestRamPerCore": 2000, "requestRamBytesPerCore": 2000 << 20, "requestDisk": 1, "requestWalltime": 7200,
        "requestWalltimeMinute": 120, "requestCputime": 7200, "requestCputimeMinute": 120, "accessPoint": str(point),
        "harvesterID": "h", "workerID": 17, "computingSite": "SITE", "pandaQueueName": "SITE_HPC_ES", "localQueueName": "grid",
        "logDir": str(tmp_path / "logs"), "logSubDir": str(tmp_path / "logs/26"), "jobType": "managed", "gtag": "unknown",
    }  # fmt: skip
    text = template.format_map(SafeNames(names))
    assert not re.findall(r"(?<!\$)\{(\w+)\}", text), "a placeholder Harvester does not know, or a brace that is not doubled"
    directives = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", text, re.MULTILINE))
    # Slurm counts minutes
    assert directives["time"] == "120"
    assert directives["output"].startswith(f"{point}/"), "the log archive takes the batch job's output from the access point"
    script = tmp_path / "worker.sh"
    script.write_text(text.replace("/opt/raythena", str(tmp_path / "opt/raythena")))
    return script, point, directives


def put_program(tmp_path, text):
    program = tmp_path / "opt/raythena/bin/raythena"
    program.write_text(f"#!{sys.executable}\n{text}")
    program.chmod(0o755)


STUBBORN = """
import signal, sys, time
count = 0
def heard(*_):
    global count
    count += 1
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, heard)
print("at work", flush=True)
while not count:
    time.sleep(0.05)
time.sleep(0.5)
print("told of", count, flush=True)
sys.exit(5)
"""


@proves(EXECUTED, "bash", "docs/harvester.md")
def a_batch_template(block, tmp_path):
    """Rendered as Harvester does it, and run: the real program refuses a job; another program is told to end."""
    script, point, directives = rendered(block.text, tmp_path)
    put_program(tmp_path, "from raythena.cli import main\nmain()\n")
    (tmp_path / "opt/raythena/etc").mkdir()
    (tmp_path / "opt/raythena/etc/payload.yaml").write_text("payload: {python: 'm:f'}\nmerge: concat\n")
    (point / "HPCJobs.json").write_text('{"1": {"PandaID": 1, "StatusCode": 20}}')
    output = point / "17.out"
    assert directives["output"] == str(output)
    assert _run(script, output).wait(200) == 3, output.read_text()
    assert json.loads((point / "worker_attributes.json").read_text())["pilotErrorCode"] == 9004
    with tarfile.open(point / "log.raythena.tgz") as archive:
        assert "17.out" in archive.getnames()

    put_program(tmp_path, STUBBORN)
    batch = _run(script, output)
    for _ in itertools.takewhile(lambda _: "at work" not in output.read_text(), range(1000)):
        time.sleep(0.05)
    warning = re.match(r"B:(\w+)@", directives["signal"])
    assert warning is not None, "the batch shell is told, and passes it on"
    os.kill(batch.pid, getattr(signal, f"SIG{warning[1]}"))
    assert batch.wait(60) == 5
    assert "told of 1" in output.read_text()


def _run(script, output):
    with output.open("w") as stream:
        return subprocess.Popen(["bash", script], stdout=stream, stderr=subprocess.STDOUT)
