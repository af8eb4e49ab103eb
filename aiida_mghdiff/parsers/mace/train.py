"""Parser of MACE trainings."""

from __future__ import annotations

from aiida_mghdiff.data.architectures import MACE
from aiida_mghdiff.parsers.train import TrainParser


class MaceTrainParser(TrainParser):
    """Stores the outputs of a MACE training."""

    CACHE_VERSION = 2
    _ARCHITECTURE = MACE.name
