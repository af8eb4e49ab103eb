"""ML_LOGFILE, VASP's log of on-the-fly learning.

Each section has a title between stars. The main loop has a block of lines for each step, fenced by dashes. A line
begins with a key and the step; the lines ``# KEY`` above the loop name its columns. Source: VASP wiki, page ML_LOGFILE.

The tables are STATUS (decision at a step), BEEF (Bayesian errors and their threshold), ERR (errors of training), SFF
(spilling factor), THRUPD (updates of the threshold), LCONF and SPRSC (numbers of configurations and of local reference
configurations), the settings and the memory. Complete blocks of a truncated file are kept.

The writer gives text of the same form, piece by piece: a head, a block for each step, an end.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import numpy as np

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.outcar import standin_mark
from aiida_mghdiff.formats.text import require_text

Table = dict[str, np.ndarray]

# Columns after the step, if the file does not name them.
_COLUMNS = {
    'BEEF': ('bee_energy', 'bee_max_force', 'bee_ave_force', 'threshold', 'bee_max_stress', 'bee_ave_stress'),
    'ERR': ('rmse_energy', 'rmse_force', 'rmse_stress'),
    'SFF': ('sfmax', 'sfmin', 'sfmean', 'sfvar', 'threshold'),
    'THRUPD': ('ctifor_prev', 'ctifor_new'),
    'STATUS': ('state', 'is', 'doabin', 'iff', 'nsample', 'ngenff'),
}
_COUNTS = ('LCONF', 'SPRSC')
#: Columns that the writer names above the main loop, including columns that the reader does not use.
_WRITTEN = ('STATUS', 'LCONF', 'SPRSC', 'ERR', 'BEEF', 'THRHIST', 'THRUPD', 'SFF')
_OTHER_COLUMNS = {'LCONF': ('el', 'nlrc_old', 'nlrc_new'), 'SPRSC': ('nstr_old', 'nstr_new'), 'THRHIST': ('i', 'value')}
_FENCE = '-' * 80
_TITLE = re.compile(rb'\* ([A-Z][A-Z -]+?) \*{10,}\s*')
_SETTING = re.compile(rb'.*\s:\s+(\S.*?)\s+(?:\([Ii!?]\)\s+)?(ML_[A-Z0-9_]+)\s*')
_MEMORY = re.compile(rb'\s*Total memory consumption\s*:\s*([\d.]+)\s*')
_STORED = re.compile(rb'\s*Number of stored \(maximum\) ab initio structures:\s*(\d+)\s*\(\s*(\d+)\s*\)\s*')
_NO_E = re.compile(rb'(\d)([+-]\d{3})')


class State(IntEnum):
    """State of a step: the decision about it."""

    ACCURATE = 1
    THRESHOLD = 2
    LEARNING = 3
    CRITICAL = 4
    PREDICT = 5


@dataclass(frozen=True)
class TrainingErrors:
    """Root mean squares over all configurations: energy (eV/atom), force (eV/Å), stress (kbar)."""

    energy: float
    force: float
    stress_kbar: float


@dataclass(frozen=True)
class BayesianErrors:
    """Predicted standard deviations of energy (eV/atom), force (eV/Å) and stress (kbar)."""

    energy: float
    max_force: float
    mean_force: float
    max_stress_kbar: float
    mean_stress_kbar: float


@dataclass(frozen=True)
class MlLog:
    """Log of learning. Each table has the ``steps`` [m] of its rows and a column [m] for each name.

    - ``status``: ``state`` (a :class:`State`), ``is_dft`` (DFT was done at this step), ``has_force_field``;
    - ``beef``: ``bee_energy`` (eV/atom), ``bee_max_force``, ``bee_ave_force``, ``threshold`` (eV/Å),
      ``bee_max_stress``, ``bee_ave_stress`` (kbar);
    - ``err``: root mean square errors on the training data, ``rmse_energy`` (eV/atom), ``rmse_force`` (eV/Å),
      ``rmse_stress`` (kbar);
    - ``sff``: ``sfmax``, ``sfmin``, ``sfmean``, ``sfvar``, ``threshold``;
    - ``threshold_updates``: ``ctifor_prev``, ``ctifor_new`` (eV/Å);
    - ``n_configurations`` and, for each element, ``n_basis``: ``count`` after the step.
    """

    status: Table
    beef: Table
    err: Table
    sff: Table
    threshold_updates: Table
    n_configurations: Table
    n_basis: dict[str, Table]
    settings: dict[str, str]  # by tag
    memory_mb: float | None  # VASP's estimate
    stored: tuple[int, int] | None  # number of configurations of ML_AB at the start, and size of the array
    truncated: str | None  # the missing part, in a sentence


def read_ml_logfile(path: str | Path) -> MlLog:
    """Read an ML_LOGFILE.

    :raises FormatError: for a file that is no ML_LOGFILE, and for a damaged line, which the message names.
    """
    require_text(path)
    reader = _Reader(path)
    with Path(path).open('rb') as handle:
        for line in handle:
            if not line.endswith(b'\n'):
                break
            reader.take(line)
    return reader.finish()


@dataclass
class _Rows:
    """Columns that grow."""

    columns: dict[str, array[float]] = field(default_factory=dict)

    def add(self, step: int, values: dict[str, float]) -> None:
        for name, value in {'steps': step, **values}.items():
            self.columns.setdefault(name, array('d')).append(value)

    def replace_last(self, step: int, values: dict[str, float]) -> None:
        """Add a row; it replaces a last row of the same step."""
        if self.columns and self.columns['steps'][-1] == step:
            for column in self.columns.values():
                column.pop()
        self.add(step, values)

    def table(self, names: Sequence[str], integers: Sequence[str] = (), booleans: Sequence[str] = ()) -> Table:
        table = {name: np.array(self.columns.get(name, ()), dtype=float) for name in ('steps', *names)}
        table |= {name: table[name].astype(np.int64) for name in ('steps', *integers)}
        return table | {name: table[name].astype(bool) for name in booleans}


class _Reader:
    """Takes the lines of a file one by one."""

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.line = 0
        self.titles: list[str] = []
        self.columns: dict[str, tuple[str, ...]] = dict(_COLUMNS)
        self.block: list[tuple[int, list[bytes]]] = []  # lines of the incomplete step
        self.rows = {key: _Rows() for key in _COLUMNS}
        self.counts: dict[str, _Rows] = {'': _Rows()}  # counts of configurations, and of each element's basis
        self.settings: dict[str, str] = {}
        self.memory: float | None = None
        self.stored: tuple[int, int] | None = None

    def take(self, line: bytes) -> None:
        """Take a complete line."""
        self.line += 1
        if line.startswith((b'----', b'****')):
            self._close_block()
        elif line.startswith(b'# '):
            self._take_description(line.split())
        elif match := _TITLE.fullmatch(line):
            self.titles.append(match[1].decode())
        elif self.titles and self.titles[-1] == 'MAIN LOOP':
            words = line.split()
            if words and (words[0].decode(errors='replace') in (*_COLUMNS, *_COUNTS)):
                self.block.append((self.line, words))
        else:
            self._take_setting(line)

    def finish(self) -> MlLog:
        """Return the content that was read."""
        if not self.titles:
            raise FormatError(self.path, 'line 1', "no ML_LOGFILE: there is no section, such as '* MAIN LOOP ***...'")
        return MlLog(
            status=self._status(),
            beef=self._table('BEEF'),
            err=self._table('ERR'),
            sff=self._table('SFF'),
            threshold_updates=self._table('THRUPD'),
            n_configurations=self.counts.pop('').table(['count'], ['count']),
            n_basis={element: rows.table(['count'], ['count']) for element, rows in self.counts.items()},
            settings=self.settings,
            memory_mb=self.memory,
            stored=self.stored,
            truncated=self._truncated(),
        )

    def _truncated(self) -> str | None:
        if 'TIMING INFORMATION' in self.titles:
            return None
        steps = self.rows['STATUS'].columns.get('steps')
        after = f'after step {int(steps[-1])}' if steps else 'before the first step'
        return f'{self.path}, line {self.line}: the file ends without its timing information, {after}'

    def _status(self) -> Table:
        names = ('is', 'doabin', 'iff')
        table = self.rows['STATUS'].table(names, integers=['is'], booleans=['doabin', 'iff'])
        return {
            'steps': table['steps'],
            'state': table['is'],
            'is_dft': table['doabin'],
            'has_force_field': table['iff'],
        }

    def _table(self, key: str) -> Table:
        return self.rows[key].table(_COLUMNS[key])

    def _take_description(self, words: list[bytes]) -> None:
        """Take the names of the columns from the line ``# KEY nstep ...`` that contains no prose.

        Columns with other names count as the known columns if their number is equal; THRUPD has additional columns.
        """
        key = words[1].decode(errors='replace') if len(words) > 3 else ''
        if key not in _COLUMNS or words[2] != b'nstep' or words[3].startswith(b'..'):
            return
        names = tuple(word.decode(errors='replace') for word in words[3:])
        if set(_COLUMNS[key]) <= set(names):
            self.columns[key] = names
        elif key != 'THRUPD' and len(names) != len(_COLUMNS[key]):
            reason = f'the columns of {key} are {", ".join(names)}, not {", ".join(_COLUMNS[key])}: another VASP'
            raise FormatError(self.path, f'line {self.line}', reason)

    def _close_block(self) -> None:
        for line, words in self.block:
            try:
                key, step = words[0].decode(), int(words[1])
                if key in _COUNTS:
                    self._take_counts(key, step, words[2:])
                else:
                    self._take_row(key, step, words[2:])
            except (ValueError, IndexError) as error:
                found = b' '.join(words).decode(errors='replace')[:60]
                raise FormatError(self.path, f'line {line}', f'a damaged line, {found!r} ({error})') from error
        self.block = []

    def _take_row(self, key: str, step: int, words: list[bytes]) -> None:
        names = self.columns[key]
        if len(words) < len(names):
            raise ValueError(f'{len(words)} values for the columns {", ".join(names)}')
        values = dict(zip(names, words, strict=False))
        self.rows[key].add(step, {name: _number(values[name]) for name in _COLUMNS[key] if name != 'state'})

    def _take_counts(self, key: str, step: int, words: list[bytes]) -> None:
        """Take ``[configurations before and after,] element, before, after, element, ...``."""
        if key == 'SPRSC':
            self.counts[''].add(step, {'count': int(words[1])})
            words = words[2:]
        if len(words) % 3:
            raise ValueError('an element with two numbers must stand here, or several')
        for element, _, after in zip(words[::3], words[1::3], words[2::3], strict=True):
            self.counts.setdefault(element.decode(), _Rows()).replace_last(step, {'count': int(after)})

    def _take_setting(self, line: bytes) -> None:
        if match := _SETTING.fullmatch(line):
            self.settings[match[2].decode()] = match[1].decode(errors='replace')
        elif match := _MEMORY.fullmatch(line):
            self.memory = max(self.memory or 0.0, float(match[1]))
        elif match := _STORED.fullmatch(line):
            self.stored = int(match[1]), int(match[2])


def _number(word: bytes) -> float:
    """Return a number, or 1 and 0 for Fortran's T and F."""
    if word in (b'T', b'F'):
        return float(word == b'T')
    return float(_NO_E.sub(rb'\1E\2', word) if _NO_E.search(word) and b'E' not in word else word)


