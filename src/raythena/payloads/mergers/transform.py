"""Two mergers that are programs: an Athena merge transform (`transform`), and ROOT's own `hadd` (`hadd`).

Options of both, all optional:

    container      engine, image, options, binds, setup, …: where it runs (see `domain.container`)
    setup_script   a script to be sourced by bash before the program
    wrapper        words to put before the command, a list
    environment    variables to set
    time_limit_s   seconds it may take; 6 hours if left out

Options of `transform`: `transformation` and `parameters`, PanDA's template (see `domain.merge_command`); `release`
(`home_package`, `platform`), what is set up inside a container that has no set-up lines of its own; `image`, for a container that
names none. A PanDA job brings all of them. Options of `hadd`: `arguments`, more words for it, a list; `tree` as for `root`.

Neither program can be trusted with its inputs: a transform counts only the whole, and `hadd` of ROOT 6.40 ends well when a branch
is missing in one file and leaves out that file's events, or drops a branch that is new in another. So the inputs are looked at
before the program runs, and those that are not the output of one event, or unlike the others, are charged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from raythena.domain.container import Engine, parse_container
from raythena.domain.document import FieldPath
from raythena.domain.errors import InvalidInput, MergeError
from raythena.domain.merge_command import MergeTemplate, release_setup
from raythena.domain.transform import quoted
from raythena.payloads.mergers.inspection import Counting, Survey, check_tree_option, checked, is_countable, surveyed
from raythena.payloads.mergers.process import DEFAULT_LIMIT_S, Program, Surroundings, lay_out, run_program, work_directory
from raythena.payloads.plugin_options import refuse_unknown, string_list, string_map
from raythena.runtime.merger_interface import BadInputs, MergeContext, Merged
from raythena.storage.root.contents import RootFileError, count_by_convention

PREFIX = "merge.options"
AROUND = ("container", "setup_script", "wrapper", "environment", "time_limit_s")
LIST_NAME = "inputs.txt"


class TransformMerger:
    """The merger `transform`."""

    def __call__(self, inputs: Sequence[Path], output: Path, context: MergeContext) -> Merged:
        """Run the transform. Raises InvalidInput for options that cannot work, MergeError for everything that goes wrong."""
        self.check_options(context.options, "job")
        _check_counts(inputs, context)
        with work_directory(context) as directory:
            names = lay_out(inputs, directory, context.lfn)
            command = _template(context.options, "job").command(names, context.lfn)
            program = Program(command.argv, command.files, context.lfn)
            return run_program(program, directory, _surroundings(context.options, "job"), output, context)

    def check_options(self, options: Mapping[str, Any], source: str) -> None:
        """Refuse options that cannot work. Raises InvalidInput naming the field."""
        refuse_unknown(options, ("transformation", "parameters", "image", "release", *AROUND), source, PREFIX)
        for name in ("transformation", "parameters"):
            if not isinstance(options.get(name), str) or not options[name].strip():
                hint = "PanDA's esmergeSpec has it as transPath and jobParameters"
                raise InvalidInput(source, f"{PREFIX}.{name}", "is missing", expected="text", hint=hint)
        _surroundings(options, source)
        _template(options, source).command(["input"], "output")


class HaddMerger:
    """The merger `hadd`."""

    def __call__(self, inputs: Sequence[Path], output: Path, context: MergeContext) -> Merged:
        """Run hadd.

        Raises InvalidInput for options that cannot work, BadInputs for inputs that are not what they must be, MergeError for
        everything else that goes wrong.
        """
        self.check_options(context.options, "job")
        survey = _surveyed(inputs, context)

        def count(path: Path) -> int | None:
            return checked(path, survey.schema, survey.event_tree, survey.n_events)

        with work_directory(context) as directory:
            listed = "".join(f"{name}\n" for name in lay_out(inputs, directory, context.lfn))
            words = string_list(context.options, "arguments", "job", PREFIX)
            program = Program(("hadd", *words, context.lfn, f"@{LIST_NAME}"), ((LIST_NAME, listed),), context.lfn)
            merged = run_program(program, directory, _surroundings(context.options, "job"), output, context, count=count)
        return replace(merged, is_countable=is_countable(context))

    def check_sample(self, sample: Path, context: MergeContext) -> None:
        """Merge a single event's output. Raises as a merge does."""
        with tempfile.TemporaryDirectory(prefix="raythena-sample-", dir=context.directory) as place:
            work = Path(place, "work")
            work.mkdir()
            self([sample], Path(place, "sample.root"), replace(context, directory=work))

    def check_options(self, options: Mapping[str, object], source: str) -> None:
        """Refuse options that cannot work. Raises InvalidInput naming the field."""
        refuse_unknown(options, ("arguments", "tree", *AROUND), source, PREFIX)
        check_tree_option(options, source)
        string_list(options, "arguments", source, PREFIX)
        _surroundings(options, source)


