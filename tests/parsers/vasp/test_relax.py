"""The parser of relaxations in VASP."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from parsing import parse_job
from vasp_runs import hydride, outcar_text, vasp_inputs

from aiida_mghdiff.calculations.vasp.job import poscar_text


@pytest.fixture
def finish(aiida_localhost, tmp_path):
    """Return a function that parses a relaxation of two steps; arguments change its OUTCAR."""

    def parse(nsw=100, scheduler_status=None, written=True, **changes):
        atoms = hydride()[0]
        steps = [(atoms.positions + 0.02 * number, -26.0 - number, np.full((17, 3), 0.01)) for number in (0, 1)]
        if written:
            (tmp_path / 'OUTCAR').write_text(outcar_text(atoms, steps, band_force=None, **changes))
        final = atoms.copy()
        final.positions = steps[-1][0] + 2e-6
        final.wrap()
        (tmp_path / 'CONTCAR').write_text(poscar_text(final, None))
        parameters = vasp_inputs()['relaxation'].get_dict() | {'nsw': nsw}
        inputs = {'structure': orm.StructureData(ase=atoms), 'parameters': orm.Dict(parameters)}
        return parse_job(
            'mghdiff.vasp.relax', aiida_localhost, tmp_path, inputs, scheduler_status, stdout='no more words\n'
        )

    return parse


def test_relaxed(finish):
    code, outputs = finish()
    assert code is None
    start, results = hydride()[0].positions, outputs['results'].get_dict()
    np.testing.assert_allclose(outputs['structure'].get_ase().positions, start + 0.02 + 2e-6, atol=1e-10)
    assert results['free_energy_ev'] == -27.0
    assert results['max_force_ev_per_angstrom'] == pytest.approx(0.01 * np.sqrt(3))
    assert results['largest_displacement_angstrom'] == pytest.approx(0.02 * np.sqrt(3), abs=1e-5)
    assert (results['converged'], results['n_steps'], results['evaluator']) == (True, 2, 'dft')
    assert (results['labelled_by'], 'vtst' in results['versions']) == ('vasp', False)


@pytest.mark.parametrize(
    ('options', 'status', 'words'),
    [
        ({'written': False}, 300, 'OUTCAR'),
        ({'converged': False, 'finished': False}, 310, 'no more words'),
        ({'converged': False, 'finished': False, 'scheduler_status': 120}, 400, 'outputs, if any, continue it'),
        ({'converged': False}, 400, 'outputs, if any, continue it'),
        ({'converged': False, 'nsw': 2}, 513, 'forces of 0.017 eV/Å after 2 steps'),
        ({'scf_converged': False}, 430, 'last step'),
        ({'at_nelm': [2]}, 430, 'last step'),
    ],
)
def test_failures(finish, options, status, words):
    code, outputs = finish(**options)
    assert code.status == status
    assert words in code.message
    assert ('structure' in outputs) == options.get('written', True)


def test_electrons_that_did_not_converge_on_the_way(finish, caplog):
    """The last step gives the results; the report names unconverged steps that moved the ions."""
    code, outputs = finish(at_nelm=[1])
    assert code is None
    assert outputs['results']['unconverged_steps'] == [1]
    assert 'does not show that the SCF converged at 1 of 2 steps (1), whose forces moved the ions' in caplog.text
