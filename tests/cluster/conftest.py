"""Services, profile, computers and codes, once for all tests of this folder.

MGHDIFF_CLUSTER=FOLDER uses the services and the environment in a folder, and leaves them there, for work on tests.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from cluster import (
    COMPUTERS,
    SCRIPTS,
    Cluster,
    filled,
    give_to_user,
    make_environment,
    page_blocks,
    place_of_services,
    services,
)

VASP = """\
#!/bin/bash
exec {environment}/bin/mghdiff-vasp-standin --labels mace:{model} "$@"
"""


@pytest.fixture(scope='session')
def bed(tmp_path_factory):
    """The services, with an environment of the engines in the home of their user."""
    root = place_of_services()
    cluster = Cluster(root)
    services('up', root)
    if not cluster.environment.exists():
        make_environment(cluster, tmp_path_factory.mktemp('sources'))
    yield cluster
    if 'MGHDIFF_CLUSTER' not in os.environ:
        services('down', root)
        shutil.rmtree(root)


@pytest.fixture(scope='session')
def user(bed, tiny_mace):
    """The same, with a model and a VASP in the home."""
    model, vasp = bed.home / 'tiny.model', bed.home / 'vasp_std'
    shutil.copy(tiny_mace, model)
    vasp.write_text(VASP.format(environment=bed.environment, model=model))
    vasp.chmod(0o755)
    for path in (model, vasp):
        give_to_user(path)
    return bed


@pytest.fixture(scope='session')
def cluster(user):
    """The same, with a profile, its daemon, and the codes of the pages on both computers."""
    from aiida import load_profile

    from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
    from aiida_mghdiff.cli import environment

    before = dict(os.environ)
    shutil.rmtree(user.here, ignore_errors=True)
    user.here.mkdir()
    os.environ['HOME'] = str(user.here)
    environment.use_directory(user.here)
    user.make_profile()
    user.make_computers()
    set_up_codes(user)
    user.run('verdi', 'daemon', 'start', 1)
    load_profile('production', allow_switch=True)
    placeholder_potcars(['Mg', 'H'])
    yield user
    user.stop()
    os.environ.clear()
    os.environ.update(before)


def set_up_codes(cluster: Cluster) -> None:
    """Make the codes by the command of the page."""
    line = page_blocks('cluster', 'bash')[1].replace('\\\n', ' ').splitlines()[0]
    places = {'/home/me/mghdiff': cluster.environment, 'module load gcc': 'export OMP_NUM_THREADS=1'}
    for computer in COMPUTERS:
        words = filled(line, places | {'mycluster': computer})
        vasp = f'{cluster.home}/vasp_std'
        more = f'--vasp {vasp} --vasp-neb {vasp} --gpaw /usr/bin/python3'
        cluster.run('bash', '-ec', f'PATH={SCRIPTS}:$PATH; {words} {more}')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker('cluster')
