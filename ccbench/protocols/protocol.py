"""The frozen protocols: everything that must be equal before two rows may be compared."""

import copy
import hashlib
import json
from collections.abc import Collection
from typing import Any, Literal

from pydantic import Field

from ccbench.base.text import suggest
from ccbench.errors import UsageError
from ccbench.plugins.contract import Method, Scale, Settings, TrainingSettings, untouched_fields


class Protocol(Settings):
    """One frozen protocol.

    Attributes:
        data: name of the data source (`ccbench.data.split`).
        needs_data_root: whether the user must hand its files.
        image_size: side in pixels at which images are trained, sampled and scored (squash).
        backbone: name of a shipped backbone, a folder in diffusers format, or a hub id.
        sampling: overrides of the fields of every `MethodConfig` that has them.
        scale: which of the settings on a method's card (`Method.settings_at`) apply; not in `hash`.
        method_settings: method -> further overrides, for a method that cannot run at the others' settings: those of its
            card, see `with_method`. They are frozen too, and not in `hash`: they change that method's row alone, whose
            configuration holds them.
        set_encoder: encoder of the Frechet and kernel distances.
        text_encoder: of CLIP-score and CLIP-image.
        seeds: run seeds that a complete board row needs.
    """

    name: str
    title: str
    version: int
    data: Literal["phantom", "polyp"]
    needs_data_root: bool
    image_size: int
    backbone: str
    training: TrainingSettings
    sampling: dict[str, float | int] = Field(default_factory=dict)
    scale: Scale = "paper"
    method_settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    set_encoder: str
    text_encoder: str
    seeds: tuple[int, ...] = (0, 1, 2)
    notes: str = ""

    @property
    def hash(self) -> str:
        """Sixteen hex digits over every field that all rows share."""
        left_out: dict[str, Any] = {"scale": True, "method_settings": True, "training": untouched_fields(self.training)}
        text = json.dumps(self.model_dump(mode="json", exclude=left_out), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def with_method(self, method: Method[Any]) -> "Protocol":
        """Return the protocol with the settings of a method's card for its scale; where it has its own, with these."""
        name = method.info.name
        own = self.method_settings.get(name) or method.settings_at.get(self.scale)
        return self.model_copy(update={"method_settings": {name: copy.deepcopy(dict(own))} if own else {}})

    def frozen_settings(self, method: str, fields: Collection[str]) -> dict[str, Any]:
        """Return the settings that the protocol freezes for a method whose configuration has these fields."""
        shared = {key: value for key, value in self.sampling.items() if key in fields}
        return {**shared, **copy.deepcopy(self.method_settings.get(method, {}))}


_MINI_TRAINING = TrainingSettings(max_steps=1500, batch_size=4, learning_rate=2e-3, checkpoint_every=250)
_MINI_SAMPLING: dict[str, float | int] = {
    "num_inference_steps": 20,
    "guidance_scale": 3.0,
    "conditioning_scale": 2.5,
}
_MINI_NOTES = (
    "Budget and sampling suit the small backbone, chosen once for all methods on validation conditions "
    "(docs/protocols.md). Within minutes of training a branch learns where the polyp is long before its zero "
    "convolutions reach their final size: at conditioning scale 1 small polyps are missing, at 2.5 they stand in the "
    "mask. Guidance above 3 over-saturates."
)

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="phantom-128",
            title="Rendered colonoscopy phantoms, 128 px, embedded: no download, any laptop",
            version=2,
            data="phantom",
            needs_data_root=False,
            image_size=128,
            backbone="sd-mini",
            training=_MINI_TRAINING,
            sampling=_MINI_SAMPLING,
            scale="small",
            set_encoder="lite0",
            text_encoder="mini-clip",
            notes=_MINI_NOTES,
        ),
        Protocol(
            name="polyp-128",
            title="Kvasir-SEG and CVC-ClinicDB, 128 px squash, on the embedded backbone",
            version=2,
            data="polyp",
            needs_data_root=True,
            image_size=128,
            backbone="sd-mini",
            training=_MINI_TRAINING,
            sampling=_MINI_SAMPLING | {"conditioning_scale": 2.0},
            scale="small",
            set_encoder="lite0",
            text_encoder="mini-clip",
            notes=f"{_MINI_NOTES} Here 2.0 does so too, and its images are nearer to real ones.",
        ),
        Protocol(
            name="polyp-512",
            title="Kvasir-SEG and CVC-ClinicDB, 512 px squash, on Stable Diffusion 1.5: the papers' scale",
            version=1,
            data="polyp",
            needs_data_root=True,
            image_size=512,
            backbone="stable-diffusion-v1-5/stable-diffusion-v1-5",
            training=TrainingSettings(max_steps=30_000, batch_size=4, learning_rate=1e-5, prompt_drop=0.5),
            sampling={"num_inference_steps": 20, "guidance_scale": 7.0, "conditioning_scale": 1.0},
            set_encoder="inception",
            text_encoder="clip-vit-b-16",
            notes=(
                "What the papers state, and for what they leave open (steps, encoders) the choice that is given with "
                "its reason in docs/protocols.md. ArSDM samples pixels with 200 steps and has no text guidance."
            ),
        ),
    )
}


def find_protocol(name: str) -> Protocol:
    """Return the protocol called `name`; raise `UsageError` naming the nearest one otherwise."""
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    hint = suggest(name, PROTOCOLS)
    raise UsageError(f"--protocol: unknown protocol {name!r}; {hint} (ccbench protocols lists them)")
