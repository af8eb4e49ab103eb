"""Labels configurations with GPAW: one JSON line in, one JSON line out.

The Python interpreter that has GPAW runs this file alone, so it imports nothing from the package.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpaw import GPAW


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), 'w', 1)
    os.dup2(2, 1)  # GPAW's own output must not mix with the answers
    calculator = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            calculator = calculator or make_calculator(request['settings'])
            answer = label(request, calculator)
        except Exception as error:
            words = (str(error) or type(error).__name__).strip().splitlines()[-1]
            answer = {'error': words, 'kind': type(error).__name__}
        answers.write(json.dumps(answer) + '\n')


def make_calculator(settings: dict[str, Any]) -> GPAW:
    """Return the calculator, with the plane waves, smearing and k-points of INCAR and KPOINTS."""
    from gpaw import GPAW, PW

    return GPAW(
        mode=PW(settings['encut_ev']),
        xc=settings['xc'],
        kpts={'size': settings['k_points'], 'gamma': settings['gamma_centred']},
        occupations=settings['occupations'],
        convergence={'energy': settings['energy_per_electron_ev']},
        maxiter=settings['max_iterations'],
        symmetry='off' if settings['symmetry_off'] else {},
        txt='gpaw.txt',
    )


def label(request: dict[str, Any], calculator: GPAW) -> dict[str, Any]:
    """Return the labels of one configuration, in ASE's units."""
    from ase import Atoms

    atoms = Atoms(request['numbers'], request['positions'], cell=request['cell'], pbc=True)
    atoms.calc = calculator
    return {
        'energy': atoms.get_potential_energy(),
        'free_energy': atoms.get_potential_energy(force_consistent=True),
        'forces': atoms.get_forces().tolist(),
        'stress': atoms.get_stress().tolist(),
    }


if __name__ == '__main__':
    main()
