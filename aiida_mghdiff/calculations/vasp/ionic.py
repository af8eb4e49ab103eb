"""What relaxations and elastic bands in VASP share: DFT or a learned force field moves ions at a fixed cell.

The INCAR is the Dict ``parameters``: lower-case tags and their values. A force field adds ``ML_LMLFF`` and ``ML_MODE``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJob, CalcJobProcessSpec
from aiida_vasp.calcs.vasp import VaspCalculation
from ase import Atoms

from aiida_mghdiff.calculations.program import set_options
from aiida_mghdiff.calculations.validation import (
    IS_COUNT,
    IS_NEGATIVE,
    IS_POSITIVE,
    Check,
    complete_message,
    one_of,
)
from aiida_mghdiff.calculations.vasp.base import (
    RESERVE_RUN,
    STDOUT,
    define_vasp_exit_codes,
    incar_text,
    nwrite_message,
    poscar_text,
    potcar_bytes,
    potcars_message,
    stopping_text,
    symbols_message,
)
from aiida_mghdiff.calculations.vasp.md import FORCE_FIELD, fast_message, force_field_message
from aiida_mghdiff.data.potential import PotentialData

#: Tags without which an INCAR says nothing about the result: VASP's own defaults differ between versions.
TAGS = {
    'encut': IS_POSITIVE,
    'ediff': IS_POSITIVE,
    'ediffg': IS_NEGATIVE,
    'nsw': IS_COUNT,
    'isif': one_of(2),
    'isym': one_of(0),
}
#: Tags of a run with a force field. By default some versions of VASP write every tenth step, and energies alone.
RUN_TAGS = {'ml_lmlff': True, 'ml_mode': 'run', 'ml_outblock': 1, 'ml_output_mode': 1}
#: Inputs of aiida-vasp that these jobs do without: nothing hangs on the scratch folder of an earlier job.
_UNUSED = ('structure', 'dynamics', 'settings', 'charge_density', 'wavefunctions', 'vdw_kernel', 'restart_folder')
_FIRST_OWN_STATUS = 200


def tags_message(tags: Mapping[str, Any], checks: Mapping[str, Check]) -> str | None:
    """Return what is wrong with INCAR tags: a name, one that is missing, or a value."""
    if wrong := sorted(key for key in tags if key != key.lower()):
        return f'parameters: write the tags {", ".join(wrong)} in lower case.'
    if learned := sorted(key for key in tags if key.startswith('ml_')):
        return f'parameters: {", ".join(learned)} cannot be given: a force_field sets the tags of the learned model.'
    known = {key: value for key, value in tags.items() if key in checks}
    return complete_message(known, checks) or nwrite_message(tags)


def system_message(atoms: Atoms, inputs: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the atoms: not grouped, or an element without POTCAR or unknown to the force field."""
    symbols = atoms.get_chemical_symbols()
    return (
        symbols_message(symbols)
        or potcars_message(symbols, inputs.get('potential', {}), 'potential')
        or _force_field_message(inputs.get('force_field'), symbols)
    )


def _force_field_message(force_field: PotentialData | None, symbols: Sequence[str]) -> str | None:
    """Return why VASP cannot run the atoms with a force field."""
    if force_field is None:
        return None
    if message := force_field_message(force_field) or fast_message(force_field):
        return message
    if unknown := sorted(set(symbols) - set(force_field.elements)):
        known = ', '.join(force_field.elements)
        return f'the force field knows {known}, not {", ".join(unknown)}: learn one with all elements.'
    return None


def evaluator(inputs: Mapping[str, Any]) -> str:
    """Return what gives energies and forces: ``dft``, or ``vasp-mlff`` with the digest of the force field."""
    if 'force_field' not in inputs:
        return 'dft'
    return f'vasp-mlff {inputs["force_field"].base.attributes.get("sha256")[:12]}'


class IonicCalculation(VaspCalculation):
    """Base of the jobs that move ions at a fixed cell."""

    _VASP_OUTPUT = STDOUT
    _TEMPORARY_FILES: ClassVar[tuple[str, ...]] = ('OUTCAR', 'CONTCAR')

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define what both share."""
        super().define(spec)
        _drop_unused(spec)
        set_options(spec, with_mpi=True, output_filename=STDOUT)
        spec.input(
            'force_field',
            valid_type=PotentialData,
            required=False,
            help='Learned force field (ML_FF) that gives energies and forces; DFT without one.',
        )
        spec.output('results', valid_type=orm.Dict, help='Energies, forces, versions and what was converged.')
        spec.default_output_node = 'results'
        define_vasp_exit_codes(spec)
        spec.exit_code(
            430, 'ERROR_SCF_NOT_CONVERGED', message='The electrons did not converge: {message} Raise nelm or set algo.'
        )

    def first_atoms(self) -> Atoms:
        """Return the atoms whose order is that of POTCAR."""
        raise NotImplementedError

    def write_incar(self, dst: str) -> None:
        """Write INCAR: the parameters, and the tags of the learned model where there is one."""
        tags = self.inputs.parameters.get_dict()
        if 'force_field' in self.inputs:
            tags |= RUN_TAGS
        Path(dst).write_text(incar_text(tags), encoding='utf-8')

    def write_poscar(self, dst: str) -> None:
        """Write POSCAR with all digits of the positions."""
        Path(dst).write_text(poscar_text(self.first_atoms(), None), encoding='utf-8')

    def write_potcar(self, dst: str) -> None:
        """Write POTCAR, titles and hashes alone for a dry run."""
        symbols = self.first_atoms().get_chemical_symbols()
        Path(dst).write_bytes(potcar_bytes(symbols, self.inputs.potential, self.inputs.metadata.dry_run))

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the files, and list those of the inputs and those to retrieve."""
        calcinfo = super().prepare_for_submission(folder)
        calcinfo.retrieve_list = [STDOUT]
        calcinfo.retrieve_temporary_list = list(self._TEMPORARY_FILES)
        limit = self.inputs.metadata.options.get('max_wallclock_seconds')
        calcinfo.prepend_text, calcinfo.append_text = stopping_text(limit, RESERVE_RUN)
        if 'force_field' in self.inputs:
            calcinfo.local_copy_list.append(self.inputs.force_field.copy_entry(FORCE_FIELD))
        return calcinfo


def _drop_unused(spec: CalcJobProcessSpec) -> None:
    """Take out of a specification what aiida-vasp defines and these jobs do not have."""
    for name in _UNUSED:
        spec.inputs.pop(name, None)
    for name in set(spec.outputs) - set(CalcJob.spec().outputs):
        del spec.outputs[name]
    for name in [name for name, code in spec.exit_codes.items() if code.status >= _FIRST_OWN_STATUS]:
        del spec.exit_codes[name]
