"""Submitting, listing and cancelling, with a Slurm that is shell scripts on PATH: what it was asked is on record."""

import json
import shlex
import subprocess

import pytest

from raythena.domain.allocation_chain import AllocationBegun, ChainPlan
from raythena.domain.errors import ExitCode
from raythena.launch.chain_link import ChainLink
from raythena.storage.chain_directory import ChainDirectory
from raythena.storage.taskdir import TaskDirectory

PARTITIONS = """PartitionName=main Default=YES MaxTime=2:00:00 MaxNodes=8 State=UP
PartitionName=big Default=NO MaxTime=UNLIMITED MaxNodes=UNLIMITED"""
SBATCH = """case "$*" in *--test-only*) exit 0;; esac
n=$(($(cat ids) + 1)); echo $n > ids; echo $n >> pending; echo $n"""


class FakeSlurm:
    """Programs that note how they are called, answer from files, and fail when told to."""

    def __init__(self, place):
        self.place = place
        for name, body in {
            "sbatch": SBATCH,
            "squeue": 'case "$*" in *PENDING*) cat pending;; *) cat queue;; esac',
            "scontrol": "cat partitions",
            "scancel": 'grep -vx "$(eval echo \\$$#)" pending > left; mv left pending; true',
        }.items():
            program = place / name
            failing = f'[ -e fail-{name} ] && {{ echo "{name}: error: {name} is down" >&2; exit 1; }}'
            program.write_text(f'#!/bin/sh\ncd {place}\necho "{name} $*" >> calls\n{failing}\n{body}\n')
            program.chmod(0o755)
        (place / "ids").write_text("100")
        (place / "partitions").write_text(PARTITIONS + "\n")
        for name in ("pending", "queue", "calls"):
            (place / name).write_text("")

    def calls(self, program):
        return [line for line in (self.place / "calls").read_text().splitlines() if line.startswith(f"{program} ")]

    def break_(self, program):
        (self.place / f"fail-{program}").touch()

    def mend(self, program):
        (self.place / f"fail-{program}").unlink()

    def queue(self, *lines):
        (self.place / "queue").write_text("".join(f"{line}\n" for line in lines))

    @property
    def pending(self):
        return (self.place / "pending").read_text().split()

    @pending.setter
    def pending(self, job_ids):
        (self.place / "pending").write_text("".join(f"{job_id}\n" for job_id in job_ids))


@pytest.fixture
def slurm(tmp_path, monkeypatch, run):
    place = tmp_path / "slurm"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place), prepend=":")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    return FakeSlurm(place)


@pytest.fixture
def job_file(tmp_path):
    (tmp_path / "in.evnt").write_bytes(b"events")
    path = tmp_path / "job.yaml"
    synthetic = "raythena.testing.synthetic"
    path.write_text(
        f"name: my.sim+1\ninputs: [{{path: in.evnt, events: 10}}]\noutputs: {{events_per_file: 10, name: 'O.{{n}}'}}\n"
        f"payload: {{python: '{synthetic}:process', setup: '{synthetic}:setup'}}\nmerge: concat\n"
    )
    return path


@pytest.fixture
def submit(run, job_file, tmp_path):
    def submit_it(*more):
        return run("submit", job_file, "--taskdir", tmp_path / "task", *more)

    return submit_it


