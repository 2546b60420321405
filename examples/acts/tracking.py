"""Two event loops with ACTS, to be copied: simulation (EVNT to HITS) and reconstruction (HITS to tracks), an event at a time.

ACTS comes with an event loop of its own. Here Raythena has the events, and ACTS's algorithms are called one by one on a store
with the objects of a single event. Random numbers depend on the event's number only, so it does not matter who computes it.
"""

import json
import tempfile
from functools import cache
from types import SimpleNamespace

import acts
import acts.examples as ex
import acts.examples.json as acts_json
import awkward as ak
import numpy as np
import uproot

u = acts.UnitConstants
QUIET = acts.logging.ERROR
RESOLUTION_MM = {
    **dict.fromkeys((7, 8, 9), (0.015, 0.015)),  # pixels: discs, barrel, discs
    **dict.fromkeys((12, 13, 14), (0.025, 0.35)),  # short strips
    **dict.fromkeys((16, 17, 18), (0.035, 3.0)),  # long strips
}


class Chain:
    """Algorithms of ACTS, run in their order on one event."""

    def __init__(self, detector, algorithms, inputs, outputs):
        self.detector = detector  # the algorithms look at it without owning it
        self.algorithms = algorithms
        self.inputs = {name: self.handle(ex.WriteDataHandle, name, kind) for name, kind in inputs.items()}
        self.outputs = {name: self.handle(ex.ReadDataHandle, name, kind) for name, kind in outputs.items()}

    def handle(self, way, name, kind):
        """How objects of a kind get into the store, or out of it, under a name."""
        handle = way(self.algorithms[0], kind, name)
        handle.initialize(name)
        return handle

    def begin(self, event):
        """An empty store; `put` and `get` move objects, `run` runs everything."""
        store = ex.WhiteBoard(QUIET)

        def run():
            for position, algorithm in enumerate(self.algorithms, start=1):
                if algorithm.internalExecute(ex.AlgorithmContext(position, event, store, 0)) != ex.ProcessCode.SUCCESS:
                    raise RuntimeError(f"{algorithm.name()} failed on event {event}")

        return SimpleNamespace(
            put=lambda name, value: self.inputs[name](ex.AlgorithmContext(0, event, store, 0), value),
            get=lambda name: self.outputs[name](store),
            run=run,
        )


def build_detector():
    """ACTS's generic silicon tracker in a field of two tesla."""
    levels = dict.fromkeys(("logLevel", "surfaceLogLevel", "layerLogLevel", "volumeLogLevel"), QUIET)
    owner = ex.GenericDetector(ex.GenericDetector.Config(**levels))
    return SimpleNamespace(owner=owner, geometry=owner.trackingGeometry(), field=acts.ConstantBField(acts.Vector3(0, 0, 2 * u.T)))


@cache
def tree(path, name):
    """A tree of an input file, opened once in each worker."""
    return uproot.open(path)[name]


def columns_of(event_range, name):
    """One event: its columns as arrays."""
    number = event_range.first_event
    entry = tree(event_range.pfn, name).arrays(entry_start=number - 1, entry_stop=number, library="ak")[0]
    return {field: np.asarray(entry[field]) for field in entry.fields}


def written(context, name, number, group, columns):
    """A new file with one event."""
    path = context.new_output(".root")
    rows = ak.zip({field: ak.Array([values]) for field, values in columns.items()})
    with uproot.recreate(path) as file:
        tree = file.mktree(name, {"EventNumber": np.uint64, group: rows.type})
        tree.extend({"EventNumber": np.array([number], dtype=np.uint64), group: rows})
    return path


# ---- simulation: EVNT to HITS


def setup_simulation(options):
    """Fatras and digitisation."""
    detector = build_detector()
    random_numbers = ex.RandomNumbers(ex.RandomNumbers.Config(seed=options["seed"]))
    shared = {"level": QUIET, "randomNumbers": random_numbers}
    fatras = ex.FatrasSimulation(
        inputParticles="generated",
        outputParticles="simulated",
        outputSimHits="hits",
        trackingGeometry=detector.geometry,
        magneticField=detector.field,
        generateHitsOnSensitive=True,
        emScattering=True,
        emEnergyLossIonisation=True,
        **shared,
    )
    digitisation = ex.DigitizationAlgorithm(
        digitizationConfigs=smearing(),
        surfaceByIdentifier=detector.geometry.geoIdSurfaceMap(),
        inputSimHits="hits",
        outputMeasurements="measurements",
        outputMeasurementParticlesMap="causes",
        outputMeasurementSimHitsMap="measurement_hits",
        outputParticleMeasurementsMap="particle_measurements",
        outputSimHitMeasurementsMap="hit_measurements",
        **shared,
    )
    kinds = {"generated": ex.SimParticleContainer}, {"measurements": ex.MeasurementContainer}
    return Chain(detector, [fatras, digitisation], *kinds)


def smearing():
    """The resolutions as ACTS wants them: from a file."""
    entries = [
        {
            "volume": volume,
            "value": {"smearing": [{"index": i, "type": "Gauss", "mean": 0.0, "stddev": s} for i, s in enumerate(sigmas)]},
        }
        for volume, sigmas in RESOLUTION_MM.items()
    ]
    header = {"format-version": 0, "value-identifier": "digitization-configuration"}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"acts-geometry-hierarchy-map": header, "entries": entries}, file)
        file.flush()
        return acts_json.readDigiConfigFromJson(file.name)


