"""Placeholder POTCARs for the stand-in: files without a pseudopotential, written by this package.

They contain only the header that aiida-vasp and the readers of VASP's outputs use. Nobody can confuse them with VASP's
POTCARs: their symbols are ``Mg_standin``, ``H_standin``, their titles begin with ``STANDIN``, and VASP refuses them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from aiida_vasp.data.potcar import PotcarData, PotcarGroup
from ase.data import atomic_masses, atomic_numbers

FAMILY = 'mghdiff-standin'
_DESCRIPTION = 'Placeholder POTCARs for mghdiff-vasp-standin: no pseudopotentials, not of VASP.'

#: Valence electrons of the standard PBE potentials, which only ZVAL of the header shows; other elements show 1.
_VALENCE = {'Mg': 2.0, 'H': 1.0}


def placeholder_potcars(elements: Iterable[str]) -> dict[str, PotcarData]:
    """Return a placeholder POTCAR for each element; store missing ones in the family ``mghdiff-standin``.

    :raises KeyError: for a symbol that is no element.
    """
    elements = list(dict.fromkeys(elements))
    with tempfile.TemporaryDirectory() as folder:
        # aiida-vasp reads family and symbol from the names of the folders
        paths = [Path(folder, FAMILY, symbol_of(element), 'POTCAR') for element in elements]
        for element, path in zip(elements, paths, strict=True):
            path.parent.mkdir(parents=True)
            path.write_text(placeholder_text(element))
        nodes = [PotcarData.get_or_create_from_file(path)[0] for path in paths]
    group, _ = PotcarGroup.collection.get_or_create(label=FAMILY)
    group.description = _DESCRIPTION
    group.add_nodes(nodes)
    return dict(zip(elements, nodes, strict=True))


def symbol_of(element: str) -> str:
    """Return the symbol of the placeholder of an element."""
    return f'{element}_standin'


def placeholder_text(element: str) -> str:
    """Return the placeholder POTCAR of an element: the header lines that programs read, and no data."""
    number = atomic_numbers[element]
    title = f'STANDIN {symbol_of(element)} placeholder'
    valence = _VALENCE.get(element, 1.0)
    return f"""  {title}
   {valence:.8f}
 parameters from PSCTR are:
   VRHFIN ={element}: placeholder, no pseudopotential
   LEXCH  = PE
   EATOM  =     0.0000 eV,    0.0000 Ry

   TITEL  = {title}
   LULTRA =        F    use ultrasoft PP ?
   IUNSCR =        0    unscreen: 0-lin 1-nonlin 2-no
   RPACOR =     .000    partial core radius
   POMASS = {atomic_masses[number]:8.3f}; ZVAL   = {valence:8.3f}    mass and valenz
   RCORE  =    1.000    outmost cutoff radius
   RWIGS  =    1.000; RWIGS  =     .529    wigner-seitz radius (au A)
   ENMAX  =  300.000; ENMIN  =  200.000 eV
   EAUG   =  400.000
   LCOR   =        T    correct aug charges
   LPAW   =        T    paw PP
 END of PSCTR-controll parameters
 placeholder of aiida-mghdiff for mghdiff-vasp-standin: it holds no pseudopotential, and VASP cannot run with it
 End of Dataset
"""
