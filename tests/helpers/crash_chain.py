"""WorkChains that are slow to launch jobs or to run a calcfunction, so a daemon can be killed meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

from aiida import orm
from aiida.engine import ToContext, WorkChain, calcfunction
from aiida.plugins import CalculationFactory

from aiida_mghdiff.workflows.survival import SurvivalMixin

JOBS = 3
PAUSE_SECONDS = 1.0


class SlowLauncher(SurvivalMixin, WorkChain):
    """Launches two waves of jobs, each wave in one step; each job writes a line into a file when it starts."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input('code', valid_type=orm.AbstractCode)
        spec.input('starts', valid_type=orm.Str, help='File that each start of a job adds a line to.')
        spec.outline(cls.first_wave, cls.second_wave, cls.check)
        spec.exit_code(410, 'ERROR_JOBS_FAILED', message='jobs failed')

    def first_wave(self):
        return self.launch('first')

    def second_wave(self):
        return self.launch('second')

    def launch(self, wave):
        """Launch the jobs of a wave slowly; make a file after each launch."""
        names = [f'{wave}_{index}' for index in range(JOBS)]
        nodes = {}
        for index, name in enumerate(names):
            nodes[name] = self.submit(CalculationFactory('core.arithmetic.add'), **self.job_inputs(name, index))
            Path(f'{self.inputs.starts.value}.{name}').touch()
            time.sleep(PAUSE_SECONDS)
        return ToContext(**nodes)

    def job_inputs(self, name, index):
        text = f'echo {name} >> {self.inputs.starts.value}; sleep 1'
        options = {'resources': {'num_machines': 1}, 'prepend_text': text}
        metadata = {'call_link_label': name, 'options': options}
        return {'code': self.inputs.code, 'x': orm.Int(index), 'y': orm.Int(len(name)), 'metadata': metadata}

    def check(self):
        jobs = [node for name, node in self.ctx.items() if name.startswith(('first_', 'second_'))]
        if len(jobs) == 2 * JOBS and all(node.is_finished_ok for node in jobs):
            return None
        return self.exit_codes.ERROR_JOBS_FAILED


@calcfunction
def slow(starts):
    """Add a line to a file, make another file as a sign of the start, and wait."""
    with Path(starts.value).open('a') as file:
        file.write('slow\n')
    Path(f'{starts.value}.slow').touch()
    time.sleep(3 * PAUSE_SECONDS)
    return orm.Int(1)


class SlowFunction(SurvivalMixin, WorkChain):
    """Runs one calcfunction."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input('starts', valid_type=orm.Str, help='File that each start of the calcfunction adds a line to.')
        spec.outline(cls.run_function)
        spec.output('result', valid_type=orm.Int)

    def run_function(self):
        self.out('result', slow(self.inputs.starts, metadata={'call_link_label': 'slow'}))
