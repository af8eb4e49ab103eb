from __future__ import annotations

import math

import numpy as np
import pytest

from aiida_mghdiff.programs import job, training
from aiida_mghdiff.science import energy_offsets


class Descent:
    """Gradient descent with momentum on a parabola, as a trainer."""

    def __init__(self, rate=0.2, goal=3.0, loss=None):
        self.x, self.v, self.rate, self.goal, self.loss = 0.0, 0.0, rate, goal, loss
        self.stages, self.seen = [], []

    def train_epoch(self, epoch, validation_loss):
        self.seen.append((epoch, validation_loss))
        self.v = 0.5 * self.v - self.rate * (self.x - self.goal)
        self.x += self.v
        return {'loss': (self.x - self.goal) ** 2, 'learning_rate': self.rate}

    def validate(self):
        loss = (self.x - self.goal) ** 2 if self.loss is None else self.loss(len(self.seen))
        return {'loss': loss, 'energy_rmse': loss, 'force_rmse': loss, 'stress_rmse': 0.0}

    def start_stage(self, stage):
        self.stages.append(stage)

    def weights(self):
        return {'x': self.x}

    def state(self):
        return {'x': self.x, 'v': self.v}

    def load_state(self, state):
        self.x, self.v = state['x'], state['v']


class Clock(job.WallClock):
    """A clock whose time is over after a number of questions."""

    def __init__(self, questions):
        self.questions = questions

    def is_over(self, next_seconds=0.0):
        self.questions -= 1
        return self.questions < 0


ENDLESS = job.WallClock(None)
PARAMETERS = {'max_num_epochs': 8, 'patience': 100}


def train(trainer, epochs=8, patience=100, **options):
    progress = training.Progress(initial=trainer.validate())
    training.run_epochs(trainer, epochs, patience, ENDLESS, progress, **options)
    return progress


def test_keeps_the_weights_of_the_best_epoch():
    progress = train(Descent(loss=lambda epoch: [9, 5, 1, 2, 3][epoch]), epochs=4)
    assert progress.best_epoch == 1
    assert progress.best_loss == 1
    assert progress.best_weights == {'x': pytest.approx(0.6 + 0.3 + 0.48)}
    assert len(progress.curves) == 4


def test_schedule_sees_the_validation_loss_of_the_epoch_before():
    trainer = Descent(loss=lambda epoch: [9, 5, 1, 2][epoch])
    train(trainer, epochs=3)
    assert trainer.seen == [(0, None), (1, 5), (2, 1)]


def test_patience_stops():
    progress = train(Descent(loss=lambda epoch: 1.0 + epoch), epochs=50, patience=3)
    assert progress.stopped_early
    assert len(progress.curves) == 4


def test_patience_of_the_first_stage_starts_the_second():
    trainer = Descent(loss=lambda epoch: 1.0 + epoch)
    progress = train(trainer, epochs=20, patience=3, stage_starts=(0, 10))
    assert trainer.stages == [0, 1]
    assert [row['epoch'] for row in progress.curves] == [0, 1, 2, 3, 10, 11, 12, 13]
    assert progress.best_epoch == 10


def test_split_keeps_groups_together():
    arrays = {'natoms': np.ones(10, int), 'numbers': np.arange(10), 'positions': np.zeros((10, 3))}
    arrays |= {'forces': np.zeros((10, 3)), 'groups': np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 3])}
    for seed in range(1, 20):
        kept, held = training.split(arrays, 0.3, seed)
        assert not set(kept['groups']) & set(held['groups'])
        assert len(kept['natoms']) + len(held['natoms']) == 10
        assert 1 <= len(held['natoms']) <= 5


def test_split_of_one_group_is_refused():
    arrays = {'natoms': np.ones(4, int), 'numbers': np.ones(4, int), 'groups': np.zeros(4, int)}
    with pytest.raises(job.ProgramError, match='cannot be split') as error:
        training.split(arrays, 0.9, 1)
    assert error.value.name == 'INPUT_REFUSED'


def test_fit_offsets_finds_them_and_says_when_they_are_open():
    counts = np.array([[16.0, 0.0], [16.0, 1.0], [16.0, 2.0]])
    offsets, rank = energy_offsets.fit_offsets(counts, counts @ [-1.5, -3.0])
    assert offsets == pytest.approx([-1.5, -3.0])
    assert rank == 2
    offsets, rank = energy_offsets.fit_offsets(counts[[1, 1]], counts[[1, 1]] @ [-1.5, -3.0])
    assert rank == 1
    assert counts[1] @ offsets == pytest.approx(-27.0)


def test_given_offsets_name_a_missing_element():
    with pytest.raises(job.ProgramError, match='Mg'):
        training.given_offsets({'H': -1.0}, [1, 12])


