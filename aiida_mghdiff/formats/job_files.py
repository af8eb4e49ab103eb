"""The contract between the parts of a job: the calculation job, its program or executable, and the parser.

This module has the names of files, the failures of programs, and the lines that one part writes and another part
reads. The function that reads a line stands below the function that writes the line.
"""

from __future__ import annotations

import json
import re
import shlex

from aiida_mghdiff.formats.text import split_lines

#: Commands that replace ``lmp`` and VASP.
LAUNCHER, STANDIN = 'mghdiff-lmp', 'mghdiff-vasp-standin'

#: Every program of this package reads its input from the first file and writes its results to the second.
INPUT_FILE, RESULTS_FILE = 'input.json', 'results.json'
ZIPAPP = 'mghdiff.pyz'
POTENTIAL_FILE = 'potential.model'

#: Evaluation, path search, vibrations: the folder of the dataset, and the arrays that the program writes.
DATASET_FOLDER = 'dataset'
PREDICTIONS_FILE, PATH_FILE, VIBRATIONS_FILE = 'predictions.npz', 'path.npz', 'vibrations.npz'

#: Training: the folders of the datasets, named like the ports, and the files that the program writes.
TRAINING_FOLDER, VALIDATION_FOLDER, REPLAY_FOLDER = 'training', 'validation', 'replay'
MODEL_FILE, CURVES_FILE, CHECKPOINT_FILE = 'trained.model', 'learning_curves.npz', 'checkpoint.pt'

#: Molecular dynamics in ASE.
MD_FILES = {name: f'{name}.npz' for name in ('tracers', 'frames', 'thermo', 'final')}
MD_RESTART_FILE = 'restart.json'

#: Molecular dynamics in LAMMPS.
DATA_FILE, RESTART_IN, RESTART_OUT = 'start.data', 'start.restart', 'final.restart'
TRACER_DUMP, FRAME_DUMP, FINAL_DUMP = 'tracers.dump', 'frames.dump', 'final.dump'
CENTRE_SERIES, FRAME_SERIES, THERMO_SERIES = 'centre.txt', 'frames.txt', 'thermo.txt'
#: ``mace_create_lammps_model`` adds the suffix to the name of a model; ``mghdiff-lmp`` removes it.
CONVERTED_SUFFIX = '-lammps.pt'
CONVERTED_FILE = POTENTIAL_FILE + CONVERTED_SUFFIX
#: Name of the command that ends a run whose temperature runs away.
RUNAWAY_FIX = 'runaway'

#: Options of ``mghdiff-lmp`` and their values; None allows any value.
LAUNCHER_OPTIONS = {
    'evaluator': ('auto', 'symmetrix', 'torch'),
    'dtype': ('float64', 'float32'),
    'head': None,
    'device': None,
}

#: Runs of VASP: files that the reducing program reads, writes and prints.
OUTCAR, TRAJECTORY, HDF5 = 'OUTCAR', 'XDATCAR', 'vaspout.h5'
REDUCED, REDUCE_STDOUT = 'reduced.npz', 'reduce.txt'
#: Runs of VASP: the end of a run, and the energies of its steps.
CONTCAR, OSZICAR = 'CONTCAR', 'OSZICAR'
#: Learning in VASP: the log, all configurations, and the force field.
ML_LOGFILE, ML_ABN, ML_FFN = 'ML_LOGFILE', 'ML_ABN', 'ML_FFN'

#: Exit status of a process for each known failure. The parsers turn the name into the exit code ``ERROR_<NAME>``.
#: If a job of VASP has no such exit code, they turn the name into ``ERROR_PROGRAM_CRASHED``.
EXIT_STATUS = {
    'ENGINE_MISSING': 10,
    'POTENTIAL_UNREADABLE': 11,
    'ELEMENT_UNKNOWN': 12,
    'INPUT_REFUSED': 13,
    'SEVERAL_RANKS': 14,
    'OUT_OF_WALLTIME': 40,
    'OUT_OF_MEMORY': 41,
    'NON_FINITE': 42,
    'E0S_IGNORED': 50,
    'FINETUNING_MODE_CHANGED': 51,
    'STRUCTURES_REPLACED': 52,
    'TRAINING_DIVERGED': 53,
    'NEB_NOT_CONVERGED': 60,
    'ENDPOINT_NOT_CONVERGED': 61,
    'ENDPOINT_COLLAPSED': 62,
    'TEMPERATURE_RUNAWAY': 70,
    'WRONG_NUMBER_OF_IMAGINARY_MODES': 80,
    'LABEL_FAILED': 90,
    'MCONF_REACHED': 91,
    'MB_REACHED': 92,
    'SCF_NOT_CONVERGED': 93,
}


