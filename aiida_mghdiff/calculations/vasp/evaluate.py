"""A force field that VASP learned, on every frame of a dataset.

VASP evaluates one structure a run (``IBRION = -1``, as its developers do for the errors of force fields:
https://github.com/vasp-dev/py4vasp/issues/179). A job for each frame would queue hundreds of times for seconds of work.
So one job runs VASP again and again: its script lays down the POSCAR of the next frame and the POTCAR of its elements,
and keeps OUTCAR. The first frame that fails ends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJob, CalcJobProcessSpec
from aiida_vasp.data.potcar import PotcarData
from ase import Atoms

from aiida_mghdiff.calculations.evaluate import define_predictions, unknown_elements_message
from aiida_mghdiff.calculations.functions.labels import grouped_order
from aiida_mghdiff.calculations.program import set_options
from aiida_mghdiff.calculations.vasp import base
from aiida_mghdiff.calculations.vasp.ionic import RUN_TAGS
from aiida_mghdiff.calculations.vasp.md import FORCE_FIELD, force_field_message
from aiida_mghdiff.data.dataset import DatasetData

FRAMES = 'frames'
INCAR = RUN_TAGS | {'ibrion': -1, 'nsw': 0, 'isif': 2, 'isym': 0, 'lwave': False, 'lcharg': False}

_NEXT_FRAME = f"""\
n=0
for frame in {FRAMES}/*/POSCAR_*; do
rm -f {base.OUTCAR}
cp "$frame" POSCAR && cp "${{frame%/*}}/POTCAR" POTCAR || break
"""
_KEEP_FRAME = f"""\
grep -q 'General timing' {base.OUTCAR} && mv {base.OUTCAR} "${{frame%/*}}/{base.OUTCAR}_${{frame##*_}}" || break
n=$((n + 1))
echo "progress $n/@COUNT@ $frame" >> {base.LAST_LINES}
done
tail -n 500 {base.STDOUT} >> {base.LAST_LINES}"""


def validate_inputs(inputs: Mapping[str, Any], _: Any = None) -> str | None:
    """Return what is wrong with the force field, or with the POTCARs."""
    potential, dataset = inputs['potential'], inputs['dataset']
    return (
        force_field_message(potential)
        or unknown_elements_message(potential, dataset)
        or base.potcars_message(dataset.base.attributes.get('elements'), inputs.get('potcars', {}), 'potcars')
    )


def frames_of(dataset: DatasetData) -> Iterator[tuple[str, Atoms]]:
    """Yield each frame, its atoms grouped by element (``grouped_order``), with the path of its POSCAR in the job.

    Frames share a folder, and the POTCAR in it, where their elements come in the same order.
    """
    for index, atoms in enumerate(dataset.get_frames()):
        grouped = atoms[grouped_order(atoms.numbers)]
        elements = '-'.join(dict.fromkeys(grouped.get_chemical_symbols()))
        yield f'{FRAMES}/{elements}/POSCAR_{index:06d}', grouped


def outcar_of(path: str) -> str:
    """Return the path of the OUTCAR of a frame, by that of its POSCAR."""
    return path.replace('POSCAR_', f'{base.OUTCAR}_')


def files_of_frames(frames: Mapping[str, Atoms], potcars: Mapping[str, PotcarData], dry_run: bool) -> dict[str, bytes]:
    """Return the POSCAR of each frame, and the POTCAR that those of one folder share; titles alone for a dry run."""
    files = {path: base.poscar_text(atoms, None).encode() for path, atoms in frames.items()}
    symbols = {f'{Path(path).parent}/POTCAR': atoms.get_chemical_symbols() for path, atoms in frames.items()}
    return files | {path: base.potcar_bytes(names, potcars, dry_run) for path, names in symbols.items()}


class VaspEvaluateCalculation(CalcJob):
    """Predicts energies, forces and stresses of a dataset with a force field that VASP learned.

    The Code is ``vasp_std``, or ``mghdiff-vasp-standin``.
    """

    CACHE_VERSION = 1

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define ports and exit codes."""
        super().define(spec)
        files = {'input_filename': 'INCAR', 'output_filename': base.LAST_LINES}
        set_options(spec, with_mpi=True, parser_name='mghdiff.vasp.evaluate', **files)
        spec.input('code', valid_type=orm.AbstractCode, help='`vasp_std`, or `mghdiff-vasp-standin`.')
        define_predictions(spec)
        spec.input_namespace('potcars', valid_type=PotcarData, dynamic=True, help='POTCAR of each element.')
        spec.output('results', valid_type=orm.Dict, help='How many frames, and the versions.')
        spec.default_output_node = 'results'
        base.define_vasp_exit_codes(spec)
        spec.inputs.validator = validate_inputs

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the files of the run that is repeated, and those of each frame."""
        inputs, frames = self.inputs, dict(frames_of(self.inputs.dataset))
        files = {'INCAR': base.incar_text(INCAR).encode(), 'KPOINTS': base.kpoints_text((1, 1, 1)).encode()}
        files |= files_of_frames(frames, inputs.potcars, bool(inputs.metadata.get('dry_run')))
        for name, content in files.items():
            path = Path(folder.get_abs_path(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        calcinfo = CalcInfo()
        calcinfo.codes_info = [base.vasp_codeinfo(inputs.code)]
        calcinfo.local_copy_list = [inputs.potential.copy_entry(FORCE_FIELD)]
        calcinfo.provenance_exclude_list = [name for name in files if name.endswith('POTCAR')]
        calcinfo.retrieve_list = [base.LAST_LINES]
        calcinfo.retrieve_temporary_list = [base.STDOUT, base.OUTCAR, (f'{FRAMES}/*/{base.OUTCAR}_*', '.', 3)]
        calcinfo.prepend_text, calcinfo.append_text = _NEXT_FRAME, _KEEP_FRAME.replace('@COUNT@', str(len(frames)))
        return calcinfo
