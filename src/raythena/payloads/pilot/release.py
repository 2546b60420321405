"""Which pilot that is, and whether it can run event-service jobs.

Found in `PILOTVERSION` beside `pilot.py`, else in `pilot/util/constants.py`. Releases from 3.10.3.82 to at least 3.11.5.1 fail
every event-service job with error 1310 before the payload starts (an argument is missing where the payload's command is made),
unless the site patches them with a `sitecustomize.py`.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from raythena.domain.errors import InvalidInput, PayloadError
from raythena.payloads.pilot.pilot_options import PilotOptions
from raythena.payloads.pilot.unpacking import unpack
from raythena.payloads.plugin_options import PREFIX

FIRST_BROKEN = (3, 10, 3)
LAST_GOOD = "3.10.2.2"
LAST_KNOWN_BROKEN = (3, 11, 5, 1)
_CONSTANTS = re.compile(r"^(RELEASE|VERSION|REVISION|BUILD)\s*=\s*['\"](\d+)['\"]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Release:
    """A pilot on disk. `program` is None behind a wrapper."""

    version: str
    program: Path | None
    default_config: Path | None

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version as numbers; empty when it is unknown."""
        return tuple(int(part) for part in self.version.split(".")) if re.fullmatch(r"\d+(\.\d+)*", self.version) else ()

    @property
    def defect(self) -> str:
        """Why this release cannot run event-service jobs; empty when it can, as far as is known."""
        if not FIRST_BROKEN <= self.numbers <= LAST_KNOWN_BROKEN:
            return ""
        return (
            f"pilot {self.version} cannot run event-service jobs: releases from 3.10.3.82 to at least 3.11.5.1 fail them with "
            f"error 1310 before the payload starts; use {LAST_GOOD} or older, or say `patched: true` if the site has mended it"
        )

    @property
    def doubts(self) -> list[str]:
        """Everything that is known against it."""
        return [text for text in (self.defect, self.warning) if text]

    @property
    def warning(self) -> str:
        """What else is to be known of this release; empty when nothing is."""
        if not self.numbers:
            return "the pilot's version is not known; see docs/pilot.md for the releases that can run event-service jobs"
        if self.numbers > LAST_KNOWN_BROKEN:
            return (
                f"pilot {self.version} is newer than any that was tried; releases up to 3.11.5.1 could not run event-service jobs"
            )
        return ""


def release_of(options: PilotOptions, unpack_to: Path) -> Release:
    """The release the options name; an archive is unpacked below `unpack_to`. Raises PayloadError."""
    return find_release(options.pilot, options.default_config, options.version, unpack_to)


def check_release(options: PilotOptions, source: str) -> None:
    """Refuse a release that is known not to work, as far as can be seen here. Raises InvalidInput, PayloadError."""
    with tempfile.TemporaryDirectory(prefix="raythena-pilot-") as place:
        found = release_of(options, Path(place) / "release")
    if found.defect and not options.patched:
        field = f"{PREFIX}.pilot" if options.pilot is not None else f"{PREFIX}.version"
        raise InvalidInput(source, field, found.defect, expected=f"a release up to {LAST_GOOD}")


def find_release(pilot: Path | None, default_config: Path | None, version: str, unpack_to: Path) -> Release:
    """Look at what the option `pilot` names; an archive is unpacked below `unpack_to`. Raises PayloadError."""
    if pilot is None:
        return Release(version, None, default_config)
    place = unpack(pilot, unpack_to) if pilot.is_file() and pilot.suffix != ".py" else pilot
    program = place if place.is_file() else _program(place)
    config = default_config or program.parent / "pilot" / "util" / "default.cfg"
    if not config.is_file():
        raise PayloadError(f"pilot: there is no {config}; expected the directory of a release, with pilot/util/default.cfg")
    return Release(version or _version(program.parent), program, config)


def _program(place: Path) -> Path:
    found = [place / "pilot.py", *sorted(place.glob("*/pilot.py"))]
    for path in found:
        if path.is_file():
            return path
    raise PayloadError(
        f"pilot: there is no pilot.py in {place}; the wheel on the package index lacks it, the source archive has it, and so has "
        "/cvmfs/atlas.cern.ch/repo/sw/PandaPilot/pilot3/<version>"
    )


def _version(place: Path) -> str:
    for name, pattern in (("PILOTVERSION", None), ("pilot/util/constants.py", _CONSTANTS)):
        try:
            text = (place / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if pattern is None:
            return text.strip()
        found = dict(pattern.findall(text))
        if len(found) == 4:
            return ".".join(found[name] for name in ("RELEASE", "VERSION", "REVISION", "BUILD"))
    return ""
