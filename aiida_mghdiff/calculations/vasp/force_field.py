"""A force field that VASP learned: the input ``potential`` of VASP's jobs."""

from __future__ import annotations

from aiida_mghdiff.data.architectures import VASP_MLFF
from aiida_mghdiff.data.potential import PotentialData

ARCHITECTURE = VASP_MLFF.name
FORCE_FIELD = 'ML_FF'

#: Oldest format of ML_FF from a VASP with the fast mode (6.4). VASP itself accepts or refuses newer formats.
OLDEST_FORMAT = (0, 2)

#: Tags of a run with a force field. By default some versions of VASP write only energies, at every tenth step.
RUN_TAGS = {'ml_lmlff': True, 'ml_mode': 'run', 'ml_outblock': 1, 'ml_output_mode': 1}


def force_field_message(potential: PotentialData) -> str | None:
    """Return why VASP cannot run a potential, or None."""
    if potential.architecture != ARCHITECTURE:
        return f'VASP runs {ARCHITECTURE} potentials, not {potential.architecture}.'
    version = potential.base.attributes.get('version')
    if tuple(int(word) for word in version.split('.')[:2]) < OLDEST_FORMAT:
        return f'the force field has the format {version} of an older VASP: refit its ML_AB with VASP 6.4.2 or later.'
    return None


def fast_message(potential: PotentialData, otherwise: str = '') -> str | None:
    """Return a message if a force field has no fast mode, without which VASP is many times slower.

    :param otherwise: alternative to a refit, for the message.
    """
    if potential.base.attributes.get('fast'):
        return None
    return f'the force field has no fast mode (ML_LFAST): refit it first (ML_MODE = refit){otherwise}.'


def evaluator_of(potential: PotentialData | None) -> str:
    """Return the name of the source of energies and forces: ``dft``, or architecture and digest of a force field."""
    return 'dft' if potential is None else f'{ARCHITECTURE} {potential.base.attributes.get("sha256")[:12]}'
