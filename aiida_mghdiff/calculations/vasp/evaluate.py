"""Evaluation of a force field that VASP learned, on every frame of a dataset.

VASP evaluates one structure in a run (``IBRION = -1``, as its developers do for the errors of force fields:
https://github.com/vasp-dev/py4vasp/issues/179). A job for each frame would queue hundreds of times for seconds of work.
So one job runs VASP many times. For each frame its script writes the POSCAR and the POTCAR of its elements, and keeps
OUTCAR. The first failed frame ends the job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from ase import Atoms

from aiida_mghdiff.calculations.evaluate import define_predictions
from aiida_mghdiff.calculations.functions.labels import grouped_order
from aiida_mghdiff.calculations.vasp.force_field import RUN_TAGS, force_field_message
from aiida_mghdiff.calculations.vasp.job import (
    KEPT_LINES,
    LAST_LINES,
    STDOUT,
    VaspJob,
    own_tags_message,
    poscar_text,
    potcars_message,
)
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.job_files import OUTCAR, progress_line

FRAMES = 'frames'
INCAR = RUN_TAGS | {'ibrion': -1, 'nsw': 0, 'isif': 2, 'isym': 0, 'lwave': False, 'lcharg': False}

_NEXT_FRAME = f"""\
n=0
for frame in {FRAMES}/*/POSCAR_*; do
rm -f {OUTCAR}
cp "$frame" POSCAR && cp "${{frame%/*}}/POTCAR" POTCAR || break
"""
_KEEP_FRAME = f"""\
grep -q 'General timing' {OUTCAR} && mv {OUTCAR} "${{frame%/*}}/{OUTCAR}_${{frame##*_}}" || break
n=$((n + 1))
echo "{progress_line('$n', '@COUNT@')} $frame" >> {LAST_LINES}
done
tail -n {KEPT_LINES} {STDOUT} >> {LAST_LINES}"""


def validate_inputs(inputs: Mapping[str, Any], _: Any = None) -> str | None:
    """Return a message about a fault in the force field, the POTCARs or the user's INCAR tags, or None."""
    potential, dataset = inputs['potential'], inputs['dataset']
    return (
        force_field_message(potential)
        or potential.unknown_message(dataset.elements)
        or potcars_message(dataset.elements, inputs.get('potcars', {}))
        or (tags_message(inputs['parameters']) if 'parameters' in inputs else None)
    )


def tags_message(tags: orm.Dict) -> str | None:
    """Return a message about a fault in the user's INCAR tags, or None."""
    return own_tags_message(tags.get_dict(), INCAR)


def frames_of(dataset: DatasetData) -> Iterator[tuple[str, Atoms]]:
    """Yield each frame, with atoms grouped by element (``grouped_order``), and the path of its POSCAR in the job.

    Frames with the same order of elements share a folder and its POTCAR.
    """
    for index, atoms in enumerate(dataset.get_frames()):
        grouped = atoms[grouped_order(atoms.numbers)]
        elements = '-'.join(dict.fromkeys(grouped.get_chemical_symbols()))
        yield f'{FRAMES}/{elements}/POSCAR_{index:06d}', grouped


def outcar_of(path: str) -> str:
    """Return the path of a frame's OUTCAR, from the path of its POSCAR."""
    return path.replace('POSCAR_', f'{OUTCAR}_')


class VaspEvaluateCalculation(VaspJob):
    """Predicts energies, forces and stresses of a dataset with a force field that VASP learned."""

    CACHE_VERSION = 1
    _PARSER = 'mghdiff.vasp.evaluate'
    _KEPT_OUTPUT = LAST_LINES
    _UNUSED_INPUTS = ('kpoints', 'vdw_kernel')

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define ports and exit codes."""
        super().define(spec)
        spec.inputs['parameters'].required = False
        define_predictions(spec)
        spec.outputs['results'].help = 'Number of frames, and versions.'
        spec.inputs.validator = validate_inputs

    def set_tags(self) -> dict[str, Any]:
        """Return the INCAR tags for one structure."""
        return INCAR

    def reserve(self) -> None:
        """Return None: VASP checks STOPCAR only between ionic steps, and each frame has one."""

    def write_poscar(self, dst: str) -> None:
        """Write no POSCAR: each frame has its own."""

    def write_potcar(self, dst: str) -> None:
        """Write no POTCAR: each folder of frames has its own."""

    def temporary_files(self) -> list[Any]:
        """Return the files that a parser reads once, including the OUTCAR of each frame."""
        return [*super().temporary_files(), (f'{FRAMES}/*/{OUTCAR}_*', '.', 3)]

    def files_of_frames(self, frames: Mapping[str, Atoms]) -> dict[str, bytes]:
        """Return the POSCAR of each frame, and the POTCAR of each folder."""
        files = {path: poscar_text(atoms, None).encode() for path, atoms in frames.items()}
        symbols = {f'{Path(path).parent}/POTCAR': atoms.get_chemical_symbols() for path, atoms in frames.items()}
        return files | {path: self.potcar_of(names) for path, names in symbols.items()}

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the common files of all runs, and the files of each frame."""
        calcinfo, frames = super().prepare_for_submission(folder), dict(frames_of(self.inputs.dataset))
        files = self.files_of_frames(frames)
        for name, content in files.items():
            path = Path(folder.get_abs_path(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        calcinfo.provenance_exclude_list = [name for name in files if name.endswith('POTCAR')]
        calcinfo.prepend_text, calcinfo.append_text = _NEXT_FRAME, _KEEP_FRAME.replace('@COUNT@', str(len(frames)))
        return calcinfo
