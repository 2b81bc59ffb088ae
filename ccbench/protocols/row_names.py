"""Which row of a board a run belongs to: its method, and the settings in which it differs."""

from ccbench.plugins.contract import OfMethodConfig
from ccbench.protocols.config import OutsideConfig, RecordedSettings, RunConfig, usual_config

OUTSIDE_MARK = "†"
"""Stands behind the name of a row whose images were brought from outside."""


def variant_hash(config: RunConfig) -> str:
    """Return the hash of a run's configuration without its seed; the runs of one row share it."""
    settings = config.settings
    if isinstance(settings, OutsideConfig):  # every seed has its own images
        settings = settings.model_copy(update={"images_sha256": ""})
    return config.model_copy(update={"seed": 0, "settings": settings}).config_hash


def row_name(config: RunConfig) -> str:
    """Return the name of the board row that a run of this configuration belongs to."""
    if isinstance(config.settings, OutsideConfig):
        return f"{config.method} {OUTSIDE_MARK}"
    said = variant(config)
    return f"{config.method} ({said})" if said else config.method


def variant(config: RunConfig) -> str:
    """Return what a run's row says beside the method's name."""
    if isinstance(config.settings, OutsideConfig):
        return ""
    changed = dict(config.overrides)
    if not isinstance(config.settings, RecordedSettings):  # whose defaults nobody knows here
        plain = usual_config(config).model_copy(update={"revision": config.revision})
        changed = {} if variant_hash(config) == plain.config_hash else changed
    if isinstance(config.settings, OfMethodConfig):  # says nothing without the method, the default one too
        changed["method.of"] = config.settings.of
    return ", ".join(f"{key.removeprefix('method.')}={value}" for key, value in sorted(changed.items()))
