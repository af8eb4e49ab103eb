"""Parser of CHGNet trainings."""

from __future__ import annotations

from aiida_mghdiff.data.architectures import CHGNET
from aiida_mghdiff.parsers.train import TrainParser


class ChgnetTrainParser(TrainParser):
    """Stores what a CHGNet training left."""

    CACHE_VERSION = 2
    _ARCHITECTURE = CHGNET.name
