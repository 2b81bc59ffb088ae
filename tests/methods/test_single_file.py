"""One set of weights in every layout that people have it in: each loads to the same bits or says what does not fit."""

import copy
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

import ccbench.diffusion.backbone
from ccbench.base.assets import BackboneSource
from ccbench.diffusion.backbone import Backbone, decode_latents, encode_images, encode_prompts, load_backbone
from ccbench.diffusion.sd15 import SD15, Architecture
from ccbench.diffusion.single_file import load_part, openai_tokenizer
from ccbench.errors import DataError, MissingError, UsageError, VerificationError
from ccbench.pipeline.session import Session
from ccbench.pipeline.synthesis import synthesize_run
from ccbench.pipeline.training import train_run
from ccbench.plugins.contract import TrainingSettings
from ccbench.protocols.config import resolve_config
from ccbench.protocols.protocol import find_protocol
from ccbench.runs import RunFolder
from ccbench_controlnet import METHOD as CONTROLNET
from ldm_layout import ldm_state, write

SMALL = Architecture(  # SD 1.5's topology, narrow; the vocabulary stays, for the tokenizer is CLIP's
    unet={**SD15.unet, "sample_size": 8, "block_out_channels": (32, 32, 64, 64), "cross_attention_dim": 32}
    | {"attention_head_dim": 2, "norm_num_groups": 16},
    vae={**SD15.vae, "block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4},
    text_encoder={**SD15.text_encoder, "hidden_size": 32, "intermediate_size": 64}
    | {"num_hidden_layers": 2, "num_attention_heads": 2},
    scheduler=SD15.scheduler,
)
UNET_KEY = "model.diffusion_model.input_blocks.1.1.proj_in.weight"
PROMPTS = ["a large red polyp", ""]
SAMPLES = [
    "A small, sessile polyp (Paris 0-Is), redder than the mucosa; it's in the upper left.",
    "flat pale lesion",
    "two polyps: 3mm & 12 mm, well-demarcated",
    "",
    "Röntgen naïve café's  double   spaces\tand\nlines",
    "word " * 100,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sd")
    torch.manual_seed(7)
    for part in ("unet", "vae", "text_encoder"):
        SMALL.build(part).save_pretrained(path / part)
    openai_tokenizer().save_pretrained(path / "tokenizer")
    SMALL.build_scheduler().save_pretrained(path / "scheduler")
    return path


@pytest.fixture(scope="module")
def wanted(folder: Path) -> Backbone:
    return load_backbone(str(folder))


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ccbench.diffusion.backbone, "load_part", partial(load_part, architecture=SMALL))


def outputs(backbone: Backbone) -> list[torch.Tensor]:
    """What each part gives for fixed inputs, and the noise schedule."""
    generator = torch.Generator().manual_seed(1)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    texts = encode_prompts(backbone, PROMPTS)
    latents = torch.randn(2, 4, 8, 8, generator=generator)
    with torch.no_grad():
        noise = backbone.unet(latents, torch.tensor([3, 700]), texts.context).sample
    decoded = torch.from_numpy(np.stack(decode_latents(backbone, latents)))
    return [*encode_images(backbone, images), decoded, texts.context, noise, backbone.scheduler.alphas_cumprod]


@pytest.mark.parametrize("name", ["sd.safetensors", "sd.ckpt"])
def test_single_file_gives_the_folders_bits(folder: Path, wanted: Backbone, tmp_path: Path, name: str) -> None:
    file = write(tmp_path / name, ldm_state(wanted))
    found = load_backbone(str(file), allow_pickle=name.endswith("ckpt"))
    # Weights mapped from a folder lie unaligned in memory, where products are summed in another order: 1e-6 apart.
    aligned = copy.deepcopy(wanted)
    assert all(torch.equal(a, b) for a, b in zip(outputs(found), outputs(aligned), strict=True))
    assert found.weights_sha256() == wanted.weights_sha256()
    trainable = [
        p for part in (found.unet, found.vae, found.text_encoder) for p in part.parameters() if p.requires_grad
    ]
    assert not trainable and not found.unet.training


def test_half_precision_file_is_loaded_as_float32_and_has_another_hash(wanted: Backbone, tmp_path: Path) -> None:
    state = {key: v.half() if v.is_floating_point() else v for key, v in ldm_state(wanted).items()}
    found = load_backbone(str(write(tmp_path / "half.safetensors", state)))
    assert found.unet.dtype == torch.float32 and found.weights_sha256() != wanted.weights_sha256()


def spoil(state: dict[str, torch.Tensor], fault: str, key: str) -> None:
    if fault == "missing":
        del state[key]
    elif fault == "unknown":
        state[f"{key}.more"] = torch.zeros(3)
    else:
        state[key] = torch.zeros(7)


@pytest.mark.parametrize(
    ("fault", "key", "words"),
    [
        ("missing", UNET_KEY, ["missing down_blocks.0.attentions.0.proj_in.weight, wanted (32, 32, 1, 1)"]),
        ("unknown", UNET_KEY, [f"unknown {UNET_KEY}.more (3,)"]),
        ("shape", UNET_KEY, [f"{UNET_KEY} of shape (7,), wanted (32, 32, 1, 1)"]),
        ("missing", "first_stage_model.decoder.up.3.upsample.conv.bias", ["missing decoder.up.3.upsample.conv.bias"]),
        (
            "shape",
            "first_stage_model.quant_conv.bias",
            ["first_stage_model.quant_conv.bias of shape (7,), wanted (8,)"],
        ),
        ("unknown", "first_stage_model.quant_conv.bias", ["unknown first_stage_model.quant_conv.bias.more"]),
        ("shape", "first_stage_model.decoder.mid.attn_1.q.weight", ["attn_1.q.weight of shape (7,), wanted (8, 8)"]),
        (
            "missing",
            "cond_stage_model.transformer.text_model.final_layer_norm.weight",
            ["missing final_layer_norm.weight, wanted (32,)"],
        ),
        ("unknown", "lora_unet", ["unknown lora_unet.more"]),
    ],
)
def test_what_does_not_fit_is_one_line(
    wanted: Backbone, tmp_path: Path, fault: str, key: str, words: list[str]
) -> None:
    state = ldm_state(wanted)
    spoil(state, fault, key)
    file = write(tmp_path / "sd.safetensors", state)
    with pytest.raises(DataError) as caught:
        load_backbone(str(file))
    assert all(word in str(caught.value) for word in [str(file), *words]) and "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape"])
