"""ACTS's track reconstruction for the demo's detector: from measurements to fitted tracks and vertices.

Space points of the pixels are put together in threes (seeds); from each seed a combinatorial Kalman filter follows the track
outwards and back and fits it; of candidates that share measurements the better one stays; an adaptive multi-vertex fit finds
where tracks come together. Cuts are for tracks from 0.5 GeV of proton-proton collisions. Nothing here draws a random number.
"""

from __future__ import annotations

from raythena.demo.chain import Chain
from raythena.demo.detector import FIELD_T, PIXEL_VOLUMES, Detector, log_level
from raythena.demo.extra import LibraryObject, optional

MIN_PT_GEV = 0.5
MAX_ETA = 2.7
MIN_MEASUREMENTS = 7
MAX_HOLES = 2
MAX_SHARED = 3
"""Measurements that a track may share with better ones."""
BEAM_SPOT_HALF_LENGTH_MM = 250.0


def track_finding_chain(detector: Detector) -> Chain:
    """Everything from measurements to vertices, ready to run."""
    examples = optional("acts.examples")
    return Chain(
        detector,
        [
            _space_points(detector),
            _seeds(),
            _first_estimates(detector),
            _kalman_filter(detector),
            _ambiguities(),
            examples.TracksToParameters(level=log_level(), inputTracks="tracks", outputTrackParameters="track_parameters"),
            _vertices(detector),
        ],
        inputs={"measurements": examples.MeasurementContainer, "measurement_subset": examples.MeasurementSubset},
        outputs={"measurements": examples.MeasurementContainer, "tracks": examples.ConstTrackContainer},
    )


def _space_points(detector: Detector) -> LibraryObject:
    acts, examples = optional("acts"), optional("acts.examples")
    return examples.SpacePointMaker(
        level=log_level(),
        inputMeasurements="measurement_subset",
        outputSpacePoints="space_points",
        trackingGeometry=detector.geometry,
        geometrySelection=[acts.GeometryIdentifier(volume=volume) for volume in PIXEL_VOLUMES],
    )


def _seeds() -> LibraryObject:
    u = optional("acts").UnitConstants
    near, far = 1 * u.mm, 100 * u.mm  # far enough to step from the barrel to the discs, at eta 2
    return optional("acts.examples").GridTripletSeedingAlgorithm(
        level=log_level(),
        inputSpacePoints="space_points",
        outputSeeds="seeds",
        bFieldInZ=FIELD_T * u.T,
        minPt=MIN_PT_GEV * u.GeV,
        cotThetaMax=7.4,  # a bit more than MAX_ETA
        impactMax=3 * u.mm,
        deltaRMin=near,
        deltaRMax=far,
        deltaRMinTop=near,
        deltaRMaxTop=far,
        deltaRMinBottom=near,
        deltaRMaxBottom=far,
        rMin=0.0,
        rMax=200 * u.mm,
        zMin=-2000 * u.mm,
        zMax=2000 * u.mm,
        collisionRegionMin=-BEAM_SPOT_HALF_LENGTH_MM * u.mm,
        collisionRegionMax=BEAM_SPOT_HALF_LENGTH_MM * u.mm,
        maxSeedsPerSpM=1,
        sigmaScattering=5.0,
        radLengthPerSeed=0.1,
    )


def _first_estimates(detector: Detector) -> LibraryObject:
    u = optional("acts").UnitConstants
    return optional("acts.examples").TrackParamsEstimationAlgorithm(
        level=log_level(),
        inputSeeds="seeds",
        outputTrackParameters="estimates",
        outputSeeds="estimated_seeds",
        trackingGeometry=detector.geometry,
        magneticField=detector.field,
        initialSigmas=[1 * u.mm, 1 * u.mm, 1 * u.degree, 1 * u.degree, 0.1 / u.GeV, 1 * u.ns],
        initialVarInflation=[1.0] * 6,
    )


def _kalman_filter(detector: Detector) -> LibraryObject:
    acts, examples = optional("acts"), optional("acts.examples")
    u, algorithm = acts.UnitConstants, examples.TrackFindingAlgorithm
    cuts = acts.MeasurementSelector.Config([(acts.GeometryIdentifier(), ([], [15.0], [25.0], [1]))])
    return algorithm(
        level=log_level(),
        inputMeasurements="measurement_subset",
        inputInitialTrackParameters="estimates",
        inputSeeds="estimated_seeds",
        outputTracks="candidates",
        trackingGeometry=detector.geometry,
        magneticField=detector.field,
        findTracks=algorithm.makeTrackFinderFunction(detector.geometry, detector.field, log_level()),
        findTracksBrem=algorithm.makeBremTrackFinderFunction(detector.geometry, detector.field, log_level()),
        measurementSelectorCfg=cuts,
        trackSelectorCfg=acts.TrackSelector.Config(
            ptMin=MIN_PT_GEV * u.GeV,
            absEtaMax=MAX_ETA,
            loc0Min=-4 * u.mm,
            loc0Max=4 * u.mm,
            minMeasurements=MIN_MEASUREMENTS,
            maxHoles=MAX_HOLES,
            maxOutliers=2,
        ),
        seedDeduplication=True,
        stayOnSeed=True,
        twoWay=True,
    )


def _ambiguities() -> LibraryObject:
    return optional("acts.examples").GreedyAmbiguityResolutionAlgorithm(
        level=log_level(),
        inputTracks="candidates",
        outputTracks="tracks",
        maximumSharedHits=MAX_SHARED,
        nMeasurementsMin=MIN_MEASUREMENTS,
        maximumIterations=100_000,
    )


def _vertices(detector: Detector) -> LibraryObject:
    examples = optional("acts.examples")
    return examples.AdaptiveMultiVertexFinderAlgorithm(
        level=log_level(),
        inputTrackParameters="track_parameters",
        outputProtoVertices="vertex_tracks",
        outputVertices="vertices",
        bField=detector.field,
        seedFinder=examples.VertexSeedFinder.GaussianSeeder,
    )
