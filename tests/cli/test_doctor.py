"""`aiida-mghdiff doctor` with the interpreter of the tests, stand-ins for broken ones, and fabricated jobs."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.tools.archive import create_archive, import_archive
from aiida.transports.plugins.local import LocalTransport
from click.testing import CliRunner

from aiida_mghdiff.cli import doctor, environment
from aiida_mghdiff.cli.computers import computer_message

PYTHON = shlex.quote(sys.executable)


def script(path, text):
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def computer(aiida_profile_clean, tmp_path):
    return environment.local_computer('machine', tmp_path / 'work')


@pytest.fixture
def light(monkeypatch):
    """Look at two light packages, because the engines take seconds to import."""
    monkeypatch.setattr(doctor, 'ENGINES', {'numpy': 'numpy', 'ase': 'ase'})


def python_code(computer, executable=sys.executable):
    return environment.add_codes(computer, executable, None)['python']


def add_job(code, versions, label='code'):
    job = orm.CalcJobNode(computer=code.computer, process_type='aiida.calculations:mghdiff.evaluate')
    job.set_option('resources', {'num_machines': 1})
    job.base.links.add_incoming(code, LinkType.INPUT_CALC, label)
    job.store()
    results = orm.Dict({'versions': versions})
    results.base.links.add_incoming(job, LinkType.CREATE, 'results')
    results.store()


def test_versions(computer, light):
    diagnosis = doctor.diagnose(python_code(computer))
    assert diagnosis.versions['numpy'] == metadata.version('numpy')
    assert diagnosis.versions['python'] == '.'.join(map(str, sys.version_info[:3]))
    assert (diagnosis.errors, diagnosis.warnings) == ([], [])


@pytest.mark.slow
def test_engines(computer):
    """The test environment has all engines."""
    diagnosis = doctor.diagnose(python_code(computer))
    assert diagnosis.errors == []
    assert diagnosis.versions['torch'].startswith('2.')


def test_missing_engine(computer, monkeypatch):
    monkeypatch.setattr(doctor, 'ENGINES', {'no_such_engine': 'no-such-engine', 'numpy': 'numpy'})
    diagnosis = doctor.diagnose(python_code(computer))
    assert len(diagnosis.errors) == 1
    assert 'no_such_engine does not import (ModuleNotFoundError' in diagnosis.errors[0]
    assert 'aiida-mghdiff[engines]' in diagnosis.errors[0]


def test_changed_environment(computer, light):
    code = python_code(computer)
    add_job(code, {'numpy': '0.1', 'ase': metadata.version('ase')})
    assert [text.split(',')[0] for text in doctor.diagnose(code).warnings] == [f'numpy is {metadata.version("numpy")}']
    add_job(code, {'numpy': metadata.version('numpy'), 'removed-engine': '3.0'})
    warnings = doctor.diagnose(code).warnings
    assert len(warnings) == 1
    assert warnings[0].startswith('removed-engine is missing, earlier jobs of this code recorded 3.0')
    assert '--suffix' in warnings[0]


def test_jobs_of_other_codes_do_not_count(computer, light, tmp_path):
    other = environment.add_codes(computer, script(tmp_path / 'python', 'exit 0'), None, suffix='-2')['python']
    add_job(other, {'numpy': '0.1'})
    assert doctor.recorded_versions(python_code(computer)) == {}


def test_a_second_code_of_a_job_does_not_count(computer, light):
    """The versions of a job belong to VASP, not to the interpreter that reduced its trajectory."""
    code = python_code(computer)
    add_job(code, {'vasp': 'vasp.6.4.2'}, label='reduce_code')
    assert doctor.recorded_versions(code) == {}


def test_no_python(computer, light, tmp_path):
    diagnosis = doctor.diagnose(python_code(computer, script(tmp_path / 'python', 'echo broken >&2; exit 1')))
    assert diagnosis.errors == [f'{tmp_path}/python does not run: broken']


def test_environment_of_the_code_is_used(computer, monkeypatch, tmp_path):
    """A code's environment includes its modules and activation lines."""
    (tmp_path / 'loaded_by_module.py').write_text('')
    monkeypatch.setattr(doctor, 'ENGINES', {'loaded_by_module': 'numpy'})
    prepend = f'export PYTHONPATH={tmp_path}'
    code = environment.add_codes(computer, sys.executable, None, prepend_text=prepend)['python']
    assert doctor.diagnose(code).errors == []


