"""Labels in another unit are recognised; unusual but right labels are not refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.extxyz import read_extxyz
from aiida_mghdiff.formats.frames import arrays_from_frames
from aiida_mghdiff.formats.mlab import read_mlab, write_mlab
from aiida_mghdiff.formats.plausibility import ImplausibleWarning, excess, implausible, within_bounds

FACTORS = {'GPa': 160.21766, 'kbar': 1602.1766, 'bar': 1.6021766e6, 'virial': None}


def relabelled(frames, change):
    """Return copies of frames with changed labels."""
    copies = []
    for atoms in frames:
        copy = atoms.copy()
        copy.calc = SinglePointCalculator(copy, **(atoms.calc.results | change(atoms)))
        copies.append(copy)
    return copies


def stresses_times(factor):
    """Return a change that multiplies stresses by a factor; without a factor it makes virials."""

    def change(atoms):
        return {'stress': atoms.get_stress() * (-atoms.get_volume() if factor is None else factor)}

    return change


@pytest.fixture(scope='module')
def example(example_data):
    return read_extxyz(example_data / 'mgh_pbe.extxyz').frames


@pytest.mark.parametrize('unit', FACTORS)
@pytest.mark.parametrize('count', [101, 20, 5])
def test_units_of_stresses_are_recognised(example, unit, count):
    finding = implausible(relabelled(example[:count], stresses_times(FACTORS[unit])))
    assert unit in finding.reason.partition('it looks like')[2]
    assert 'allow_implausible' in finding.reason


def test_sign_is_named_where_it_may_be_the_other(example):
    """Forces may imply the other sign of right stresses, so the message names GPa with both signs."""
    words = implausible(relabelled(example[:20], stresses_times(-FACTORS['GPa']))).reason
    assert 'GPa (160.2 to 1 eV/Å³)' in words
    assert 'GPa, pressure positive (-160.2 to 1 eV/Å³)' in words
    assert 'positive' not in implausible(relabelled(example[:20], stresses_times(FACTORS['GPa']))).reason


def test_small_stresses_in_gpa_are_recognised_by_the_forces(example):
    quiet = sorted(example, key=lambda atoms: abs(atoms.get_stress()).max())[:15]
    scaled = relabelled(quiet, stresses_times(160.21766 / 8))
    assert max(abs(atoms.get_stress()).max() for atoms in scaled) < 1
    scaled = relabelled(quiet, stresses_times(160.21766))
    assert 'GPa' in implausible(scaled).reason


def test_example_data_are_plausible_and_silent(example):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert implausible(example) is None


def compressed(scale):
    """Return cells of copper with EMT's labels, compressed in each direction."""
    rng, frames = np.random.default_rng(0), []
    for _ in range(6):
        atoms = bulk('Cu', 'fcc', a=3.6 * scale, cubic=True).repeat(2)
        atoms.positions += rng.normal(0, 0.08, atoms.positions.shape)
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(0, 0.01, (3, 3))), scale_atoms=True)
        atoms.calc = EMT()
        labels = {'energy': atoms.get_potential_energy(), 'forces': atoms.get_forces(), 'stress': atoms.get_stress()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    return frames


def test_high_pressure_is_warned_of_and_not_refused():
    frames = compressed(0.9)
    median = float(np.median([abs(atoms.get_stress()).max() for atoms in frames]))
    assert 0.1 < median < 1
    with pytest.warns(ImplausibleWarning, match='under high pressure'):
        assert implausible(frames) is None


@pytest.mark.parametrize('unit', [units.kcal / units.mol, units.kJ / units.mol])
def test_energies_and_forces_both_in_another_unit_are_warned_of(example, unit):
    """They agree with each other; only forces above 100 eV/Å are refused."""

    def converted(atoms):
        labels = atoms.calc.results
        return {name: labels[name] / unit for name in ('energy', 'free_energy', 'forces') if name in labels}

    quiet = sorted(example, key=lambda atoms: np.abs(atoms.get_forces()).max())[:12]
    with pytest.warns(ImplausibleWarning, match=r'root mean square force is \d+\.?\d* eV/Å.*kcal/mol, kJ/mol'):
        assert implausible(relabelled(quiet, converted)) is None
    assert 'kJ/mol/Å' in implausible(relabelled(example, lambda atoms: {'forces': 200 * atoms.get_forces()})).reason


@pytest.mark.parametrize('count', [1, 2, 4])
def test_few_frames_in_another_unit_are_warned_of(example, count):
    quiet = sorted(example, key=lambda atoms: abs(atoms.get_stress()).max())[:count]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert implausible(quiet) is None
    frames = relabelled(quiet, stresses_times(FACTORS['GPa']))
    assert max(abs(atoms.get_stress()).max() for atoms in frames) < 1
    with pytest.warns(ImplausibleWarning, match=r'times what the forces imply.*GPa') as caught:
        assert implausible(frames) is None
    assert 'allow_implausible' not in str(caught[0].message)


ZEROS = {
    'energy': lambda _: {'energy': 0.0, 'free_energy': 0.0},
    'stress': lambda _: {'stress': np.zeros(6)},
    'forces': lambda atoms: {'forces': np.zeros((len(atoms), 3))},
}


@pytest.mark.parametrize('label', ZEROS)
@pytest.mark.parametrize('first', [0, 3])
def test_zeros_in_the_place_of_labels_are_refused(example, tmp_path, label, first):
    """Many frames with zero labels are refused; a single one only if its energy is far from the others."""
    frames = [*example[:first], *relabelled(example[first:6], ZEROS[label])]
    finding = implausible(frames)
    assert finding.index == first
    assert f'{label} {"are" if label == "forces" else "is"} exactly 0' in finding.reason
    write(tmp_path / 'frames.extxyz', frames, format='extxyz')
    with pytest.raises(FormatError, match=rf'frame {first} .*exactly 0'):
        read_extxyz(tmp_path / 'frames.extxyz', 'energy', 'forces', 'stress')
    alone = implausible([*example[:5], *relabelled(example[5:6], ZEROS[label])])
    assert alone is None if label != 'energy' else 'energies of frame 5 (1 of 6)' in alone.reason


def silent(*crystals):
    """Return crystals without a force."""
    for index, atoms in enumerate(crystals):
        labels = {'energy': -1.0 - index, 'forces': np.zeros((len(atoms), 3)), 'stress': np.full(6, 0.01 * index)}
        atoms.calc = SinglePointCalculator(atoms, **labels)
    return list(crystals)


def test_perfect_crystals_have_no_forces():
    """Forces vanish by symmetry in crystals of any volume, phase or strain, but not for displaced atoms."""
    magnesium = [bulk('Mg', 'hcp', a=3.2 * scale, c=5.19 * scale) for scale in (0.95, 1.0, 1.05)]
    others = [bulk('Mg', 'fcc', a=4.5), bulk('Mg', 'bcc', a=3.57, cubic=True), bulk('NaCl', 'rocksalt', a=5.6)]
    strained = bulk('Cu', cubic=True)
    strained.set_cell(strained.cell @ [[1, 0.03, 0], [0, 1.02, 0], [0, 0, 0.97]], scale_atoms=True)
    assert implausible(silent(*magnesium, *others, strained, bulk('Si'))) is None
    rattled = [bulk('Mg', 'hcp', a=3.2, c=5.19).repeat(2) for _ in range(2)]
    for seed, atoms in enumerate(rattled):
        atoms.rattle(0.005, seed=seed)
    assert 'all forces are exactly 0' in implausible(silent(*magnesium, *rattled)).reason


def test_bounds_are_the_same_for_arrays(example):
    forces = np.zeros((len(example[1]), 3))
    forces[5, 2] = -150
    frames = [
        example[0],
        *relabelled([example[1]], lambda _: {'forces': forces}),
        *relabelled([example[2]], lambda _: {'stress': np.array([0, 0, -1.5, 0, 0, 0])}),
        *relabelled([example[3]], lambda _: {'stress': None}),
    ]
    assert within_bounds(arrays_from_frames(frames)).tolist() == [True, False, False, True]
    words = [excess(atoms) for atoms in frames]
    assert words[0] is words[3] is None
    assert words[1] == 'the force on atom 5 (Mg) is 150 eV/Å, above 100'
    assert words[2] == 'a stress of 1.5 eV/Å³ (240.3 GPa) is above 1 eV/Å³'


def test_large_force_names_the_atom(example):
    forces = np.zeros((len(example[3]), 3))
    forces[5, 2] = -150
    frames = [*example[:3], *relabelled([example[3]], lambda _: {'forces': forces})]
    finding = implausible(frames)
    assert finding.index == 3
    assert 'the force on atom 5' in finding.reason
    assert '150 eV/Å' in finding.reason


def test_readers_refuse_and_can_be_told_not_to(example, tmp_path):
    frames = relabelled(example[:4], stresses_times(1602.1766))
    write_mlab(tmp_path / 'ML_AB', frames)
    with pytest.raises(FormatError, match=r'configuration \d.*kbar'):
        read_mlab(tmp_path / 'ML_AB')
    assert len(read_mlab(tmp_path / 'ML_AB', allow_implausible=True).frames) == 4
    keys = ('energy', 'forces', 'stress')
    write(tmp_path / 'frames.extxyz', frames, format='extxyz')
    with pytest.raises(FormatError, match=r'frame \d \(line \d+\).*kbar'):
        read_extxyz(tmp_path / 'frames.extxyz', *keys)
    assert len(read_extxyz(tmp_path / 'frames.extxyz', *keys, allow_implausible=True).frames) == 4


def write_with_virials(source, target, key, shape=9):
    """Write the example data with virials in place of stresses."""
    frames = read(source, ':5')
    for atoms in frames:
        stress = atoms.info.pop('REF_stress')
        virial = -stress * atoms.get_volume()
        xx, yy, zz, yz, xz, xy = virial
        nine = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        atoms.info[key] = virial if shape == 6 else nine.ravel() if shape == 9 else nine
    write(target, frames, format='extxyz')


@pytest.mark.parametrize(
    ('key', 'shape'),
    [('REF_virials', 6), ('REF_virials', 9), ('REF_virials', (3, 3)), ('virials', 9), ('REF_virial', 9), ('virial', 9)],
)
def test_virials_become_stresses(example_data, example, tmp_path, key, shape):
    file = tmp_path / 'virials.extxyz'
    write_with_virials(example_data / 'mgh_pbe.extxyz', file, key, shape)
    for options in ({}, {'stress_key': key}):
        for found, atoms in zip(read_extxyz(file, **options).frames, example, strict=False):
            np.testing.assert_allclose(found.get_stress(), atoms.get_stress(), atol=1e-7)
            assert key not in found.info


def isolated(symbol, energy, **info):
    from ase import Atoms

    atoms = Atoms(symbol)
    atoms.info = {'REF_energy': energy, 'config_type': 'IsolatedAtom'} | info
    atoms.arrays['REF_forces'] = np.zeros((1, 3))
    return atoms


def test_isolated_atoms_are_no_configurations(example_data, tmp_path):
    frames = [isolated('H', -1.1), *read(example_data / 'mgh_pbe.extxyz', ':3'), isolated('Mg', -0.2)]
    write(tmp_path / 'frames.extxyz', frames, format='extxyz')
    content = read_extxyz(tmp_path / 'frames.extxyz')
    assert len(content.frames) == 3
    assert content.isolated_atoms == {'H': -1.1, 'Mg': -0.2}


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        ([isolated('H', -1.0)], 'an isolated H has -1.0 eV, but -1.1 eV before'),
        ([isolated('H', 'much')], 'an isolated atom without an energy'),
        ([isolated('H2', -1.0)], 'config_type is IsolatedAtom, but the frame has 2 atoms'),
    ],
)
def test_isolated_atoms_that_contradict_are_refused(example_data, tmp_path, more, message):
    for atoms in more:
        atoms.arrays['REF_forces'] = np.zeros((len(atoms), 3))
    frames = [isolated('H', -1.1), *read(example_data / 'mgh_pbe.extxyz', ':2'), *more]
    write(tmp_path / 'frames.extxyz', frames, format='extxyz')
    with pytest.raises(FormatError, match=message):
        read_extxyz(tmp_path / 'frames.extxyz')