def simulate(event_range, context):
    """One event of EVNT becomes a file with one event of HITS."""
    generated = columns_of(event_range, "EVNT")
    number = int(generated["EventNumber"])
    event = context.state.begin(number)
    event.put("generated", particles(*(generated[f"particle_{name}"] for name in ("pdg", "px", "py", "pz", "vx", "vy", "vz"))))
    event.run()
    rows = [(m.geometryId.value, m.fullParameters[0], m.fullParameters[1]) for m in event.get("measurements")]
    sensor, local0, local1 = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {"sensor": np.array(sensor, np.uint64), "local0": np.array(local0, "f4"), "local1": np.array(local1, "f4")}
    return written(context, "HITS", number, "measurement", columns)


def particles(pdg, *columns):
    """The particles as ACTS wants them: those above 0.3 GeV in the acceptance."""
    container = ex.SimParticleContainer()
    for row, (kind, px, py, pz, vx, vy, vz) in enumerate(zip(pdg.tolist(), *(c.tolist() for c in columns), strict=True)):
        pt, p = np.hypot(px, py), (px * px + py * py + pz * pz) ** 0.5
        if pt < 0.3 or abs(pz) > pt * np.sinh(2.7) or np.hypot(vx, vy) > 1000:
            continue
        barcode = ex.SimBarcode()
        barcode.vertexPrimary, barcode.particle = 1, row + 1
        particle = ex.SimParticle(barcode, acts.PdgParticle(int(kind)))
        particle.fourPosition = acts.Vector4(vx, vy, vz, 0)
        particle.direction = acts.Vector3(px / p, py / p, pz / p)
        particle.absoluteMomentum = p
        container.insert(particle)
    return container


# ---- reconstruction: HITS to TRACKS


def setup_reconstruction(options):
    """Seeds and the combinatorial Kalman filter."""
    detector = build_detector()
    where = {"trackingGeometry": detector.geometry, "magneticField": detector.field}
    finder = ex.TrackFindingAlgorithm
    algorithms = [
        ex.SpacePointMaker(
            level=QUIET,
            inputMeasurements="subset",
            outputSpacePoints="points",
            trackingGeometry=detector.geometry,
            geometrySelection=[acts.GeometryIdentifier(volume=volume) for volume in (7, 8, 9)],
        ),
        ex.GridTripletSeedingAlgorithm(
            level=QUIET,
            inputSpacePoints="points",
            outputSeeds="seeds",
            bFieldInZ=2 * u.T,
            minPt=options["min_pt_gev"] * u.GeV,
            cotThetaMax=7.4,
            impactMax=3 * u.mm,
            rMax=200 * u.mm,
            **dict.fromkeys(("deltaRMin", "deltaRMinTop", "deltaRMinBottom"), 1 * u.mm),
            **dict.fromkeys(("deltaRMax", "deltaRMaxTop", "deltaRMaxBottom"), 100 * u.mm),
            zMin=-2000 * u.mm,
            zMax=2000 * u.mm,
            maxSeedsPerSpM=1,
        ),
        ex.TrackParamsEstimationAlgorithm(
            level=QUIET,
            inputSeeds="seeds",
            outputTrackParameters="estimates",
            outputSeeds="estimated",
            initialSigmas=[1 * u.mm, 1 * u.mm, 1 * u.degree, 1 * u.degree, 0.1 / u.GeV, 1 * u.ns],
            initialVarInflation=[1.0] * 6,
            **where,
        ),
        finder(
            level=QUIET,
            inputMeasurements="subset",
            inputInitialTrackParameters="estimates",
            inputSeeds="estimated",
            outputTracks="tracks",
            findTracks=finder.makeTrackFinderFunction(detector.geometry, detector.field, QUIET),
            findTracksBrem=finder.makeBremTrackFinderFunction(detector.geometry, detector.field, QUIET),
            measurementSelectorCfg=acts.MeasurementSelector.Config([(acts.GeometryIdentifier(), ([], [15.0], [25.0], [1]))]),
            trackSelectorCfg=acts.TrackSelector.Config(ptMin=options["min_pt_gev"] * u.GeV, minMeasurements=7, maxHoles=2),
            seedDeduplication=True,
            stayOnSeed=True,
            twoWay=True,
            **where,
        ),
    ]
    inputs = {"measurements": ex.MeasurementContainer, "subset": ex.MeasurementSubset}
    return Chain(detector, algorithms, inputs, {"measurements": ex.MeasurementContainer, "tracks": ex.ConstTrackContainer})


def reconstruct(event_range, context):
    """One event of HITS becomes a file with one event of TRACKS."""
    found = columns_of(event_range, "HITS")
    number = int(found["EventNumber"])
    event = context.state.begin(number)
    event.put("measurements", measurements(found))
    stored = event.get("measurements")  # the store has taken it over: the subset must refer to that one
    event.put("subset", ex.MeasurementSubset(stored, range(len(stored))))
    event.run()
    tracks = event.get("tracks")
    parameters = np.array(tracks.parameters, dtype=np.float64).reshape(-1, 6)
    columns = dict(zip(("d0", "z0", "phi", "theta", "charge_over_p"), parameters.T.astype(np.float32), strict=False))
    columns["n_measurements"] = np.array(tracks.nMeasurements, dtype=np.int32)
    return written(context, "TRACKS", number, "track", columns)


def measurements(found):
    """The measurements as ACTS wants them."""
    container = ex.MeasurementContainer()
    columns = (found[f"measurement_{name}"].tolist() for name in ("sensor", "local0", "local1"))
    for sensor, *local in zip(*columns, strict=True):
        variances = [sigma * sigma for sigma in RESOLUTION_MM[sensor >> 56]]
        container.emplaceMeasurement(acts.GeometryIdentifier(sensor), [0, 1], local, variances)
    return container