def head(
    labelled_by: str, settings: Mapping[str, tuple[object, str]], stored: tuple[int, int], memory_mb: float
) -> str:
    """Return the sections before the main loop.

    :param settings: value and tag of each setting, by words.
    :param stored: configurations of ML_AB at the start, and how many there is room for.
    """
    lines = [_title('MEMORY INFORMATION'), standin_mark(labelled_by), '']
    lines += [f'Total memory consumption : {memory_mb:12.1f}', '', _title('MACHINE LEARNING SETTINGS'), '']
    lines += [f'{name:50} : {value!s:>12} (I) {tag}' for name, (value, tag) in settings.items()]
    if stored[0]:
        lines += ['', _title('AVAILABLE AB INITIO DATA'), '']
        lines += [f'Number of stored (maximum) ab initio structures: {stored[0]:8d} ( {stored[1]:8d})']
    lines += ['', _title('MAIN LOOP'), '']
    for key in _WRITTEN:
        columns = ('nstep', *(_COLUMNS | _OTHER_COLUMNS)[key])
        lines += [f'# {key} {" ".join(columns)}', f'# {key} {" ".join(map(str, range(2, len(columns) + 2)))}']
    return '\n'.join(lines) + '\n'


def _title(name: str) -> str:
    return f'* {name} '.ljust(100, '*')