def written(tmp_path, frames):
    """Return the path of a file with an isolated atom and then the frames."""
    path = tmp_path / 'labels.extxyz'
    atom = '1\nProperties=species:S:1:pos:R:3 config_type=IsolatedAtom REF_energy=-0.1 pbc="F F F"\nCu 0 0 0\n'
    images = []
    for atoms in frames:
        copy = atoms.copy()
        labels = atoms.calc.results
        copy.info |= {'REF_energy': labels['energy'], 'REF_stress': labels['stress']}
        copy.arrays['REF_forces'] = labels['forces']
        images.append(copy)
    write(path, images, format='extxyz')
    path.write_text(atom + path.read_text())
    return path


def copper(count, strain=0.01):
    """Return cells of copper with EMT's labels at room temperature, in eV."""
    rng, frames = np.random.default_rng(1), []
    for _ in range(count):
        atoms = bulk('Cu', 'fcc', a=3.6, cubic=True).repeat(2)
        atoms.positions += rng.normal(0, 0.08, atoms.positions.shape)
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(0, strain, (3, 3))), scale_atoms=True)
        atoms.calc = EMT()
        energy, forces, stress = atoms.get_potential_energy() - 3.5 * 32, atoms.get_forces(), atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
        frames.append(atoms)
    return frames


