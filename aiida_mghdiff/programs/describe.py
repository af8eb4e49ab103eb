"""Says what a model file is: ``python -m aiida_mghdiff.programs.describe FILE ARCHITECTURE`` prints one JSON line."""

from __future__ import annotations

import json
import sys
from typing import Any

from ase.data import chemical_symbols

from aiida_mghdiff.programs.calculators.loading import load_calculator
from aiida_mghdiff.programs.job import ProgramError

#: CHGNet embeds the elements up to 94 (Pu).
CHGNET_ELEMENTS = chemical_symbols[1:95]


def describe(path: str, architecture: str) -> dict[str, Any]:
    """Return ``architecture``, ``elements`` and ``dtype`` of a model file.

    :raises ProgramError: where the engine is missing, the file cannot be loaded, or has several heads of which none is
        meant.
    """
    if architecture == 'chgnet':
        load_calculator({'architecture': 'chgnet'}, path, 'float32')
        return {'architecture': 'chgnet', 'elements': CHGNET_ELEMENTS, 'dtype': 'float32'}
    model = load_calculator({'architecture': 'mace'}, path, 'float64').models[0]
    import torch

    stored = torch.load(path, map_location='cpu', weights_only=False)
    return {
        'architecture': 'mace',
        'elements': [chemical_symbols[int(number)] for number in model.atomic_numbers],
        'dtype': str(next(stored.parameters()).dtype).removeprefix('torch.'),
    }


if __name__ == '__main__':
    try:
        print(json.dumps(describe(*sys.argv[1:3])))
    except ProgramError as error:
        print(error.message)
        sys.exit(error.status)
