"""Tags of INCAR: the stand-in follows a tag, accepts it without effect, or refuses it by name."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from aiida_mghdiff.programs.job import ProgramError

#: Tags for VASP's electronic structure or parallelisation only; they do not change the stand-in's labels.
_IDLE = """
ADDGRID ALGO AMIN AMIX AMIX_MAG BMIX BMIX_MAG EDIFF EMAX EMIN ENAUG ENCUT GGA GGA_COMPAT IALGO ICHARG INIWAV
ISMEAR ISPIN ISTART ISYM IVDW IWAVPR KGAMMA KPAR KSPACING LAECHG LASPH LCHARG LDIAG LELF LMAXMIX LMAXPAW LMIXTAU
LNONCOLLINEAR LORBIT LPLANE LREAL LSCALAPACK LSCAAWARE LVHAR LVTOT LWAVE MAGMOM MAXMIX METAGGA NBANDS NCORE
NEDOS NELECT NELM NELMDL NELMIN NGX NGXF NGY NGYF NGZ NGZF NPAR NSIM NUPDOWN NWRITE PREC ROPT SIGMA SYMPREC TIME
VOSKOWN
"""
WITHOUT_EFFECT = frozenset(_IDLE.split())
#: Tags that only labels of GPAW follow: GPAW has an equivalent.
USED_BY_GPAW = frozenset({'ENCUT', 'GGA', 'ISMEAR', 'SIGMA', 'EDIFF', 'NELM', 'ISYM'})
#: Tags of VTST's optimisers and of output layout, without effect here.
_OTHER = frozenset({'ML_LFAST', 'ML_IALGO_LINREG', 'ML_SIGW0', 'ML_SIGV0', 'ML_EPS_LOW', 'ML_ISCALE_TOTEN', 'KBLOCK'})
_FUNCTIONALS = {'PE': 'PBE', 'PS': 'PBEsol', 'RP': 'RPBE', '91': 'PW91', 'CA': 'LDA'}
_STARTED_BY = {0: 'train', 1: 'train', 2: 'run', 3: 'select', 4: 'refit'}


@dataclass(frozen=True)
class Learning:
    """Values of the tags ML_*; None for limits that follow from NSW and ML_AB."""

    mode: str
    ctifor: float
    criteria: int
    cx: float
    history: int
    cdoub: float
    least_interval: int
    new_configurations: int
    max_configurations: int | None
    max_references: int | None
    discard_references: bool
    weights: tuple[float, float, float]
    out_block: int
    output_mode: int
    spilling_block: int


@dataclass(frozen=True)
class Settings:
    """Settings of INCAR in VASP's units: fs, K, kbar, amu, ps⁻¹, eV/Å."""

    system: str
    ibrion: int
    isif: int
    nsw: int
    potim: float
    ediffg: float
    mdalgo: int
    smass: float
    andersen_probability: float
    friction: tuple[float, ...]
    lattice_friction: float
    piston_mass: float
    pressure: float
    tebeg: float
    teend: float
    seed: tuple[int, int, int] | None
    block: int
    masses: tuple[float, ...]
    nelm: int
    images: int
    spring: float
    climb: bool
    optimizer: int
    learning: Learning | None
    electronic: dict[str, Any]
    without_effect: tuple[str, ...]

    @property
    def is_md(self) -> bool:
        """Return whether INCAR asks for molecular dynamics."""
        return self.ibrion == 0 and self.nsw > 0

    @property
    def is_relaxation(self) -> bool:
        """Return whether INCAR asks for a relaxation."""
        return self.ibrion in (1, 2, 3) and self.nsw > 0


class _Tags:
    """Tags of an INCAR; tags that nothing has read are unknown."""

    def __init__(self, raw: dict[str, str]) -> None:
        self.raw = raw
        self.known: set[str] = set()

    def _value(self, tag: str) -> str | None:
        self.known.add(tag)
        return self.raw.get(tag)

    def text(self, tag: str, default: str) -> str:
        value = self._value(tag)
        return default if value is None else value.strip()

    def integer(self, tag: str, default: int | None) -> Any:
        return self._number(tag, default, int, 'a whole number')

    def real(self, tag: str, default: float) -> float:
        return self._number(tag, default, _real, 'a number')

    def reals(self, tag: str) -> tuple[float, ...]:
        return self._list(tag, _real, 'numbers')

    def integers(self, tag: str) -> tuple[int, ...]:
        return self._list(tag, int, 'whole numbers')

    def logical(self, tag: str, default: bool) -> bool:
        value = self._value(tag)
        if value is None:
            return default
        letter = value.strip().lstrip('.')[:1].upper()
        if letter not in ('T', 'F'):
            raise refusal(tag, value, 'must be .TRUE. or .FALSE.')
        return letter == 'T'

    def choice(self, tag: str, default: int, allowed: tuple[int, ...], what: str) -> int:
        value = self.integer(tag, default)
        if value not in allowed:
            raise refusal(tag, str(value), f'must be one of {", ".join(map(str, allowed))}: {what}')
        return value

    def _number(self, tag: str, default: Any, convert: Any, what: str) -> Any:
        value = self._value(tag)
        if value is None:
            return default
        words = value.split()
        try:
            number = convert(words[0])
        except (ValueError, IndexError):
            raise refusal(tag, value, f'must be {what}') from None
        if len(words) > 1:
            raise refusal(tag, value, f'must be {what}, not {len(words)} of them')
        return number

    def _list(self, tag: str, convert: Any, what: str) -> tuple[Any, ...]:
        value = self._value(tag)
        if value is None:
            return ()
        try:
            items = [_repeated(word, convert) for word in value.split()]
        except ValueError:
            raise refusal(tag, value, f'must be {what}') from None
        return tuple(item for repeated in items for item in repeated)