def changed(frames, indices, change):
    return [relabelled([atoms], change)[0] if index in indices else atoms for index, atoms in enumerate(frames)]


@pytest.mark.parametrize('unit', ['GPa', 'kbar'])
@pytest.mark.parametrize('indices', [range(10), range(3, 9), range(0, 20, 2), range(0, 18)])
def test_a_part_of_the_stresses_in_another_unit_is_named(tmp_path, unit, indices):
    frames = changed(copper(20), indices, stresses_times(FACTORS[unit]))
    with pytest.raises(FormatError) as caught:
        read_extxyz(written(tmp_path, frames))
    named = {10: '1 to 10', 6: '4 to 9', 18: '1 to 18'}[len(indices)] if indices.step == 1 else '1, 3, 5, 7, 9, ...'
    assert f'stresses of frames {named} ({len(indices)} of 20) are about' in str(caught.value)
    assert unit in str(caught.value).partition('it looks like')[2]
    assert f'frame {indices[0] + 1} (line' in str(caught.value)
    assert len(read_extxyz(written(tmp_path, frames), allow_implausible=True).frames) == 20


def test_few_stresses_in_another_unit_are_named(example):
    quiet = sorted(example, key=lambda atoms: abs(atoms.get_stress()).max())
    frames = changed(quiet[:20], [4, 7], stresses_times(FACTORS['GPa']))
    assert max(abs(atoms.get_stress()).max() for atoms in frames) < 1
    assert implausible(frames).reason.startswith('stresses of frames 4, 7 (2 of 20) are about')
    frames = changed(quiet[:60], [7], stresses_times(FACTORS['GPa']))
    with pytest.warns(ImplausibleWarning, match=r'stresses of frame 7 \(1 of 60\) are about'):
        assert implausible(frames) is None


