"""Parameters of molecular dynamics, the same for all engines."""

from __future__ import annotations


def md_parameters(ensemble: str = 'nve', pressure_gpa: float = 0.0, **changes: object) -> dict[str, object]:
    """Return complete MD parameters."""
    values: dict[str, object] = {
        'ensemble': ensemble,
        'temperature_k': 300.0,
        'time_step_fs': 0.5,
        'steps': 40,
        'first_step': 0,
        'seed': 5,
        'tracer_element': 'H',
        'tracer_stride': 4,
        'thermo_stride': 2,
        'frame_stride': 10,
        'dtype': 'float64',
        'evaluator': 'torch',
    }
    if ensemble != 'nve':
        values['friction_per_ps'] = 10.0
    if ensemble == 'npt':
        values |= {'pressure_gpa': pressure_gpa, 'barostat_time_ps': 0.2}
    return values | changes
