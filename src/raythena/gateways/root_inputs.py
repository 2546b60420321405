"""Counting the events of ROOT input files.

The number of events is the number of entries of the event tree, which the job file may name (`tree:`); `storage.root.contents`
knows which it is otherwise.

Rule: every way a file can be broken ends in an InvalidInput that names it and says what to do.
"""

from __future__ import annotations

from pathlib import Path

from raythena.domain.document import nearest
from raythena.domain.errors import InvalidInput
from raythena.storage.root.contents import EVENT_TREES, NoEventTree, NotRoot, RootFileError, event_tree, n_entries, opened


def count_root_events(path: Path, tree: str | None = None) -> int:
    """Events in a ROOT file: the entries of `tree`, or of the event tree.

    Raises InvalidInput when the file is no ROOT file or damaged, the tree is missing or not to be guessed, or holds no event.
    """
    try:
        with opened(path) as file:
            name = event_tree(file, tree)
            entries = n_entries(file, name)
    except NotRoot as error:
        problem, hint = f"{error}, so its events cannot be counted", "Say `events:` for inputs of another kind"
        raise InvalidInput(str(path), "", problem, expected="a ROOT file", hint=hint) from error
    except NoEventTree as error:
        raise _no_tree(path, tree, error) from error
    except RootFileError as error:
        hint = "Copy it again" if "cut short" in str(error) else ""
        raise InvalidInput(str(path), "", str(error), expected="a complete ROOT file", hint=hint) from error
    if entries < 1:
        raise InvalidInput(str(path), name, "holds no events", expected="a tree with at least one entry")
    return entries


def _no_tree(path: Path, tree: str | None, error: NoEventTree) -> InvalidInput:
    if tree is None:
        expected, hint = "one of " + ", ".join(EVENT_TREES), "Say `tree:` in the job file"
        return InvalidInput(str(path), "tree", str(error), expected=expected, hint=hint)
    listed = ", ".join(sorted(error.trees)) or "no tree at all"
    return InvalidInput(str(path), "tree", str(error), expected=listed, hint=nearest(tree, error.trees))