HELP = 'Large-scale Atomic/Molecular Massively Parallel Simulator - 1 Jan 2030 - Update 2'


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        (f'echo; echo "{HELP}"; echo "lj/cut mace morse"', None),
        (f'echo; echo "{HELP}"; echo "lj/cut morse"', 'neither pair_style mace nor mliap'),
        ('echo broken >&2; exit 1', 'it does not run as LAMMPS: broken'),
    ],
)
def test_lammps(computer, tmp_path, text, error):
    code = environment.add_codes(computer, sys.executable, script(tmp_path / 'lmp', text))['lammps']
    add_job(code, {'LAMMPS': '1 Jan 2029'})
    diagnosis = doctor.diagnose(code)
    assert [error in text for text in diagnosis.errors] == ([True] if error else [])
    if not error:
        assert diagnosis.versions == {'LAMMPS': '1 Jan 2030 - Update 2'}
        assert diagnosis.warnings[0].startswith('LAMMPS is 1 Jan 2030 - Update 2, earlier jobs')


def test_launcher(computer, light, tmp_path):
    """The launcher is a script; its environment is checked. Cache versions, not the doctor, follow its own sources."""
    script(tmp_path / 'python', f'exec {PYTHON} "$@"')
    code = environment.add_codes(computer, sys.executable, script(tmp_path / 'mghdiff-lmp', 'exit 1'))['lammps']
    add_job(code, {'LAMMPS': '1 Jan 2029', 'mghdiff-lmp': '0.0.1 sources abc', 'numpy': '0.1'})
    diagnosis = doctor.diagnose(code)
    assert [text.split()[0] for text in diagnosis.warnings + diagnosis.errors] == ['numpy']


def test_launcher_without_a_library(computer, light, tmp_path):
    (tmp_path / 'libfabric.so.1').write_text('no library')
    script(tmp_path / 'python', f'LD_LIBRARY_PATH={tmp_path} exec {PYTHON} "$@"')
    code = environment.add_codes(computer, sys.executable, script(tmp_path / 'mghdiff-lmp', 'exit 1'))['lammps']
    (error,) = doctor.diagnose(code).errors
    assert error.startswith('LAMMPS does not start (')
    assert 'libfabric.so.1: file too short' in error


STANDIN = 'vasp.6.4.2-standin mghdiff-vasp-standin 0.1.0 sources 0123456789ab chgnet 0.4.2'


def standin_code(computer, tmp_path, text):
    script(tmp_path / 'python', f'exec {PYTHON} "$@"')
    executable = script(tmp_path / environment.STANDIN, text)
    return environment.add_codes(computer, sys.executable, None, executable)['vasp']


@pytest.fixture
def light_standin(monkeypatch):
    monkeypatch.setattr(doctor, 'STANDIN_ENGINES', {'numpy': 'numpy'})


def test_standin(computer, light_standin, tmp_path):
    """A new digest of its own sources is fine; a new version of an engine below it is not."""
    code = standin_code(computer, tmp_path, f'echo " {STANDIN}"')
    add_job(code, {'vasp': STANDIN.replace('0123456789ab', 'ba9876543210')})
    diagnosis = doctor.diagnose(code)
    assert (diagnosis.errors, diagnosis.warnings) == ([], [])
    assert (diagnosis.versions['vasp'], diagnosis.versions['numpy']) == (STANDIN, metadata.version('numpy'))
    add_job(code, {'vasp': STANDIN.replace('0.4.2', '0.4.1')})
    (warning,) = doctor.diagnose(code).warnings
    assert 'chgnet 0.4.2, earlier jobs of this code recorded vasp.6.4.2-standin' in warning