def directives(script):
    lines = [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH --")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


# ---- the script


def test_a_dry_run_prints_the_script_and_does_nothing(submit, slurm, tmp_path):
    ran = submit("--dry-run", "--nodes", 16, "--time", "1h30m")
    assert ran.code == 0
    wanted = directives(ran.out)
    assert wanted["nodes"] == "16"
    assert wanted["time"] == "1:30:00"
    assert wanted["signal"] == "B:USR1@90"
    assert wanted["job-name"].startswith("raythena-my.sim_1-")
    assert {"exclusive", "no-kill", "requeue"} <= set(wanted)
    assert not (tmp_path / "task").exists()
    assert slurm.calls("sbatch") == []


def test_the_script_ends_in_one_command_that_takes_the_shells_place(submit, slurm, tmp_path, job_file):
    last = submit("--dry-run", "--set", "engine.max_attempts=5").out.splitlines()[-1]
    words = shlex.split(last)
    assert words[0] == "exec"
    assert words[2:6] == ["-P", "-m", "raythena.cli", "run"]
    assert {str(job_file), f"--taskdir={tmp_path / 'task'}", "--resume", "--chained", "--set=engine.max_attempts=5"} <= set(words)
    assert "--grace=75" in words, "some of the warning is kept for the end"


def test_bash_can_read_the_script_whatever_names_are_in_it(submit, slurm, tmp_path):
    script = submit("--dry-run", "--set", "batch.before=module load 'a b'").out
    assert "module load 'a b'\nexec" in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_every_directive_can_be_set_or_dropped(submit, slurm):
    site = ("--set", "batch.directives=partition=big qos=regular nodes=9", "--set", "batch.drop=exclusive requeue")
    wanted = directives(submit("--dry-run", *site, "--sbatch", "qos=debug", "--sbatch", "--account=m1").out)
    assert (wanted["partition"], wanted["qos"], wanted["account"], wanted["nodes"]) == ("big", "debug", "m1", "9")
    assert not {"exclusive", "requeue"} & set(wanted)


@pytest.mark.parametrize("word", ["=x", "two;words=1", "'", "a='b\nc'", "a b?=1"])
def test_what_is_no_directive(submit, slurm, word):
    ran = submit("--dry-run", "--sbatch", word)
    assert ran.code == ExitCode.INVALID_INPUT
    assert "--sbatch" in ran.err


def test_a_value_with_spaces_stays_one_value(submit, slurm):
    assert "#SBATCH --comment='for the group'" in submit("--dry-run", "--sbatch", "comment='for the group'").out.splitlines()


# ---- submitting


def test_it_is_checked_submitted_and_remembered(submit, slurm, tmp_path, run):
    ran = submit()
    assert ran.code == 0
    assert ran.out.splitlines()[0] == "submitted 101"
    chain = ChainDirectory(tmp_path / "task")
    assert chain.submitted() == ["101"]
    assert chain.plan() == ChainPlan(until_done=False, max_allocations=100)
    assert [("--test-only" in call) for call in slurm.calls("sbatch")] == [True, False]
    assert (tmp_path / "task" / "job.json").exists()
    slurm.queue("101|PENDING|1:00:00|Resources")
    (listed,) = json.loads(run("jobs", "--json").out)
    assert (listed["task"], listed["state"], listed["jobs"]) == (str(tmp_path / "task"), "queued", {"101": "PENDING"})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--time", "3h"), "--time: is 10800 s; expected at most 7200 s, as the default partition gives"),
        (("--nodes", "9"), "--nodes: is 9; expected at most 8, as the default partition gives"),
    ],
)
def test_what_the_partition_would_never_start_is_refused(submit, slurm, options, words):
    ran = submit(*options)
    assert ran.code == ExitCode.INVALID_INPUT
    assert words in ran.err
    assert slurm.pending == []


def test_limits_are_those_of_the_partition_asked_for(submit, slurm):
    (slurm.place / "partitions").write_text(PARTITIONS.splitlines()[1] + "\n")
    assert submit("--time", "30h", "--nodes", "900", "--sbatch", "partition=big").code == 0
    assert slurm.calls("scontrol")[-1].endswith("show partition big")


def test_limits_that_cannot_be_asked_for_stop_nothing(submit, slurm):
    slurm.break_("scontrol")
    ran = submit()
    assert ran.code == 0
    assert "limits of the partition are not known: scontrol ended with 1: scontrol: error: scontrol is down" in ran.err


def test_what_slurm_refuses_is_told_in_its_words(submit, slurm):
    slurm.break_("sbatch")
    ran = submit()
    assert ran.code != 0
    assert "Slurm would refuse this job: sbatch: error: sbatch is down" in ran.err


def test_one_chain_at_a_time(submit, slurm):
    assert submit().code == 0
    ran = submit("--resume")
    assert ran.code == ExitCode.INVALID_INPUT
    assert "has job 101 in the queue. `raythena jobs` shows it, `raythena cancel` ends it" in ran.err


def test_a_bad_job_never_comes_to_slurm(run, slurm, tmp_path):
    (tmp_path / "bad.yaml").write_text("name: x\n")
    assert run("submit", tmp_path / "bad.yaml").code == ExitCode.INVALID_INPUT
    assert slurm.calls("sbatch") == []


# ---- listing and cancelling


def test_nothing_was_submitted(run, slurm):
    assert run("jobs").out == "nothing was submitted from here\n"


def test_a_queue_that_does_not_answer_is_said(submit, slurm, run):
    submit()
    slurm.break_("squeue")
    ran = run("jobs")
    assert ran.code == 0
    assert ran.out.startswith("unknown")
    assert "what is in the queue is not known" in ran.err


@pytest.mark.parametrize(
    ("queue", "state"),
    [
        (["101|RUNNING|59:00|None"], "running"),
        (["101|PENDING|1:00:00|Priority"], "queued"),
        (["101|FAILED|0:00|NonZeroExitCode"], "stopped"),
        ([], "stopped"),
    ],
)
def test_states(submit, slurm, run, queue, state):
    submit()
    slurm.queue(*queue)
    assert json.loads(run("jobs", "--json").out)[0]["state"] == state


