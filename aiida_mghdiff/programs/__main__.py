"""Entry of the zipapp: ``python mghdiff.pyz <program>``."""

from __future__ import annotations

import sys
from importlib import import_module

from aiida_mghdiff.programs.job import STATUS, ProgramError, missing_engine

PROGRAMS = {
    'mace-train': 'mace.train',
    'chgnet-train': 'chgnet.train',
    'evaluate': 'evaluate',
    'ase-md': 'ase.md',
    'ase-neb': 'ase.neb',
    'ase-vibrations': 'ase.vibrations',
    'distil': 'vasp.reduce',
}


def main() -> None:
    """Run the named program; a known failure ends in its own status and a last line ``ERROR: ...``."""
    if len(sys.argv) != 2 or sys.argv[1] not in PROGRAMS:
        sys.exit(f'usage: python mghdiff.pyz {{{",".join(PROGRAMS)}}}')
    try:
        import_module(f'aiida_mghdiff.programs.{PROGRAMS[sys.argv[1]]}').main()
    except ProgramError as error:
        end(error)
    except ModuleNotFoundError as error:
        end(missing_engine(str(error.name)))
    except MemoryError:
        end(ProgramError('OUT_OF_MEMORY', 'The job ran out of memory: ask for more, or make the system smaller.'))


def end(error: ProgramError) -> None:
    """End the process as the failure says."""
    print(error, flush=True)
    sys.exit(STATUS[error.name])


if __name__ == '__main__':
    main()
