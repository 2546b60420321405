"""The real pilot against our server, without Ray: the payload is driven as an agent drives it."""

import asyncio
import json
import time

import pytest
from pilot_kit import fetch_pilot, pilot_payload, served_job

from athenamp_stand_in.content import write_evnt
from raythena.domain.errors import PayloadError
from raythena.domain.ranges import EventRange
from raythena.payloads.pilot.pilot_payload import PilotPayload
from raythena.runtime.payload_interface import Done, Failed, LeasedRange, PayloadContext, Released, Remark

CORES = 2


@pytest.fixture(scope="module")
def pilot():
    return fetch_pilot()


@pytest.fixture
def events(tmp_path):
    """A file of 20 events, and a range for each."""
    path = tmp_path / "EVNT.000001.pool.root"
    guid = write_evnt(path, range(1, 21))
    return path, [LeasedRange(n, EventRange(f"{path.name}-{n}", path.name, str(path), guid, n, n)) for n in range(1, 21)]


def context(place, pilot, path, plan=None, job=None, **options):
    scratch = place / "scratch" / "payload"
    scratch.mkdir(parents=True)
    told = pilot_payload(pilot, served_job(4711, [path], **(job or {})), plan, **options)["options"]
    return PayloadContext("node.1", CORES, scratch, told, "job", place / "logs")


async def driven(payload, ranges):
    """Every outcome of the ranges, and what the payload gave up with."""
    outcomes, waiting = [], list(ranges)
    try:
        while len(outcomes) < len(ranges):
            if waiting and (room := payload.appetite):
                payload.feed(waiting[:room])
                del waiting[:room]
            outcomes += [one for one in await payload.poll(0.2) if isinstance(one, Done | Failed | Released)]
    except PayloadError as problem:
        return outcomes, str(problem)
    return outcomes, ""


def run(scenario, limit_s):
    return asyncio.run(asyncio.wait_for(scenario(), limit_s))


def journal(place, number=1):
    """What the pilot asked, in order."""
    lines = (place / "logs" / f"pilot-{number}" / "requests.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.timeout(120)
def test_a_whole_small_job(pilot, tmp_path, events):
    path, ranges = events

    async def scenario():
        payload = PilotPayload()
        await payload.start(context(tmp_path, pilot, path, {"event_s": 0.1}))
        outcomes, problem = await driven(payload, ranges)
        await payload.drain(30.0)
        await payload.stop()
        return outcomes, problem

    outcomes, problem = run(scenario, 110)
    assert (problem, {type(one) for one in outcomes}) == ("", {Done})
    assert sorted(one.index for one in outcomes) == list(range(1, 21))
    calls = [line["call"] for line in journal(tmp_path)]
    assert calls.index("getJob") < calls.index("getEventRanges")


@pytest.mark.timeout(120)
def test_a_payload_that_dies_before_it_asks_for_events(pilot, tmp_path, events):
    """The pilot alone would need some three minutes to say so."""
    path, ranges = events
    transform, died = tmp_path / "Sim_tf.py", tmp_path / "died"
    transform.write_text(
        f"import time\ntime.sleep(1)\nopen({str(died)!r}, 'w').write(str(time.time()))\nimport nowhere_to_be_found\n"
    )

    async def scenario():
        payload = PilotPayload()
        await payload.start(context(tmp_path, pilot, path, job={"transformation": str(transform)}, max_starts=1))
        outcomes, problem = await driven(payload, ranges)
        noticed_s = time.time() - float(died.read_text())
        await payload.stop()
        return outcomes, problem, noticed_s

    outcomes, problem, noticed_s = run(scenario, 110)
    assert {type(one) for one in outcomes} <= {Released}
    assert "its payload exited with status 1: ModuleNotFoundError: No module named 'nowhere_to_be_found'" in problem
    assert noticed_s < 15
    assert "getEventRanges" not in [line["call"] for line in journal(tmp_path)]


@pytest.mark.timeout(180)
def test_two_nodes_on_one_machine_do_not_hear_each_other(pilot, tmp_path, events):
    """With the default settings each pilot has the same process number, and so the same name for its channel."""
    path, ranges = events
    places = [tmp_path / "a", tmp_path / "b"]

    async def node(place):
        payload = PilotPayload()
        await payload.start(context(place, pilot, path, {"event_s": 0.2}))
        outcomes, problem = await driven(payload, ranges)
        await payload.drain(30.0)
        await payload.stop()
        return outcomes, problem

    async def scenario():
        return await asyncio.gather(*map(node, places))

    for place, (outcomes, problem) in zip(places, run(scenario, 170), strict=True):
        assert problem == ""
        assert {type(one) for one in outcomes} == {Done}, outcomes
        assert sorted(one.index for one in outcomes) == list(range(1, 21))
        assert all(one.path.is_relative_to(place) for one in outcomes)
        assert "getEventRanges" in [line["call"] for line in journal(place)], "the first pilot of each node has its channel"


@pytest.mark.timeout(180)
def test_a_proxy_as_documented_does_not_keep_the_pilot_from_asking(pilot, tmp_path, events):
    """There is no arcproxy here: a pilot that checked its proxy would never ask for a job."""
    path, ranges = events
    proxy = tmp_path / "x509proxy"
    proxy.write_text("no proxy at all")

    async def scenario():
        payload = PilotPayload()
        await payload.start(context(tmp_path, pilot, path, proxy=str(proxy)))
        outcomes, problem = await driven(payload, ranges)
        await payload.stop()
        return outcomes, problem

    outcomes, problem = run(scenario, 170)
    assert (problem, {type(one) for one in outcomes}) == ("", {Done})


@pytest.mark.timeout(180)
@pytest.mark.parametrize("trouble", ["yampl", "proxy"])
def test_a_pilot_that_will_never_ask_is_noticed_within_seconds(pilot, tmp_path, events, trouble):
    path, ranges = events
    place = context(tmp_path, pilot, path, max_starts=2)
    if trouble == "yampl":
        place.options["environment"]["PYTHONPATH"] = ""
        said = "No module named 'yampl'"
    else:
        place.options["verify_proxy"] = True
        said = "voms proxy certificate check failure: 127"

    async def scenario():
        payload, remarks = PilotPayload(), []
        began = time.monotonic()
        await payload.start(place)
        payload.feed(ranges)
        try:
            while True:
                remarks += [one.text for one in await payload.poll(0.2) if isinstance(one, Remark)]
        except PayloadError as problem:
            return str(problem), remarks, time.monotonic() - began
        finally:
            await payload.stop()

    problem, remarks, took_s = run(scenario, 170)
    assert "2 pilots in a row never asked for ranges" in problem
    assert said in problem
    assert len(remarks) == 2
    assert took_s < 100, "two starts; one alone would have taken minutes"


@pytest.mark.timeout(180)
def test_two_files_for_one_range_are_charged_to_it_with_what_the_pilot_says(pilot, tmp_path, events):
    path, ranges = events

    async def scenario():
        payload = PilotPayload()
        await payload.start(context(tmp_path, pilot, path, {"two_files": [3]}))
        outcomes, problem = await driven(payload, ranges[:8])
        await payload.stop()
        return outcomes, problem

    outcomes, problem = run(scenario, 170)
    failed = {one.index: one.message for one in outcomes if isinstance(one, Failed)}
    assert (problem, set(failed)) == ("", {3})
    assert "AthenaMP wrote 2 files for one range" in failed[3]
    assert "Failed to handle out message" in failed[3]
