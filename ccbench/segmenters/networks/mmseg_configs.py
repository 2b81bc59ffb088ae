"""Model configurations of mmsegmentation: of PraNet and Polyp-PVT, and of any file, made to tell polyps from mucosa."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ccbench.segmenters.networks.backbones
import ccbench.segmenters.networks.polyp_pvt
import ccbench.segmenters.networks.pranet  # noqa: F401  imported to register their classes
from ccbench.base.files import read_json
from ccbench.base.text import one_line
from ccbench.errors import UsageError
from ccbench.segmenters import MMSEG, SegmenterSettings
from ccbench.segmenters.mmlab import MODELS, Config

_RUNS_CODE = ("_base_", "_scope_", "custom_imports")
_LITE0 = "lite0"
_LITE0_CHANNELS = (24, 40, 112, 320)
_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # mean and deviation of its channels, grey levels
_CENTRED = ((127.5,) * 3, (127.5,) * 3)  # as EfficientNet-Lite0's weights were trained


def pranet(name: str, settings: SegmenterSettings) -> dict[str, Any]:
    """Return PraNet: on Res2Net-50 v1b, timm's `res2net50d`, or on EfficientNet-Lite0 with narrower attentions."""
    if settings.backbone == _LITE0:
        return _small("PraNet", settings, (1, 2, 3)) | {"attention": (64, 32)}
    return _model("PraNet", settings, _timm(settings, (2, 3, 4)))


def polyp_pvt(name: str, settings: SegmenterSettings) -> dict[str, Any]:
    """Return Polyp-PVT: on PVTv2-B2 with stochastic depth 0.1, or on EfficientNet-Lite0."""
    if settings.backbone == _LITE0:
        return _small("PolypPVT", settings, (0, 1, 2, 3))
    return _model("PolypPVT", settings, _timm(settings, (0, 1, 2, 3)) | {"drop_path_rate": 0.1})


def semantic_fpn(name: str, settings: SegmenterSettings) -> dict[str, Any]:
    """Return Semantic FPN of 48 channels on EfficientNet-Lite0, of mmsegmentation's own parts, with two classes."""
    width = 48
    return {
        "type": "EncoderDecoder",
        "backbone": {"type": "Lite0Pyramid"},
        "neck": {"type": "FPN", "in_channels": list(_LITE0_CHANNELS), "out_channels": width, "num_outs": 4},
        "decode_head": {
            "type": "FPNHead",
            "in_channels": [width] * 4,
            "in_index": [0, 1, 2, 3],
            "feature_strides": [4, 8, 16, 32],
            "channels": width,
            "dropout_ratio": 0.0,
            "num_classes": 2,
            "norm_cfg": {"type": "BN"},
            "align_corners": False,
            "loss_decode": [{"type": "CrossEntropyLoss"}, {"type": "DiceLoss", "use_sigmoid": False}],
        },
        "data_preprocessor": _preprocessor(_CENTRED),
        "test_cfg": {"mode": "whole"},
    }


def _timm(settings: SegmenterSettings, levels: tuple[int, ...]) -> dict[str, Any]:
    return {"type": "TimmPyramid", "model": settings.backbone, "levels": levels, "weights": settings.weights}


def _small(kind: str, settings: SegmenterSettings, levels: tuple[int, ...]) -> dict[str, Any]:
    channels = tuple(_LITE0_CHANNELS[level] for level in levels)
    return _model(kind, settings, {"type": "Lite0Pyramid", "levels": levels}, _CENTRED) | {"channels": channels}


def _model(kind: str, settings: SegmenterSettings, backbone: dict[str, Any], norm: Any = _IMAGENET) -> dict[str, Any]:
    return {
        "type": kind,
        "backbone": backbone,
        "loss": {"type": "StructureLoss", "bce": settings.bce, "window": settings.window},
        "data_preprocessor": _preprocessor(norm),
    }


def _preprocessor(norm: Any) -> dict[str, Any]:
    mean, deviation = map(list, norm)
    return {"type": "mmseg.SegDataPreProcessor", "mean": mean, "std": deviation, "size_divisor": 1}


