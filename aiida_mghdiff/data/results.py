"""Keys of the results that calcfunctions of this package store as a ``Dict``; a key ends with its unit, if any."""

from __future__ import annotations

from typing import NotRequired, TypedDict

Interval = list[float]


class Estimate(TypedDict):
    """D by one method; None without diffusion."""

    method: str
    diffusing: bool
    diffusion_coefficient_m2_s: float | None
    sem_m2_s: float | None
    ci95_m2_s: Interval | None
    ci95_from: str
    ci95_degrees_of_freedom: int
    relative_error: float | None
    relative_error_degrees_of_freedom: int
    per_axis_m2_s: list[float | None] | None
    per_axis_ci95_m2_s: list[Interval | None] | None
    per_axis_errors_m2_s: list[float | None] | None
    warnings: list[str]


class Runs(TypedDict):
    """Size of the runs behind D, and the result of each."""

    n_replicas: int
    tracer_count: int
    total_time_ps: float
    temperature_k: float
    replica_temperatures_k: list[float]
    replica_diffusion_coefficients_m2_s: list[float | None]
    replica_ci95_m2_s: list[Interval | None]
    replica_jump_counts: list[int]
    jump_count: int
    residence_time_ps: float | None
    upper_bound_m2_s: float | None


class Collective(TypedDict):
    """Collective motion of tracers."""

    collective_diffusion_coefficient_m2_s: float | None
    collective_ci95_m2_s: Interval | None
    haven_ratio: float | None
    haven_ratio_ci95: Interval | None
    haven_ratio_error: float | None


class Motion(Collective):
    """Growth of the displacement with time."""

    log_log_slope: float
    log_log_slope_error: float | None


class Precision(TypedDict):
    """Reached and wanted width of the interval, relative to D."""

    reached_relative_interval: float | None
    target_relative_interval: float | None
    target_reached: bool | None
    looks: int


class Along(TypedDict):
    """D along some axes; None if the fitted value is not positive."""

    m2_s: float | None
    ci95_m2_s: Interval | None
    error_m2_s: float | None


class Axes(TypedDict):
    """D in the basal plane and along c of a hexagonal host."""

    d_ab_m2_s: float | None
    d_ab_ci95_m2_s: Interval | None
    d_ab_error_m2_s: float | None
    d_c_m2_s: float | None
    d_c_ci95_m2_s: Interval | None
    d_c_error_m2_s: float | None


class DiffusionResults(Estimate, Runs, Motion, Precision, Axes):
    """Results of ``diffusion_coefficient``."""

    estimates: dict[str, Estimate]  # of all methods
    fit_window_ps: list[float]
    lag_ps: float | None


class Prediction(TypedDict):
    """D on the line of a fit."""

    temperature_k: float
    diffusion_coefficient_m2_s: float
    ci95_m2_s: Interval
    extrapolated: bool


class Line(TypedDict):
    """The line of an Arrhenius fit."""

    activation_energy_ev: float
    activation_energy_error_ev: float
    ci95_ev: Interval
    prefactor_m2_s: float
    ln_prefactor_m2_s: float
    ln_prefactor_error: float
    covariance: list[list[float]]  # [2,2] of (ln D0, Ea)
    chi_squared: float | None
    degrees_of_freedom: int
    interval_factor: float


class ArrheniusResults(Line):
    """Results of ``arrhenius_fit``, lists by temperature."""

    temperatures_k: list[float]
    diffusion_coefficients_m2_s: list[float]
    relative_errors: list[float]
    excluded_temperatures_k: list[float]
    predictions: list[Prediction]


class HopResults(TypedDict):
    """Results of ``hop``."""

    path: str
    tracer_element: str
    forward_barrier_ev: float
    reverse_barrier_ev: float
    forward_zero_point_barrier_ev: float
    reverse_zero_point_barrier_ev: float
    forward_attempt_frequency_thz: float
    reverse_attempt_frequency_thz: float
    initial_frequencies_thz: list[float]
    saddle_frequencies_thz: list[float]
    final_frequencies_thz: list[float]
    elementary: bool


class Network(TypedDict):
    """D of a network of jumps, lists by temperature."""

    temperatures_k: list[float]
    diffusion_coefficients_m2_s: list[float]
    diffusion_ab_m2_s: list[float]
    diffusion_c_m2_s: list[float]
    ci95_m2_s: list[Interval] | None
    relative_errors: list[float] | None
    activation_energies_ev: list[float]
    rates: dict[str, list[float]]  # of each class in 1/ps to one target


class JumpClass(TypedDict):
    """The line of one class of jumps, and the fitted data."""

    activation_energy_ev: float
    activation_energy_error_ev: float
    prefactor_thz: float
    covariance: list[list[float]]
    chi_squared: float | None
    degrees_of_freedom: int
    temperatures_k: list[float]
    jump_counts: list[int]
    rates_per_ps: list[float | None]


class NetworkResults(Network):
    """D of a network of jumps, and its origin."""

    source: str
    extrapolated: list[bool]
    classes_left_out: dict[str, str]
    warnings: list[str]


class JumpDiffusionResults(NetworkResults):
    """Results of ``jump_diffusion``."""

    classes: dict[str, JumpClass]


class BarrierDiffusionResults(NetworkResults):
    """Results of ``barrier_diffusion``, one for each kind of rates."""

    energy_error_ev: float | None


class EnergyErrors(TypedDict):
    """Errors of energies per atom; in shifted errors the mean error of each composition is removed."""

    energy_rmse_mev_per_atom: float | None
    energy_mae_mev_per_atom: float | None
    energy_r2: float | None
    energy_rmse_shifted_mev_per_atom: float | None
    energy_mae_shifted_mev_per_atom: float | None
    energy_r2_shifted: float | None
    energy_shifts_mev_per_atom: dict[str, float]


class ForceErrors(TypedDict):
    """Errors of force components."""

    force_rmse_mev_per_angstrom: float | None
    force_mae_mev_per_angstrom: float | None
    force_r2: float | None


class CompositionErrors(ForceErrors):
    """Errors of the configurations of one composition; of energies only for several configurations."""

    n_configurations: int
    energy_rmse_shifted_mev_per_atom: NotRequired[float | None]
    energy_mae_shifted_mev_per_atom: NotRequired[float | None]
    energy_r2_shifted: NotRequired[float | None]


class StressErrors(TypedDict):
    """Errors of stress components: further results of ``error_metrics`` if the dataset has stresses."""

    stress_rmse_gpa: float | None
    stress_mae_gpa: float | None
    stress_r2: float | None


class ErrorMetrics(EnergyErrors, ForceErrors):
    """Results of ``error_metrics``."""

    n_configurations: int
    by_element: dict[str, ForceErrors]
    by_composition: dict[str, CompositionErrors]
