"""AiiDA's cache does not look at source files, so a change of a result must raise ``CACHE_VERSION``.

``digests.yaml`` holds the cache versions of each CalcJob and its parser. It also holds a digest of each part that
decides the result, with everything that the part imports from this package:

- ``calculation``: the CalcJob, which writes the input files;
- ``parser``: the parser with its readers, without the modules of ``calculations/`` that ``calculation`` counts;
- ``program``: the code of this package that runs: a program, or the stand-in for VASP or LAMMPS.

Comments and docstrings do not count. If a change alters a result, raise ``CACHE_VERSION`` of the parser, or of the
CalcJob if another part changed. Then, or if no result changes, renew the file:
``python tests/calculations/test_cache_version.py``.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import tokenize
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml
from aiida.engine import CalcJob
from aiida.plugins import ParserFactory

from aiida_mghdiff.calculations.calculator import CalculatorCalculation
from aiida_mghdiff.calculations.program import ProgramCalculation
from aiida_mghdiff.data.architectures import CHGNET, MACE
from aiida_mghdiff.formats.sources import PACKAGE, archive_name, sources

DIGESTS = Path(__file__).with_name('digests.yaml')

#: Code of this package that runs in place of an engine or after it, by the engine in the entry point of a job.
PROGRAMS = {
    'lammps': ['aiida_mghdiff.executables.lmp.launcher'],
    'vasp': ['aiida_mghdiff.executables.vasp_standin.standin', 'aiida_mghdiff.programs.vasp.reduce'],
    'gpaw': [],
}
#: Modules that a job adds to its program.
CALCULATORS = [architecture.calculator for architecture in (MACE, CHGNET)]
CALCULATOR_FILES = {'programs/calculators/mace.py', 'programs/calculators/chgnet.py'}


def calcjobs():
    """The CalcJobs of this package, by entry point."""
    points = [point for point in entry_points(group='aiida.calculations') if point.name.startswith('mghdiff.')]
    classes = {point.name: point.load() for point in points}
    return {name: job for name, job in sorted(classes.items()) if isinstance(job, type) and issubclass(job, CalcJob)}


JOBS = calcjobs()


def parts(entry_point):
    """The files of each part of a job."""
    job, parser = JOBS[entry_point], ParserFactory(entry_point)
    is_program = issubclass(job, ProgramCalculation)
    programs = [f'aiida_mghdiff.programs.{job._PROGRAM}'] if is_program else PROGRAMS[entry_point.split('.')[1]]
    programs = [*programs, *CALCULATORS] if issubclass(job, CalculatorCalculation) else programs
    calculation = sources(job.__module__)
    known = {path for path in calculation if path.is_relative_to(PACKAGE / 'calculations')}
    return {
        'calculation': calculation,
        'parser': [path for path in sources(parser.__module__) if path not in known],
        'program': sources(*programs),
    }


@functools.cache
def code_of(path):
    """Return the lines of a module without comments, docstrings and blank lines."""
    text = path.read_text()
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines[node.lineno - 1 : node.end_lineno] = [''] * (node.end_lineno - node.lineno + 1)
    return '\n'.join(line.rstrip() for line in lines if line.strip())


def digest(paths):
    """Return the first 12 digits of the SHA-256 over the code of modules."""
    text = '\0'.join(f'{archive_name(path)}\0{code_of(path)}' for path in paths)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def describe(entry_point):
    """Return a line for each part of a job."""
    lines = {part: digest(paths) for part, paths in parts(entry_point).items() if paths}
    for part, process in (('calculation', JOBS[entry_point]), ('parser', ParserFactory(entry_point))):
        lines[part] = f'version {process.CACHE_VERSION}, {lines[part]}'
    return lines


def test_every_job_has_digests_and_nothing_else():
    assert sorted(yaml.safe_load(DIGESTS.read_text())) == list(JOBS)


@pytest.mark.parametrize('entry_point', JOBS)
def test_job_is_as_its_cache_versions_say(entry_point):
    known, found = yaml.safe_load(DIGESTS.read_text()).get(entry_point, {}), describe(entry_point)
    changed = [part for part in found if found[part] != known.get(part)]
    assert found == known, (
        f'{" and ".join(changed) or "a part"} of {entry_point} changed: raise CACHE_VERSION of its CalcJob or parser '
        f'if a result changes, then renew the digests: python {Path(__file__).relative_to(PACKAGE.parent)}'
    )


@pytest.mark.parametrize(
    ('entry_point', 'part', 'names'),
    [
        ('mghdiff.evaluate', 'program', {'programs/evaluate.py', 'programs/job.py', *CALCULATOR_FILES}),
        ('mghdiff.lammps.md', 'calculation', {'calculations/lammps/script.py', 'formats/lammps.py'}),
        ('mghdiff.lammps.md', 'parser', {'parsers/lammps/md.py', 'parsers/md.py', 'formats/lammps.py'}),
        ('mghdiff.ase.neb', 'program', {'programs/ase/neb.py', 'programs/calculators/loading.py', *CALCULATOR_FILES}),
        ('mghdiff.lammps.md', 'program', {'executables/lmp/evaluators.py', 'programs/calculators/mace.py'}),
        ('mghdiff.vasp.md', 'calculation', {'calculations/vasp/job.py', 'formats/incar.py', 'formats/kpoints.py'}),
        ('mghdiff.vasp.mlff', 'parser', {'parsers/vasp/mlff.py', 'formats/mlab.py', 'formats/outcar.py'}),
        ('mghdiff.vasp.mlff', 'program', {'executables/vasp_standin/gpaw_worker.py', 'programs/vasp/reduce.py'}),
        ('mghdiff.gpaw.singlepoint', 'parser', {'parsers/gpaw/singlepoint.py', 'data/dataset.py'}),
    ],
)
def test_part_has_all_that_decides(entry_point, part, names):
    assert names <= {path.relative_to(PACKAGE).as_posix() for path in parts(entry_point)[part]}


def test_no_module_of_a_job_is_left_out():
    """No job has calcfunctions, POTCAR placeholders (an input) or the program of model properties."""
    rooms = ('calculations', 'parsers', 'programs', 'executables')
    modules = {path for room in rooms for path in (PACKAGE / room).rglob('[!_]*.py')}
    known = {path for entry_point in JOBS for paths in parts(entry_point).values() for path in paths}
    left_out = {path.relative_to(PACKAGE).as_posix() for path in modules - known}
    others = {name for name in left_out if not name.startswith('calculations/functions/')}
    assert others == {'calculations/vasp/placeholders.py', 'programs/model_properties.py'}


def test_words_do_not_count_and_code_does(tmp_path):
    texts = {
        'plain': 'def f(x):\n    return x  \n',
        'words': '"""Words."""\n\n# why\ndef f(x):  # what\n    """Words,\n\n    more # of them."""\n    return x\n',
        'code': 'def f(x):\n    return "# x"\n',
        'more': 'def f(x):\n    return "# y"\n',
    }
    codes = {}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        codes[name] = code_of(tmp_path / name)
    assert codes['plain'] == codes['words']
    assert len(set(codes.values())) == 3


if __name__ == '__main__':
    DIGESTS.write_text(yaml.safe_dump({entry_point: describe(entry_point) for entry_point in JOBS}))