def from_file(name: str, settings: SegmenterSettings) -> dict[str, Any]:
    """Return the model of a configuration file with two classes, plain batch norm and whole images.

    Raises:
        UsageError: the file is no configuration, holds no model, or has no place for a file of weights.
    """
    config = read_config(name)
    model: dict[str, Any] = config["model"].to_dict()
    before = model.get("data_preprocessor") or {}
    mean, deviation = before.get("mean", _IMAGENET[0]), before.get("std", _IMAGENET[1])
    model["data_preprocessor"] = _preprocessor((mean, deviation))
    model["test_cfg"] = {"mode": "whole"}
    _adapt(model, settings)
    if settings.weights not in ("hub", "random", *_texts(model)):
        raise UsageError(f"--segmenter {name}: names no weights to start from; leave --set weights={settings.weights}")
    return model


def read_config(name: str) -> Any:
    """Return the configuration that `mmseg:PATH` names, with its model.

    A `.py` is run as Python, and what it imports with it. A `.json` is data: it names classes that mmsegmentation has
    registered, and nothing else of it is looked up, imported or run.

    Raises:
        UsageError: the file is no configuration, holds no model, or is data that asks for code.
    """
    path = Path(name.removeprefix(MMSEG))
    if path.suffix == ".py":
        try:
            config = Config.fromfile(path)
        except Exception as error:  # a file of Python: it may raise whatever it likes
            raise UsageError(f"--segmenter {name}: cannot be read ({one_line(error, 120)})") from error
    elif path.suffix == ".json":
        config = Config(_check_data(read_json(path), name))
    else:
        raise UsageError(f"--segmenter {name}: wanted a .json configuration, which is data, or a .py, which is run")
    if not isinstance(config.get("model"), dict):
        raise UsageError(f"--segmenter {name}: holds no `model`; give a model configuration of mmsegmentation")
    return config


def _check_data(content: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the parts of a configuration that are used, or refuse what mmengine would import and call of them.

    Raises:
        UsageError: it inherits from a file, imports a module, or has a type with a module's name.
    """
    parts: list[Any] = [content]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            asked = [key for key in _RUNS_CODE if key in part]
            kind = part.get("type")
            if isinstance(kind, str) and not _is_plain(kind):
                asked.append(f"the type {one_line(kind, 60)!r}")
            if asked:
                raise UsageError(
                    f"--segmenter {name}: asks for {asked[0]}, which imports code; name registered classes only, or "
                    "give a .py, which is run"
                )
        parts += part.values() if isinstance(part, dict) else part if isinstance(part, list) else []
    return {key: content[key] for key in ("model", "optim_wrapper") if key in content}


def _is_plain(kind: str) -> bool:
    """Return whether mmengine can find no more under a name than a registered class: it imports modules by name."""
    registered = any(kind in registry.module_dict for registry in (MODELS, MODELS.parent))
    return registered or (kind.isidentifier() and importlib.util.find_spec(kind) is None)


def _adapt(part: Any, settings: SegmenterSettings) -> None:
    """Change a part of a model's configuration in place, and the parts in it."""
    if isinstance(part, list | tuple):
        for one in part:
            _adapt(one, settings)
    if not isinstance(part, dict):
        return
    if "num_classes" in part:
        part.update(num_classes=2, out_channels=None)
    if part.get("type") == "SyncBN":
        part["type"] = "BN"
    if str(part.get("type", "")).endswith("Loss"):
        part.pop("class_weight", None)  # of another number of classes
    start = part.get("init_cfg")
    if isinstance(start, dict) and start.get("type") == "Pretrained" and settings.weights != "hub":
        part["init_cfg"] = None if settings.weights == "random" else {**start, "checkpoint": settings.weights}
    if isinstance(part.get("pretrained"), str) and settings.weights != "hub":  # as older files say the same
        part["pretrained"] = None if settings.weights == "random" else settings.weights
    for one in part.values():
        _adapt(one, settings)


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict | list | tuple):
        for one in part.values() if isinstance(part, dict) else part:
            yield from _texts(one)