@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"])
def test_a_folder_that_does_not_fit_is_one_line(folder: Path, tmp_path: Path, fault: str, part: str) -> None:
    """By themselves the libraries draw a missing tensor at random and go on."""
    copy = shutil.copytree(folder, tmp_path / "sd")
    file = copy / f"{part}.safetensors"
    state = load_file(file)
    key = max(state)
    spoil(state, fault, key)
    save_file(state, file, {"format": "pt"})
    with pytest.raises(DataError, match=rf"{fault if fault != 'shape' else 'of shape'}") as caught:
        load_backbone(str(copy))
    assert key in str(caught.value) and "\n" not in str(caught.value)


def test_a_pickle_is_read_only_when_asked_for(wanted: Backbone, tmp_path: Path) -> None:
    file = write(tmp_path / "sd.ckpt", ldm_state(wanted))
    with pytest.raises(UsageError, match=r"is a PyTorch pickle.*--allow-pickle"):
        load_backbone(str(file))
    renamed = file.rename(tmp_path / "sd.safetensors")  # told by content, not by name
    with pytest.raises(UsageError, match="--allow-pickle"):
        load_backbone(str(renamed))


class Hostile:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_is_refused_unrun(wanted: Backbone, tmp_path: Path, zipped: bool) -> None:
    mark, file = tmp_path / "ran", tmp_path / "sd.ckpt"
    state = {**ldm_state(wanted), "model.diffusion_model.out.2.bias": Hostile(f"touch {mark}")}
    torch.save({"state_dict": state}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match="not a checkpoint of plain tensors") as caught:
        load_backbone(str(file), allow_pickle=True)
    assert not mark.exists() and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"<html>gone</html>", b"version https://git-lfs.github.com/spec/v1\n"])
def test_something_else_is_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "sd.safetensors"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"sd\.safetensors"):
        load_backbone(str(file))


def test_a_reference_that_is_nothing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no such file or folder; wanted a shipped one .*sd-mini"):
        load_backbone(str(tmp_path / "gone.safetensors"))


def test_hub_id_is_read_from_the_cache_offline(
    folder: Path, wanted: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--owner--tiny"
    shutil.copytree(folder, repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for module in ("huggingface_hub.constants", "huggingface_hub.file_download"):
        monkeypatch.setattr(f"{module}.HF_HUB_CACHE", str(tmp_path), raising=False)
    assert load_backbone("owner/tiny").weights_sha256() == wanted.weights_sha256()
    with pytest.raises(MissingError, match="'owner/none'"):
        load_backbone("owner/none")


def test_tokenizer_gives_open_clips_ids() -> None:
    """Up to the end token; behind it open_clip has 0 where SD 1.5 has the end token again. 77 keep the last an end."""
    ours, theirs = openai_tokenizer(), open_clip.SimpleTokenizer()
    found = ours(SAMPLES, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids
    reference = theirs(SAMPLES)
    ends = (reference == 49407).int().argmax(1)
    for row, other, end in zip(found, reference, ends, strict=True):
        assert torch.equal(row[: end + 1], other[: end + 1])
        assert (row[end:] == 49407).all() and (other[end + 1 :] == 0).all()
    assert (ours.bos_token_id, ours.eos_token_id, ours.pad_token_id, len(ours)) == (49406, 49407, 49407, 49408)


def test_a_run_on_a_copy_of_the_backbone_records_its_weights_and_not_its_place(
    folder: Path, wanted: Backbone, tmp_path: Path
) -> None:
    protocol = find_protocol("phantom-128").model_copy(
        update={"image_size": 64, "backbone": "owner/none", "training": TrainingSettings(max_steps=1, batch_size=2)}
    )
    config = resolve_config(CONTROLNET, protocol, sets=["num_inference_steps=1"], limit=2)
    file = write(tmp_path / "sd.ckpt", ldm_state(wanted))
    other = write(tmp_path / "other.safetensors", {key: value + 1 for key, value in ldm_state(wanted).items()})
    with RunFolder.open(tmp_path / "run", config) as run:
        train_run(run, Session(backbone=BackboneSource(str(file), allow_pickle=True)))
        assert run.record.backbone is not None
        assert (run.record.backbone.kind, run.record.backbone.weights_sha256) == ("file", wanted.weights_sha256())
        with pytest.raises(VerificationError, match="the branch was trained on"):
            synthesize_run(run, Session(backbone=BackboneSource(str(other))))
        synthesize_run(run, Session(backbone=BackboneSource(str(folder))))  # the same weights in another layout
        assert run.record.status == "complete"
    assert str(tmp_path) not in (tmp_path / "run" / "run.json").read_text()
