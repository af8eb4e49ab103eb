"""No step of a WorkChain makes a node: each node is an input, or comes from a calcfunction or a job.

Every node of a study has its origin. The tests read the code, and run a study from nothing and follow its links.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from provenance import nodes_without_origin
from vasp_runs import standin_code

import aiida_mghdiff
from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.data.potential import LEARNED
from aiida_mghdiff.workflows.study import StudyWorkChain

FOLDER = Path(aiida_mghdiff.__file__).parent / 'workflows'
CLASSES = {name for name in orm.__all__ if isinstance(one := getattr(orm, name), type) and issubclass(one, orm.Data)}
CLASSES |= {'DatasetData', 'PotentialData', 'MdStateData', 'TracerTrajectoryData'}
#: Other calls that make or store a node.
MAKERS = {'from_frames', 'from_arrays', 'from_file', 'to_aiida_type', 'store', 'clone'}
#: Decorators of methods that run before a process, for its user; these may make nodes.
BEFORE = {'classmethod', 'staticmethod'}


def called(function):
    """Yield line and name of each function that a function calls."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node.lineno, node.func.id if isinstance(node.func, ast.Name) else node.func.attr


def steps_of(tree):
    """Return the methods of a module's classes that run as part of a process."""
    methods = [node for each in tree.body if isinstance(each, ast.ClassDef) for node in each.body]
    steps = [node for node in methods if isinstance(node, ast.FunctionDef) and node.name != 'define']
    return [step for step in steps if not BEFORE & {getattr(each, 'id', '') for each in step.decorator_list}]


def made_in_steps(texts):
    """Return the places (file and line) at which a step, or a function that it calls, makes a node.

    :param texts: sources of modules, by name.
    """
    trees = {name: ast.parse(text) for name, text in texts.items()}
    functions = {node.name: (name, node) for name, tree in trees.items() for node in tree.body if is_function(node)}
    waiting = [(name, step) for name, tree in trees.items() for step in steps_of(tree)]
    places, seen = [], set()
    while waiting:
        name, function = waiting.pop()
        for line, callee in called(function):
            if callee in CLASSES | MAKERS:
                places.append(f'{name}:{line} {callee}')
            elif callee in functions and callee not in seen:
                seen.add(callee)
                waiting.append(functions[callee])
    return sorted(places)


def is_function(node):
    return isinstance(node, ast.FunctionDef)


def test_no_step_makes_a_node():
    texts = {path.name: path.read_text() for path in sorted(FOLDER.glob('*.py'))}
    assert len(texts) > 15
    assert made_in_steps(texts) == []


def test_a_step_that_makes_a_node_is_found():
    text = """
class Chain(WorkChain):
    @classmethod
    def define(cls, spec):
        spec.input('steps', default=lambda: orm.Int(1))

    @classmethod
    def get_builder_from_protocol(cls):
        return given()

    def run_job(self):
        return self.submit(Job, parameters=changed(self.ctx.parameters))

    def inspect(self):
        isinstance(self.ctx.parameters, orm.Dict)
        return frames(orm.Int(2))

def changed(parameters):
    return helper(parameters)

def helper(parameters):
    return Dict(parameters)

def given():
    return orm.List([])
"""
    assert made_in_steps({'chain.py': text}) == ['chain.py:16 Int', 'chain.py:22 Dict']


@pytest.mark.slow
def test_every_node_of_a_study_from_nothing_is_an_input_or_made_by_a_process(codes, host, hydride, tiny_mace):
    """VASP learns and labels, MACE is trained, both are evaluated and run; the stand-in uses a tiny MACE."""
    computer = codes['python'].computer
    builder = StudyWorkChain.get_builder_from_protocol(
        {'python': codes['python'], 'vasp': standin_code(computer, tiny_mace), 'reduce': codes['python']},
        hydride,
        host,
        host,
        potcars=placeholder_potcars(['Mg', 'H']),
        protocol='smoke',
        overrides={'diffusion': {'best_mace_h1': {'temperatures_k': [800.0]}}},
    )
    outputs, study = run_get_node(builder)
    assert study.is_finished_ok, study.exit_message
    assert set(outputs['metrics']) == {'mace_tr', LEARNED}
    assert set(outputs['diffusion']) == {'best_mace_h1', 'vasp_mlff_h1'}
    processes = {node.process_label for node in study.called_descendants}
    assert {'VaspMlffCalculation', 'VaspMdCalculation', 'VaspEvaluateCalculation', 'MaceTrainCalculation'} <= processes
    assert {'AseMdCalculation', 'AseNebCalculation', 'merge_datasets', 'carry_on', 'select_best'} <= processes
    assert nodes_without_origin(study) == []
