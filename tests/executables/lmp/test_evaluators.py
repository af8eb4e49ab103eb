"""The choice of the evaluator."""

from __future__ import annotations

import dataclasses
import sys

import pytest
from lammps_runs import hydride
from models import make_multihead_mace, make_tiny_mace

from aiida_mghdiff.executables.lmp import evaluators
from aiida_mghdiff.programs.job import ProgramError

OPTIONS = {'evaluator': 'auto', 'dtype': 'float64', 'device': 'cpu'}


@pytest.fixture(scope='module')
def flat_mace(tmp_path_factory):
    """A model that symmetrix cannot run, because its angular momenta end at 2."""
    return make_tiny_mace(tmp_path_factory.mktemp('flat') / 'flat.model', channels=4, max_ell=2, fit=False)


def test_auto_is_symmetrix_where_it_agrees(tiny_mace):
    chosen = evaluators.make_evaluator(str(tiny_mace), OPTIONS, hydride())
    assert chosen.name == 'symmetrix'
    assert 'from torch on the first frame' in chosen.details


def test_auto_is_torch_where_symmetrix_cannot(flat_mace):
    chosen = evaluators.make_evaluator(str(flat_mace), OPTIONS, hydride())
    assert chosen.name == 'torch'
    assert 'symmetrix not used: ' in chosen.details


def test_auto_is_torch_where_symmetrix_differs(tiny_mace, monkeypatch):
    monkeypatch.setattr(evaluators, 'SPLINE_POINTS', 32)
    chosen = evaluators.make_evaluator(str(tiny_mace), OPTIONS, hydride())
    assert chosen.name == 'torch'
    assert 'it differs from torch by' in chosen.details


def test_forced_symmetrix_is_refused_where_it_cannot(flat_mace):
    with pytest.raises(ProgramError, match='symmetrix cannot run this model') as error:
        evaluators.make_evaluator(str(flat_mace), OPTIONS | {'evaluator': 'symmetrix'}, hydride())
    assert error.value.name == 'INPUT_REFUSED'


def test_without_a_compiler_the_kernels_are_uncompiled(tiny_mace, monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.delenv('CXX', raising=False)
    monkeypatch.setenv('SYMMETRIX_JIT_CACHE', str(tmp_path / 'cache'))
    chosen = evaluators.make_evaluator(str(tiny_mace), OPTIONS, hydride())
    assert chosen.name == 'symmetrix'
    assert chosen.details.startswith('uncompiled kernels, ')


def test_compare_sees_forces_and_stress(tiny_mace):
    atoms = hydride()
    torch = evaluators.load_torch(str(tiny_mace), OPTIONS)
    assert evaluators.compare(torch, torch, atoms) == 0.0

    @dataclasses.dataclass(frozen=True)
    class Stressed(evaluators.Evaluator):
        def __call__(self, atoms):
            energy, forces, stress = super().__call__(atoms)
            return energy, forces, stress + 1e-3

    stressed = Stressed(**{field.name: getattr(torch, field.name) for field in dataclasses.fields(torch)})
    assert evaluators.compare(stressed, torch, atoms) == pytest.approx(1e-3)


def test_missing_symmetrix(tiny_mace, monkeypatch):
    monkeypatch.setitem(sys.modules, 'symmetrix', None)
    chosen = evaluators.make_evaluator(str(tiny_mace), OPTIONS, hydride())
    assert chosen.name == 'torch'
    assert "no package 'symmetrix-xl'" in chosen.details
    with pytest.raises(ProgramError) as error:
        evaluators.make_evaluator(str(tiny_mace), OPTIONS | {'evaluator': 'symmetrix'}, hydride())
    assert error.value.name == 'ENGINE_MISSING'


@pytest.mark.parametrize(('head', 'chosen'), [(None, 'Default'), ('pt_head', 'pt_head'), ('my own', 'my own')])
def test_torch_and_symmetrix_evaluate_one_head(tmp_path, head, chosen):
    heads = ['pt_head', chosen if head else 'Default'] if chosen != 'pt_head' else ['pt_head', 'Default']
    e0s = [[-10.0, -10.0], [-20.0, -20.0]]
    model = str(make_multihead_mace(tmp_path / 'some.model', heads, e0s, channels=4, max_ell=3))
    options = OPTIONS | ({'head': head} if head else {})
    torch, symmetrix = (
        evaluators.make_evaluator(model, options | {'evaluator': name}, hydride()) for name in ('torch', 'symmetrix')
    )
    assert (torch.head, symmetrix.head) == (chosen, chosen)
    energy = torch(hydride())[0]
    assert symmetrix(hydride())[0] == pytest.approx(energy, abs=1e-4)
    assert energy / len(hydride()) == pytest.approx(-10 if chosen == 'pt_head' else -20, abs=1)


@pytest.mark.parametrize('evaluator', ['auto', 'torch', 'symmetrix'])
@pytest.mark.parametrize(
    ('head', 'message'), [('nosuch', "no head 'nosuch': its heads are A and B"), (None, 'is named')]
)
def test_a_head_that_does_not_exist_is_refused(tmp_path, evaluator, head, message):
    model = str(make_multihead_mace(tmp_path / 'some.model', ['A', 'B']))
    options = OPTIONS | {'evaluator': evaluator} | ({'head': head} if head else {})
    with pytest.raises(ProgramError, match=message) as error:
        evaluators.make_evaluator(model, options, hydride())
    assert error.value.name == 'INPUT_REFUSED'
