"""Requests to join a session: only the owner of a task can make, see or answer them."""

import stat

import pytest

from raythena.domain.errors import StorageError
from raythena.storage.join_requests import JoinRequest, JoinRequests, is_private, write_answer

WANTED = JoinRequest(session="s", who="2 nodes of 7")


@pytest.fixture
def requests(tmp_path):
    return JoinRequests(tmp_path)


@pytest.fixture
def place(tmp_path):
    """The head's private directory."""
    directory = tmp_path / "rt-12345678"
    directory.mkdir(mode=0o700)
    return directory


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_request_is_seen_answered_and_taken_back(requests, place):
    name = requests.ask(WANTED)
    assert requests.waiting("s") == {name: WANTED}
    assert requests.answer(name) is None
    path = write_answer(place, name, b"secret")
    assert requests.answer(name) == path
    assert (path.read_bytes(), mode(path), mode(requests.directory)) == (b"secret", 0o600, 0o700)
    requests.withdraw(name)
    requests.withdraw(name)
    assert not requests.directory.exists()
    assert requests.waiting("s") == {}


def test_a_request_for_a_session_that_is_over_is_removed_by_the_next(requests):
    requests.ask(WANTED)
    assert requests.waiting("another") == {}
    later = requests.ask(JoinRequest(session="another", who="1 node of 8"))
    assert [path.name for path in requests.directory.iterdir()] == [later]


def test_what_is_no_request_is_left_alone(requests):
    name = requests.ask(WANTED)
    (requests.directory / "0123").write_text("hello")
    assert list(requests.waiting("s")) == [name]


@pytest.mark.parametrize("others", [0o750, 0o701, 0o777])
def test_a_directory_that_others_can_enter_is_not_used(requests, others):
    requests.directory.mkdir()
    requests.directory.chmod(others)
    with pytest.raises(StorageError, match="open to others"):
        requests.ask(WANTED)
    (requests.directory / "0123").write_bytes(b'{"session": "s", "who": "somebody else"}')
    assert requests.waiting("s") == {}


def test_an_answer_where_others_can_write_is_none(requests, place):
    name = requests.ask(WANTED)
    write_answer(place, name, b"a trap")
    place.chmod(0o755)
    assert requests.answer(name) is None


def test_a_link_to_a_private_directory_is_none(tmp_path, place):
    (tmp_path / "link").symlink_to(place)
    assert is_private(place)
    assert not is_private(tmp_path / "link")
    assert not is_private(tmp_path / "missing")


def test_an_answer_is_given_once(place):
    write_answer(place, "a", b"1").with_suffix(".part").touch()
    with pytest.raises(StorageError, match="cannot write"):
        write_answer(place, "a", b"2")
    assert (place / "a").read_bytes() == b"1"
