"""Runs a job's program in a folder, in this process, like ``python mghdiff.pyz``."""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read

from aiida_mghdiff.formats.arrays import write_folder
from aiida_mghdiff.formats.frames import arrays_from_frames, index_groups, select_frames

EXAMPLE_DATA = Path(__file__).parents[2] / 'examples' / 'data' / 'mgh_pbe.extxyz'


def example_arrays(indices=None):
    """Return the example data as flat arrays, grouped by trajectory."""
    frames = read(EXAMPLE_DATA, ':')
    for atoms in frames:
        results = {'energy': atoms.info['REF_energy'], 'forces': atoms.arrays['REF_forces']}
        atoms.calc = SinglePointCalculator(atoms, **results, stress=atoms.info['REF_stress'])
    groups, _ = index_groups(atoms.info['trajectory'] for atoms in frames)
    arrays = arrays_from_frames(frames, groups=groups)
    return arrays if indices is None else select_frames(arrays, indices)


def mixed_indices(count, start=0):
    """Return indices of frames with 0, 1 and 2 hydrogen atoms in turn."""
    frames = read(EXAMPLE_DATA, ':')
    contents = np.array([atoms.info['hydrogen_count'] for atoms in frames])
    lists = [np.flatnonzero(contents == content)[start:] for content in (0, 1, 2)]
    return [int(lists[index % 3][index // 3]) for index in range(count)]


def run_program(folder, name, datasets, potential=None, max_wallclock_seconds=None, **inputs):
    """Run ``programs/<name>.py`` in a folder and return its results.

    :param datasets: arrays by the name of their folder.
    :param potential: file of a model, with its description: ``(path, {'architecture': ...})``.
    """
    folder.mkdir(exist_ok=True, parents=True)
    for dataset, arrays in datasets.items():
        write_folder(folder / dataset, arrays)
    content = {'max_wallclock_seconds': max_wallclock_seconds, 'potential': potential and potential[1], **inputs}
    if potential is not None:
        (folder / 'potential.model').write_bytes(Path(potential[0]).read_bytes())
    (folder / 'input.json').write_text(json.dumps(content))
    before = Path.cwd()
    os.chdir(folder)
    try:
        import_module(f'aiida_mghdiff.programs.{name}').main()
    finally:
        os.chdir(before)
        reset_torch()
    return json.loads((folder / 'results.json').read_text())


def reset_torch():
    """Undo MACE's settings for the whole process."""
    import torch

    torch.set_default_dtype(torch.float32)


def chgnet_file():
    """Return the file of CHGNet 0.3.0 in the CHGNet package."""
    import chgnet

    return next((Path(chgnet.__file__).parent / 'pretrained' / '0.3.0').glob('*.tar'))
