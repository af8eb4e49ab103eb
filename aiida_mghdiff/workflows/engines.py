"""Which engine runs a potential: the one place that decides it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm
from aiida.engine import CalcJob
from aiida.plugins import CalculationFactory

from aiida_mghdiff.calculations.functions.parameters import block_parameters, segment_parameters, steps_of_block
from aiida_mghdiff.calculations.lammps.md import converter_message, needs_converter
from aiida_mghdiff.calculations.md import INCAR
from aiida_mghdiff.calculations.vasp import evaluate, md
from aiida_mghdiff.calculations.vasp.job import potcars_message
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.data.potential import PotentialData

LAMMPS_MD = 'mghdiff.lammps.md'
VASP_MD = 'mghdiff.vasp.md'
VASP_EVALUATE = 'mghdiff.vasp.evaluate'
#: Key of INCAR tags among the parameters of evaluations, which are by architecture: a name of a port has no hyphen.
VASP_TAGS = 'vasp_mlff'

#: For each architecture the engines that run its MD, the preferred first: name of the code, entry point of the job.
MD_ENGINES = {
    'mace': (('lammps', LAMMPS_MD), ('python', 'mghdiff.ase.md')),
    'chgnet': (('python', 'mghdiff.ase.md'),),
    'vasp-mlff': (('vasp', VASP_MD),),
}
#: For each architecture the engine that finds its barriers: name of the code.
NEB_ENGINES = {'mace': 'python', 'chgnet': 'python', 'vasp-mlff': 'vasp'}
TRAINERS = {'mace': 'mghdiff.mace.train', 'chgnet': 'mghdiff.chgnet.train'}


def md_engine(
    potential: PotentialData, codes: Mapping[str, orm.AbstractCode]
) -> tuple[type[CalcJob], orm.AbstractCode]:
    """Return the MD job that runs a potential, and its code: the preferred engine that there is a code for.

    :raises ValueError: where no code fits.
    """
    engines = MD_ENGINES.get(potential.architecture, ())
    for name, entry_point in engines:
        if name in codes:
            return CalculationFactory(entry_point), codes[name]
    wanted = ' or '.join(f'codes.{name}' for name, _ in engines) or 'an engine that this version does not have'
    raise ValueError(
        f'a {potential.architecture} potential needs {wanted} for MD: `aiida-mghdiff setup` makes the codes.'
    )


def validate_md_codes(inputs: Mapping[str, Any], symbols: Sequence[str]) -> str | None:
    """Return what is wrong with the codes, or for VASP with the POTCARs, of a process that runs MD with one potential.

    :param symbols: of the atoms that will move.
    """
    if 'potential' in inputs:
        try:
            engine, code = md_engine(inputs['potential'], inputs.get('codes', {}))
        except ValueError as error:
            return str(error)
        if runs_in_lammps(engine) and needs_converter(code) and 'convert' not in inputs['codes']:
            return f'codes.convert is missing: {converter_message(code)}'
        if takes_potcars(engine):
            return potcars_message(symbols, inputs.get('potcars', {}))
    return None


def incar_message(inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the INCAR tags among MD parameters; only VASP reads them.

    :param inputs: of a process that runs MD with one potential, whose codes are valid.
    """
    if INCAR not in parameters:
        return None
    engine, _ = md_engine(inputs['potential'], inputs['codes'])
    if takes_potcars(engine):
        return md.incar_message(parameters)
    return f'parameters: {INCAR} has tags for VASP, which does not run this potential: leave {INCAR} out.'


def md_message(inputs: Mapping[str, Any], structure: orm.StructureData, parameters: Mapping[str, Any]) -> str | None:
    """Return what the job of an MD run would be refused for.

    :param inputs: of a process that runs MD with one potential, whose codes are valid.
    """
    engine, code = md_engine(inputs['potential'], inputs['codes'])
    job = {'code': code, 'potential': inputs['potential'], 'structure': structure, 'parameters': orm.Dict(parameters)}
    ports = engine.spec().inputs
    return ports.validator(job | engine_inputs(engine, inputs), ports)


def evaluation_in_vasp(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the POTCARs, and the INCAR tags of the user's own."""
    tags = inputs.get('evaluation', {}).get(VASP_TAGS)
    return {'potcars': dict(inputs['potcars'])} | ({} if tags is None else {'parameters': tags})


def evaluation_in_vasp_message(inputs: Mapping[str, Any], symbols: Sequence[str]) -> str | None:
    """Return which elements have no POTCAR, or what is wrong with the INCAR tags."""
    tags = inputs.get('evaluation', {}).get(VASP_TAGS)
    if message := potcars_message(symbols, inputs.get('potcars', {})):
        return message
    message = None if tags is None else evaluate.tags_message(tags)
    return message and message.replace('parameters', f'evaluation.{VASP_TAGS}', 1)


def takes_potcars(engine: type[CalcJob]) -> bool:
    """Return whether an MD job is one of VASP, which needs POTCARs with a learned force field too."""
    return engine is CalculationFactory(VASP_MD)


def runs_in_lammps(engine: type[CalcJob]) -> bool:
    """Return whether an MD job is one of LAMMPS, which may need a converter of its model."""
    return engine is CalculationFactory(LAMMPS_MD)


def engine_inputs(engine: type[CalcJob], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs that an MD job of one engine has and others have not.

    These are the converter of a LAMMPS built with MACE, or VASP's POTCARs and reducing code.
    """
    codes = inputs['codes']
    if runs_in_lammps(engine) and needs_converter(codes['lammps']):
        return {'convert_code': codes['convert']}
    if not takes_potcars(engine):
        return {}
    return {'potcars': dict(inputs['potcars'])} | ({'reduce_code': codes['reduce']} if 'reduce' in codes else {})


def evaluation(potential: PotentialData, inputs: Mapping[str, Any]) -> tuple[type[CalcJob], dict[str, Any]]:
    """Return the job that evaluates a potential, and its inputs beside potential and dataset.

    :param inputs: ``codes``, ``potcars``, and ``evaluation``: parameters by architecture.
    """
    if potential.architecture == 'vasp-mlff':
        return CalculationFactory(VASP_EVALUATE), {'code': inputs['codes']['vasp'], **evaluation_in_vasp(inputs)}
    parameters = inputs['evaluation'][potential.architecture]
    return CalculationFactory('mghdiff.evaluate'), {'code': inputs['codes']['python'], 'parameters': parameters}


def job_parameters(engine: type[CalcJob], parameters: orm.Dict, state: MdStateData | None, label: str) -> orm.Dict:
    """Return the parameters of the next job of a run: those of the run where it is the only one.

    :param state: where the last job ended, None for the first.
    :param label: call link label of what derives them.
    """
    in_blocks = takes_potcars(engine)
    steps = steps_of_block(parameters) if in_blocks else parameters['steps']
    if state is None and steps == parameters['steps']:
        return parameters
    derive = block_parameters if in_blocks else segment_parameters
    start = {} if state is None else {'state': state}
    return derive(parameters, **start, metadata={'call_link_label': label})


def neb_engine(potential: PotentialData | None) -> str:
    """Return the name of the code that finds barriers with a potential, or with DFT where there is none."""
    return 'vasp' if potential is None else NEB_ENGINES[potential.architecture]


def trainer(architecture: str) -> type[CalcJob]:
    """Return the job that trains an architecture."""
    return CalculationFactory(TRAINERS[architecture])
