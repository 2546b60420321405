"""An output is handed over only when no event of its inputs can come out a second time."""

from access_point_kit import final_output, merging_job
from hypothesis import given
from hypothesis import strategies as st

from raythena.gateways.harvester.books import Books


def names(entries):
    return [entry["path"].rpartition("/")[2] for entry in entries]


def test_several_inputs_in_one_output(tmp_path):
    job = merging_job(events_per_output=20)
    books = Books(job)
    assert names(books.add(final_output(tmp_path, job.outputs[1]))) == [job.outputs[1]]
    assert [file.lfn for file in books.skipped()] == [file.lfn for file in job.inputs[:2]]
    assert not books.whole
    books.add(final_output(tmp_path, job.outputs[0]))
    assert books.whole
    assert books.skipped() == []


def test_one_input_in_several_outputs(tmp_path):
    """Half of an input is no use to PanDA, which gives the whole of it to another job."""
    job = merging_job(events_per_output=5)
    books = Books(job)
    assert books.add(final_output(tmp_path, job.outputs[0], 5)) == []
    assert books.state() == {"merged": {}}
    assert names(books.add(final_output(tmp_path, job.outputs[1], 5))) == list(job.outputs[:2])
    assert list(books.state()["merged"]) == [job.inputs[0].lfn]


def test_an_output_without_all_its_events_is_not_handed_over(tmp_path):
    job = merging_job(events_per_output=20)
    books = Books(job)
    assert books.add(final_output(tmp_path, job.outputs[0], 19)) == []
    assert len(books.skipped()) == 4


def test_an_output_told_twice_is_handed_over_once(tmp_path):
    job = merging_job(events_per_output=20)
    books = Books(job)
    output = final_output(tmp_path, job.outputs[0])
    assert len(books.add(output)) == 1
    assert books.add(output) == []


@given(st.sampled_from([2, 5, 10, 20, 40]), st.randoms(), st.integers(0, 20))
def test_inputs_are_either_done_or_skipped(tmp_path_factory, events_per_output, dice, merged):
    job = merging_job(events_per_output)
    directory = tmp_path_factory.getbasetemp()
    books = Books(job)
    order = list(job.outputs)
    dice.shuffle(order)
    handed = [entry for lfn in order[:merged] for entry in books.add(final_output(directory, lfn, events_per_output))]
    assert sorted(names(handed)) == sorted(books.ready)
    skipped = {file.lfn for file in books.skipped()}
    assert skipped.isdisjoint(books.state()["merged"])
    assert skipped | set(books.state()["merged"]) == {file.lfn for file in job.inputs}
    assert books.whole == (merged >= len(job.outputs))
