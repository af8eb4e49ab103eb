"""Parsers of other packages accept the stand-in's files like VASP's, and fail where they fail on VASP's."""

from __future__ import annotations

import numpy as np
import pytest
from ase.io import read
from parsevasp.outcar import Outcar as ParsevaspOutcar
from parsevasp.vasprun import Xml
from standin_runs import LANGEVIN, NVE, RUN, hydride, standin_here, write_folder

from aiida_mghdiff.formats.mlab import read_mlab
from aiida_mghdiff.formats.outcar import OutcarReader


@pytest.fixture(scope='module')
def first_principles(tmp_path_factory):
    """Three steps of molecular dynamics without a force field."""
    folder = write_folder(tmp_path_factory.mktemp('dft'), LANGEVIN | {'NSW': 3, 'ENCUT': 400}, hydride())
    assert standin_here(folder) == 0
    return folder


@pytest.fixture(scope='module')
def run(tmp_path_factory, learned):
    """Ten steps with a force field."""
    field = (learned / 'ML_FFN').read_bytes()
    folder = write_folder(tmp_path_factory.mktemp('run'), NVE | RUN | {'NSW': 10}, hydride(), ML_FF=field)
    assert standin_here(folder) == 0
    return folder


def pymatgen_vasprun(folder):
    from pymatgen.io.vasp import Vasprun

    return Vasprun(folder / 'vasprun.xml', parse_dos=False, parse_eigen=False, parse_potcar_file=False)


def expected(folder):
    return list(OutcarReader(folder / 'OUTCAR'))


def test_pymatgen_vasprun(first_principles, learned, run):
    steps = expected(first_principles)
    parsed = pymatgen_vasprun(first_principles)
    assert parsed.vasp_version == '6.4.2-standin'
    assert parsed.final_energy == pytest.approx(steps[-1].energy, abs=1e-6)
    np.testing.assert_allclose(parsed.ionic_steps[1]['forces'], steps[1].forces, atol=1e-5)
    assert parsed.parameters['NSW'] == 3
    assert parsed.incar['ENCUT'] == 400
    training = pymatgen_vasprun(learned)
    assert len(training.md_data) == 100
    assert len(training.ionic_steps) == len(read_mlab(learned / 'ML_ABN').frames)
    md = pymatgen_vasprun(run).md_data
    assert len(md) == 10
    np.testing.assert_allclose(md[3]['forces'], expected(run)[3].forces, atol=1e-5)


def test_pymatgen_other_files(first_principles, learned, run):
    from pymatgen.io.vasp import Oszicar, Outcar, Poscar, Xdatcar

    assert len(Xdatcar(learned / 'XDATCAR').structures) == 100
    assert len(Oszicar(run / 'OSZICAR').ionic_steps) == 10
    continued = Poscar.from_file(learned / 'CONTCAR')
    assert np.abs(continued.velocities).max() > 0
    outcar = Outcar(first_principles / 'OUTCAR')
    assert outcar.final_fr_energy == pytest.approx(expected(first_principles)[-1].energy)
    assert outcar.run_stats['Elapsed time (sec)'] > 0


def test_ase(first_principles, learned, run):
    frames = read(first_principles / 'vasprun.xml', ':')
    steps = expected(first_principles)
    assert len(frames) == 3
    np.testing.assert_allclose(frames[-1].get_forces(), steps[-1].forces, atol=1e-5)
    np.testing.assert_allclose(frames[-1].get_stress(), steps[-1].stress, atol=1e-6)
    frames = read(first_principles / 'OUTCAR', ':', format='vasp-out')
    assert frames[-1].get_potential_energy(force_consistent=True) == pytest.approx(steps[-1].energy)
    np.testing.assert_allclose(frames[-1].get_stress(), steps[-1].stress, atol=1e-7)
    assert len(read(learned / 'vasprun.xml', ':')) == len(read_mlab(learned / 'ML_ABN').frames)
    assert read(run / 'vasprun.xml', ':') == []
    assert len(read(run / 'XDATCAR', ':', format='vasp-xdatcar')) == 10
    assert read(run / 'CONTCAR', format='vasp').get_chemical_formula() == 'HMg16'


def test_parsevasp(first_principles, learned, run):
    xml = Xml(file_path=str(first_principles / 'vasprun.xml'))
    steps = expected(first_principles)
    np.testing.assert_allclose(xml.get_forces('last'), steps[-1].forces, atol=1e-5)
    np.testing.assert_allclose(xml.get_unitcell('initial'), hydride().cell.array)
    assert xml.get_version() == '6.4.2'
    status = ParsevaspOutcar(file_path=str(first_principles / 'OUTCAR')).get_run_status()
    assert status['finished']
    assert status['electronic_converged']
    assert status['last_iteration_index'] == [3, 1]
    stats = ParsevaspOutcar(file_path=str(learned / 'OUTCAR')).get_run_stats()
    assert stats['elapsed_time'] > 0
    with pytest.raises(SystemExit):  # also fails on VASP's: it looks for electronic iterations
        ParsevaspOutcar(file_path=str(run / 'OUTCAR'))


def test_aiida_vasp_content_parsers(first_principles):
    from aiida_vasp.parsers.content_parsers.vasprun import VasprunParser

    with (first_principles / 'vasprun.xml').open('rb') as handle:
        parsed = VasprunParser(handler=handle)
        steps = expected(first_principles)
        assert parsed.version == '6.4.2'
        np.testing.assert_allclose(parsed.forces, steps[-1].forces, atol=1e-5)
        assert parsed.total_energies['energy_extrapolated'] == pytest.approx(steps[-1].energy_sigma0, abs=1e-6)
