"""mmengine and mmsegmentation: the one place that imports them, without what they print. stdout carries results."""

import contextlib
import io
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep what mmengine prints off stdout, and drop its warnings; what goes wrong it raises."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


with silenced():  # of compiled operations that no segmenter here needs
    from mmengine.config import Config, ConfigDict
    from mmengine.dataset import DefaultSampler
    from mmengine.dist import barrier, broadcast_object_list
    from mmengine.hooks import Hook
    from mmengine.model import BaseModel, BaseModule, MMDistributedDataParallel
    from mmengine.registry import DATA_SAMPLERS, DefaultScope
    from mmengine.runner import Runner
    from mmengine.structures import PixelData
    from mmseg.models.segmentors.base import BaseSegmentor
    from mmseg.registry import MODELS
    from mmseg.structures import SegDataSample

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
    "MMDistributedDataParallel",
    "PixelData",
    "Runner",
    "SegDataSample",
    "barrier",
    "broadcast_object_list",
    "silenced",
]