def energies_times(factor):
    return lambda atoms: {'energy': factor * atoms.get_potential_energy()}


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (energies_times(1 / 27.2114), 'the first group looks like Hartree'),
        (energies_times(1 / 13.6057), 'the first group looks like Rydberg'),
        (energies_times(96.485), 'the first group looks like kJ/mol'),
        (energies_times(23.06), 'the first group looks like kcal/mol'),
        (energies_times(1000), 'the first group looks like meV'),
        (energies_times(-1), 'the first group has the opposite sign'),
        (energies_times(1 / 32), 'the first group looks like energies per atom'),
        (
            lambda atoms: {'energy': atoms.get_potential_energy() + 50},
            'the SCF found a wrong state in one of them',
        ),
    ],
)
@pytest.mark.parametrize('indices', [[2], [2, 3, 4, 7], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]])
def test_energies_far_from_those_of_like_frames(tmp_path, change, words, indices):
    path = written(tmp_path, changed(copper(21), indices, change))
    with pytest.raises(FormatError) as caught:
        read_extxyz(path)
    assert f'frame {indices[0] + 1} (line' in str(caught.value)
    assert f'({len(indices)} of 21) are about' in str(caught.value)
    assert f'({21 - len(indices)} of 21), about -3.4' in str(caught.value)
    assert words in str(caught.value)
    assert 'allow_implausible' in str(caught.value)
    assert len(read_extxyz(path, allow_implausible=True).frames) == 21


