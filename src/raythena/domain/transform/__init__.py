"""The command line of an Athena transform: read, understood, changed in one place, written back.

line = CommandLine.parse(job.job_pars, vocabulary=vocabulary_of(job.transformation))
line.file_names("inputEVNTFile")
line = line.set("maxEvents", "100").remove("skipEvents")
line.text, line.argv
"""

from raythena.domain.transform.arguments import Argument, CommandLine
from raythena.domain.transform.channel_argument import ChannelPlace, channel_place, with_channel
from raythena.domain.transform.values import Substep, expanded, file_names, substeps
from raythena.domain.transform.vocabulary import MERGING, RECONSTRUCTION, SIMULATION, Kind, Known, Vocabulary, vocabulary_of
from raythena.domain.transform.words import Word, quoted, refuse_operators, split_words

__all__ = [
    "MERGING",
    "RECONSTRUCTION",
    "SIMULATION",
    "Argument",
    "ChannelPlace",
    "CommandLine",
    "Kind",
    "Known",
    "Substep",
    "Vocabulary",
    "Word",
    "channel_place",
    "expanded",
    "file_names",
    "quoted",
    "refuse_operators",
    "split_words",
    "substeps",
    "vocabulary_of",
    "with_channel",
]