def test_cancelling_says_so_first_then_empties_the_queue_then_asks_what_runs(submit, slurm, run, tmp_path):
    submit()
    slurm.pending = ["102"]
    slurm.queue("101|RUNNING|59:00|None")
    ran = run("cancel", tmp_path / "task")
    assert ran.out == "cancelled 102\nending 101\n"
    assert slurm.calls("scancel") == ["scancel 102", "scancel --signal=TERM --batch 101"]
    assert ChainDirectory(tmp_path / "task").cancelled


def test_now_means_now(submit, slurm, run, tmp_path):
    submit()
    slurm.pending = []
    slurm.queue("101|RUNNING|59:00|None")
    run("cancel", tmp_path / "task", "--now")
    assert slurm.calls("scancel") == ["scancel 101"]


def test_only_what_was_submitted_can_be_cancelled(run, slurm, computed):
    ran = run("cancel", computed.root)
    assert ran.code == ExitCode.INVALID_INPUT
    assert "was not submitted" in ran.err


# ---- an allocation in its chain


@pytest.fixture
def link(slurm, tmp_path):
    """The allocation 50 of a chain."""
    task = TaskDirectory(tmp_path / "chained")
    task.root.mkdir()
    chain = ChainDirectory(task.root)
    chain.create(ChainPlan(until_done=True, max_allocations=3), "raythena-x", "#!/bin/bash\n")
    told = []

    def make(job_id="50", restarts="0"):
        environ = {"SLURM_JOB_ID": job_id, "SLURM_JOB_NODELIST": "n1", "SLURM_RESTART_COUNT": restarts}
        made = ChainLink(task, environ, told.append)
        made.told, made.chain = told, chain
        return made

    return make


def test_the_next_allocation_is_queued_behind_this_one(link, slurm):
    one = link()
    assert one.begin()
    assert slurm.pending == ["101"]
    assert "--dependency=afterany:50" in slurm.calls("sbatch")[0]
    assert one.chain.submitted() == ["101"]
    one.end(ExitCode.STOPPED)
    assert slurm.pending == ["101"]


@pytest.mark.parametrize("code", [ExitCode.OK, ExitCode.INCOMPLETE, ExitCode.ABORTED, ExitCode.INVALID_INPUT])
def test_it_is_taken_back_when_the_job_is_over(link, slurm, code):
    one = link()
    one.begin()
    one.end(code)
    assert slurm.pending == []
    assert "end of the chain" in one.told[-1]


def test_one_that_was_queued_and_not_noted_is_found_by_its_name(link, slurm):
    """The allocation died between `sbatch` and writing it down, and was requeued."""
    slurm.pending = ["77"]
    one = link(restarts="1")
    one.begin()
    assert slurm.pending == ["77"]
    assert slurm.calls("sbatch") == []


def test_a_queue_that_is_full_at_the_beginning_is_asked_again_at_the_end(link, slurm):
    slurm.break_("sbatch")
    one = link()
    assert one.begin()
    assert "could not be queued: sbatch ended with 1" in one.told[0]
    slurm.mend("sbatch")
    one.end(ExitCode.STOPPED)
    assert slurm.pending == ["101"]


def test_errors_of_squeue_never_end_a_chain(link, slurm):
    slurm.break_("squeue")
    one = link()
    assert one.begin()
    one.end(ExitCode.CLUSTER)
    one.end(ExitCode.OK)
    assert "will end by itself" in one.told[-1]


def test_a_successor_that_is_not_wanted_ends_by_itself(link, slurm):
    link().chain.cancel()
    assert not link("51").begin()


def test_the_last_one_queues_nothing(link, slurm):
    chain = link().chain
    for number, job_id in enumerate(("48", "49")):
        chain.note_begun(AllocationBegun(job_id, float(number), number))
    one = link()
    assert one.begin()
    assert slurm.pending == []
    one.end(ExitCode.STOPPED)
    assert slurm.pending == []
    assert "this is the last of 3 allocations" in one.told[0]


def test_a_refused_allocation_leaves_the_chain_to_the_other_one(link, slurm):
    one = link()
    one.begin()
    one.end(ExitCode.LEDGER)
    assert slurm.pending == ["101"]


def test_a_new_submission_forgets_the_old_chain(link):
    chain = link().chain
    chain.note_begun(AllocationBegun("1", 0.0, 5))
    chain.note_submitted("1")
    chain.cancel()
    chain.create(ChainPlan(until_done=False, max_allocations=1), "raythena-y", "#!/bin/bash\n")
    assert (chain.begun(), chain.submitted(), chain.cancelled, chain.batch_name) == ([], [], False, "raythena-y")


def test_what_describes_this_job_is_not_what_the_next_one_gets(link, slurm, monkeypatch):
    seen = slurm.place / "seen"
    (slurm.place / "sbatch").write_text(f"#!/bin/sh\nenv > {seen}\necho 9\n")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    link().begin()
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    assert "SLURM_CPUS_PER_TASK" not in names
    assert {"SLURM_CONF", "SBATCH_ACCOUNT"} <= names
