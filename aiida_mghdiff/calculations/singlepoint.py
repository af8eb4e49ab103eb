"""What a single point from first principles is, whichever program makes it: outputs and exit codes."""

from __future__ import annotations

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mghdiff.calculations.program import EXECUTABLE_MISSING, define_exit_codes
from aiida_mghdiff.data.dataset import DatasetData

#: Outputs of AiiDA itself: what else the class of another plugin defines is not what these jobs give.
_OUTPUTS_OF_AIIDA = {'remote_folder', 'remote_stash', 'retrieved'}
_FIRST_OWN_STATUS = 200

#: Status, name, message, whether the cache forgets the job. Refused input, unconverged electrons and wrong labels come
#: again with the same inputs; whatever the machine or the environment did may be cured.
_EXIT_CODES = (
    (210, 'ENGINE_MISSING', 'The environment of the job lacks a package: {message}', True),
    (212, 'ELEMENT_UNKNOWN', 'There is no potential or PAW dataset for an element: {message}', True),
    (213, 'INPUT_REFUSED', 'The program refused its input: {message}', False),
    EXECUTABLE_MISSING,
    (300, 'OUTPUT_MISSING', 'The job left no results: {message}', True),
    (302, 'OUTPUT_INVALID', 'An output file cannot be read or is cut off: {message}', True),
    (303, 'PROGRAM_CRASHED', 'The program ended unexpectedly: {message}', True),
    (410, 'OUT_OF_MEMORY', 'The job ran out of memory: {message}', True),
    (430, 'SCF_NOT_CONVERGED', 'The electrons did not converge: {message}', False),
    (431, 'LABEL_IMPLAUSIBLE', 'The label cannot be right: {message}', False),
)

#: Failures that every other frame would share: repeating or going on cures none of them.
SYSTEMATIC = (210, 212, 213, EXECUTABLE_MISSING[0])


def define_singlepoint(spec: CalcJobProcessSpec) -> None:
    """Put outputs and exit codes of a single point in the place of those that another plugin's class defines."""
    for name in set(spec.outputs) - _OUTPUTS_OF_AIIDA:
        del spec.outputs[name]
    for name in [name for name, code in spec.exit_codes.items() if code.status >= _FIRST_OWN_STATUS]:
        del spec.exit_codes[name]
    spec.output('results', valid_type=orm.Dict, required=False, help='Energies in eV, convergence, versions.')
    spec.output(
        'dataset',
        valid_type=DatasetData,
        required=False,
        help='The structure, labelled with free energy, forces and stress; only where the electrons converged '
        'and no label is larger than any that can be right.',
    )
    spec.default_output_node = 'results'
    define_exit_codes(spec, _EXIT_CODES)
