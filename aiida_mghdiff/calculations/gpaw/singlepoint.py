"""Single points with GPAW, through aiida-ase."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from aiida_ase.calculations.ase import AseCalculation

from aiida_mghdiff.calculations.program import set_options
from aiida_mghdiff.calculations.singlepoint import define_singlepoint
from aiida_mghdiff.calculations.validation import IS_POSITIVE, unknown_message

#: Required part of the parameters of aiida-ase, which sets the outputs of the script: the free energy (aiida-ase's own
#: ``total_energy`` is extrapolated to zero smearing), forces, stress and versions.
GETTERS = {
    'atoms_getters': [['potential_energy', {'force_consistent': True}], 'forces', 'stress'],
    'calculator_getters': ['number_of_iterations'],
    'extra_imports': ['gpaw'],
    'post_lines': ["results['versions'] = {'gpaw': gpaw.__version__, 'ase': ase.__version__}"],
}

#: The script writes this text at its end.
RESULTS_FILE = AseCalculation._OUTPUT_FILE_NAME


def validate_parameters(node: orm.Dict, _: Any = None) -> str | None:
    """Return a message about a fault in parameters in the form of aiida-ase."""
    values = node.get_dict()
    if wrong := sorted(key for key, value in GETTERS.items() if values.get(key) != value):
        return f'parameters: {", ".join(wrong)} must be as in a protocol for single points (GETTERS).'
    if message := unknown_message(values, ('calculator', 'kpoints_options', *GETTERS), 'parameters'):
        return message
    calculator = values.get('calculator')
    if not isinstance(calculator, Mapping):
        return f'parameters: calculator = {calculator!r} is not a dictionary.'
    if calculator.get('name') != 'gpaw':
        return f'parameters: calculator.name = {calculator.get("name")!r} is not gpaw.'
    arguments = calculator.get('args') or {}
    if not isinstance(arguments, Mapping):
        return f'parameters: calculator.args = {arguments!r} is not a dictionary.'
    if missing := sorted({'mode', 'xc', 'convergence', 'occupations'} - set(arguments)):
        return (
            f'parameters: calculator.args lack {", ".join(missing)}: a protocol (get_builder_from_protocol) has them.'
        )
    if 'kpts' in arguments:
        return 'parameters: calculator.args has kpts: give the k-points as kpoints.'
    if not is_plane_waves(arguments['mode']):
        return (
            f"parameters: mode = {arguments['mode']!r} is not {{'@function': 'PW', 'args': {{'ecut': eV}}}}: "
            'only plane waves give a stress.'
        )
    return None


def is_plane_waves(mode: Any) -> bool:
    """Return whether a mode is plane waves with a cut-off energy."""
    if not isinstance(mode, Mapping) or mode.get('@function') != 'PW':
        return False
    arguments = mode.get('args')
    return isinstance(arguments, Mapping) and IS_POSITIVE.holds(arguments.get('ecut'))


def strip_structure(folder: Folder, name: str) -> None:
    """Remove times, user and random name from a structure in ASE's JSON: equal structures give equal files."""
    with folder.open(name) as handle:
        content = json.load(handle)
    for key in ('ctime', 'mtime', 'unique_id', 'user'):
        content['1'].pop(key, None)
    with folder.open(name, 'w') as handle:
        json.dump(content, handle, sort_keys=True)


class GpawSinglePointCalculation(AseCalculation):
    """A script of aiida-ase for GPAW; the Code is a Python interpreter with GPAW.

    aiida-ase's own parsers lose parts of a label. ``ase.gpaw`` reads rounded energy and forces from the text output,
    and reports every failure as an electronic one. ``ase.ase`` reports every failure as missing output. Failures of
    both stay in the cache. So only the script is aiida-ase's; outputs, exit codes and the parser are our own.
    """

    CACHE_VERSION = 1

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs, outputs and exit codes."""
        super().define(spec)
        log = {'output_filename': cls._TXT_OUTPUT_FILE_NAME}
        set_options(spec, parser_name='mghdiff.gpaw.singlepoint', **log)
        del spec.inputs['settings']
        spec.inputs['kpoints'].required = True
        spec.inputs['parameters'].validator = validate_parameters
        define_singlepoint(spec)

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write script and structure; keep the text output, and keep the results until they are parsed."""
        calcinfo = super().prepare_for_submission(folder)
        strip_structure(folder, self._input_aseatoms)
        log = self.inputs.metadata.options.output_filename
        calcinfo.codes_info[0].stdout_name = log
        calcinfo.retrieve_list = [log]
        calcinfo.retrieve_temporary_list = [RESULTS_FILE]
        return calcinfo