def test_standin_that_does_not_run(computer, light_standin, tmp_path):
    code = standin_code(computer, tmp_path, 'echo "No module named numpy" >&2; exit 1')
    assert doctor.diagnose(code).errors == ['it does not run as mghdiff-vasp-standin: No module named numpy']


@pytest.mark.slow
def test_real_standin(computer):
    code = environment.setup_codes(label=computer.label)['vasp']
    diagnosis = doctor.diagnose(code)
    assert diagnosis.errors == []
    assert diagnosis.versions['vasp'].startswith('vasp.6.4.2-standin')
    assert f'featomic {metadata.version("featomic")}' in diagnosis.versions['vasp']


def vasp_code(computer, executable):
    return environment.add_codes(computer, sys.executable, None, executable)['vasp']


def test_vasp(computer):
    """The doctor does not run VASP; it checks the file, its libraries and the versions that its jobs recorded."""
    code = vasp_code(computer, '/bin/cat')
    assert doctor.diagnose(code) == doctor.Diagnosis()
    add_job(code, {'vasp': 'vasp.6.4.2'})
    assert doctor.diagnose(code) == doctor.Diagnosis({'vasp': 'vasp.6.4.2'})
    add_job(code, {'vasp': 'vasp.6.5.0'})
    diagnosis = doctor.diagnose(code)
    assert diagnosis.versions == {'vasp': 'vasp.6.5.0'}
    assert 'its jobs recorded 2 versions, vasp.6.4.2, vasp.6.5.0: make a new code' in diagnosis.warnings[0]


def test_vasp_that_is_gone(computer, tmp_path):
    code = vasp_code(computer, script(tmp_path / 'vasp_std', 'exit 0'))
    (tmp_path / 'vasp_std').unlink()
    assert 'there is no executable' in doctor.diagnose(code).errors[0]


def test_vasp_without_its_libraries(computer, tmp_path):
    """`ldd` says this of a VASP whose modules are not loaded."""
    script(tmp_path / 'ldd', 'echo "\tlibmkl_core.so.2 => not found"; echo "\tlibc.so.6 => /lib/libc.so.6 (0x1)"')
    executable = script(tmp_path / 'vasp_std', 'exit 0')
    prepend = f'export PATH={tmp_path}:$PATH'
    code = environment.add_codes(computer, sys.executable, None, executable, prepend_text=prepend)['vasp']
    assert doctor.diagnose(code).errors == [
        'it lacks the libraries libmkl_core.so.2: load their modules (setup --prepend-text)'
    ]


def gpaw_code(computer, tmp_path, module):
    """Return the code of an interpreter that finds a package gpaw of one module."""
    (tmp_path / 'gpaw').mkdir()
    (tmp_path / 'gpaw' / '__init__.py').write_text(module)
    python = script(tmp_path / 'python', f'PYTHONPATH={shlex.quote(str(tmp_path))} exec {PYTHON} "$@"')
    return environment.add_codes(computer, sys.executable, None, gpaw=python)['gpaw']


def test_gpaw(gpaw):
    """The real GPAW, if it is installed."""
    add_job(gpaw, {'gpaw': '1.0', 'ase': '1.0'})
    diagnosis = doctor.diagnose(gpaw)
    assert diagnosis.errors == []
    assert sorted(text.split()[0] for text in diagnosis.warnings) == ['ase', 'gpaw']


def test_gpaw_without_its_datasets(computer, tmp_path):
    code = gpaw_code(computer, tmp_path, f'setup_paths = [{str(tmp_path / "none")!r}]')
    (error,) = doctor.diagnose(code).errors
    assert error.startswith(f'there are no PAW datasets in {tmp_path}/none: apt-get install gpaw gpaw-data')


def test_gpaw_that_does_not_import(computer, tmp_path):
    code = gpaw_code(computer, tmp_path, 'raise ImportError("libxc is missing")')
    (error,) = doctor.diagnose(code).errors
    assert error.startswith('gpaw does not import (ImportError: libxc is missing): apt-get install gpaw gpaw-data')


