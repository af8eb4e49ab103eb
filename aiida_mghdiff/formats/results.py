"""Keys of ``results.json``, which programs write and parsers store as the output ``results`` of their job."""

from __future__ import annotations

from typing import TypedDict

from aiida_mghdiff.science.bands import BandResults


class EvaluationResults(TypedDict):
    """Engine and settings of an evaluation."""

    n_configurations: int
    head: str | None  # head of a MACE model
    dtype: str
    device: str
    versions: dict[str, str]


class MdResults(TypedDict):
    """End of a run of molecular dynamics, and its engine."""

    last_step: int
    thermostat: str | None
    barostat: str | None
    evaluator: str
    head: str | None
    versions: dict[str, str]


class PathResults(BandResults):
    """A path found with ASE; lengths in the space of all coordinates."""

    converged: bool
    reaction_coordinate_angstrom: list[float]
    path_length_angstrom: float
    max_force_ev_per_angstrom: float
    n_steps: int
    initial_displacement_angstrom: float
    final_displacement_angstrom: float
    dtype: str


class NebResults(PathResults):
    """Result of a search for a path, and its engine."""

    head: str | None
    versions: dict[str, str]


class Modes(TypedDict):
    """Modes of vibration; imaginary frequencies are negative."""

    energies_mev: list[float]
    frequencies_thz: list[float]
    zero_point_energy_ev: float
    n_imaginary_modes: int
    geometric_mean_frequency_thz: float | None


class TracerModes(Modes):
    """Modes of the tracers at a stationary point."""

    tracer_count: int
    max_force_ev_per_angstrom: float


class VibrationResults(TracerModes):
    """Vibrations of the tracers, and their engine."""

    dtype: str
    head: str | None
    versions: dict[str, str]


class ValidationErrors(TypedDict):
    """Errors on the validation set."""

    loss: float
    energy_rmse_mev_per_atom: float
    force_rmse_mev_per_angstrom: float
    stress_rmse_mev_per_angstrom3: float


class TrainingSummary(TypedDict):
    """Errors of a training, at the start and at the best epoch."""

    warnings: list[str]
    completed: bool
    n_epochs: int
    best_epoch: int
    stopped_early: bool
    validation_initial: ValidationErrors
    validation: ValidationErrors


class TrainingResults(TrainingSummary):
    """A training of any architecture."""

    mode: str
    e0s_ev: dict[str, float]
    e0s_rank: int | None
    elements: list[str]
    n_training: int
    n_validation: int
    n_training_per_epoch: int
    n_parameters: int
    dtype: str
    device: str
    seed: int
    versions: dict[str, str]


class MaceStart(TypedDict):
    """Start of a training of MACE."""

    mode: str
    head: str | None
    heads: list[str]
    e0s_ev: dict[str, float]
    e0s_rank: int | None
    e0s_from_isolated_atoms: bool


class MaceTrainingResults(TrainingResults, MaceStart):
    """A training of MACE."""

    e0s_restored: bool
    n_replay: int
