"""The arguments of Athena's transforms that matter here: their names, aliases and shapes.

No transform's list is complete here, and none needs to be: an argument nobody knows is carried along untouched. What is known is
enough to find the arguments that have to be changed, under whichever of their names they were given, and to tell which word
belongs to which argument.

Rules, all of them argparse's: a name may be cut short while only one argument begins with it; an argument given twice counts as
given the second time, except for the few that collect. Because our list is not the transform's, a prefix that fits several names
is taken for the one of them that event-service jobs always have (`usual`), and left alone if there is none.

Facts from the argument definitions of PyJobTransforms and SimuJobTransforms (Athena 21.0 to 24.0).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """How a transform reads the values of an argument."""

    PLAIN = "plain"
    """Text, a number, or a truth value."""
    LIST = "list"
    """Texts separated by commas."""
    INPUT = "input"
    """Names of input files, separated by commas, with patterns."""
    OUTPUT = "output"
    """Names of output files, separated by commas."""
    SUBSTEP = "substep"
    """Values, each of which may be for some steps of the transform only: `EVNTtoHITS:…`."""


@dataclass(frozen=True, slots=True)
class Known:
    """An argument: `name` without dashes, other names for it, and its shape."""

    name: str
    aliases: tuple[str, ...] = ()
    kind: Kind = Kind.PLAIN
    needs_value: bool = True
    collects: bool = False
    """Given twice, the values of both count."""
    usual: bool = False
    """Every event-service job has it, so an ambiguous prefix means it."""
    default_substep: str = "all"
    hands_on: bool = False
    """Its values are options for another program and look like arguments."""


@dataclass(frozen=True)
class Vocabulary:
    """Known arguments, found by name, alias or unique prefix."""

    arguments: tuple[Known, ...]
    _names: Mapping[str, Known] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = {name: known for known in self.arguments for name in (known.name, *known.aliases)}
        object.__setattr__(self, "_names", names)

    def resolve(self, name: str) -> Known | None:
        """The argument that `name` (without dashes) means; None when that cannot be told, which only the transform can.

        Raises LookupError, listing the candidates, for a prefix of several names that matter.
        """
        if name in self._names:
            return self._names[name]
        meant = {known.name: known for full, known in self._names.items() if full.startswith(name)} if name else {}
        usual = [known for known in meant.values() if known.usual]
        if len(usual) > 1:
            raise LookupError(" or ".join(sorted(f"--{known.name}" for known in usual)))
        return usual[0] if usual else next(iter(meant.values())) if len(meant) == 1 else None

    def known(self, name: str) -> Known:
        """Like `resolve`, for a full name; an argument nobody knows may have any number of values."""
        return self._names.get(name) or Known(name, needs_value=False)


def _many(kind: Kind, names: str, *, usual: bool = False) -> list[Known]:
    return [Known(first, tuple(others), kind, usual=usual) for first, *others in (item.split("=") for item in names.split())]


def _substeps(names: str, default: str = "all", *, usual: bool = False) -> list[Known]:
    return [Known(name, kind=Kind.SUBSTEP, default_substep=default, usual=usual) for name in names.split()]


_COMMON = (
    *_substeps("maxEvents skipEvents", "first", usual=True),
    *(Known(name, kind=Kind.SUBSTEP, hands_on=True) for name in ("athenaopts", "valgrindExtraOpts", "vtuneExtraOpts")),
    *_substeps("preInclude postInclude splitConfig asetup runInContainer athenaMPStrategy env imf tcmalloc steering"),
    *_substeps("geometryVersion conditionsTag beamType DBRelease triggerConfig runNumber triggerDBURL autoConfiguration"),
    *(Known(name, kind=Kind.SUBSTEP, collects=True) for name in ("preExec", "postExec")),
    *(Known(name, needs_value=False) for name in ("athenaMPUseEventOrders", "sharedWriter", "parallelCompression", "mpi")),
    *(Known(name, needs_value=False) for name in ("multithreaded", "multiprocess", "deleteIntermediateOutputfiles")),
    *(Known(name, needs_value=False) for name in ("dumpargs", "showGraph", "showPath", "showSteps", "execOnly", "ignoreErrors")),
    Known("eventService", needs_value=False, usual=True),
    Known("verbose", ("debug",), needs_value=False),
    Known("CA", kind=Kind.SUBSTEP, needs_value=False),
    Known("command", ("c",)),
    Known("help", ("h",), needs_value=False),
    Known("argJSON", ("argjson",)),
    Known("athenaMPMergeTargetSize", ("mts",), Kind.LIST),
    Known("AMIConfig", ("AMI",)),
    Known("AMITag", ("amiMetadataTag",)),
    *_many(Kind.LIST, "reportType ignorePatterns ignoreFiles"),
    *_many(
        Kind.PLAIN, "loglevel dumpPickle dumpJSON reportName athena eventAcceptanceEfficiency athenaMPEventsBeforeFork perfmon"
    ),
    *_many(Kind.PLAIN, "valgrind valgrindDefaultOpts vtune vtuneDefaultOpts checkEventCount fileValidation inputFileValidation"),
    *_many(
        Kind.PLAIN,
        "outputFileValidation skipFileValidation skipInputFileValidation skipOutputFileValidation jobid taskid attempt",
    ),
    *_many(Kind.PLAIN, "parallelFileValidation outputFileValidationArgs"),
)

_SIMULATION = (
    Known("inputEVNTFile", ("inputEvgenFile",), Kind.INPUT, usual=True),
    Known("outputHITSFile", ("outputHitsFile",), Kind.OUTPUT, usual=True),
    *_many(Kind.INPUT, "inputHITSFile=inputHitsFile"),  # ReSim_tf
    *_many(Kind.INPUT, "inputEVNT_TRFile inputVertexPosFile inputEVNT_COSMICSFile inputEVNT_CAVERNFile"),
    *_many(Kind.OUTPUT, "outputEVNT_TRFile outputHITS_RSMFile outputEVNT_COSMICSTRFile outputEVNT_CAVERNTRFile outputRDOFile"),
    *_substeps("randomSeed enableLooperKiller perigee"),
    Known("jobNumber", usual=True),
    *_many(Kind.PLAIN, "firstEvent physicsList useISF truthStrategy DataRunNumber simulator trackRecordType testBeamConfig"),
    *_many(Kind.PLAIN, "CosmicFilterVolume CosmicFilterVolume2 CosmicPtSlice LucidOn AFPOn ALFAOn ZDCOn FwdRegionOn HGTDOn"),
)

_PILE_UP = (
    *_many(Kind.INPUT, "inputLowPtMinbiasHitsFile=LowPtMinbiasHitsFile inputHighPtMinbiasHitsFile=HighPtMinbiasHitsFile"),
    *_many(Kind.INPUT, "inputCavernHitsFile=cavernHitsFile inputBeamHaloHitsFile=beamHaloHitsFile"),
    *_many(Kind.INPUT, "inputBeamGasHitsFile=beamGasHitsFile inputRDO_BKGFile"),
    *_many(
        Kind.PLAIN, "digiSeedOffset1 digiSeedOffset2 digiSteeringConf numberOfLowPtMinBias numberOfHighPtMinBias bunchSpacing"
    ),
    *_many(Kind.PLAIN, "numberOfCavernBkg pileupInitialBunch pileupFinalBunch PileUpPremixing doAllNoise samplingFractionDbTag"),
)

_RECONSTRUCTION = (
    Known("inputHITSFile", ("inputHitsFile",), Kind.INPUT, usual=True),
    *_many(Kind.INPUT, "inputRDOFile inputRDO_TRIGFile inputBSFile inputESDFile inputAODFile inputZeroBiasBSFile"),
    *_many(Kind.OUTPUT, "outputRDOFile outputRDO_TRIGFile outputESDFile outputAODFile outputHISTFile outputBSFile"),
    *_many(
        Kind.OUTPUT, "outputRDO_SGNLFile outputRDO_FILTFile outputNTUP_PHYSVALFile outputDAOD_PHYSFile outputTXT_JIVEXMLTGZFile"
    ),
    *_substeps("valid trigStream"),
    Known("jobNumber", usual=True),
    *_many(Kind.PLAIN, "DataRunNumber AddCaloDigi"),
)

_MERGING = (
    Known("inputHITSFile", ("inputHitsFile",), Kind.INPUT, usual=True),
    Known("outputHITS_MRGFile", ("outputHits_MRGFile", "outputHITSFile", "outputHitsFile"), Kind.OUTPUT, usual=True),
    *_many(Kind.INPUT, "inputLogsFile inputESDFile inputAODFile inputRDOFile inputHISTFile inputNTUPFile"),
    *_many(Kind.OUTPUT, "outputESD_MRGFile outputAOD_MRGFile outputRDO_MRGFile outputHIST_MRGFile outputNTUP_MRGFile"),
)

SIMULATION = Vocabulary((*_SIMULATION, *_COMMON))
"""Sim_tf, AtlasG4_tf, ReSim_tf, TestBeam_tf."""

RECONSTRUCTION = Vocabulary((*_RECONSTRUCTION, *_PILE_UP, *_COMMON))
"""Reco_tf, Digi_tf, Overlay_tf, Trig_reco_tf."""

MERGING = Vocabulary((*_MERGING, *_COMMON))
"""HITSMerge_tf and its relatives."""

_BY_NAME: tuple[tuple[Iterable[str], Vocabulary], ...] = (
    (("Merge",), MERGING),
    (("Reco", "Digi", "Overlay", "reco"), RECONSTRUCTION),
)


def vocabulary_of(transformation: str) -> Vocabulary:
    """What a transform (`Sim_tf.py`, with or without a directory) understands; simulation if the name says nothing."""
    name = transformation.rpartition("/")[2]
    return next((words for parts, words in _BY_NAME if any(part in name for part in parts)), SIMULATION)
