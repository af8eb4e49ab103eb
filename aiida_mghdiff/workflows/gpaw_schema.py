"""The schema of GPAW's parameters in protocol files: a single point with plane waves.

GPAW refuses wrong values late, deep inside its code, or never ends (a negative width). The keys are those of GPAW 22.8
to 25.7. aiida-ase writes texts between quotes into a script.
"""

from __future__ import annotations

from ase.data import chemical_symbols

from aiida_mghdiff.calculations.validation import (
    IS_BOOL,
    IS_COUNT,
    IS_NOT_NEGATIVE,
    IS_NUMBER,
    IS_POSITIVE,
    IS_STEP,
    IS_SYMBOL,
    Check,
    one_of,
    optional,
    three_of,
)
from aiida_mghdiff.workflows.setting_checks import ANYTHING, IS_NULL, Keys

_IS_TEXT = Check(
    'a text without quotes, not empty',
    lambda value: isinstance(value, str) and value.strip() != '' and not set('"\'\\\n') & set(value),
)
_IS_BANDS = Check(
    'a whole number, a text such as 120%, or null',
    lambda value: value is None or _IS_TEXT.holds(value) or (isinstance(value, int) and not isinstance(value, bool)),
)
_OPEN = Keys(own=_IS_TEXT, name='<key>', instead=IS_NULL)
_OPEN_OR_TEXT = Keys(own=_IS_TEXT, name='<key>', instead=optional(_IS_TEXT))

_PLANE_WAVES = {
    'ecut': IS_POSITIVE,
    'pulay_stress': optional(IS_NUMBER),
    'fftwflags': IS_STEP,
    **dict.fromkeys(('dedecut', 'cell'), ANYTHING),
    **dict.fromkeys(('gammacentered', 'force_complex_dtype'), IS_BOOL),
}
_OCCUPATIONS = {
    'name': one_of(
        'fermi-dirac',
        'methfessel-paxton',
        'marzari-vanderbilt',
        'fixed-uniform',
    ),
    'width': IS_NOT_NEGATIVE,
    'order': IS_STEP,
    'fixmagmom': IS_BOOL,
}
_CONVERGENCE = {
    **dict.fromkeys(('energy', 'density', 'eigenstates', 'forces', 'work function'), IS_POSITIVE),
    **dict.fromkeys(('minimum iterations', 'maximum iterations'), IS_COUNT),
    'bands': _IS_BANDS,
}
_MIXER = {
    'backend': one_of('pulay', 'fft', 'broyden', 'no-mixing'),
    'method': one_of('separate', 'sum', 'sum2', 'difference', 'fullspin'),
    **dict.fromkeys(('beta', 'weight', 'beta_m', 'weight_m'), IS_POSITIVE),
    **dict.fromkeys(('nmaxold', 'nmaxold_m', 'history'), IS_COUNT),
}
_SYMMETRY = {**dict.fromkeys(('point_group', 'time_reversal', 'symmorphic'), IS_BOOL), 'tolerance': IS_POSITIVE}

ARGUMENTS = Keys(
    {
        'mode': {'@function': one_of('PW'), 'args': _PLANE_WAVES},
        'xc': Keys({'name': _IS_TEXT}, _IS_TEXT, '<key>', instead=_IS_TEXT),
        'occupations': _OCCUPATIONS,
        'convergence': _CONVERGENCE,
        'mixer': Keys(_MIXER, instead=IS_NULL),
        'symmetry': Keys(_SYMMETRY, instead=optional(one_of('off'))),
        'setups': Keys(
            {'default': _IS_TEXT},
            IS_SYMBOL,
            '<symbol>',
            _IS_TEXT,
            lambda: chemical_symbols[1:],
            instead=optional(_IS_TEXT),
        ),
        **dict.fromkeys(('eigensolver', 'basis'), _OPEN_OR_TEXT),
        **dict.fromkeys(('poissonsolver', 'parallel', 'experimental', 'background_charge', 'external'), _OPEN),
        **dict.fromkeys(('spinpol', 'random', 'hund', 'soc'), optional(IS_BOOL)),
        'maxiter': optional(IS_COUNT),
        'nbands': _IS_BANDS,
        'charge': optional(IS_NUMBER),
        'h': optional(IS_POSITIVE),
        'gpts': optional(three_of(IS_COUNT, 'positive whole numbers')),
        'magmoms': ANYTHING,
        'verbose': optional(IS_STEP),
    },
    closed={'kpts': 'set kpoints of gpaw', 'txt': 'the job keeps the output of GPAW'},
)
KPOINTS_OPTIONS = Keys({'gamma': IS_BOOL}, closed=dict.fromkeys(('size', 'density'), 'set kpoints of gpaw'))
