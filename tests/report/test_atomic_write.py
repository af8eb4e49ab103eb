"""A file of a report is replaced as a whole, or stays unchanged."""

from __future__ import annotations

import resource

import pytest

from aiida_mghdiff.report.atomic_write import replacing


@pytest.fixture
def full_disk():
    """No file can have more than 1000 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_file_is_replaced(tmp_path):
    for text in ('first', 'second'):
        with replacing(tmp_path / 'results.json') as part:
            part.write_text(text)
        assert [path.read_text() for path in tmp_path.iterdir()] == [text]


@pytest.mark.usefixtures('full_disk')
def test_what_was_there_stays_where_the_disk_is_full(tmp_path):
    (tmp_path / 'results.json').write_text('old')
    with pytest.raises(OSError, match='too large'), replacing(tmp_path / 'results.json') as part:
        part.write_text(2000 * 'x')
    assert [path.read_text() for path in tmp_path.iterdir()] == ['old']