TRANSFORM = TransformMerger()
HADD = HaddMerger()


def _surveyed(inputs: Sequence[Path], context: MergeContext) -> Survey:
    """The inputs of hadd, all of them one event's and alike. Raises BadInputs, MergeError."""
    try:
        survey = surveyed(inputs, Counting.of(context), read=False)
    except RootFileError as problem:
        raise MergeError(f"{context.lfn}: {inputs[0]}: {problem}") from problem
    if survey.faults:
        raise BadInputs(context.lfn, inputs, survey.faults)
    return survey


def _check_counts(inputs: Sequence[Path], context: MergeContext) -> None:
    """Each input with an event tree known by its name must have one event. Raises BadInputs."""
    if context.expected is None:
        return
    faults = {position: problem for position, path in enumerate(inputs) if (problem := _miscount(path))}
    if faults:
        raise BadInputs(context.lfn, inputs, faults)


def _miscount(path: Path) -> str:
    """Why a file cannot be the output of one event, empty if it can."""
    try:
        found = count_by_convention(path)
    except RootFileError as problem:
        return str(problem)
    return "" if found in (None, 1) else f"has {found} events, where there must be 1"


def _template(options: Mapping[str, Any], source: str) -> MergeTemplate:
    return MergeTemplate(options["transformation"], options["parameters"], FieldPath(source, f"{PREFIX}.parameters", None))


def _surroundings(options: Mapping[str, object], source: str) -> Surroundings:
    container = parse_container(_with_image(options, source), source, f"{PREFIX}.container")
    release = _release(options, source, container.alrb_base)
    setup = container.setup or (release if container.engine is not Engine.NONE else ())
    if script := _path(options, "setup_script", source):
        setup = (f"source {quoted(script)} || exit $?", *setup)
    return Surroundings(
        replace(container, setup=setup),
        tuple(string_list(options, "wrapper", source, PREFIX)),
        string_map(options, "environment", source, PREFIX),
        _limit_s(options, source),
    )


def _with_image(options: Mapping[str, object], source: str) -> object:
    """The option `container`, with the job's own image where it names an engine only; ALRB finds one by the platform."""
    container, image = options.get("container"), options.get("image", "")
    if not isinstance(image, str):
        raise InvalidInput(source, f"{PREFIX}.image", f"is {image!r}", expected="the name of a container image")
    if not isinstance(container, Mapping) or container.get("image") or container.get("engine", "none") == "none":
        return container
    by_platform = _release_of(options, source).get("platform", "") if container["engine"] == Engine.ALRB else ""
    return {**container, "image": image or by_platform}


def _release(options: Mapping[str, object], source: str, alrb_base: str) -> tuple[str, ...]:
    release = _release_of(options, source)
    return release_setup(release.get("home_package", ""), release.get("platform", ""), alrb_base)


def _release_of(options: Mapping[str, object], source: str) -> Mapping[str, str]:
    if not isinstance(options.get("release", {}), Mapping):
        raise InvalidInput(source, f"{PREFIX}.release", f"is {options['release']!r}", expected="home_package and platform")
    release = string_map(options, "release", source, PREFIX)
    refuse_unknown(release, ("home_package", "platform"), source, f"{PREFIX}.release")
    return release


def _path(options: Mapping[str, object], name: str, source: str) -> str:
    value = options.get(name, "")
    if not isinstance(value, str) or (value and not value.startswith("/")):
        raise InvalidInput(source, f"{PREFIX}.{name}", f"is {value!r}", expected="an absolute path")
    return value


def _limit_s(options: Mapping[str, object], source: str) -> float:
    value = options.get("time_limit_s", DEFAULT_LIMIT_S)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e9:
        raise InvalidInput(source, f"{PREFIX}.time_limit_s", f"is {value!r}", expected="seconds, more than 0")
    return float(value)