def refusal(tag: str, value: str, reason: str) -> ProgramError:
    """Return INPUT_REFUSED with the name of a tag."""
    return ProgramError('INPUT_REFUSED', f'INCAR, {tag} = {value.strip()}: {reason}.')


def _real(word: str) -> float:
    return float(re.sub('[dD]', 'E', word))


def _repeated(word: str, convert: Any) -> list[Any]:
    """Return the values of a word such as ``1.0`` or ``3*1.0``."""
    count, star, value = word.partition('*')
    return [convert(value)] * int(count) if star else [convert(word)]


def read_settings(raw: dict[str, str], labels: str = 'chgnet-r2scan') -> Settings:
    """Return the settings of an INCAR.

    :param labels: source of the labels; some tags have an effect with GPAW only.
    :raises ProgramError: INPUT_REFUSED for a wrong value or an unknown tag.
    """
    tags = _Tags(raw)
    nsw = tags.integer('NSW', 0)
    settings = Settings(
        system=tags.text('SYSTEM', 'unknown system'),
        ibrion=tags.choice('IBRION', -1 if nsw <= 1 else 0, (-1, 0, 1, 2, 3), 'no step, MD or a relaxation'),
        isif=tags.choice('ISIF', 2, (0, 1, 2, 3), 'a fixed cell, or with 3 a moving cell'),
        nsw=nsw,
        potim=tags.real('POTIM', 0.5),
        ediffg=tags.real('EDIFFG', 10 * tags.real('EDIFF', 1e-4)),
        mdalgo=tags.choice('MDALGO', 0, (0, 1, 2, 3), 'Andersen (1), Nosé-Hoover (2) or Langevin (3)'),
        smass=tags.real('SMASS', -3.0),
        andersen_probability=tags.real('ANDERSEN_PROB', 0.0),
        friction=tags.reals('LANGEVIN_GAMMA'),
        lattice_friction=tags.real('LANGEVIN_GAMMA_L', 0.0),
        piston_mass=tags.real('PMASS', 1000.0),
        pressure=tags.real('PSTRESS', 0.0),
        tebeg=(tebeg := tags.real('TEBEG', 0.0)),
        teend=tags.real('TEEND', tebeg),
        seed=_read_seed(tags),
        block=tags.integer('NBLOCK', 1),
        masses=tags.reals('POMASS'),
        nelm=tags.integer('NELM', 60),
        images=tags.integer('IMAGES', 0),
        spring=tags.real('SPRING', -5.0),
        climb=_read_climb(tags),
        optimizer=tags.integer('IOPT', 0),
        learning=_read_learning(tags),
        electronic=_read_electronic(tags),
        without_effect=(),
    )
    if labels == 'gpaw':
        _refuse_other_labels(tags)
    return _refuse_unknown(settings, tags, labels)


def _refuse_other_labels(tags: _Tags) -> None:
    """Refuse tags that change VASP's labels but have no equivalent in GPAW.

    :raises ProgramError: INPUT_REFUSED.
    """
    without = 'GPAW has no equivalent in the stand-in, and labels without it would differ:'
    if tags.integer('ISMEAR', 1) < -1:
        raise refusal('ISMEAR', tags.raw['ISMEAR'], f'{without} set -1 (Fermi), 0 (Gauss) or above (Methfessel-Paxton)')
    if tags.integer('ISPIN', 1) != 1:
        raise refusal('ISPIN', tags.raw['ISPIN'], f'{without} set 1')
    if tags.integer('IVDW', 0) != 0:
        raise refusal('IVDW', tags.raw['IVDW'], f'{without} set 0')
    if tags.logical('LNONCOLLINEAR', False):
        raise refusal('LNONCOLLINEAR', tags.raw['LNONCOLLINEAR'], f'{without} set .FALSE.')
    for tag in ('METAGGA', 'NELECT'):
        if tag in tags.raw:
            raise refusal(tag, tags.raw[tag], f'{without} leave it out')