def status(step: int, state: State, is_dft: bool, has_force_field: bool, n_waiting: int, n_steps: int) -> str:
    """Return the line of a step; ``n_waiting`` configurations are sampled but not learned yet."""
    flags = ' '.join('T' if flag else 'F' for flag in (is_dft, has_force_field))
    return f'STATUS {step:12d} {state.name.lower():9} {int(state):3d} {flags} {n_waiting:6d} {n_steps:6d}'


def bayesian_errors(step: int, errors: BayesianErrors, threshold: float) -> str:
    """Return the line of the Bayesian errors."""
    values = (errors.energy, errors.max_force, errors.mean_force, threshold)
    return _numbers('BEEF', step, (*values, errors.max_stress_kbar, errors.mean_stress_kbar))


def learned(
    step: int, errors: TrainingErrors, sizes: dict[str, tuple[int, int]], configurations: tuple[int, int]
) -> list[str]:
    """Return the lines of a learning step: sizes before and after, errors on all configurations."""
    words = ' '.join(f'{symbol:2} {old:6d} {new:6d}' for symbol, (old, new) in sizes.items())
    return [
        f'LCONF {step:12d} {words}',
        f'SPRSC {step:12d} {configurations[0]:8d} {configurations[1]:8d} {words}',
        _numbers('ERR', step, (errors.energy, errors.force, errors.stress_kbar)),
    ]


def threshold_update(step: int, before: float, after: float, history: list[float]) -> list[str]:
    """Return the lines of a change of the threshold."""
    lines = [f'THRHIST {step:12d} {index:4d} {value:16.8E}' for index, value in enumerate(history, 1)]
    return [*lines, _numbers('THRUPD', step, (before, after))]


def spilling(step: int, factors: np.ndarray) -> str:
    """Return the line of the spilling factors of all atoms; 0.02 is VASP's threshold."""
    return _numbers('SFF', step, (factors.max(), factors.min(), factors.mean(), factors.var(), 0.02))


def block(lines: list[str]) -> str:
    """Return the lines of a step between fences."""
    return '\n'.join([_FENCE, *lines]) + '\n'


def end(seconds: float) -> str:
    """Return the last section."""
    return block([_title('TIMING INFORMATION'), '', f'Total time (s) : {seconds:16.3f}', _title('END')])


def _numbers(key: str, step: int, values: tuple[float, ...]) -> str:
    return f'{key} {step:12d} ' + ' '.join(f'{value:16.8E}' for value in values)
