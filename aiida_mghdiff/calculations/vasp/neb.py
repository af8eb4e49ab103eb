"""Climbing-image nudged elastic band in VASP with the VTST code, at a fixed cell.

Henkelman, Uberuaga, Jónsson, J. Chem. Phys. 113, 9901 (2000), doi:10.1063/1.1329672. VASP computes only the images
between the end points. The energies of the end points are ``results`` of relaxations with the same method.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from ase import Atoms

from aiida_mghdiff.calculations.exit_codes import define_exit_codes
from aiida_mghdiff.calculations.mpi import ranks_of, runs_under_mpi
from aiida_mghdiff.calculations.validation import IS_BOOL, IS_COUNT, IS_NEGATIVE, one_of
from aiida_mghdiff.calculations.vasp.force_field import FORCE_FIELD, evaluator_of
from aiida_mghdiff.calculations.vasp.ionic import TAGS, IonicCalculation, system_message, tags_message
from aiida_mghdiff.calculations.vasp.job import poscar_text
from aiida_mghdiff.data.stored_keys import stored_value
from aiida_mghdiff.formats.job_files import OSZICAR, OUTCAR

#: Tags of the band. A negative SPRING turns nudging on. IBRION = 3 with POTIM = 0 leaves the ions to the optimizer of
#: VTST that IOPT chooses. VASP's own conjugate gradients (IBRION = 2) need an energy that a band does not have.
BAND_TAGS = TAGS | {
    'images': IS_COUNT,
    'spring': IS_NEGATIVE,
    'lclimb': IS_BOOL,
    'ichain': one_of(0),
    'ibrion': one_of(3),
    'potim': one_of(0),
    'iopt': one_of(1, 2, 3, 4, 7),
}


def validate_band(inputs: dict[str, Any], _: Any = None) -> str | None:
    """Return a message about a fault in the inputs, or None."""
    if not {'parameters', 'images', 'initial_results', 'final_results'} <= set(inputs):
        return None
    parameters = inputs['parameters'].get_dict()
    return (
        tags_message(inputs, BAND_TAGS)
        or _images_message(inputs['images'], parameters['images'])
        or system_message(list(inputs['images'].symbols), inputs)
        or _ranks_message(inputs, parameters['images'])
        or _end_message('initial_results', inputs, parameters)
        or _end_message('final_results', inputs, parameters)
    )


def _images_message(images: orm.TrajectoryData, n_images: int) -> str | None:
    if images.numsteps != n_images + 2:
        return (
            f'images has {images.numsteps} structures, end points included, but parameters.images = {n_images} needs '
            f'{n_images + 2}.'
        )
    return None


def _ranks_message(inputs: Mapping[str, Any], n_images: int) -> str | None:
    options = inputs.get('metadata', {}).get('options', {})
    return ranks_message(inputs['code'], options, n_images) if 'code' in inputs else None


def ranks_message(code: orm.AbstractCode, options: Mapping[str, Any], n_images: int) -> str | None:
    """Return why the MPI ranks cannot be divided equally among the images, or None.

    :param options: ``metadata.options`` of the job.
    """
    computer = code.computer
    if computer is None or 'resources' not in options:
        return None
    ranks = ranks_of(computer, options['resources'])
    if runs_under_mpi(VaspNebCalculation, code, computer, options) and ranks % n_images:
        return f'{ranks} MPI ranks cannot be shared by {n_images} images: ask for a multiple of {n_images}.'
    return None


def _end_message(name: str, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> str | None:
    """Return why the results of a relaxation cannot give the energy of an end point of this band, or None."""
    results = inputs[name].get_dict()
    missing = {'free_energy_ev', 'max_force_ev_per_angstrom', 'evaluator'} - set(results)
    missing |= {'labelled_by'} if stored_value(results, 'labelled_by') is None else set()
    if missing:
        return f'{name} lacks {", ".join(sorted(missing))}: give the results of mghdiff.vasp.relax.'
    if results['max_force_ev_per_angstrom'] > -parameters['ediffg']:
        return (
            f'{name}: forces of {results["max_force_ev_per_angstrom"]:.3f} eV/Å are above ediffg = '
            f'{parameters["ediffg"]:g} of the band: relax the end point further.'
        )
    if results.get('n_steps') in results.get('unconverged_steps', []):
        return f'{name}: the SCF did not converge at its last step: relax the end point with a larger nelm.'
    if results['evaluator'] != (own := evaluator_of(inputs.get('potential'))):
        return f'{name} was computed with {results["evaluator"]}, the band uses {own}: relax the end point with {own}.'
    return None


def image_atoms(images: orm.TrajectoryData, index: int) -> Atoms:
    """Return one image of a path."""
    return Atoms(images.symbols, images.get_positions()[index], cell=images.get_array('cells')[index], pbc=True)


def image_folder(index: int) -> str:
    """Return the folder of an image: ``00`` is the initial end point."""
    return f'{index:02d}'


class VaspNebCalculation(IonicCalculation):
    """Finds the minimum-energy path between two relaxed end points, with DFT or with a learned force field."""

    CACHE_VERSION = 2
    CONTINUED_FROM = 'path'
    _PARSER = 'mghdiff.vasp.neb'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define ports and exit codes."""
        super().define(spec)
        spec.input(
            'images',
            valid_type=orm.TrajectoryData,
            help='Start of the search, end points included: interpolated images, or the path of a run to continue.',
        )
        spec.input('initial_results', valid_type=orm.Dict, help='Results of the relaxation of the first end point.')
        spec.input('final_results', valid_type=orm.Dict, help='Results of the relaxation of the last end point.')
        spec.inputs.validator = validate_band
        spec.output('path', valid_type=orm.TrajectoryData, required=False, help='Images, end points included.')
        spec.output('saddle', valid_type=orm.StructureData, required=False, help='The saddle point, if there is one.')
        define_exit_codes(spec, 'VTST_MISSING', 'ENDS_OF_OTHER_LABELS', 'NEB_NOT_CONVERGED')

    def start_atoms(self) -> Atoms:
        """Return the first end point."""
        return image_atoms(self.inputs.images, 0)

    def inner_folders(self) -> list[str]:
        """Return the folders of the images between the end points."""
        return [image_folder(index) for index in range(1, self.inputs.images.numsteps - 1)]

    def temporary_files(self) -> list[Any]:
        """Return the files of each image that a parser reads once."""
        names = (OUTCAR, *self._TEMPORARY_FILES)
        return [(f'{image}/{name}', '.', 2) for image in self.inner_folders() for name in names]

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write a folder for each image."""
        calcinfo = super().prepare_for_submission(folder)
        for index in range(self.inputs.images.numsteps):
            with folder.get_subfolder(image_folder(index), create=True).open('POSCAR', 'w') as handle:
                handle.write(poscar_text(image_atoms(self.inputs.images, index), None))
        inner = self.inner_folders()
        calcinfo.retrieve_list += [(f'{image}/{OSZICAR}', '.', 2) for image in inner]
        if 'potential' in self.inputs:
            # VASP's manual does not say whether an image reads the file in the folder above or its own
            potential = self.inputs.potential
            calcinfo.local_copy_list += [potential.copy_entry(f'{image}/{FORCE_FIELD}') for image in inner]
        return calcinfo
