"""D from hops and from counted jumps as nodes."""

from __future__ import annotations

import hops
import numpy as np
import pytest
from aiida import orm
from counted_jumps import A, C, make_sites, rates_at
from ensembles import summarise

from aiida_mghdiff.calculations.functions.hops import barrier_diffusion, hop, jump_diffusion
from aiida_mghdiff.calculations.functions.sites import site_results
from aiida_mghdiff.science.lattice.geometry import hcp_supercell
from aiida_mghdiff.science.lattice.hcp import HcpSites
from aiida_mghdiff.science.lattice.network import diffusivity
from aiida_mghdiff.science.lattice.occupancy import Tallies
from aiida_mghdiff.science.lattice.sites import find_jumps
from aiida_mghdiff.science.transition_state import classical_rate, quantum_rate
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K

SETTINGS = {'temperatures_k': [300.0, 600.0]}
FREQUENCIES = {'O': [12.0, 13.0, 14.0], 'T': [30.0, 31.0, 40.0], 'saddle': [-15.0, 33.0, 45.0]}
BARRIERS = {'O-T': (0.20, 0.26), 'T-T': (0.11, 0.11), 'O-O c': (0.30, 0.30), 'O-O ab': (0.45, 0.45)}


def make_hop(path, energies=None, tracer='H', barriers=None, **frequencies):
    """Return the node of a hop, made from nodes like the outputs of jobs."""
    forward, reverse = barriers or BARRIERS[path]
    barrier = {
        'forward_barrier_ev': forward,
        'reverse_barrier_ev': reverse,
        'energies_ev': energies or [0.0, 0.5 * forward, forward, forward - reverse],
    }
    kinds = {'initial': path[0], 'saddle': 'saddle', 'final': path[2]}
    modes = {
        name: orm.Dict({'frequencies_thz': frequencies.get(name, FREQUENCIES[kind])}) for name, kind in kinds.items()
    }
    result, node = hop.run_get_node(orm.Dict({'path': path, 'tracer_element': tracer}), orm.Dict(barrier), **modes)
    return result if node.is_finished_ok else node


def fail(function, *args, **kwargs):
    _, node = function.run_get_node(*args, **kwargs)
    return node.exit_status, node.exit_message


def test_hop(aiida_profile):
    values = make_hop('O-T').get_dict()
    assert values['elementary'] is True
    assert values['forward_attempt_frequency_thz'] == pytest.approx(12 * 13 * 14 / (33 * 45))
    assert values['reverse_attempt_frequency_thz'] == pytest.approx(30 * 31 * 40 / (33 * 45))
    assert values['forward_zero_point_barrier_ev'] == pytest.approx(0.20 + 4.135667696e-3 * (78 - 39) / 2)
    assert values['final_frequencies_thz'] == FREQUENCIES['T']


def test_hop_over_a_point_that_is_no_saddle(aiida_profile):
    node = make_hop('O-O ab', saddle=[-15.0, -3.0, 45.0])
    assert node.exit_status == 241
    assert '-15.00, -3.00, 45.00 do not belong to a minimum and a saddle point' in node.exit_message


@pytest.mark.parametrize('reverse', [0.0, None])
def test_hop_from_an_end_that_is_no_minimum(aiida_profile, reverse):
    """The barrier of this end is 0.0 in nodes of earlier versions, and null today."""
    node = make_hop('O-T', [0.0, 0.1, 0.2], barriers=(0.2, reverse))
    assert node.exit_status == 241
    assert 'O-T: the path has no saddle point' in node.exit_message


def test_hop_between_points_of_which_one_is_no_minimum(aiida_profile):
    node = make_hop('O-T', final=[-30.0, 31.0, 40.0])
    assert node.exit_status == 241
    assert '1 and 1 are imaginary, not 0 and 1' in node.exit_message


