"""What is printed in documents, found and tied to what proves it.

A block is whatever stands between two lines of backticks. What proves it is a function marked with `proves`, chosen by the
document and a phrase in the block where one is given, else by the block's language. There are three kinds of proof: the block is
*executed* (run, compiled, taken by the program as input), *parsed* by what will read it, or *compared* with what is printed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXECUTED, PARSED, COMPARED = KINDS = ("executed", "parsed", "compared")
HOW_TO = """
Nothing tests this block. Make it testable: give it a language that is proved as a whole (`console`, `yaml`, `toml`, `cpp`),
or add a function to tests/unit/docs/test_blocks.py marked with
    @proves(EXECUTED, "python", "docs/thatpage.md", "a phrase of the block")
that runs, parses or compares it and fails when it is wrong. `COMPARED` is for output: produce it, and compare what stays."""


@dataclass(frozen=True)
class Block:
    """One block of one document."""

    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line} {self.language or 'without language'}"


Proof = Callable[..., None]


@dataclass(frozen=True)
class _Registered:
    kind: str
    language: str
    document: str
    phrase: str
    proof: Proof

    def fits(self, block: Block) -> bool:
        """Whether it is about this block."""
        return block.language == self.language and self.document in ("", block.document) and self.phrase in block.text


_PROOFS: list[_Registered] = []


def proves(kind: str, language: str, document: str = "", phrase: str = "") -> Callable[[Proof], Proof]:
    """Mark a function that proves blocks; it is called with the block and what else of pytest's fixtures it names."""
    assert kind in KINDS

    def marked(proof: Proof) -> Proof:
        _PROOFS.append(_Registered(kind, language, document, phrase, proof))
        return proof

    return marked


def proof_of(block: Block) -> tuple[str, Proof] | None:
    """Kind and function, the most special one that fits."""
    fitting = [one for one in _PROOFS if one.fits(block)]
    best = max(fitting, key=lambda one: (bool(one.document), len(one.phrase)), default=None)
    return None if best is None else (best.kind, best.proof)


def blocks_of(path: Path) -> Iterator[Block]:
    """The blocks of a document, in order."""
    text = path.read_text()
    for found in re.finditer(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```\s*$", text, re.MULTILINE | re.DOTALL):
        lines = [line.removeprefix(found[1]) for line in found[3].splitlines(keepends=True)]
        yield Block(str(path.relative_to(ROOT)), text[: found.start()].count("\n") + 1, found[2], "".join(lines))


def is_run_with_ray(block: Block) -> bool:
    """Whether `tests/jobs/test_documents.py` runs it, on a cluster: whole jobs, unless they need programs from elsewhere."""
    if block.document == "README.md" and block.language == "console":
        return "raythena run" in block.text
    elsewhere = any(word in block.text for word in ("my-plugin", "transform", "container"))
    return block.language == "yaml" and "inputs:" in block.text and not elsewhere


BLOCKS = [block for path in DOCUMENTS for block in blocks_of(path)]


def prose_of(path: Path) -> str:
    """A document without its blocks."""
    return re.sub(r"^( *)```.*?^\1```\s*$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def code_in(path: Path) -> list[str]:
    """What stands between single backticks in the prose of a document."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose_of(path))


def anchors_of(path: Path) -> set[str]:
    """The names under which headings can be linked to, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?)\s*$", prose_of(path), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 0
        while (one := name if not number else f"{name}-{number}") in found:
            number += 1
        found.add(one)
    return found