def in_hartree(atoms):
    return {key: value / 27.2114 for key, value in atoms.calc.results.items() if 'energy' in key}


@pytest.mark.parametrize(
    ('count', 'wrong'), [(2, [0]), (3, [1]), (3, [0, 1]), (21, [1, 2]), (21, range(15)), (21, range(20))]
)
def test_energies_of_one_composition_in_hartree(count, wrong):
    """The frames in Hartree are named, even if they are the majority or all but one."""
    finding = implausible(changed(copper(count), wrong, in_hartree))
    assert finding.index == wrong[0]
    assert f'({len(wrong)} of {count}) are about -0.12' in finding.reason
    assert 'the first group looks like Hartree' in finding.reason


@pytest.mark.parametrize('indices', [range(10), range(0, 101, 2), range(5, 101)])
def test_energies_of_few_compositions_in_hartree(example, indices):
    finding = implausible(changed(example, indices, in_hartree))
    assert finding.index == indices[0]
    assert f'({len(indices)} of 101) are about' in finding.reason
    assert 'the first group looks like Hartree' in finding.reason


def at_several_densities():
    frames = copper(6)
    for scale in (0.93, 1.07):
        frames += relabelled(compressed(scale), lambda atoms: {'energy': atoms.get_potential_energy() - 3.5 * 32})
    return frames


@pytest.mark.parametrize('change', [in_hartree, lambda atoms: {'energy': atoms.get_potential_energy() + 400}])
def test_odd_energies_at_all_densities_are_named(change):
    finding = implausible(changed(at_several_densities(), [1, 7, 13], change))
    assert finding.reason.startswith('energies of frames 1, 7, 13 (3 of 18) are about')
    assert implausible(at_several_densities()) is None


def test_energies_of_one_density_in_hartree():
    finding = implausible(changed(at_several_densities(), range(6), in_hartree))
    assert finding.reason.startswith('energies of frames 0 to 5 (6 of 18) are about -0.126')


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (in_hartree, 'energies look like Hartree'),
        (energies_times(1 / 13.6057), 'energies look like Rydberg'),
        (energies_times(23.06), 'energies look like kcal/mol'),
        (energies_times(96.485), 'energies look like kJ/mol'),
        (lambda atoms: {'forces': atoms.get_forces() / 51.422}, 'forces look like Hartree/bohr'),
        (lambda atoms: {'forces': atoms.get_forces() / 25.711}, 'forces look like Rydberg/bohr'),
        (lambda atoms: {'forces': -atoms.get_forces()}, 'forces have the opposite sign'),
    ],
)
def test_all_energies_or_forces_in_another_unit(change, words):
    frames = relabelled(copper(12, strain=0), lambda _: {'stress': None})
    assert implausible(frames) is None
    assert words in implausible(relabelled(frames, change)).reason


def test_all_energies_of_strained_cells_in_another_unit(example):
    """The work of stresses reveals the unit, too."""
    for frames in (copper(12), example):
        assert 'energies look like Hartree' in implausible(relabelled(frames, in_hartree)).reason


def test_other_compositions_and_densities_are_no_outliers():
    """A crystal may stand beside dimers, gas in boxes, compressed cells and alloys."""
    frames = copper(20)
    for scale in (0.88, 0.9, 0.95, 1.05, 1.1, 1.3, 2.0):
        frames += relabelled(compressed(scale), lambda atoms: {'energy': atoms.get_potential_energy() - 3.5 * 32})
    for element in ('Ni', 'Al', 'Au'):
        for atoms in copper(3):
            mixed = atoms.copy()
            mixed.symbols[:5] = element
            mixed.calc = EMT()
            energy = mixed.get_potential_energy() - 3.5 * 27
            mixed.calc = SinglePointCalculator(mixed, **(atoms.calc.results | {'energy': energy}))
            frames.append(mixed)
    for distance in (1.9, 2.2, 2.5, 3.5):
        dimer = Atoms('Cu2', positions=[[0, 0, 0], [0, 0, distance]], cell=[12, 12, 12], pbc=True)
        dimer.calc = EMT()
        energy = dimer.get_potential_energy() - 7.0
        forces = dimer.get_forces()
        dimer.calc = SinglePointCalculator(dimer, energy=energy, forces=forces)
        frames.append(dimer)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ImplausibleWarning)
        assert implausible(frames) is None


