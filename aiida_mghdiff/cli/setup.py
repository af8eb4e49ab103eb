"""`aiida-mghdiff setup`: make computer and codes in an AiiDA profile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from aiida.orm import InstalledCode


@click.command()
@click.option('-p', '--profile', help='AiiDA profile.  [default: the default profile]')
@click.option(
    '--computer',
    help='Add codes to this existing (remote) computer; --python, --lmp, --vasp, --vasp-neb, --gpaw are paths there.',
)
@click.option('--label', default='mghdiff-localhost', show_default=True, help='Computer to make for this machine.')
@click.option('--workdir', type=click.Path(path_type=Path, file_okay=False), help='Folder for jobs on this machine.')
@click.option('--slots', type=click.IntRange(min=1), help='Jobs at a time on this machine.  [default: 2]')
@click.option('--threads', type=click.IntRange(min=1), help='Threads of a job.  [default: cores / slots]')
@click.option('--python', help='Python of an environment with the engines.  [default: this one]')
@click.option('--lmp', help='LAMMPS with MACE.  [default: the mghdiff-lmp beside that Python]')
@click.option('--vasp', help='VASP executable.  [default: the stand-in beside that Python]')
@click.option('--vasp-neb', help='VASP with VTST, for barriers, if --vasp has none.')
@click.option('--gpaw', help="Python with GPAW.  [default: the engines' or Debian's Python, if it has GPAW]")
@click.option('--suffix', default='', help='Appended to the labels of the codes, for a second environment.')
@click.option('--prepend-text', default='', help='Shell lines before each job with these codes, to load modules.')
@click.option('--enable-caching', 'caching', is_flag=True, help='Re-use finished jobs for equal inputs.')
def setup(profile: str | None, computer: str | None, caching: bool, **options: Any) -> None:
    """Make the computer and the codes for the workflows. Call it again to change slots and threads.

    Without --computer the computer is this machine, with a queue of --slots jobs at a time and enforced wall times.
    """
    from aiida_mghdiff.cli import environment

    name = environment.load(profile).name
    codes = _remote_codes(computer, **options) if computer else environment.setup_codes(**options)
    click.echo(f'Profile {name}:')
    for role, code in codes.items():
        click.echo(f'  {role:8} {code.full_label}  {code.filepath_executable}')
    _report_potcars(codes)
    _report_caching(name, caching)
    click.echo('Check them with: aiida-mghdiff doctor' + (f' --profile {profile}' if profile else ''))


def _remote_codes(
    computer_label: str,
    python: str | None,
    lmp: str | None,
    vasp: str | None,
    vasp_neb: str | None,
    gpaw: str | None,
    suffix: str,
    prepend_text: str,
    **_: object,
) -> dict[str, InstalledCode]:
    from aiida.common.exceptions import NotExistent
    from aiida.orm import load_computer

    from aiida_mghdiff.cli import environment

    if python is None:
        raise environment.SetupError(f'--python is missing: an interpreter with the engines on `{computer_label}`.')
    try:
        computer = load_computer(computer_label)
    except NotExistent:
        raise environment.SetupError(
            f'there is no computer `{computer_label}`: make it with `verdi computer setup`, or leave out --computer.'
        ) from None
    with environment.all_or_nothing():
        return environment.add_codes(
            computer, python, lmp, vasp, gpaw, vasp_neb=vasp_neb, suffix=suffix, prepend_text=prepend_text
        )


def _report_potcars(codes: dict[str, InstalledCode]) -> None:
    from aiida_mghdiff.calculations.vasp.placeholders import FAMILY, placeholder_potcars
    from aiida_mghdiff.formats.job_files import STANDIN

    if 'vasp' not in codes:
        return
    if codes['vasp'].filepath_executable.name == STANDIN:
        placeholder_potcars(['Mg', 'H'])
        click.echo(f'The POTCARs of the stand-in contain no pseudopotential: family {FAMILY}.')
    else:
        click.echo('Upload the POTCARs of VASP: aiida-vasp potcar uploadfamily --path ... --name PBE --description ...')


def _report_caching(profile: str, enable: bool) -> None:
    from aiida_mghdiff.cli import environment

    if enable:
        environment.enable_caching()
        click.echo(f'Caching is on for {environment.CACHING_PATTERN}.')
    else:
        click.echo('Caching is unchanged. To re-use finished jobs for equal inputs:')
        click.echo(f"  verdi -p {profile} config set caching.enabled_for '{environment.CACHING_PATTERN}' --append")
