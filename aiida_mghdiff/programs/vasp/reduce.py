"""Reduce XDATCAR (or vaspout.h5, if it is the only trajectory) and OUTCAR of a VASP run in its own folder.

Reduced files are renamed, so that the job retrieves them only if this program failed or never ran.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aiida_mghdiff.formats import job_files
from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.outcar import summarise_outcar
from aiida_mghdiff.formats.vaspout import read_vaspout
from aiida_mghdiff.formats.xdatcar import XdatcarReader
from aiida_mghdiff.programs import job
from aiida_mghdiff.science.trajectory_reduction import ReductionPlan, reduce_trajectory

TRAJECTORY, HDF5, OUTCAR = Path(job_files.TRAJECTORY), Path(job_files.HDF5), Path(job_files.OUTCAR)
UNFINISHED = 'reducing.npz'


def main() -> None:
    """Run the program in the working directory.

    :raises ProgramError: INPUT_REFUSED for a missing or damaged trajectory or OUTCAR.
    """
    plan = ReductionPlan(**job.read_input())
    if not (TRAJECTORY.is_file() or HDF5.is_file()):
        raise job.ProgramError('INPUT_REFUSED', f'{TRAJECTORY} and {HDF5} are missing: VASP did not run.')
    if not OUTCAR.is_file():
        raise job.ProgramError('INPUT_REFUSED', f'{OUTCAR} is missing.')
    try:
        frames = XdatcarReader(TRAJECTORY) if TRAJECTORY.is_file() else read_vaspout(HDF5)
        arrays = reduce_trajectory(frames, plan)
        outcar = summarise_outcar(OUTCAR).to_arrays()
    except FormatError as error:
        raise job.ProgramError('INPUT_REFUSED', str(error)) from error
    job.write_arrays(UNFINISHED, **arrays, **outcar, truncated=np.array(frames.truncated or ''))
    Path(UNFINISHED).rename(job_files.REDUCED)
    for path in filter(Path.is_file, (TRAJECTORY, OUTCAR)):
        path.rename(f'{path}.reduced')
    print(f'{int(arrays["last_step"])} steps, {len(arrays["tracer_steps"])} tracer frames')
