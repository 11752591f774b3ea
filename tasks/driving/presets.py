"""Configurations to train: the size of the paper, a small one, ANN twins and ablations."""

from dataclasses import replace

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.window import ImageSize
from neuro.base.units import Ticks
from tasks.driving.config import (
    MAPPERS,
    ClassWeights,
    DecoderConfig,
    Depth,
    DrivingConfig,
    EncoderConfig,
    Phase,
    PlannerConfig,
    PredictionConfig,
    Source,
)


def paper() -> DrivingConfig:
    """The size of the paper, for real nuScenes on GPUs."""
    return DrivingConfig(
        image=ImageSize(height=224, width=480, scale=0.3, crop=46),
        encoder=EncoderConfig(
            ticks=Ticks(4),
            channels=(48, 96, 192),
            stem=2,
            blocks=(1, 1, 2),
            expansion=4,
            far=384,
            aspp=64,
            dilations=(12, 24, 36),
            dropout=0.5,
        ),
        depth=Depth(first=2.0, last=50.0, step=1.0),
        decoder=DecoderConfig(channels=(64, 128, 256), blocks=2),
        prediction=PredictionConfig(hidden=70, kernel=3, latent=32, refine=(70, 384, 384)),
        planner=PlannerConfig(candidates=1800, hidden=256),
        grid=GroundGrid(x=(-50.0, 50.0), y=(-50.0, 50.0), step=0.5),
        channels=64,
        heads=70,
        phases=(
            Phase(name="perception", futures=0, epochs=20, lr=1e-3),
            Phase(name="prediction", futures=4, epochs=10, lr=2e-4),
            Phase(name="planning", futures=6, epochs=20, lr=2e-4),
        ),
        batch=4,
        source=Source(data="nuscenes", held=50, readers=4),
        hardest=0.25,
        depth_loss=False,
        optimizer="adam",
        decay=1e-7,
    )


def tiny() -> DrivingConfig:
    """All parts of the system at their smallest; a minute's training teaches it nothing yet."""
    base = small()
    return replace(
        base,
        cells=replace(base.cells, threshold=0.4),  # at 1, 16 populations stay silent so early
        encoder=replace(base.encoder, channels=(8, 12), blocks=(1, 1), far=12, aspp=6),
        decoder=replace(base.decoder, channels=(8, 12)),
        prediction=replace(base.prediction, hidden=8, kernel=3, latent=2, refine=(8,)),
        planner=replace(base.planner, candidates=60, hidden=16),
        grid=GroundGrid(x=(-8.0, 24.0), y=(-16.0, 16.0), step=2.0),
        channels=8,
        phases=tuple(replace(base.phases[k], epochs=1) for k in (0, 2, 3)),
        batch=2,
        source=Source(scenes=5, share=1, held=1),
    )


def small() -> DrivingConfig:
    """The generated world and six small cameras, for two cores."""
    return DrivingConfig(
        image=ImageSize(height=64, width=160, scale=1.0, crop=26),
        encoder=EncoderConfig(
            ticks=Ticks(2),
            channels=(24, 48),
            stem=4,
            blocks=(1, 2),
            expansion=1,
            far=64,
            aspp=24,
            dilations=(2, 4),
            dropout=0.0,
        ),
        depth=Depth(first=2.0, last=34.0, step=2.0),
        decoder=DecoderConfig(channels=(32, 64), blocks=1),
        prediction=PredictionConfig(
            hidden=32, kernel=5, latent=8, refine=(16,), stride=2, moves=True
        ),
        planner=PlannerConfig(
            candidates=300,
            hidden=64,
            navigation="target",
            loss="softmax",
            learns_from="predicted",
            takes="mean",
            sharpness=3.0,
            dilations=(2, 4),
            start=0.2,
            caution=10.0,
            verge=0.5,
            refines="cheaper",
            braking=2.0,
            persistence=True,
        ),
        grid=GroundGrid(x=(-16.0, 32.0), y=(-24.0, 24.0), step=1.0),
        road_cells=2,
        channels=24,
        heads=16,
        phases=(
            Phase(name="perception", futures=0, epochs=8, lr=3e-3, past=1, mirrored=0.5),
            Phase(
                name="perception",
                futures=0,
                epochs=1,
                lr=3e-3,
                frozen=("encoder",),
                mirrored=0.5,
            ),
            Phase(
                name="prediction",
                futures=6,
                epochs=1,
                lr=2e-3,
                frozen=("encoder",),
                mirrored=0.5,
            ),
            Phase(
                name="planning",
                futures=6,
                epochs=3,
                lr=2e-3,
                frozen=MAPPERS,
                displaced=0.5,
                driven=0.5,
            ),
        ),
        batch=4,
        source=Source(scenes=150, share=1, held=8, readers=1),
        # One cell in a hundred belongs to a vehicle, one in a thousand to a pedestrian.
        weights=ClassWeights(vehicle=4.0, pedestrian=10.0, lane=1.75, drivable=1.5),
        hardest=1.0,
        depth_loss=True,
    )