def test_command(computer, light, tmp_path):
    result = CliRunner().invoke(doctor.doctor, [])
    assert 'aiida-mghdiff setup' in result.output
    add_job(python_code(computer), {'numpy': '0.1'})
    result = CliRunner().invoke(doctor.doctor, [])
    assert result.exit_code == 0, result.output
    assert 'warning: numpy is' in result.output
    environment.add_codes(computer, script(tmp_path / 'python', 'exit 1'), None, suffix='-broken')
    result = CliRunner().invoke(doctor.doctor, [])
    assert result.exit_code == 1
    assert 'these codes are not usable: python-broken@machine' in result.output


# ---- computers and codes that cannot be checked ---------------------------------------------------------------------


def run_doctor(*arguments):
    """Return status and output of the command, which must not raise an exception."""
    result = CliRunner().invoke(doctor.doctor, arguments)
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, result.output


@pytest.fixture
def imported(computer, aiida_profile, tmp_path):
    """Let the profile have only an archive of a study from another machine."""
    code = python_code(computer)
    add_job(code, {'numpy': '0.1'})
    create_archive([code], filename=tmp_path / 'study.aiida')
    aiida_profile.reset_storage()
    import_archive(tmp_path / 'study.aiida')
    assert not orm.load_computer('machine').is_configured


def test_imported_computer(imported, light, tmp_path):
    status, output = run_doctor()
    assert status == 1
    assert 'computer `machine` is not configured here, as after the import of an archive' in output
    assert '`verdi computer configure core.local machine`' in output
    assert 'no codes of this profile: make them with `aiida-mghdiff setup`' in output
    status, output = run_doctor('--code', 'python@machine')
    assert status == 1
    assert 'error: computer `machine` is not configured here' in output
    python_code(environment.local_computer('here', tmp_path / 'here'))
    status, output = run_doctor()
    assert status == 0, output
    assert 'not checked: computer `machine` is not configured here' in output
    assert f'numpy {metadata.version("numpy")}' in output


def test_setup_leaves_an_imported_computer_alone(imported, tmp_path):
    with pytest.raises(environment.SetupError, match='`machine` came with an archive: choose another label'):
        environment.setup_codes(label='machine', workdir=tmp_path / 'work', slots=1)
    assert not orm.load_computer('machine').is_configured


@pytest.mark.parametrize('label', ['nope', 'nope@machine', 'nope@nowhere', '4711'])
def test_unknown_code(computer, label):
    status, output = run_doctor('--code', label)
    assert status == 1
    assert f'there is no code `{label}`: see `verdi code list`, or make codes with `aiida-mghdiff setup`' in output


def test_code_without_its_computer(computer, light, tmp_path):
    for machine in (computer, environment.local_computer('other', tmp_path / 'other')):
        python_code(machine)
    status, output = run_doctor('-c', 'python')
    assert status == 1
    assert 'there is more than one code `python`: name its computer too (python@COMPUTER)' in output
    assert run_doctor('-c', 'python@other')[0] == 0


def test_code_of_another_plugin(computer):
    plugin = 'core.arithmetic.add'
    options = {'computer': computer, 'filepath_executable': '/bin/bash', 'default_calc_job_plugin': plugin}
    orm.InstalledCode(label='sum', **options).store()
    status, output = run_doctor('-c', 'sum')
    assert status == 1
    assert f'it is a code of another plugin (`{plugin}`): name a code that `aiida-mghdiff setup` made' in output


def test_code_that_comes_with_its_files(computer, tmp_path):
    script(tmp_path / 'run.sh', 'true')
    orm.PortableCode(label='files', filepath_files=tmp_path, filepath_executable='run.sh').store()
    status, output = run_doctor('-c', 'files')
    assert status == 1
    assert 'it is a PortableCode' in output


def test_role_of_a_code_that_setup_did_not_make(computer, tmp_path):
    """The default job of the code tells its role."""
    plugin = 'mghdiff.lammps.md'
    lmp = script(tmp_path / 'lmp', f'echo "{HELP}"; echo mace')
    options = {'computer': computer, 'filepath_executable': lmp, 'default_calc_job_plugin': plugin}
    code = orm.InstalledCode(label='own', **options).store()
    assert doctor.diagnose(code).versions == {'LAMMPS': '1 Jan 2030 - Update 2'}


