"""An output is handed over only when no event of its inputs can come out a second time."""

from access_point_kit import final_output, merging_job
from hypothesis import given
from hypothesis import strategies as st

from raythena.gateways.harvester.deliverables import Deliverables


def names(entries):
    return [entry["path"].rpartition("/")[2] for entry in entries]


def test_several_inputs_in_one_output(tmp_path):
    job = merging_job(events_per_output=20)
    deliverables = Deliverables(job)
    assert names(deliverables.add(final_output(tmp_path, job.outputs[1]))) == [job.outputs[1]]
    assert [file.lfn for file in deliverables.skipped()] == [file.lfn for file in job.inputs[:2]]
    assert not deliverables.whole
    deliverables.add(final_output(tmp_path, job.outputs[0]))
    assert deliverables.whole
    assert deliverables.skipped() == []


def test_one_input_in_several_outputs(tmp_path):
    """Half of an input is no use to PanDA, which gives the whole of it to another job."""
    job = merging_job(events_per_output=5)
    deliverables = Deliverables(job)
    assert deliverables.add(final_output(tmp_path, job.outputs[0], 5)) == []
    assert deliverables.state() == {"merged": {}}
    assert names(deliverables.add(final_output(tmp_path, job.outputs[1], 5))) == list(job.outputs[:2])
    assert list(deliverables.state()["merged"]) == [job.inputs[0].lfn]


def test_an_output_without_all_its_events_is_not_handed_over(tmp_path):
    job = merging_job(events_per_output=20)
    deliverables = Deliverables(job)
    assert deliverables.add(final_output(tmp_path, job.outputs[0], 19)) == []
    assert len(deliverables.skipped()) == 4


def test_an_output_told_twice_is_handed_over_once(tmp_path):
    job = merging_job(events_per_output=20)
    deliverables = Deliverables(job)
    output = final_output(tmp_path, job.outputs[0])
    assert len(deliverables.add(output)) == 1
    assert deliverables.add(output) == []


@given(st.sampled_from([2, 5, 10, 20, 40]), st.randoms(), st.integers(0, 20))
def test_inputs_are_either_done_or_skipped(tmp_path_factory, events_per_output, dice, merged):
    job = merging_job(events_per_output)
    directory = tmp_path_factory.getbasetemp()
    deliverables = Deliverables(job)
    order = list(job.outputs)
    dice.shuffle(order)
    handed = [entry for lfn in order[:merged] for entry in deliverables.add(final_output(directory, lfn, events_per_output))]
    assert sorted(names(handed)) == sorted(deliverables.ready)
    skipped = {file.lfn for file in deliverables.skipped()}
    assert skipped.isdisjoint(deliverables.state()["merged"])
    assert skipped | set(deliverables.state()["merged"]) == {file.lfn for file in job.inputs}
    assert deliverables.whole == (merged >= len(job.outputs))