def use_nuscenes(
    config: DrivingConfig, version: str = "v1.0-trainval", held: int = 4, scale: float = 0.1
) -> DrivingConfig:
    """Return the configuration for the real nuScenes, without driven windows.

    held: scenes of the training part for validation. scale: of images; those of nuScenes have
    1600 x 900 pixels, ten times those of the generated world.
    """
    return replace(
        config,
        image=replace(config.image, scale=scale),
        source=Source(
            data="nuscenes",
            version=version,
            held=held,
            readers=config.source.readers,
            sweeps=config.source.sweeps,
        ),
        phases=tuple(replace(p, driven=0.0) for p in config.phases),
    )


def without_spikes(config: DrivingConfig) -> DrivingConfig:
    """Return the ANN twin: ReLU instead of neurons, one tick per image."""
    return replace(
        config,
        cells=replace(config.cells, kind="relu"),
        encoder=replace(config.encoder, ticks=Ticks(1)),
    )


def small_ann() -> DrivingConfig:
    """The same network without spikes."""
    return without_spikes(small())


def small_command() -> DrivingConfig:
    """A planner that knows only a command (left, forward or right), as in SAD."""
    config = small()
    return replace(config, planner=replace(config.planner, navigation="command"))


def small_sweeps() -> DrivingConfig:
    """Each tick of the encoder sees an image of its own time, 0.1 s apart."""
    config = small()
    return replace(config, source=replace(config.source, sweeps=config.encoder.ticks - 1))


def small_reset() -> DrivingConfig:
    """Every frame decoded from rest, to measure the benefit of memory."""
    config = small()
    return replace(config, decoder=replace(config.decoder, carries=False))


def small_multiply() -> DrivingConfig:
    """Fusion by a product, as in SAD's released code."""
    config = small()
    return replace(config, prediction=replace(config.prediction, fusion="multiply"))


def small_gate() -> DrivingConfig:
    """Fusion by gates."""
    config = small()
    return replace(config, prediction=replace(config.prediction, fusion="gate"))


def see_maps(config: DrivingConfig) -> DrivingConfig:
    """Return a configuration that predicts only the future of true maps."""
    return replace(
        config,
        sees="maps",
        road_cells=1,
        depth_loss=False,
        phases=(Phase(name="prediction", futures=6, epochs=3, lr=2e-3, mirrored=0.5),),
    )


def maps() -> DrivingConfig:
    """Only prediction, from true maps."""
    return see_maps(small())


def maps_reset() -> DrivingConfig:
    """From true maps, every frame decoded from rest."""
    return see_maps(small_reset())


def maps_multiply() -> DrivingConfig:
    """From true maps, fusion by a product."""
    return see_maps(small_multiply())


def maps_gate() -> DrivingConfig:
    """From true maps, fusion by gates."""
    return see_maps(small_gate())
