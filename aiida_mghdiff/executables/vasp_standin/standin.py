"""``mghdiff-vasp-standin``: called like VASP, in the folder of its files, without arguments."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from aiida_mghdiff.executables.vasp_standin import neb, outcar, ranks, refit_and_select, relax, stopping
from aiida_mghdiff.executables.vasp_standin.dynamics import MolecularDynamics
from aiida_mghdiff.executables.vasp_standin.folder import Inputs, read_inputs
from aiida_mghdiff.executables.vasp_standin.labels import CHOICES, labeller_name, make_labeller
from aiida_mghdiff.executables.vasp_standin.outputs import VERSION, Outputs
from aiida_mghdiff.executables.vasp_standin.potentials import (
    FirstPrinciples,
    LearnedForceField,
    OnTheFly,
    Potential,
    read_force_field,
)
from aiida_mghdiff.formats.job_files import STANDIN, with_sources
from aiida_mghdiff.formats.sources import sources_digest
from aiida_mghdiff.programs.job import ProgramError, failed_import

LABELS_VARIABLE = 'MGHDIFF_STANDIN_LABELS'
DEFAULT_LABELS = 'chgnet-r2scan'
#: Python packages that determine labels and force fields.
ENGINES = ('chgnet', 'featomic', 'mace-torch', 'torch')

_DESCRIPTION = f"""\
Replaces VASP without a licence: reads INCAR, POSCAR, KPOINTS, POTCAR (titles), ICONST, ML_AB and ML_FF, and writes
OUTCAR, OSZICAR, vasprun.xml, XDATCAR, CONTCAR, REPORT, ML_ABN, ML_FFN and ML_LOGFILE. It is not VASP, and its outputs
say so. Labels come from a machine-learning potential or from GPAW. The force field is a Bayesian regression on SOAP
descriptors that learns on the fly. Tags of the electronic structure have no effect; unknown tags are refused.
Without --labels, the environment variable {LABELS_VARIABLE} chooses the labels; the default is {DEFAULT_LABELS}.
Known failures end with a last line "ERROR: [NAME] message" and their own exit status.
"""


def main(arguments: list[str] | None = None) -> None:
    """Run in the working directory and end the process with its status; with several ranks of MPI, rank 0 runs."""
    options = _parse(arguments)
    if ranks.rank_number(os.environ) > 0:
        ranks.wait_for_first_rank()
        sys.exit(0)
    print(f' {version()}', flush=True)
    if options.version:
        sys.exit(0)
    # one thread by default: threads of several jobs on the same cores slow each other down tenfold
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    with ranks.first_rank():
        status = run(options.labels)
    sys.exit(status)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        STANDIN, description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get(LABELS_VARIABLE) or DEFAULT_LABELS
    parser.add_argument('--labels', default=default, help=f'source of the labels: {CHOICES}')
    parser.add_argument('--version', '-v', action='store_true', help='print the version of the stand-in and end')
    return parser.parse_args(arguments)


def version() -> str:
    """Return the version line: the stand-in and its engines."""
    number, engines = metadata.version('aiida-mghdiff'), ' '.join(_engines())
    digest = sources_digest('aiida_mghdiff.executables.vasp_standin.standin')
    return f'vasp.{VERSION} {STANDIN} {with_sources(number, digest)} {engines}'.rstrip()


def _engines() -> Iterator[str]:
    """Yield name and version of each installed engine."""
    for name in ENGINES:
        try:
            yield f'{name} {metadata.version(name)}'
        except metadata.PackageNotFoundError:
            continue


def run(labels: str) -> int:
    """Run the calculation in INCAR; return the exit status."""
    stopping.listen()
    try:
        _run(labels)
    except ProgramError as error:
        return _fail(error, labels)
    except ImportError as error:
        return _fail(failed_import(error.name or 'a package', error), labels)
    except MemoryError:
        return _fail(ProgramError('OUT_OF_MEMORY', 'The process ran out of memory: ask for more.'), labels)
    return 0


def _fail(error: ProgramError, labels: str) -> int:
    """Write the failure to stdout and OUTCAR."""
    path = Path('OUTCAR')
    with path.open('a', encoding='utf-8') as handle:
        if not handle.tell():
            handle.write(outcar.mark(version(), labeller_name(labels)))
        handle.write(outcar.refusal(error.message))
    print(outcar.refusal(error.message))
    print(error, flush=True)
    return error.status


def _run(labels: str) -> None:
    Path('OUTCAR').unlink(missing_ok=True)
    inputs = read_inputs(labels)
    learning = inputs.settings.learning
    if inputs.settings.images:
        _run_band(inputs, labels)
    elif learning is not None and learning.mode in ('refit', 'select'):
        name = labeller_name(labels)
        refit_and_select.run(inputs, _outputs(inputs, name, Path()), name)
    else:
        _run_one(inputs, labels)


def _run_one(inputs: Inputs, labels: str) -> None:
    """Run dynamics, a relaxation or a single point."""
    name, make_potential = _source_of_labels(inputs, labels)
    outputs = _outputs(inputs, name, Path())
    potential = make_potential(outputs)
    if inputs.settings.is_md:
        seed = inputs.settings.seed or (secrets.randbelow(900_000_000), 0, 0)
        MolecularDynamics(inputs, outputs, potential, seed).run()
    else:
        relax.run(inputs, outputs, potential)


def _source_of_labels(inputs: Inputs, labels: str) -> tuple[str, Callable[[Outputs], Potential]]:
    """Return the origin of the labels, and the function that makes the potential for some outputs."""
    learning = inputs.settings.learning
    if learning is not None and learning.mode == 'run':
        force_field, name = read_force_field(inputs.numbers)
        return name, lambda outputs: LearnedForceField(force_field, outputs, inputs, name)
    labeller = make_labeller(labels, inputs.numbers, inputs.settings.electronic)
    if learning is not None:
        return labeller.name, lambda outputs: OnTheFly(inputs, outputs, labeller)
    return labeller.name, lambda _: FirstPrinciples(labeller)


def _outputs(inputs: Inputs, labelled_by: str, folder: Path) -> Outputs:
    return Outputs(folder, version(), labelled_by, inputs, inputs.atoms())


def _run_band(inputs: Inputs, labels: str) -> None:
    """Relax an elastic band between two structures."""
    if inputs.settings.learning is not None and inputs.settings.learning.mode != 'run':
        raise ProgramError(
            'INPUT_REFUSED',
            'INCAR: an elastic band cannot learn: set ML_MODE = run, or leave out ML_LMLFF.',
        )
    images = neb.read_images(inputs)
    name, make_potential = _source_of_labels(inputs, labels)
    folders = [Path(f'{index:02d}') for index in range(1, len(images) - 1)]
    outputs = [
        Outputs(folder, version(), name, inputs, image) for folder, image in zip(folders, images[1:-1], strict=True)
    ]
    potentials = [make_potential(output) for output in outputs]
    neb.Band(inputs, outputs, potentials, images).run()


if __name__ == '__main__':
    main()
