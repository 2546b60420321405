"""States move along their tables, and nowhere else."""

from enum import Enum

import pytest

from raythena.domain.errors import InternalError
from raythena.payloads.athenamp.athenamp_payload import PHASES, Phase
from raythena.payloads.lifecycle import Lifecycle
from raythena.payloads.workers.slot import TRANSITIONS, SlotState


class Light(Enum):
    RED = "red"
    GREEN = "green"


TABLE = {Light.RED: frozenset({Light.GREEN}), Light.GREEN: frozenset({Light.RED})}


def test_a_state_is_entered_along_the_table_and_its_time_is_noted():
    light = Lifecycle("the light", TABLE, Light.RED)
    light.enter(Light.GREEN, 4.0)
    assert (light.state, light.since) == (Light.GREEN, 4.0)


def test_what_the_table_does_not_allow_is_refused_with_the_way_it_came():
    light = Lifecycle("the light", TABLE, Light.RED)
    light.enter(Light.GREEN, 4.0)
    with pytest.raises(InternalError, match=r"the light cannot go from green to green; .* red at 0\.000, green at 4\.000"):
        light.enter(Light.GREEN, 5.0)
    assert light.since == 4.0


@pytest.mark.parametrize(("table", "states"), [(TRANSITIONS, SlotState), (PHASES, Phase)])
def test_a_table_says_what_follows_each_state_and_every_state_can_be_left_and_reached(table, states):
    assert set(table) == set(states)
    assert all(table[state] - {state} for state in states)
    assert set().union(*(following - {state} for state, following in table.items())) == set(states)
