"""Job parameters as a pilot must be given them, so that what it does to their text comes out as what is meant.

A pilot does not read arguments. It divides the text into words and puts them together again, in other quotes; takes a few options
of its own away; and inserts the name of AthenaMP's channel by searching the text. Where it finds another text than it looks for,
AthenaMP is left without a channel and waits for ever. Releases differ: older ones do not know multithreaded Athena; newer ones
insert their text wherever `--preExec ` stands, whatever they have inserted before.

`pilot_job_parameters` therefore writes the arguments that matter in the one way that every release understands, and refuses what
cannot be written so. There are two ways:

- A transform that is told by `--preExec` gets all its values in one `--preExec value value …`: the pilot puts its own in front.
- Multithreaded Athena gets `--athenaopts "… --mtes --mtes-channel=$PILOT_EVENTRANGECHANNEL"`. A pilot that finds that name in the
  text does nothing but set the variable, and it leaves the quotes of this one argument alone, so the shell fills it in.

`as_pilots_edit` is that editing, told again from the pilot's sources: what it makes of the parameters is compared with what is
meant, so a text for which neither way works is refused whatever the reason.
"""

from __future__ import annotations

import re
import shlex

from raythena.domain.errors import InvalidInput
from raythena.domain.transform.arguments import CommandLine
from raythena.domain.transform.channel_argument import (
    LEGACY_IMPORT,
    ChannelPlace,
    channel_place,
    is_true,
    with_athena_option,
    with_channel,
)
from raythena.domain.transform.words import quoted