def test_restart_equals_continuing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = training.train_with_restarts(Descent(), PARAMETERS, ENDLESS, 'mark')
    with pytest.raises(job.ProgramError) as error:
        training.train_with_restarts(Descent(), PARAMETERS, Clock(3), 'mark')
    assert error.value.name == 'OUT_OF_WALLTIME'
    assert '"completed": false' in (tmp_path / 'results.json').read_text()
    restarted = training.train_with_restarts(Descent(), PARAMETERS, ENDLESS, 'mark')
    assert restarted == whole
    assert not (tmp_path / training.CHECKPOINT_FILE).exists()


def test_restart_goes_on_in_its_stage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(job.ProgramError):
        training.train_with_restarts(Descent(), PARAMETERS, Clock(5), 'mark', (0, 3))
    trainer = Descent()
    training.train_with_restarts(trainer, PARAMETERS, ENDLESS, 'mark', (0, 3))
    assert trainer.stages == [1]


def test_no_epoch_in_time_leaves_no_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for questions in (3, 0):
        with pytest.raises(job.ProgramError):
            training.train_with_restarts(Descent(), PARAMETERS, Clock(questions), 'mark')
    assert not (tmp_path / training.CHECKPOINT_FILE).exists()


@pytest.mark.parametrize('damage', [True, False])
def test_checkpoint_of_another_training_or_damaged_is_refused(tmp_path, monkeypatch, damage):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(job.ProgramError):
        training.train_with_restarts(Descent(), PARAMETERS, Clock(3), 'mark')
    if damage:
        (tmp_path / training.CHECKPOINT_FILE).write_bytes(b'no checkpoint')
    with pytest.raises(job.ProgramError) as error:
        training.train_with_restarts(Descent(), PARAMETERS, ENDLESS, 'mark' if damage else 'other')
    assert error.value.name == 'INPUT_REFUSED'


def test_diverged_training_leaves_its_curves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(job.ProgramError, match='loss of epoch 2') as error:
        training.train_with_restarts(
            Descent(loss=lambda epoch: math.nan if epoch == 3 else 1.0), PARAMETERS, ENDLESS, 'mark'
        )
    assert error.value.name == 'TRAINING_DIVERGED'
    assert len(np.load(tmp_path / 'learning_curves.npz')['loss_valid']) == 3


def test_fingerprint_changes_with_parameters_and_data_but_not_with_the_number_of_epochs():
    arrays = {'energies': np.arange(3.0)}
    marks = {
        training.fingerprint({'lr': 1, 'max_num_epochs': 3}, arrays),
        training.fingerprint({'lr': 1, 'max_num_epochs': 5}, arrays),
        training.fingerprint({'lr': 2, 'max_num_epochs': 5}, arrays),
        training.fingerprint({'lr': 1, 'max_num_epochs': 5}, {'energies': np.arange(3.0) + 1}),
    }
    assert len(marks) == 3


def test_batches_stop_when_the_time_is_over():
    batches = training.TimedBatches([1, 2, 3], Clock(2))
    taken = []
    with pytest.raises(training.OutOfTimeError):
        taken.extend(batch for batch in batches)
    assert len(batches) == 3


@pytest.mark.parametrize(
    ('energy', 'force', 'stress', 'said'),
    [
        (0.01, 0.05, 0.001, []),
        (2.0, 0.05, 0.001, ['energy']),
        (2.0, 9.0, 0.001, ['energy', 'force']),
        (0.01, 0.05, 50.0, ['stress']),
        (0.01, 0.05, math.nan, []),
    ],
)
@pytest.mark.parametrize('trained', [{'energy', 'force', 'stress'}, {'energy', 'force'}, {'force'}, {'stress'}])
def test_training_worse_than_a_constant_says_so(energy, force, stress, said, trained):
    validation = {
        'energies': np.array([-17.0, -36.0]),
        'natoms': np.array([10, 20]),
        'forces': np.array([[0.3, 0, 0], [-0.3, 0, 0]]),
        'stresses': np.array([6 * [0.01], 3 * [-0.01] + 3 * [math.nan]]),
    }
    row = {
        'epoch': 0,
        'loss_valid': 1.0,
        'energy_rmse_valid': energy,
        'force_rmse_valid': force,
        'stress_rmse_valid': stress,
    }
    progress = training.Progress(
        best_epoch=0, curves=[row], initial={'loss': 1.0, 'energy_rmse': 1.0, 'force_rmse': 1.0, 'stress_rmse': 1.0}
    )
    warnings = training.summary(progress, validation, trained, ['before'])['warnings']
    assert warnings[0] == 'before'
    assert [warning.split()[4] for warning in warnings[1:]] == [name for name in said if name in trained]
    assert all('A constant would do better' in warning for warning in warnings[1:])
