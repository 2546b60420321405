"""Numbers as people read them, and foreign text made harmless for a terminal.

Pure functions from values to text; no colours, no layout.
"""

from __future__ import annotations

import re

from raythena.domain.progress import Progress

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""As in `page/text.js`: control and direction characters, and those without width."""


def duration(seconds: float | None) -> str:
    """Seconds in words: `420 µs`, `20 ms`, `1.25 s`, `3 min 05 s`, `2 h 05 min`, `3 d 04 h`; `?` for None."""
    if seconds is None:
        return "?"
    if seconds < 60:
        return _below_a_minute(max(seconds, 0.0))
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02d} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest_s:02d} s"


def _below_a_minute(seconds: float) -> str:
    if seconds == 0:
        return "0 s"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def percent(fraction: float) -> str:
    """A fraction as a percentage. Rounded down, so that `100.0 %` means all of it."""
    return f"{int(fraction * 1000 + 1e-9) / 10:.1f} %"


def share_done(progress: Progress) -> float:
    """The part of the job's events that need nothing more but merging, 0 to 1: finished or given up."""
    return (progress.finished + progress.failed) / progress.events if progress.events else 0.0


def verdict_so_far(progress: Progress, *, ended: bool) -> str:
    """How the job stands while it runs, as it would be judged; empty when it has been judged."""
    if ended:
        return ""
    if progress.failed:
        return f"incomplete so far: {progress.failed:,} {'event is' if progress.failed == 1 else 'events are'} given up"
    return "good so far: no event is given up" if progress.finished else "nothing is finished yet"


def rate(per_second: float) -> str:
    """Events per second, with two or more significant digits: `0.031/s`, `4.2/s`, `14,200/s`."""
    if per_second >= 100:
        return f"{per_second:,.0f}/s"
    if per_second >= 1:
        return f"{per_second:.1f}/s"
    return f"{per_second:.2g}/s"


def size(size_bytes: int) -> str:
    """Bytes in decimal units: `812 B`, `1.5 MB`."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{size_bytes} B" if unit == "B" else f"{value:.1f} {unit}"


def printable(text: str) -> str:
    """`text` on one line, without anything a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def visible(text: str) -> str:
    """`text` for a page: characters that would turn or hide it are told by their codes; the rest is as it was."""
    return _UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


def facts(progress: Progress) -> list[str]:
    """The job at this moment in short phrases."""
    words = [f"{progress.finished:,}/{progress.events:,} events", rate(progress.rate_per_s)]
    if progress.phase != "ended":
        words.append(f"{duration(progress.remaining_s)} left")
    words.append(f"occupancy {percent(progress.occupancy)}")
    merging = f" ({progress.merging} merging)" if progress.merging else ""
    words.append(f"outputs {progress.outputs_merged}/{progress.outputs}{merging}")
    return words


def asides(progress: Progress) -> list[str]:
    """What is out of the ordinary, in short phrases; empty for a job that simply runs."""
    lost = sum(node.state == "lost" for node in progress.nodes)
    retried = progress.attempts_failed - progress.failed
    words = {
        f"{progress.resumed:,} events resumed": progress.resumed,
        f"{progress.failed:,} failed": progress.failed,
        f"{progress.attempts_failed:,} attempts failed": max(retried, 0),
        f"{lost} {'node' if lost == 1 else 'nodes'} lost": lost,
    }
    return [phrase for phrase, count in words.items() if count]