CHANNEL_VARIABLE = "PILOT_EVENTRANGECHANNEL"
_MTES = f"--mtes --mtes-channel=${CHANNEL_VARIABLE}"
_EXAMPLE = "EventService_EventRanges_1"
_PROPERTIES = "import jobproperties as jps"
_TAKEN_BY_PILOT = re.compile(r"--(?:overwriteQueue[dD]ata|overwriteStorageData|containerImage)|<ZIP_MAP>")
_QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|[^'"]+""", re.DOTALL)
_IN_DOUBLE_QUOTES = re.compile(r"[^\"'\\`!$\n]*")


def pilot_job_parameters(line: CommandLine) -> CommandLine:
    """The command line a pilot is to be given. Raises InvalidInput for what no pilot would hand on as it is meant."""
    if CHANNEL_VARIABLE in line.text:
        return line  # whoever wrote it knows pilots
    if (found := _TAKEN_BY_PILOT.search(line.text)) is not None:
        raise _refused(line, f"holds {found[0]!r}, which the pilot takes away", "arguments of the transform alone")
    place = channel_place(line)
    normal = _quoted_anew(line if is_true(line, "CA") else line.remove("CA"))
    normal = _for_athena_option(normal) if place is ChannelPlace.ATHENA_OPTION else _for_pre_exec(normal, place)
    for modern in (False, True):
        _check(line, normal, modern=modern)
    return normal


def _quoted_anew(line: CommandLine) -> CommandLine:
    """The same words in quotes that Python's shlex, which the pilot reads with, understands as a shell does."""
    return CommandLine.parse(" ".join(map(quoted, line.argv)), line.source, line.vocabulary, line.files)


def _for_pre_exec(line: CommandLine, place: ChannelPlace) -> CommandLine:
    """All values in one `--preExec`, in words of their own; options for Athena in one word with theirs."""
    if place is ChannelPlace.CA_FLAG and _PROPERTIES in line.text:
        raise _refused(line, f"has {_PROPERTIES!r} in the text of a --CA job", "a flag of ConfigFlags instead")
    values = line.values("preExec")
    line = _apart(line.remove("preExec"), "preExec", values) if values else line
    return _with_options_for_athena(line)


def _with_options_for_athena(line: CommandLine) -> CommandLine:
    """`--athenaopts` so that the pilot does not see it: behind its bare name it takes all up to a double quote for its value."""
    options = line.values("athenaopts")
    if not options:
        return line
    apart = ['"--athenaopts"', *map(quoted, options)]
    return _added(line.remove("athenaopts"), quoted(f"--athenaopts={options[0]}") if len(options) == 1 else " ".join(apart))


def _for_athena_option(line: CommandLine) -> CommandLine:
    """The channel as a variable in `--athenaopts`; each value of `--preExec` behind a `=`, where no pilot looks for it."""
    values = line.values("preExec")
    line = line.remove("preExec")
    for value in values:
        line = _added(line, quoted(f"--preExec={value}"))
    options = with_athena_option(line, _MTES).values("athenaopts")
    for value in options:
        if not _IN_DOUBLE_QUOTES.fullmatch(own := value.removesuffix(_MTES)):
            raise _refused(line, f"--athenaopts has {own!r}", "options without quotes, backslashes and $")
    # the pilot protects the text up to the first closing quote: it must be the last argument
    return _added(line.remove("athenaopts"), "--athenaopts " + " ".join(f'"{value}"' for value in options))


def _apart(line: CommandLine, name: str, values: tuple[str, ...]) -> CommandLine:
    """An argument with each value in a word of its own, also when there is one."""
    for value in values:
        if value.startswith("-"):
            raise _refused(line, f"--{name} has the value {value!r}", "a value that does not begin with a dash")
    return _added(line, " ".join([f"--{name}", *map(quoted, values)]))


def _added(line: CommandLine, text: str) -> CommandLine:
    return CommandLine.parse(f"{line.text.rstrip()} {text}".lstrip(), line.source, line.vocabulary, line.files)


# ---- what the pilot makes of it


def as_pilots_edit(parameters: str, channel: str, *, modern: bool) -> str:
    """The text of the arguments a shell is given by a pilot; `modern`: by one of the releases that know multithreaded Athena.

    The pilot's rules, in its order: quotes are protected behind the first ` --athenaopts `, the rest is divided and quoted anew,
    then the channel is inserted.
    """
    text = _inserted(_cleaned(parameters), channel, modern=modern)
    return _QUOTED.sub(
        lambda part: part[0] if part[0].startswith("'") else part[0].replace(f"${CHANNEL_VARIABLE}", channel), text
    )


def _cleaned(parameters: str) -> str:
    protected = re.search(r" (--athenaopts \"?'?[^\"]+\"?'?)", parameters)
    mark = "TOBEREPLACED1"
    text = re.sub(r" (--athenaopts \"?'?[^\"]+\"?'?)", f" {mark} ", parameters) if protected else parameters
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    if any(word.startswith("-") for word in words):
        text = " ".join(map(shlex.quote, words))
    return text.replace(mark, protected[1]) if protected else text


def _inserted(text: str, channel: str, *, modern: bool) -> str:
    ca, threads = "--CA" in text, modern and "--multithreaded=true" in text.lower()
    flag = f'ConfigFlags.MP.EventRangeChannel="{channel}"' if ca else _job_property(channel)
    insertion = f' --mtes --mtes-channel="{channel}" ' if ca and threads else f" --preExec '{flag}' "
    if CHANNEL_VARIABLE in text:
        if not modern:
            return text
    elif ca and threads:
        text = _with_options(text, insertion)
    elif "--preExec" not in text:
        text = text.strip().removesuffix(";") + insertion
        if not modern:
            return text
    if f"{_PROPERTIES};" in text or _PROPERTIES in text:
        return text.replace(f"{_PROPERTIES};", f'{_PROPERTIES};jps.AthenaMPFlags.EventRangeChannel="{channel}";')
    return text.replace("--preExec ", insertion)


def _with_options(text: str, insertion: str) -> str:
    if "--athenaopts" in text:
        return re.sub(r"--athenaopts='([\w=\-\"' ]+)'", lambda found: f"--athenaopts='{found[1]} {insertion}'", text)
    return f"{text.strip().removesuffix(';')} --athenaopts='{insertion}' "


def _job_property(channel: str) -> str:
    return f'{LEGACY_IMPORT}jps.AthenaMPFlags.EventRangeChannel="{channel}"'


# ---- what is meant


def _check(line: CommandLine, normal: CommandLine, *, modern: bool) -> None:
    """Compare what AthenaMP would receive with what is meant. Raises InvalidInput."""
    try:
        edited = CommandLine.parse(as_pilots_edit(normal.text, _EXAMPLE, modern=modern), line.source, line.vocabulary)
    except InvalidInput as problem:
        raise _refused(line, f"would be broken by the pilot: {problem}", "arguments it can hand on") from None
    meant = with_channel(line, _EXAMPLE)
    place = channel_place(line)
    for name in dict.fromkeys(argument.name for argument in (*meant.arguments, *edited.arguments)):
        if name == "CA" and place is ChannelPlace.JOB_PROPERTY:
            continue
        if _effect(meant.values(name), place) != _effect(edited.values(name), place):
            broken = f"--{name} would become {' '.join(edited.values(name))!r} in the pilot's hands"
            raise _refused(line, broken, "text that does not look like what the pilot searches for")


def _effect(values: tuple[str, ...], place: ChannelPlace) -> tuple[list[str], bool]:
    """Values without the channel, and whether it is named in the way this transform understands. It may be named twice."""
    bare = [_NAMED[place].sub("", value) for value in values]
    named = bare != list(values)
    if place is ChannelPlace.JOB_PROPERTY:
        bare = [value.removeprefix(LEGACY_IMPORT) for value in bare]
    return [value for value in bare if value.strip()], named


_NAMED = {
    ChannelPlace.JOB_PROPERTY: re.compile(rf'jps\.AthenaMPFlags\.EventRangeChannel="{_EXAMPLE}";?'),
    ChannelPlace.CA_FLAG: re.compile(rf'ConfigFlags\.MP\.EventRangeChannel="{_EXAMPLE}"'),
    ChannelPlace.ATHENA_OPTION: re.compile(rf'\s*--mtes --mtes-channel="?{_EXAMPLE}"?'),
}


def _refused(line: CommandLine, problem: str, expected: str) -> InvalidInput:
    hint = "A pilot edits the text of the job; payload athenamp does without one"
    return InvalidInput(line.source, "", problem, expected=expected, hint=hint)
