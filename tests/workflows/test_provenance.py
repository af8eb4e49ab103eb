"""No step of a WorkChain makes a node: each one it needs is an input, or comes from a calcfunction or a job."""

from __future__ import annotations

import ast
from pathlib import Path

from aiida import orm

import aiida_mghdiff

FOLDER = Path(aiida_mghdiff.__file__).parent / 'workflows'
CLASSES = {name for name in orm.__all__ if isinstance(one := getattr(orm, name), type) and issubclass(one, orm.Data)}
CLASSES |= {'DatasetData', 'PotentialData', 'MdStateData', 'TracerTrajectoryData'}
#: Other calls that make a node, or store one.
MAKERS = {'from_frames', 'from_arrays', 'from_file', 'to_aiida_type', 'store', 'clone'}
#: Run before a process, for its user: they may make nodes.
BEFORE = {'classmethod', 'staticmethod'}


def called(function):
    """Yield line and name of what a function calls."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node.lineno, node.func.id if isinstance(node.func, ast.Name) else node.func.attr


def steps_of(tree):
    """Return the methods of the classes of a module that run as a part of a process, by their names."""
    methods = [node for each in tree.body if isinstance(each, ast.ClassDef) for node in each.body]
    steps = [node for node in methods if isinstance(node, ast.FunctionDef) and node.name != 'define']
    return [step for step in steps if not BEFORE & {getattr(each, 'id', '') for each in step.decorator_list}]


def made_in_steps(texts):
    """Return the places, file and line, where a step or a function that it calls makes a node.

    :param texts: of modules, by their names.
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
