"""EVNT files: real collisions, the same ones for the same seed."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raythena.demo import evnt
from raythena.demo.tables import Table, read_table
from raythena.domain.errors import InvalidInput
from raythena.domain.job import Job


def same_content(one: Table, other: Table) -> bool:
    return one.n_events == other.n_events and all(
        np.array_equal(values, theirs[name])
        for index in range(one.n_events)
        for ours, theirs in ((columns_of(one, index), columns_of(other, index)),)
        for name, values in ours.items()
    )


def columns_of(table: Table, index: int) -> dict[str, Any]:
    event = table.event(index)
    return event.scalars | {f"{group}.{name}": rows for group, fields in event.groups.items() for name, rows in fields.items()}


@pytest.fixture
def tables(demo_job: Job) -> list[Table]:
    return [read_table(Path(file.pfn), "EVNT") for file in demo_job.inputs]


def test_every_collision_conserves_energy_and_momentum(tables: list[Table]) -> None:
    for table in tables:
        for event in range(table.n_events):
            particles = table.groups["particle"].rows(event)
            for collision in range(table.groups["collision"].counts[event]):
                mine = particles["collision"] == collision
                assert particles["e"][mine].sum(dtype=np.float64) == pytest.approx(13_600, rel=1e-4)
                assert abs(particles["px"][mine].sum(dtype=np.float64)) < 0.01


def test_collisions_lie_apart_along_the_beam_and_their_particles_with_them(tables: list[Table]) -> None:
    for table in tables:
        for event in range(table.n_events):
            points, particles = table.groups["collision"].rows(event), table.groups["particle"].rows(event)
            born_there = np.isclose(particles["vz"], points["z"][particles["collision"]], atol=1e-3)
            assert born_there.mean() > 0.6
            assert np.hypot(points["x"], points["y"]).max() < 0.1
    z = np.concatenate([table.groups["collision"].fields["z"] for table in tables])
    assert 20 < z.std() < 90


def test_the_first_collision_is_a_hard_one_and_the_others_are_soft(tables: list[Table]) -> None:
    soft = 101
    for table in tables:
        for event in range(table.n_events):
            process = table.groups["collision"].rows(event)["process"]
            assert process[0] == table.scalars["ProcessCode"][event] != soft
            assert set(process[1:]) <= {soft}


def test_event_numbers_are_unique_over_all_files(tables: list[Table]) -> None:
    numbers = np.concatenate([table.scalars["EventNumber"] for table in tables])
    assert numbers.tolist() == list(range(1, 13))
    assert {int(run) for table in tables for run in table.scalars["RunNumber"]} == {evnt.DEFAULT_RUN_NUMBER}


def test_files_have_different_events_and_record_their_seed(tables: list[Table]) -> None:
    first, second = tables
    assert first.scalars["GeneratorSeed"][0] != second.scalars["GeneratorSeed"][0]
    assert not np.array_equal(first.groups["particle"].fields["e"][:50], second.groups["particle"].fields["e"][:50])


def test_another_seed_is_another_one_for_every_file_and_both_generators() -> None:
    seeds = [recipe.generator_seeds for seed in (7, 8) for recipe in evnt.plan(2, 6, seed)]
    assert len({one for pair in seeds for one in pair}) == 8


def test_without_pileup_there_is_one_collision(tmp_path: Path) -> None:
    (recipe,) = evnt.plan(1, 2, 7, pileup=0)
    evnt.cook(recipe, tmp_path / recipe.name)
    assert read_table(tmp_path / recipe.name, "EVNT").groups["collision"].counts.tolist() == [1, 1]


def test_a_file_made_alone_and_here_is_the_one_made_beside_others_in_another_process(tmp_path: Path, tables: list[Table]) -> None:
    recipe = evnt.plan(2, 6, seed=7, pileup=1.5)[1]
    evnt.cook(recipe, tmp_path / recipe.name)
    assert same_content(read_table(tmp_path / recipe.name, "EVNT"), tables[1])


def test_the_mean_number_of_collisions_is_what_was_asked_for_and_varies_widely() -> None:
    random = np.random.default_rng(1)
    drawn = np.array([evnt.drawn_pileup(random, 10) for _ in range(2000)])
    assert drawn.mean() == pytest.approx(10, abs=0.7)
    assert drawn.std() > 5
    assert drawn.min() == 0


class TestReuse:
    """Files that are there already. A stand-in cooks: Pythia takes a second to start."""

    @pytest.fixture(autouse=True)
    def cooked(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        cooked: list[str] = []

        def cook(recipe: evnt.Recipe, path: Path) -> int:
            cooked.append(recipe.name)
            path.write_text(recipe.guid)
            return zlib.adler32(recipe.guid.encode())

        monkeypatch.setattr(evnt, "cook", cook)
        return cooked

    @pytest.fixture
    def made(self, tmp_path: Path, cooked: list[str]) -> list[Path]:
        paths = evnt.generate(tmp_path, 2, 2, seed=1, processes=1)
        cooked.clear()
        return paths

    def test_matching_files_are_kept(self, made: list[Path], cooked: list[str]) -> None:
        assert evnt.generate(made[0].parent, 2, 2, seed=1, processes=1) == made
        assert cooked == []

    @pytest.mark.parametrize("damage", [lambda path: path.write_text("x"), Path.unlink])
    def test_only_a_damaged_file_is_made_again(
        self, made: list[Path], cooked: list[str], damage: Callable[[Path], object]
    ) -> None:
        content = made[1].read_text()
        damage(made[1])
        evnt.generate(made[0].parent, 2, 2, seed=1, processes=1)
        assert cooked == [made[1].name]
        assert made[1].read_text() == content

    def test_more_files_of_the_same_recipe_are_added(self, made: list[Path], cooked: list[str]) -> None:
        assert evnt.generate(made[0].parent, 3, 2, seed=1, processes=1)[:2] == made
        assert cooked == ["EVNT.000003.root"]

    @pytest.mark.parametrize("change", [{"seed": 2}, {"events_per_file": 3}, {"run_number": 1}, {"pileup": 7.0}])
    def test_files_of_another_recipe_are_replaced(self, made: list[Path], cooked: list[str], change: dict[str, int]) -> None:
        wanted = {"files": 2, "events_per_file": 2, "seed": 1, "run_number": evnt.DEFAULT_RUN_NUMBER, "processes": 1} | change
        evnt.generate(made[0].parent, **wanted)
        assert cooked == [path.name for path in made]

    @pytest.mark.parametrize("manifest", ["", "[]", "{broken", '{"EVNT.000001.root": 3}'])
    def test_a_useless_manifest_is_no_obstacle(self, made: list[Path], manifest: str) -> None:
        (made[0].parent / evnt.MANIFEST).write_text(manifest)
        evnt.generate(made[0].parent, 2, 2, seed=1, processes=1)
        assert json.loads((made[0].parent / evnt.MANIFEST).read_text()).keys() == {path.name for path in made}

    def test_nothing_else_is_left_behind(self, made: list[Path]) -> None:
        assert {path.name for path in made[0].parent.iterdir()} == {*(path.name for path in made), evnt.MANIFEST}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"files": 0}, "files"),
        ({"events_per_file": 0}, "events_per_file"),
        ({"seed": -1}, "seed"),
        ({"pileup": -0.5}, "pileup"),
        ({"pileup": 201.0}, "pileup"),
        ({"pileup": float("nan")}, "pileup"),
    ],
)
def test_impossible_numbers_are_refused(tmp_path: Path, wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        evnt.generate(tmp_path, **{"files": 1, "events_per_file": 1, "seed": 1, **wrong})
    assert refusal.value.field == field


def test_generator_seeds_are_what_pythia_accepts() -> None:
    seeds = {seed for recipe in evnt.plan(500, 1, seed=0) for seed in recipe.generator_seeds}
    assert len(seeds) == 1000
    assert 0 < min(seeds) <= max(seeds) <= 900_000_000


def test_physics_pythia_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="HardQCD:none"):
        evnt.cook(evnt.Recipe(1, 1, 1, 1, 0.0, ("HardQCD:none = on",)), tmp_path / "x.root")


def test_missing_particle_data_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHIA8DATA", str(tmp_path))
    with pytest.raises(InvalidInput, match="PYTHIA8DATA"):
        evnt.cook(evnt.plan(1, 1, 1)[0], tmp_path / "x.root")