def test_disabled_computer(computer):
    python_code(computer)
    authinfo = computer.get_authinfo(orm.User.collection.get_default())
    authinfo.enabled = False
    status, output = run_doctor()
    assert status == 1
    assert 'error: computer `machine` is disabled: run `verdi computer enable machine' in output


def test_computer_of_a_scheduler_that_is_not_installed(computer):
    python_code(computer)
    computer.scheduler_type = 'elsewhere.queue'
    status, output = run_doctor()
    assert status == 1
    assert 'error: a plugin of computer `machine` is not installed: No scheduler found' in output
    assert 'elsewhere.queue' in output


def test_computer_that_cannot_be_reached(computer, monkeypatch):
    python_code(computer)

    def refuse(_):
        raise OSError('[Errno 111] Connection refused')

    monkeypatch.setattr(LocalTransport, 'open', refuse)
    status, output = run_doctor()
    assert status == 1
    assert 'error: computer `machine` cannot be reached: [Errno 111] Connection refused' in output


def test_banner_of_a_login_shell(computer, light, tmp_path, monkeypatch):
    """A banner is neither a version nor a library."""
    monkeypatch.setenv('HOME', str(tmp_path))
    lines = "echo; echo 'libc.so => not found'; echo vasp.5.4.4; echo noise >&2; trap 'echo Goodbye' EXIT\n"
    (tmp_path / '.bash_profile').write_text(lines)
    computer.configure(use_login_shell=True)
    assert doctor.diagnose(python_code(computer)).errors == []
    standin = script(tmp_path / environment.STANDIN, 'echo vasp.6.9 standin')
    script(tmp_path / 'python', f'exec {PYTHON} "$@"')
    code = environment.add_codes(computer, str(tmp_path / 'python'), None, standin, suffix='-2')['vasp']
    monkeypatch.setattr(doctor, 'STANDIN_ENGINES', {'numpy': 'numpy'})
    assert doctor.diagnose(code).versions['vasp'] == 'vasp.6.9 standin'


def test_banner_that_aiida_takes_for_the_user(computer, tmp_path, monkeypatch):
    """AiiDA asks `whoami` through the login shell for the name in the work directory."""
    monkeypatch.setenv('HOME', str(tmp_path))
    computer.set_workdir(str(tmp_path / '{username}' / 'work'))
    computer.configure(use_login_shell=True)
    assert computer_message(computer) is None
    (tmp_path / '.bash_profile').write_text("echo 'Welcome to the cluster'\n")
    message = computer_message(computer)
    assert message.startswith('computer `machine` cannot keep files in its work directory: AiiDA takes what its login')
    assert "'Welcome to the cluster\\n" in message
    assert not [path for path in tmp_path.iterdir() if 'Welcome' in path.name]


def test_profile_without_daemon(computer, light):
    python_code(computer)
    status, output = run_doctor()
    assert status == 0
    assert 'The daemon does not run' in output or 'The profile has no daemon' in output


def test_unknown_profile():
    status, output = run_doctor('--profile', 'nope')
    assert status == 1
    assert 'no AiiDA profile' in output


@pytest.mark.parametrize('arguments', [['doctor'], ['setup'], ['report', '1']], ids=' '.join)
@pytest.mark.parametrize('place', ['AIIDA_PATH', 'HOME'])
def test_no_profile_at_all(tmp_path, place, arguments):
    """A missing configuration is not called damaged, and the question does not create one."""
    variables = {key: value for key, value in os.environ.items() if key != 'AIIDA_PATH'} | {place: str(tmp_path)}
    command = [Path(sys.executable).with_name('aiida-mghdiff'), *arguments]
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith('Error: no AiiDA profile (no profile exists): make one with `verdi presto`')
    assert not (tmp_path / '.aiida').exists()