@pytest.mark.parametrize('reverse', [0.0, None])
def test_stored_hop_without_a_barrier_has_no_rate(host, reverse):
    """A hop without a barrier is left out if D does not need it; else the message tells the reason."""
    nodes = {'a': make_hop('O-T'), 'b': make_hop('T-T'), 'c': make_hop('O-O ab')}
    flat = {key: orm.Dict(node.get_dict() | {'reverse_barrier_ev': reverse}) for key, node in nodes.items()}
    found = barrier_diffusion(host, orm.Dict(SETTINGS), a=nodes['a'], b=nodes['b'], c=flat['c'])
    values = found['classical'].get_dict()
    assert 'no minimum of this potential' in values['classes_left_out']['O-O ab']
    assert 'O-O ab' not in values['rates']
    status, message = fail(barrier_diffusion, host, orm.Dict(SETTINGS), a=flat['a'], b=nodes['b'])
    assert status == 240
    assert message.startswith('there is no hop along O-T: D needs at least O-T and T-T. O-T: one of its directions')
    assert 'no minimum of this potential' in message


def test_d_from_barriers(host):
    nodes = {name: make_hop(path) for name, path in (('o_t', 'O-T'), ('t_t', 'T-T'), ('o_o_c', 'O-O c'))}
    found, node = barrier_diffusion.run_get_node(host, orm.Dict(SETTINGS), **nodes)
    assert node.is_finished_ok, node.exit_message
    for name, rate in (('classical', classical_rate), ('quantum', quantum_rate)):
        values = found[name].get_dict()
        o, t, saddle = FREQUENCIES['O'], FREQUENCIES['T'], FREQUENCIES['saddle']
        rates = {
            'O-T': rate(0.20, o, saddle, 300.0),
            'T-O': rate(0.26, t, saddle, 300.0),
            'T-T': rate(0.11, t, saddle, 300.0),
            'O-O c': rate(0.30, o, saddle, 300.0),
        }
        expected = diffusivity(A, C, rates)
        assert values['diffusion_ab_m2_s'][0] == pytest.approx(1e-8 * expected.ab, rel=1e-6)
        assert values['diffusion_c_m2_s'][0] == pytest.approx(1e-8 * expected.c, rel=1e-6)
        assert values['diffusion_coefficients_m2_s'][0] == pytest.approx(1e-8 * expected.mean, rel=1e-6)
        assert {key: value[0] for key, value in values['rates'].items()} == pytest.approx(rates)
        assert values['ci95_m2_s'] is values['relative_errors'] is values['energy_error_ev'] is None
        assert values['source'] == f'barriers, {name}'
        assert values['classes_left_out'] == {'O-O ab': 'no hop along this path was given.'}
        assert values['warnings'] == []
    classical = found['classical']['diffusion_coefficients_m2_s']
    mean = BOLTZMANN_EV_PER_K * np.log(classical[1] / classical[0]) / (1 / 300 - 1 / 600)
    slopes = found['classical']['activation_energies_ev']
    assert min(slopes) < mean < max(slopes)


def test_error_of_the_potential_makes_the_interval(host):
    nodes = {path.replace('-', ''): make_hop(path) for path in ('O-T', 'T-T')}
    metrics = orm.Dict({'energy_rmse_shifted_mev_per_atom': 1.0})
    values = barrier_diffusion(host, orm.Dict(SETTINGS), metrics, **nodes)['classical'].get_dict()
    assert values['energy_error_ev'] == pytest.approx(0.017)  # 16 host atoms and the tracer
    assert values['relative_errors'][0] == pytest.approx(2 * values['relative_errors'][1], rel=0.3)
    assert 0.5 < values['relative_errors'][0] / (0.017 / (BOLTZMANN_EV_PER_K * 300)) < 2
    for value, (low, high) in zip(values['diffusion_coefficients_m2_s'], values['ci95_m2_s'], strict=True):
        assert low * high == pytest.approx(value**2)


def test_potential_without_an_error_of_energies_gives_no_interval(host):
    """Without an error of energies the interval is null; an error of zero would give it no width."""
    nodes = {path.replace('-', ''): make_hop(path) for path in ('O-T', 'T-T')}
    metrics = orm.Dict({'energy_rmse_shifted_mev_per_atom': None})
    values = barrier_diffusion(host, orm.Dict(SETTINGS), metrics, **nodes)['classical'].get_dict()
    assert values['ci95_m2_s'] is values['relative_errors'] is values['energy_error_ev'] is None


