"""ControlNet's settings."""

from pathlib import Path

from pydantic import Field, field_validator

from ccbench.diffusion.branch_settings import LatentMethodConfig


class ControlNetConfig(LatentMethodConfig):
    """ControlNet's own setting besides those of every latent method."""

    pretrained: str | None = Field(
        None,
        description="ControlNet weights to start from: a hub id, a folder in diffusers format, or a file",
        json_schema_extra={"added_later": True},
    )

    @field_validator("pretrained")
    @classmethod
    def _whole_path(cls, value: str | None) -> str | None:
        """Keep a local place whole: it then works from every folder, and boards see the path that they refuse."""
        return str(Path(value).resolve()) if value is not None and Path(value).exists() else value
