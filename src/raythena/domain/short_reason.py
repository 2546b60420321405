"""A reason that fits where little room is: one line, in which an exception and its message survive.

PanDA keeps 500 characters. Those of a traceback are frames of nobody's interest, and the sentence that matters comes last; of a
long text without a traceback the beginning says what it is about and the end what came of it.
"""

from __future__ import annotations

import re

_HEAD = re.compile(r"^(.*?)Traceback \(most recent call last\):\s*$")
_BETWEEN = ("During handling of the above exception", "The above exception was the direct cause")
_FRAMES_OF_RAY = re.compile(r"^ray::[^\s(]+\(.*pid=")
"""One way to match: a name that may hold what follows it costs the square of a line of brackets."""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_LOOKED_AT = 200_000
"""Characters of a text that are looked at, of its beginning and its end together."""
_GAP = " ... "


def short_reason(text: str, limit: int) -> str:
    """`text` in one line of at most `limit` characters (at least 20): tracebacks are left out but for what was raised."""
    if len(text) > _LOOKED_AT:
        text = text[: _LOOKED_AT // 4] + "\n...\n" + text[-_LOOKED_AT * 3 // 4 :]
    text = _ESCAPES.sub("", text)
    line = " ".join("".join(_printable(each) for each in "\n".join(_without_frames(text.splitlines()))).split())
    if len(line) <= limit:
        return line
    beginning = (limit - len(_GAP)) // 3
    return line[:beginning] + _GAP + line[-(limit - len(_GAP) - beginning) :]


def storable_reason(text: str, limit: int) -> str:
    """`text` with its lines, but without what no file or terminal should get, in about `limit` characters: both ends are kept."""
    looked_at = cut_middle(text, 2 * limit + _LOOKED_AT)
    clean = "".join(map(_printable, _ESCAPES.sub("", looked_at).replace("\r\n", "\n")))
    return cut_middle(clean, limit, len(text) - len(looked_at))


def cut_middle(text: str, limit: int, lost: int = 0) -> str:
    """At most `limit` characters of a text, a third of them from its beginning, and a note of how many are missing."""
    missing = len(text) - limit
    if missing <= 0 and lost <= 0:
        return text
    beginning = min(limit, len(text)) // 3
    end = min(limit, len(text)) - beginning
    return f"{text[:beginning]} … ({max(missing, 0) + max(lost, 0)} characters cut) … {text[len(text) - end :]}"


def _without_frames(lines: list[str]) -> list[str]:
    kept: list[str] = []
    inside = False
    for line in lines:
        head = _HEAD.match(line)
        if head is not None:
            kept.append(head[1])
            inside = True
        elif (inside and (not line.strip() or line[0].isspace())) or line.startswith(_BETWEEN) or _FRAMES_OF_RAY.match(line):
            continue
        else:
            inside = False
            kept.append(line)
    return kept


def _printable(character: str) -> str:
    """A surrogate, which no encoding takes, or a control character becomes a question mark; white space stays."""
    return character if character.isprintable() or character.isspace() else "?"