def test_path_of_two_hops_is_left_out(host):
    double = make_hop('O-O ab', [0.0, 0.2, 0.1, 0.2, 0.0], barriers=(0.2, 0.2))
    nodes = {'a': make_hop('O-T'), 'b': make_hop('T-T'), 'c': double}
    values = barrier_diffusion(host, orm.Dict(SETTINGS), **nodes)['classical'].get_dict()
    assert 'several hops' in values['classes_left_out']['O-O ab']
    assert set(values['rates']) == {'O-T', 'T-O', 'T-T'}


def test_ends_of_one_kind_with_two_energies(host):
    nodes = {'a': make_hop('O-T'), 'b': make_hop('T-T', barriers=(0.10, 0.15))}
    (warning,) = barrier_diffusion(host, orm.Dict(SETTINGS), **nodes)['quantum']['warnings']
    assert 'T-T are of one kind, but differ by 0.050 eV' in warning


def test_barrier_below_kt(host):
    nodes = {'a': make_hop('O-T'), 'b': make_hop('T-T', barriers=(0.04, 0.05))}
    (warning,) = barrier_diffusion(host, orm.Dict(SETTINGS), **nodes)['classical']['warnings']
    assert 'barrier of T-T, 0.040 eV, is below kT at 600 K' in warning


def test_barriers_that_do_not_make_a_network(host, aiida_profile):
    settings = orm.Dict(SETTINGS)
    status, message = fail(barrier_diffusion, host, settings, a=make_hop('O-T'))
    assert status == 240
    assert 'no hop along T-T' in message
    status, message = fail(barrier_diffusion, host, settings, a=make_hop('O-T'), b=make_hop('O-T', tracer='Li'))
    assert status == 228
    assert 'one hop for each path' in message
    status, message = fail(barrier_diffusion, host, settings, a=make_hop('O-T'), b=make_hop('T-T', tracer='Li'))
    assert status == 228
    assert 'hops are of H, Li' in message
    status, message = fail(barrier_diffusion, host, orm.Dict({'temperatures_k': []}), a=make_hop('O-T'))
    assert status == 220
    assert 'a non-empty list' in message
    single = orm.StructureData(cell=np.diag([9.0, 9.0, 9.0]).tolist())
    single.append_atom(position=(0, 0, 0), symbols='Mg')
    assert fail(barrier_diffusion, single, settings, a=make_hop('O-T'), b=make_hop('T-T'))[0] == 222


def test_d_from_jumps(aiida_profile):
    sites = {f't{value:g}k': make_sites(value, duration=1e9) for value in (480.0, 575.0, 673.0)}
    values = jump_diffusion(orm.Dict(SETTINGS), **sites).get_dict()
    rates = rates_at(300.0)
    assert values['diffusion_coefficients_m2_s'][0] == pytest.approx(1e-8 * diffusivity(A, C, rates).mean, rel=1e-3)
    assert values['extrapolated'] == [True, False]
    assert values['source'] == 'jumps'
    assert set(values['classes_left_out']) == {'O-O c', 'O-O ab', 'T-T edge'}
    line = values['classes']['T-O']
    assert line['activation_energy_ev'] == pytest.approx(0.22, abs=1e-3)
    assert line['prefactor_thz'] == pytest.approx(6.0, rel=1e-2)
    assert line['rates_per_ps'][2] == pytest.approx(rates_at(673.0)['T-O'], rel=1e-3)
    assert line['temperatures_k'] == [480.0, 575.0, 673.0]


def test_correlated_jumps_widen_the_interval(aiida_profile):
    """Errors from the scatter over tracers are three times the counting errors here."""
    runs = [make_sites(value) for value in (480.0, 673.0)]
    bursts = []
    for run in runs:
        errors = {name: 3 * value for name, value in run['jump_rate_errors_per_ps'].items()}
        bursts.append(orm.Dict(run.get_dict() | {'jump_rate_errors_per_ps': errors}))
    poisson, burst = (
        jump_diffusion(orm.Dict(SETTINGS), a=pair[0], b=pair[1])['relative_errors'] for pair in (runs, bursts)
    )
    np.testing.assert_allclose(burst, 3 * np.array(poisson), rtol=0.01)


