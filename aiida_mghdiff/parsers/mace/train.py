"""Parser of MACE trainings."""

from __future__ import annotations

from aiida_mghdiff.data.architectures import MACE
from aiida_mghdiff.parsers.train import TrainParser


class MaceTrainParser(TrainParser):
    """Stores what a MACE training left."""

    CACHE_VERSION = 2
    _ARCHITECTURE = MACE.name
