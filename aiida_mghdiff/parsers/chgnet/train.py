"""Parser of CHGNet trainings."""

from __future__ import annotations

from aiida_mghdiff.data.architectures import CHGNET
from aiida_mghdiff.parsers.train import TrainParser


class ChgnetTrainParser(TrainParser):
    """Stores the outputs of a CHGNet training."""

    CACHE_VERSION = 2
    _ARCHITECTURE = CHGNET.name