def failure_line(name: str, message: str) -> str:
    """Return the last line of a program that ends with a known failure.

    :param name: a key of :data:`EXIT_STATUS`.
    """
    return f'ERROR: [{name}] {message}'


def read_failure(text: str) -> tuple[str, str] | None:
    """Return name and message of the last failure in a text, or None."""
    for line in reversed(split_lines(text)):
        if match := re.match(r'ERROR: \[(\w+)\] (.*)$', line):
            return match[1], match[2]
    return None


def progress_line(done: int | str, total: int | str, **values: float | str) -> str:
    """Return a line of progress, such as ``progress 1200/20000 t=0.6ps T=301.2``."""
    words = [f'{key}={value:.6g}' if isinstance(value, float) else f'{key}={value}' for key, value in values.items()]
    return ' '.join([f'progress {done}/{total}', *words])


def read_progress(text: str) -> tuple[int, int, str] | None:
    """Return completed steps, total steps and the other words of the last line of progress, or None."""
    found = re.findall(r'progress (\d+)/(\d+)(.*)', text)
    return (int(found[-1][0]), int(found[-1][1]), found[-1][2].strip()) if found else None


def launcher_comment(**options: str) -> str:
    """Return the comment of a LAMMPS script that tells ``mghdiff-lmp`` its options; ``lmp`` itself ignores it."""
    return ' '.join(['# mghdiff', *(shlex.quote(f'{key}={value}') for key, value in options.items())])


def read_launcher_comments(script: str) -> list[str]:
    """Return the options in the comments of a script, known or not, as words ``key=value``."""
    comments = re.findall(r'^\s*#\s*mghdiff\s+(.*=.*)$', script, re.MULTILINE)
    return [word for comment in comments for word in shlex.split(comment)]


def with_sources(version: str, digest: str) -> str:
    """Return the version of an executable of this package with the digest of its sources."""
    return f'{version} sources {digest}'


def without_sources(text: str) -> str:
    """Return a text without the digests that :func:`with_sources` added."""
    return re.sub(r' sources [0-9a-f]+', '', text)


def launcher_line(version: str, digest: str) -> str:
    """Return the first line of ``mghdiff-lmp``, with its version and the digest of its sources."""
    return f'{LAUNCHER} {with_sources(version, digest)}'


def read_launcher(stdout: str) -> str | None:
    """Return version and digest of ``mghdiff-lmp``, or None without its first line."""
    return _search(rf'{LAUNCHER} (\S+ sources \S+)', stdout)


def head_line(head: str) -> str:
    """Return the line with the evaluated head of a model."""
    return f'{LAUNCHER}: head {head}'


def read_head(stdout: str) -> str | None:
    """Return the evaluated head, or None without such a line."""
    return _search(rf'{LAUNCHER}: head (.*)', stdout)


def evaluator_line(name: str, version: str, dtype: str, details: str) -> str:
    """Return the line with the evaluator of a model."""
    return f'{LAUNCHER}: evaluator {name} {version} dtype {dtype} ({details})'


def read_evaluator(stdout: str) -> tuple[str, str] | None:
    """Return the name and the details of the evaluator of a model, or None without such a line."""
    match = re.search(rf'^{LAUNCHER}: evaluator (\S+) \S+ dtype \S+ \((.*)\)$', stdout, re.MULTILINE)
    return (match[1], match[2]) if match else None


def versions_line(versions: dict[str, str]) -> str:
    """Return the line with the versions of the engines of ``mghdiff-lmp``."""
    return f'{LAUNCHER}: versions {json.dumps(versions)}'


def read_versions(stdout: str) -> dict[str, str]:
    """Return the versions of the engines of ``mghdiff-lmp``, by name; an empty dictionary without such a line."""
    return json.loads(_search(rf'{LAUNCHER}: versions (\{{.*\}})', stdout) or '{}')


def _search(line: str, text: str) -> str | None:
    """Return the group of a pattern that is a whole line."""
    match = re.search(rf'^{line}$', text, re.MULTILINE)
    return match[1] if match else None
