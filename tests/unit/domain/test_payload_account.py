"""What payloads tell of themselves, put together for the job report."""

import pytest

from raythena.domain.payload_account import PayloadAccount, together, transform_resource


def test_accounts_are_added_up():
    one = PayloadAccount("pilot", 2, 3, {"waits": 10, "mean_wait_s": 0.1, "longest_wait_s": 1.0}, 1, {"cpuTime": 5})
    other = PayloadAccount("pilot", 1, 1, {"waits": 30, "mean_wait_s": 0.3, "longest_wait_s": 0.5}, 1, {"cpuTime": 7})
    told = together([one, PayloadAccount.from_dict(other.to_dict())])
    assert (told["lives"], told["starts"]) == (2, {"pilots": 4, "transforms": 3})
    assert (told["waiting"]["waits"], told["waiting"]["mean_wait_s"], told["waiting"]["longest_wait_s"]) == (40, 0.25, 1.0)
    assert told["transform"] == {"reports": 2, "cpuTime": 12}
    assert together([]) is None


def test_numbers_of_a_transform_s_report():
    report = {"resource": {"transform": {"cpuTime": 5, "cpuEfficiency": 0.9, "wallTime": "x"}}}
    assert transform_resource(report) == {"cpuTime": 5}
    assert transform_resource({"resource": []}) is None


@pytest.mark.parametrize("document", [[], {"kind": "x", "transforms": -1}, {"kind": "x", "unknown": 1}])
def test_what_is_no_account_is_refused(document):
    with pytest.raises((ValueError, TypeError)):
        PayloadAccount.from_dict(document)
