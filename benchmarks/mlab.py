"""Time `read_mlab` on a file of 3,700 configurations of 136 atoms against `float()` of the same numbers.

    python benchmarks/mlab.py [--configurations 3700] [--atoms 136] [--repeats 5] [--file ML_AB]

Three tasks take turns, so other load on the machine slows all of them. `float` converts the numbers of the file's
blocks, already cut into words. `split and float` first cuts the blocks into words. `read_mlab` does everything, from
opening the file to checked frames with calculators. The table gives the least CPU seconds of all repeats.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from aiida_mghdiff.formats.mlab import read_mlab

STARS, EQUALS, DASHES = '*' * 50, '=' * 50, '-' * 50
BLOCK = re.compile(rb'(?:\(ang\.\)|\(eV\)|ang\.\^-1\)|XX YY ZZ|XY YZ ZX)\s+-+\n([^=*-]*[^=*]*?)(?=[=*-]{5}|\Z)')


def main() -> None:
    """Parse the command line, make the file and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--configurations', type=int, default=3700)
    parser.add_argument('--atoms', type=int, default=136)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--file', type=Path, help='an ML_AB file to read instead of a synthetic one')
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.file or write_synthetic(Path(folder) / 'ML_AB', arguments.configurations, arguments.atoms)
        report(path, arguments.repeats)


def report(path: Path, repeats: int) -> None:
    """Time the three and print their CPU seconds and ratios."""
    blocks = BLOCK.findall(path.read_bytes())
    words = [block.split() for block in blocks]
    tasks: dict[str, Callable[[], object]] = {
        'float': lambda: [[float(word) for word in row] for row in words],
        'split and float': lambda: [[float(word) for word in block.split()] for block in blocks],
        'read_mlab': lambda: read_mlab(path),
    }
    seconds = {name: min(times) for name, times in time_in_turn(tasks, repeats).items()}
    print(f'{path.stat().st_size / 1e6:.1f} MB, {sum(map(len, words))} numbers')
    for name, value in seconds.items():
        ratios = ', '.join(f'{value / seconds[other]:.2f} x {other}' for other in list(seconds)[:2])
        print(f'{name:16} {value:7.3f} s  ({ratios})')


def time_in_turn(tasks: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each task, run in turn `repeats` times."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            times[name].append(time.process_time() - start)
    return times


def write_synthetic(path: Path, configurations: int, atoms: int) -> Path:
    """Write random Mg-H configurations with the layout and the number formats of a VASP built with ifort."""
    random = np.random.default_rng(0)
    with path.open('w') as file:
        file.writelines(f'{line}\n' for line in header_lines(configurations, atoms))
        for number in range(1, configurations + 1):
            file.writelines(f'{line}\n' for line in configuration_lines(number, atoms, random))
    return path


def header_lines(configurations: int, atoms: int) -> Iterator[str]:
    """Yield the lines of the header."""
    yield ' 1.0 Version'
    for label, value in {
        'The number of configurations': configurations,
        'The maximum number of atom type': 2,
        'The atom types in the data file': 'Mg H',
        'The maximum number of atoms per system': atoms,
        'The maximum number of atoms per atom type': atoms - 8,
        'Reference atomic energy (eV)': row([0.0, 0.0]),
        'Atomic mass': row([24.305, 1.0]),
        'The numbers of basis sets per atom type': '1 1',
        'Basis set for Mg': '1 1',
        'Basis set for H': f'1 {atoms - 7}',
    }.items():
        yield from section(STARS, label, f'     {value}')


def configuration_lines(number: int, atoms: int, random: np.random.Generator) -> Iterator[str]:
    """Yield the lines of one configuration of Mg and 8 H."""
    cell = np.diag([12.8, 12.8, 20.5]) + np.tril(random.normal(0, 0.05, (3, 3)))
    yield from (STARS, f'     Configuration num. {number:6d}')
    yield from section(EQUALS, 'System name', '     Mg H'.ljust(45))
    yield from section(EQUALS, 'The number of atom types', '       2')
    yield from section(EQUALS, 'The number of atoms', f'{atoms:11d}')
    yield from section(STARS, 'Atom types and atom numbers', f'     Mg {atoms - 8:6d}', f'     H  {8:6d}')
    yield from section(EQUALS, 'CTIFOR', row([0.002]))
    yield from section(EQUALS, 'Primitive lattice vectors (ang.)', *map(row, cell))
    yield from section(EQUALS, 'Atomic positions (ang.)', *map(row, random.random((atoms, 3)) @ cell))
    yield from section(EQUALS, 'Total energy (eV)', row([random.normal(-200, 1)]))
    yield from section(EQUALS, 'Forces (eV ang.^-1)', *map(row, random.normal(0, 0.5, (atoms, 3))))
    yield from section(EQUALS, 'Stress (kbar)', '     XX YY ZZ', DASHES, row(random.normal(0, 5, 3)))
    yield from (DASHES, '     XY YZ ZX', DASHES, row(random.normal(0, 5, 3)))


def section(ledger: str, label: str, *values: str) -> Iterator[str]:
    """Yield the lines of one section."""
    yield from (ledger, f'     {label}', DASHES, *values)


def row(values: np.ndarray | list[float]) -> str:
    """Return numbers as ifort's list-directed output writes them."""
    return ''.join(map(fortran_number, values))


def fortran_number(value: float) -> str:
    """Return 15 digits and five blanks, or 16 digits with an exponent of three digits below 0.1."""
    if 0.1 <= abs(value) < 1e7:
        return f'{value: #.15g}     '.rjust(24)
    mantissa, exponent = f'{value: .15E}'.split('E')
    return f' {mantissa}E{int(exponent):+04d}'


if __name__ == '__main__':
    main()
