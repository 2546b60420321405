"""Figures told in prose are those of the code: defaults of settings have a test of their own, here are the others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from raythena.cli.session import _GOING_S
from raythena.cli.settings import SETTINGS
from raythena.engine import retry
from raythena.engine.engine_config import EngineConfig
from raythena.runtime.session_config import SessionConfig
from raythena.testing.simulation.samples import small_job

DOCS = Path(__file__).parents[3] / "docs"
ENGINE = EngineConfig()
BUDGET = ENGINE.budget
SESSION = SessionConfig("s", "/t", small_job())
WORDS = {"two": 2, "three": 3, "five": 5, "ten": 10}

TOLD = [
    ("failure.md", r"tried again after a pause \((\w+) s, doubling", ENGINE.retry_delay_s),
    ("failure.md", r"doubling, at most (\w+) s\)", retry._MAX_DELAY_S),
    ("failure.md", r"given up after (\w+) s of silence", SESSION.node_exchange.node_timeout_s),
    ("failure.md", r"does not answer within further (\w+) s", SESSION.frozen_agent_s),
    ("failure.md", r"waited for \| for (\w+) s, then the job is given up", ENGINE.no_node_limit_s),
    ("failure.md", r"of all that ever joined, but (\w+) always may", BUDGET.few_lost_nodes),
    ("failure.md", r"of the job's, but (\w+) always may", BUDGET.few_failed_events),
    ("failure.md", r"the same message on at least (\w+) nodes", BUDGET.repeated_nodes),
    ("failure.md", r"less than (\w+) % of that many events succeed", 100 * BUDGET.max_success_fraction),
    ("failure.md", r"outputs that are complete are merged \(within (\w+) minutes\)", ENGINE.abort_merge_limit_s / 60),
    ("failure.md", r"nodes wait (\w+) s", SESSION.coordinator_patience_s),
    ("failure.md", r"one that is about to go is waited for \((\w+) s\)", _GOING_S),
    ("failure.md", r"begun when at least (\w+) %\s+of them took less", 100 * ENGINE.deadline.finish_probability),
    ("failure.md", r"Why (\w+) %: core time", 100 * ENGINE.deadline.finish_probability),
    ("failure.md", r"after (\w+) hours, exit 12", ENGINE.supply.patience_s / 3600),
    ("failure.md", r"after (\w+) hours, exit 12", ENGINE.supply.report_patience_s / 3600),
]


@pytest.mark.parametrize(("document", "words", "value"), TOLD)
def test_a_figure_in_prose_is_the_one_of_the_code(document, words, value):
    told = re.findall(words, (DOCS / document).read_text())
    assert told, "the sentence has changed: change it here, too"
    assert [WORDS.get(figure) or float(figure) for figure in told] == [pytest.approx(value)] * len(told)


@pytest.mark.parametrize(
    ("name", "value"),
    [("budget.max_lost_node_fraction", BUDGET.few_lost_nodes), ("budget.max_failed_fraction", BUDGET.few_failed_events)],
)
def test_the_help_of_a_fraction_tells_how_many_are_always_allowed(name, value):
    assert f"({value} always may)" in SETTINGS[name].description


def test_documents_and_help_tell_the_time_limit_that_is_used():
    """The longest event seen so far counts, after ten of them; see `tests/unit/payloads` for the rule itself."""
    row = next(line for line in (DOCS / "failure.md").read_text().splitlines() if line.startswith("| event hangs"))
    protocol = next(
        part for part in (DOCS / "event-server-protocol.md").read_text().split("\n\n") if "`time_limit_factor` times" in part
    )
    for text in (row, protocol, SETTINGS["payload.time_limit_factor"].description):
        assert "longest" in text
        assert "mean" not in text
    for text in (row, protocol, SETTINGS["payload.first_time_limit_s"].description):
        assert re.search(r"\bten\b", text)