def _refuse_unknown(settings: Settings, tags: _Tags, labels: str) -> Settings:
    idle = (WITHOUT_EFFECT - (USED_BY_GPAW if labels == 'gpaw' else set())) | _OTHER
    unknown = [tag for tag in tags.raw if tag not in (tags.known | WITHOUT_EFFECT | _OTHER)]
    if unknown:
        raise ProgramError(
            'INPUT_REFUSED',
            f'INCAR: the stand-in does not know {", ".join(unknown)}, and refuses unknown tags: '
            'leave it out, or use VASP.',
        )
    for value, least, tag in ((settings.nsw, 0, 'NSW'), (settings.block, 1, 'NBLOCK'), (settings.images, 0, 'IMAGES')):
        if value < least:
            raise refusal(tag, tags.raw[tag], f'must be at least {least}')
    return replace(settings, without_effect=tuple(tag for tag in tags.raw if tag in idle))


def _read_seed(tags: _Tags) -> tuple[int, int, int] | None:
    values = tags.integers('RANDOM_SEED')
    if not values:
        return None
    if len(values) != 3 or not 0 <= values[0] < 900_000_000 or min(values) < 0:
        raise refusal('RANDOM_SEED', tags.raw['RANDOM_SEED'], 'must be three numbers, the first from 0 to 899999999')
    return values


def _read_climb(tags: _Tags) -> bool:
    tags.choice('ICHAIN', 0, (0,), 'an elastic band')
    return tags.logical('LCLIMB', True)


def _read_learning(tags: _Tags) -> Learning | None:
    wanted = tags.logical('ML_LMLFF', False)
    mode = tags.text('ML_MODE', _STARTED_BY.get(tags.integer('ML_ISTART', 0), 'train'))
    if mode not in (mode.lower(), mode.upper()) or mode.lower() not in ('train', 'select', 'refit', 'run'):
        raise refusal('ML_MODE', mode, 'must be train, select, refit or run, all in lower or all in upper case')
    criteria = tags.choice('ML_ICRITERIA', 1, (0, 1), 'a constant threshold, or a threshold that follows the errors')
    learning = Learning(
        mode=mode.lower(),
        ctifor=tags.real('ML_CTIFOR', 0.002),
        criteria=criteria,
        cx=tags.real('ML_CX', 0.0),
        history=tags.integer('ML_MHIS', 10),
        cdoub=tags.real('ML_CDOUB', 2.0),
        least_interval=tags.integer('ML_NMDINT', 10),
        new_configurations=tags.integer('ML_MCONF_NEW', 5),
        max_configurations=tags.integer('ML_MCONF', None),
        max_references=tags.integer('ML_MB', None),
        discard_references=tags.logical('ML_LBASIS_DISCARD', True),
        weights=(tags.real('ML_WTOTEN', 1.0), tags.real('ML_WTIFOR', 1.0), tags.real('ML_WTSIF', 1.0)),
        out_block=tags.integer('ML_OUTBLOCK', 1),
        output_mode=tags.choice('ML_OUTPUT_MODE', 1, (0, 1), 'all, or energies and positions only'),
        spilling_block=tags.integer('ML_ESTBLOCK', tags.integer('ML_IERR', 0)),
    )
    positive = {'ML_MHIS': learning.history, 'ML_MCONF_NEW': learning.new_configurations}
    for tag, value in (positive | {'ML_OUTBLOCK': learning.out_block}).items():
        if value < 1:
            raise refusal(tag, str(value), 'must be at least 1')
    return learning if wanted else None


def _read_electronic(tags: _Tags) -> dict[str, Any]:
    """Return all settings for GPAW except the k-points."""
    order = tags.integer('ISMEAR', 1)
    functional = tags.text('GGA', 'PE').upper()
    return {
        'encut_ev': tags.real('ENCUT', 400.0),
        'xc': _FUNCTIONALS.get(functional, functional),
        'occupations': _occupations(order, tags.real('SIGMA', 0.2)),
        'energy_per_electron_ev': tags.real('EDIFF', 1e-4),
        'max_iterations': tags.integer('NELM', 60),
        'symmetry_off': tags.integer('ISYM', 2) <= 0,
    }


def _occupations(order: int, width: float) -> dict[str, Any]:
    """Return GPAW's smearing; Methfessel-Paxton of order 0 is Gaussian smearing.

    GPAW labels are refused for an order below -1, see :func:`_refuse_other_labels`.
    """
    if order == -1:
        return {'name': 'fermi-dirac', 'width': width}
    return {'name': 'methfessel-paxton', 'width': width, 'order': max(order, 0)}
