"""What is used of mmengine and mmsegmentation, imported in silence: their imports print and warn of parts not used."""

import io
import logging
import warnings
from contextlib import redirect_stdout

with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
    warnings.simplefilter("ignore")
    import mmseg.datasets
    import mmseg.models  # noqa: F401  both register what a configuration may name
    from mmengine.config import Config, ConfigDict
    from mmengine.dataset import DefaultSampler
    from mmengine.hooks import Hook
    from mmengine.logging import MMLogger
    from mmengine.model import BaseModel, BaseModule
    from mmengine.registry import DATA_SAMPLERS, DefaultScope
    from mmengine.runner import Runner
    from mmengine.structures import PixelData
    from mmseg.models.segmentors.base import BaseSegmentor
    from mmseg.registry import MODELS
    from mmseg.structures import SegDataSample

MMLogger.get_current_instance().setLevel(logging.ERROR)  # it tells of every weight that it has not drawn anew

__all__ = [
    "DATA_SAMPLERS",
    "MODELS",
    "BaseModel",
    "BaseModule",
    "BaseSegmentor",
    "Config",
    "ConfigDict",
    "DefaultSampler",
    "DefaultScope",
    "Hook",
    "PixelData",
    "Runner",
    "SegDataSample",
]