def labelled(atoms, calculator=None):
    """Return a copy with EMT's labels."""
    copy = atoms.copy()
    copy.calc = calculator or EMT()
    labels = {'energy': copy.get_potential_energy(), 'forces': copy.get_forces(), 'stress': copy.get_stress()}
    copy.calc = SinglePointCalculator(copy, **labels)
    return copy


def test_displacements_of_single_atoms_are_plausible():
    """In a run of finite differences symmetry makes changes of printed energies zero."""
    crystal = bulk('Cu', cubic=True)
    frames = [labelled(crystal)]
    for atom in range(4):
        for axis in range(3):
            displaced = crystal.copy()
            displaced.positions[atom, axis] += 0.015
            frames.append(labelled(displaced))
    assert implausible(relabelled(frames, lambda atoms: {'energy': round(atoms.get_potential_energy(), 8)})) is None


def platinum(count):
    """Return crystals of one atom with EMT's energy less 5 eV."""
    return relabelled([labelled(bulk('Pt'))] * count, lambda atoms: {'energy': atoms.get_potential_energy() - 5.0})


def cubic_platinum(count):
    """Return simple cubic crystals of the same density, 1.5 eV/atom higher."""
    crystal = Atoms('Pt', cell=np.eye(3) * bulk('Pt').get_volume() ** (1 / 3), pbc=True)
    energy = platinum(1)[0].get_potential_energy() + 1.5
    return relabelled([labelled(crystal)] * count, lambda _: {'energy': energy})


def test_phases_of_one_density_are_plausible():
    """Another phase may lie more than 1 eV/atom higher if forces do not connect the two; it gets a warning."""
    with pytest.warns(ImplausibleWarning, match=r'frame 6 \(1 of 7\).*no other phase or compound'):
        assert implausible(platinum(6) + cubic_platinum(1)) is None


def test_a_unit_is_refused_beside_groups_that_are_a_warning():
    with pytest.warns(ImplausibleWarning, match=r'frames 8 to 9 \(2 of 10\).*no other phase or compound'):
        finding = implausible(changed(platinum(8), [1, 2], in_hartree) + cubic_platinum(2))
    assert finding.index == 1
    assert 'the first group looks like Hartree' in finding.reason
    assert 'phase' not in finding.reason


def test_energies_of_all_electrons_with_few_heavy_atoms_are_plausible():
    """All-electron energies are huge, and one heavy atom dominates the mean energy per atom."""
    frames = []
    for count, seed in ((0, 1), (0, 2), (1, 3), (1, 4)):
        crystal = bulk('Li', cubic=True).repeat(3)
        crystal.rattle(0.05, seed=seed)
        crystal.symbols[:count] = 'Ag'
        energy = -203.0 * (54 - count) - 144_600.0 * count
        labels = {'forces': np.full((54, 3), 0.05), 'stress': np.zeros(6)}
        crystal.calc = SinglePointCalculator(crystal, energy=energy, **labels)
        frames.append(crystal)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ImplausibleWarning)
        found = implausible(frames)
    assert found is None or 'energies' not in found.reason


@pytest.mark.parametrize('position', [[0.0, 0.0, 0.1], [0.0, 0.0, -0.1], [7.2, 7.2, 7.15], [-0.1, 7.3, 0.0]])
def test_atoms_in_one_place(tmp_path, position):
    frames = copper(3)
    frames[1].positions[3] = frames[1].cell.cartesian_positions(np.array(position) / 7.2) + frames[1].positions[0]
    with pytest.raises(FormatError, match=r'frame 2 \(line .*\): atoms 0 \(Cu\) and 3 \(Cu\) are 0\.[01]\d* Å apart'):
        read_extxyz(written(tmp_path, frames))
    assert len(read_extxyz(written(tmp_path, frames), allow_implausible=True).frames) == 3


@pytest.mark.parametrize('energy', [True, '-1.5', None])
def test_labels_of_frames_that_are_no_numbers(energy):
    atoms = copper(1)[0]
    atoms.calc.results |= {'energy': energy, 'free_energy': energy}
    with pytest.raises(ValueError, match=r'frame 0: (energy is not made of numbers: the first is|no energy)'):
        arrays_from_frames([atoms])