def test_two_temperatures_leave_nothing_to_test_the_line_with(aiida_profile):
    values = jump_diffusion(orm.Dict(SETTINGS), a=make_sites(480.0), b=make_sites(673.0)).get_dict()
    for line in values['classes'].values():
        assert (line['chi_squared'], line['degrees_of_freedom']) == (None, 0)


def test_unknown_jumps_are_named(aiida_profile):
    run = make_sites(480.0)
    odd = orm.Dict(run.get_dict() | {'jump_counts': run['jump_counts'] | {'other': sum(run['jump_counts'].values())}})
    (warning,) = jump_diffusion(orm.Dict(SETTINGS), a=odd, b=make_sites(673.0))['warnings']
    assert 'outside all classes of the network' in warning


def test_jumps_that_give_no_line(aiida_profile):
    settings, run = orm.Dict(SETTINGS), make_sites(480.0)
    status, message = fail(jump_diffusion, settings, a=run)
    assert status == 227
    assert message == 'O-T: jumps must be seen at two distinct temperatures at least, there are: 480 K.'
    assert fail(jump_diffusion, settings)[0] == 227
    status, message = fail(jump_diffusion, settings, a=run, b=make_sites(600.0, drop=['jump_counts']))
    assert status == 228
    assert '1 of 2 inputs have no jump_counts' in message
    assert fail(jump_diffusion, orm.Dict({}), a=run)[0] == 220
    status, message = fail(jump_diffusion, orm.Dict({'temperatures_k': [2.0]}), a=run, b=make_sites(600.0))
    assert status == 240
    assert 'O-T = 0.0' in message


def follow_tracers(sites, temperature, seed, frames=4000, tracers=24, interval=0.02):
    """Return the site statistics of a run of the truth model, found from positions alone."""
    rng = np.random.default_rng([seed, int(temperature)])
    network = hops.Network(rates_at(temperature))
    positions = network.walks(rng, frames, interval, tracers)
    positions += hops.vibrations(rng, frames, tracers, interval, fast=0.15, slow=0.08)
    jumps = find_jumps(positions, sites.positions, sites.cell)
    lattice_constants = {'lattice_a_angstrom': hops.A, 'lattice_c_angstrom': hops.C}
    found = site_results(Tallies.of([jumps], sites, interval), temperature)
    return orm.Dict(found | lattice_constants | {'temperature_k': temperature})


def extrapolate_truth(seed, sites, **options):
    """Return D at 300 K and its interval from the jumps at high temperatures."""
    runs = {f't{value:g}k': follow_tracers(sites, value, seed, **options) for value in (480.0, 575.0, 673.0, 800.0)}
    result = jump_diffusion(orm.Dict({'temperatures_k': [300.0]}), **runs)
    return result['diffusion_coefficients_m2_s'][0], result['ci95_m2_s'][0]


@pytest.fixture(scope='module')
def sites():
    return HcpSites.from_host(*hcp_supercell(hops.A, hops.C, (3, 3, 2)))


def test_positions_of_hot_runs_give_the_cold_d(aiida_profile, sites):
    """Vibrating positions at four high temperatures give the exact D at 300 K, where such a run has no jump."""
    exact = 1e-8 * hops.Network(rates_at(300.0)).diffusion_coefficient()
    value, (low, high) = extrapolate_truth(1, sites)
    assert low < exact < high
    assert high / low < 4
    assert value == pytest.approx(exact, rel=0.5)


@pytest.mark.slow
def test_coverage_of_the_cold_d(aiida_profile, sites):
    exact = 1e-8 * hops.Network(rates_at(300.0)).diffusion_coefficient()
    found = [extrapolate_truth(seed, sites, frames=2000, tracers=12) for seed in range(200)]
    rows = np.array([(value, low, high) for value, (low, high) in found]) / exact
    print(f'\nmedian D over the exact one {np.median(rows[:, 0]):.3f}')  # a few large ratios dominate the mean
    _, _, coverage = summarise('D(300 K) from jumps', rows)
    assert 91 <= coverage <= 98.5
    assert 0.7 < np.median(rows[:, 0]) < 1.4
