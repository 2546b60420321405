"""The command of a merge transform, from PanDA's template (`esmergeSpec`).

    transPath      HITSMerge_tf.py
    jobParameters  --inputHITSFile=@inputFor_${OUTPUT0} --outputHITS_MRGFile=${OUTPUT0} --AMITag=s4162

`${OUTPUTn}` stands for the name of an output, `@inputFor_${OUTPUTn}` for a file with the names of what is merged into it. There
is one merged file for each run, `${OUTPUT0}`; others a transform writes beside it are given names derived from that one.

Rules: thousands of inputs never stand on the command line, always in a file, one to a line. A transform reads `--name=@file` as a
file name beginning with `@`, so it is made into `@file` with `--name` as its first line, as the pilot does. All other words keep
their meaning; the result is a list of arguments, not a text for a shell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from raythena.domain.document import FieldPath, shown
from raythena.domain.transform import CommandLine, quoted, split_words, vocabulary_of

_OUTPUT = re.compile(r"\$\{OUTPUT(\d{1,3})\}", re.ASCII)
_INPUT_LIST = re.compile(r"(?:(--[A-Za-z_]\w*)=)?@inputFor_\$\{OUTPUT(\d{1,3})\}", re.ASCII)


_PLACE = FieldPath("job", "esmergeSpec.jobParameters", None)


@dataclass(frozen=True, slots=True)
class MergeCommand:
    """What to start, after writing `files` (name and content) into the working directory."""

    argv: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    outputs: tuple[str, ...]
    """Names of the files it will write, the merged one first."""


@dataclass(frozen=True, slots=True)
class MergeTemplate:
    """PanDA's template; `place` says where `parameters` stand, for messages."""

    transformation: str
    parameters: str
    place: FieldPath = _PLACE

    def command(self, inputs: Sequence[str], output: str) -> MergeCommand:
        """The command that merges `inputs` into `output` (names in the working directory).

        Raises InvalidInput for a template that names no output or no inputs, or whose result no transform would take.
        """
        words = [word.value for word in split_words(self.parameters, self._where)]
        numbers = sorted({int(number) for word in words for number in _OUTPUT.findall(word)} | {0})
        names = {number: output if number == 0 else f"{output}.output{number}" for number in numbers}
        files: dict[str, str] = {}
        argv = [self._filled(word, names, inputs, files) for word in words]
        if not files:
            raise self.place.refuse("says nowhere what to merge", expected="--inputHITSFile=@inputFor_${OUTPUT0} or its like")
        if not any("${OUTPUT0}" in word and not _INPUT_LIST.fullmatch(word) for word in words):
            raise self.place.refuse("says nowhere what to write", expected="--outputHITS_MRGFile=${OUTPUT0} or its like")
        if self.transformation.endswith("_tf.py"):
            vocabulary = vocabulary_of(self.transformation)
            CommandLine.parse(" ".join(map(quoted, argv)), self._where, vocabulary, files)
        return MergeCommand((self.transformation, *argv), tuple(files.items()), tuple(names.values()))

    @property
    def _where(self) -> str:
        return f"{self.place.source}: {self.place.field}"

    def _filled(self, word: str, names: dict[int, str], inputs: Sequence[str], files: dict[str, str]) -> str:
        """One word of the template; a list of inputs it stands for is added to `files`."""
        listed = _INPUT_LIST.fullmatch(word)
        if listed is None and "@inputFor_" in word:
            problem = f"has the list of inputs inside {shown(word)}"
            raise self.place.refuse(problem, expected="--name=@inputFor_${OUTPUT0}, the list alone")
        if listed is None:
            return _OUTPUT.sub(lambda match: names[int(match[1])], word)
        name = f"inputFor_{names[int(listed[2])]}.txt"
        files[name] = "".join(f"{line}\n" for line in ([listed[1]] if listed[1] else []) + list(inputs))
        return f"@{name}"


def release_setup(home_package: str, platform: str, alrb_base: str) -> tuple[str, ...]:
    """Lines of bash that set up a release (`Athena/23.0.53`) as the pilot does; none when the job names no release."""
    project, slash, version = home_package.partition("/")
    if not (project and slash and version):
        return ()
    options = f" --platform {quoted(platform)}" if platform else ""
    return (
        f"export ATLAS_LOCAL_ROOT_BASE={quoted(alrb_base)}",
        'source "$ATLAS_LOCAL_ROOT_BASE/user/atlasLocalSetup.sh" --quiet || exit $?',
        f'source "$AtlasSetup/scripts/asetup.sh" {quoted(f"{project},{version},notest")}{options} || exit $?',
    )
