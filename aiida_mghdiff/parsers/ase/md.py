"""Parser of molecular dynamics in ASE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from aiida.engine import ExitCode

from aiida_mghdiff.calculations.ase.md import ENGINE
from aiida_mghdiff.formats import job_files
from aiida_mghdiff.parsers.md import MdRun, emit_md_outputs
from aiida_mghdiff.parsers.program import ProgramParser


class AseMdParser(ProgramParser):
    """Emits the outputs of every MD job, also for a run that ended early."""

    CACHE_VERSION = 2

    def parse_program(self, results: dict[str, Any], files: Path) -> ExitCode | None:
        """Emit the outputs of the completed steps."""
        parameters = self.node.inputs.parameters.get_dict()
        emit_md_outputs(self.out, read_run(results, parameters, files))
        return None


def read_run(results: dict[str, Any], parameters: dict[str, Any], files: Path) -> MdRun:
    """Return the run from the files in a folder."""
    tracers, frames, thermo, final = (dict(np.load(files / name)) for name in job_files.MD_FILES.values())
    restart = files / job_files.MD_RESTART_FILE
    return MdRun(
        parameters=parameters,
        numbers=final['numbers'],
        tracer_positions=tracers['positions'],
        host_centre=tracers['host_centre'],
        tracer_steps=tracers['steps'],
        tracer_cells=tracers['cells'] if 'cells' in tracers else final['cell'],
        frame_steps=frames['steps'],
        frame_positions=frames['positions'],
        frame_velocities=frames['velocities'],
        frame_cells=frames['cells'],
        frame_energies=frames['energies'],
        thermo=thermo,
        final_step=results['last_step'],
        final_positions=final['positions'],
        final_velocities=final['velocities'],
        final_cell=final['cell'],
        restart=restart.read_bytes() if restart.is_file() else None,
        engine=ENGINE,
        thermostat=results['thermostat'],
        barostat=results['barostat'],
        evaluator=results['evaluator'],
        head=results.get('head'),
        versions=results['versions'],
    )
