"""Limits of the house. A figure that is not there yet is written down as it stands, and may only get better."""

from __future__ import annotations

import statistics
import textwrap

import pytest

MEDIAN_BODY = 9
LONGEST_BODY = 50
MOST_METHODS = 25
ANY_IN_1000 = 5.0
TESTS_TO_SOURCE = 0.9
pytestmark = pytest.mark.xdist_group("measures")  # the whole tree is read for them, once


def test_functions_are_short(measures):
    assert statistics.median(one.size for one in measures.functions) <= MEDIAN_BODY
    assert [one for one in measures.functions if one.size > LONGEST_BODY] == []


def test_classes_have_few_methods(measures):
    assert [one for one in measures.classes if one.size > MOST_METHODS] == []


def test_any_is_rare(measures):
    assert measures.any_in_1000 <= ANY_IN_1000


def test_a_module_has_a_name_of_its_own(measures):
    assert measures.shared_names == {}


def test_tests_are_about_as_long_as_the_source(measures):
    assert measures.tests_to_source >= TESTS_TO_SOURCE


def test_nothing_is_imported_in_a_circle(measures):
    assert measures.circles == ()


# ---- the measures themselves


def write(house, monkeypatch, tmp_path, **files):
    source = tmp_path / "src" / "raythena"
    source.mkdir(parents=True)
    monkeypatch.setattr(house, "SOURCE", source)
    for name, text in files.items():
        (source / f"{name}.py").write_text(textwrap.dedent(text))
    return [source / f"{name}.py" for name in files]


def test_circles_are_found_wherever_the_import_stands(house, monkeypatch, tmp_path):
    files = write(
        house,
        monkeypatch,
        tmp_path,
        a="from raythena import b\n",
        b="def f():\n    import raythena.c\n",
        c="if 0:\n    from raythena.a import x\n",
        d="import raythena.a\n",
    )
    assert list(house.circles(house.imports_of(files))) == [frozenset({"raythena.a", "raythena.b", "raythena.c"})]


def test_bodies_methods_and_any_are_counted(house, monkeypatch, tmp_path):
    text = '''
        from typing import Any

        class C:
            def one(self, x: Any) -> Any:
                """What it does."""
                y = x
                return y

            async def two(self): ...
    '''
    (path,) = write(house, monkeypatch, tmp_path, m=text)
    assert [(one.size, one.name.rpartition(" ")[2]) for one in house.functions_in(path)] == [(2, "one"), (1, "two")]
    assert [one.size for one in house.classes_in(path)] == [2]
    assert house._any_by_layer([path]) == {"m": (2, 10)}
