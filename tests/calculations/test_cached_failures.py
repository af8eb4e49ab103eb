"""The cache keeps a failure of a job if the same inputs must bring it again; all jobs follow one rule."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import CalcJob
from aiida.plugins.entry_point import get_entry_points

#: Failures that the inputs alone decide. Another machine or environment, or more time, may prevent all others.
KEPT = {
    'ELEMENT_UNKNOWN',
    'INPUT_REFUSED',
    'LABEL_IMPLAUSIBLE',
    'LABELS_DIFFER',
    'ENDS_OF_OTHER_LABELS',
    'OUT_OF_WALLTIME',
    'NON_FINITE',
    'SCF_NOT_CONVERGED',
    'MCONF_REACHED',
    'MB_REACHED',
    'E0S_IGNORED',
    'FINETUNING_MODE_CHANGED',
    'STRUCTURES_REPLACED',
    'TRAINING_DIVERGED',
    'RELAXATION_NOT_CONVERGED',
    'NEB_NOT_CONVERGED',
    'ENDPOINT_NOT_CONVERGED',
    'ENDPOINT_COLLAPSED',
    'TEMPERATURE_RUNAWAY',
    'WRONG_NUMBER_OF_IMAGINARY_MODES',
    'FORCE_FIELD_UNLEARNED',
    'SPILLING_FACTOR',
}
FORGOTTEN = {
    'ENGINE_MISSING',
    'POTENTIAL_UNREADABLE',
    'EXECUTABLE_MISSING',
    'SEVERAL_RANKS',
    'VTST_MISSING',
    'CODE_LACKS_ELEMENT',
    'OUTPUT_MISSING',
    'OUTPUT_INVALID',
    'OUTPUT_TRUNCATED',
    'PROGRAM_CRASHED',
    'LAMMPS_ERROR',
    'OUT_OF_MEMORY',
}


def jobs():
    """Return the jobs of this package by entry point, without its prefix."""
    found = {
        point.name.removeprefix('mghdiff.'): point.load()
        for point in get_entry_points('aiida.calculations')
        if point.name.startswith('mghdiff.')
    }
    return {name: job for name, job in found.items() if isinstance(job, type) and issubclass(job, CalcJob)}


def test_every_exit_code_of_every_job():
    assert len(jobs()) >= 14
    for name, job in jobs().items():
        own = {label.removeprefix('ERROR_'): code for label, code in job.exit_codes.items() if code.status >= 200}
        assert set(own) <= KEPT | FORGOTTEN, name
        for label, code in own.items():
            assert code.invalidates_cache == (label in FORGOTTEN), (name, label)


@pytest.mark.parametrize(
    ('name', 'outputs', 'is_kept'),
    [
        ('mace.train', {'checkpoint': 1}, True),
        ('mace.train', {'results': {}}, False),
        ('ase.md', {'state': 1, 'results': {'first_step': 10, 'last_step': 11}}, True),
        ('lammps.md', {'state': 1, 'results': {'first_step': 10, 'last_step': 10}}, False),
        ('vasp.md', {}, False),
        ('vasp.mlff', {'state': 1, 'results': {'first_step': 0, 'last_step': 5}}, True),
        ('vasp.mlff', {'results': {'first_step': 0, 'last_step': None}}, False),
        ('ase.neb', {'path': 1}, True),
        ('vasp.neb', {}, False),
        ('vasp.relax', {'structure': 1}, True),
        ('evaluate', {}, False),
        ('vasp.evaluate', {'results': {}}, False),
        ('ase.vibrations', {'results': {}}, False),
    ],
)
def test_a_job_that_got_nowhere_in_its_wall_time_runs_again(generate_job_node, name, outputs, is_kept):
    """AiiDA does not count the wall time as an input, so a longer one would return the cached failure."""
    node = generate_job_node(f'mghdiff.{name}', 400, {key: orm.to_aiida_type(value) for key, value in outputs.items()})
    node.seal()
    assert node.base.caching.is_valid_cache is is_kept
