"""Controls: the defining property of each in closed form, on small phantoms."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fake_methods
from ccbench.base.images import read_image
from ccbench.data.phantom.phantom_source import open_phantoms
from ccbench.diffusion.backbone import open_reconstruction
from ccbench.errors import DataError, UsageError
from ccbench.pipeline.verification import resampled
from ccbench.plugins import controls
from ccbench.plugins.contract import Generator, LoadContext, Method, RealData
from ccbench.plugins.controls.copy_paste import paste, remove_region
from ccbench.plugins.controls.corrupted_real import corrupt
from ccbench.plugins.controls.shuffled import derange
from ccbench.plugins.controls.train_copy import mask_iou
from ccbench.protocols.config import resolve_config, restore_config, usual_config
from ccbench.protocols.protocol import Protocol
from ccbench.runs import default_run_folder
from ccbench.runs.scorecard import Scorecard
from ccbench.scoring import REAL_SPLIT, VAE_CEILING, SynthesisScorer, synthesis_scorer
from ccbench.types import Condition, Image, Mask, RealPair
from fake_encoders import RedSegmenter, write_images, write_mini_clip
from tiny_backbone import write_tiny_backbone

SIZE, N_TRAIN, N_TEST = 64, 9, 5
SEEDS = list(range(10, 10 + N_TEST))
PLAIN = [controls.REAL_SPLIT, controls.VAE_CEILING, controls.CORRUPTED_REAL, controls.TRAIN_COPY, controls.COPY_PASTE]


@pytest.fixture(scope="module")
def real() -> RealData:
    train, test = (list(open_phantoms(name, SIZE, n).pairs) for name, n in (("train", N_TRAIN), ("test", N_TEST)))
    return RealData(train, test, seed=3)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_backbone(tmp_path_factory.mktemp("tiny-sd")))


@pytest.fixture
def make(real: RealData, backbone: str, tmp_path: Path) -> Callable[..., list[Image]]:
    """Return a function that samples a control for the test conditions."""

    def sample(
        method: Method[Any], data: RealData = real, seeds: Sequence[int] = SEEDS, **settings: Any
    ) -> list[Image]:
        context = LoadContext(method.config.model_validate(settings), backbone, SIZE, tmp_path, real=data)
        return method.load(context).generate([pair.condition for pair in data.test], seeds)

    return sample


def box(top: int, left: int, height: int, width: int, size: int = SIZE) -> Mask:
    mask = np.zeros((size, size), dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def plain(colour: tuple[int, int, int]) -> Image:
    return np.full((SIZE, SIZE, 3), colour, dtype=np.uint8)


def with_polyp(mucosa: tuple[int, int, int], mask: Mask, polyp: tuple[int, int, int]) -> RealPair:
    image = plain(mucosa)
    image[mask] = polyp
    return RealPair(image, Condition(f"train-{polyp}", mask, "a polyp"))


def test_real_split_is_the_real_image(make: Any, real: RealData) -> None:
    assert all(np.array_equal(a, pair.image) for a, pair in zip(make(controls.REAL_SPLIT), real.test, strict=True))


@pytest.mark.parametrize("control", PLAIN, ids=lambda control: control.info.name)
def test_a_control_without_real_images_says_so(control: Method[Any], backbone: str) -> None:
    context = LoadContext(control.config(), backbone, SIZE, Path("none"))
    with pytest.raises(UsageError, match=r"LoadContext\.real: found None"):
        control.load(context)


def test_a_condition_that_is_not_of_the_test_split_is_refused(real: RealData, tmp_path: Path) -> None:
    generator = controls.REAL_SPLIT.load(LoadContext(controls.REAL_SPLIT.config(), "none", SIZE, tmp_path, real=real))
    with pytest.raises(DataError, match=r"phantom-train-0000.*none among the 5 test conditions"):
        generator.generate([real.train[0].condition], [0])


def test_corruption_of_nothing_is_the_real_image(make: Any, real: RealData) -> None:
    images = make(controls.CORRUPTED_REAL, blur=0, noise=0)
    assert all(np.array_equal(a, pair.image) for a, pair in zip(images, real.test, strict=True))


def test_corruption_is_as_strong_as_set() -> None:
    grey = plain((128, 128, 128))
    noisy = corrupt(grey, blur=0, noise=7.0, seed=1)
    assert (noisy.astype(float) - grey).std() == pytest.approx(np.sqrt(49 + 1 / 12), rel=0.02)  # rounding adds 1/12
    assert np.array_equal(corrupt(grey, 2.5, 0, 1), grey)
    line = plain((0, 0, 0))
    line[:, SIZE // 2] = 255
    assert corrupt(line, 1.5, 0, 1)[SIZE // 2, SIZE // 2, 0] == pytest.approx(255 / (1.5 * np.sqrt(2 * np.pi)), abs=1)
    assert np.array_equal(noisy, corrupt(grey, 0, 7.0, 1)) and not np.array_equal(noisy, corrupt(grey, 0, 7.0, 2))


def test_train_copy_has_the_highest_overlap(make: Any, real: RealData) -> None:
    def overlap(a: Mask, b: Mask) -> float:
        one, other = set(map(tuple, np.argwhere(a))), set(map(tuple, np.argwhere(b)))
        return len(one & other) / len(one | other)

    for made, pair in zip(make(controls.TRAIN_COPY), real.test, strict=True):
        values = [overlap(known.condition.mask, pair.condition.mask) for known in real.train]
        assert np.array_equal(made, real.train[values.index(max(values))].image)


def test_train_copy_takes_the_first_of_equals(make: Any) -> None:
    mask = box(10, 10, 8, 8)
    pairs = [with_polyp((90, 90, 90), m, (200, i, i)) for i, m in enumerate([box(40, 40, 5, 5), mask, mask])]
    (made,) = make(
        controls.TRAIN_COPY, RealData(pairs, [RealPair(plain((0, 0, 0)), Condition("t", mask, "p"))], 0), [1]
    )
    assert np.array_equal(made, pairs[1].image)
    empty = np.zeros_like(mask)
    assert mask_iou(np.stack([empty, mask]), empty).tolist() == [1.0, 0.0]
    assert mask_iou(np.stack([box(10, 10, 8, 4), empty]), mask).tolist() == [0.5, 0.0]


def test_training_masks_are_read_once(make: Any, real: RealData) -> None:
    class Counted(list[RealPair]):
        reads = 0

        def __getitem__(self, index: Any) -> Any:
            self.reads += 1
            return super().__getitem__(index)

        def __iter__(self) -> Iterator[RealPair]:
            return (self[index] for index in range(len(self)))

    for control, each in ((controls.TRAIN_COPY, 1), (controls.COPY_PASTE, 2)):
        train_pairs = Counted(real.train)
        make(control, RealData(train_pairs, real.test, 0))
        assert train_pairs.reads == N_TRAIN + each * N_TEST  # then only the pairs that an image is made of


def test_a_removed_region_is_filled_from_around_it() -> None:
    mask = box(20, 20, 12, 16)
    pair = with_polyp((150, 90, 80), mask, (230, 220, 210))
    assert np.array_equal(remove_region(pair.image, mask), plain((150, 90, 80)))
    noisy = corrupt(pair.image, 0, 5, 1)
    filled = remove_region(noisy, mask)
    changed = (filled != noisy).any(axis=2)
    assert not changed[~box(18, 18, 16, 20)].any() and changed[mask].mean() > 0.99
    assert filled[mask].mean(axis=0) == pytest.approx([150, 90, 80], abs=2)
    assert np.array_equal(remove_region(noisy, np.zeros_like(mask)), noisy)


def test_a_paste_is_the_donor_inside_the_mask_and_the_background_outside() -> None:
    donor_mask, mask = box(5, 5, 10, 20), box(30, 20, 20, 16)
    donor, background = with_polyp((100, 80, 80), donor_mask, (180, 60, 70)), plain((120, 120, 64))
    made = paste(donor.image, donor_mask, background, mask)
    feather = 1  # 64 / 64 pixels on either side of the edge
    assert np.array_equal(
        made[~box(30 - feather, 20 - feather, 20 + 2 * feather, 16 + 2 * feather)],
        background[0, :1].repeat(SIZE * SIZE - 22 * 18, 0),
    )
    inside = made[30 + feather : 50 - feather, 20 + feather : 36 - feather]
    assert np.unique(inside.reshape(-1, 3), axis=0).tolist() == [
        [216, 90, 56]
    ]  # polyp x (120 / 100, 120 / 80, 64 / 80)


def test_copy_paste_changes_nothing_outside_the_feathered_mask(make: Any, real: RealData) -> None:
    backgrounds = [remove_region(pair.image, pair.condition.mask) for pair in real.train]
    images = make(controls.COPY_PASTE)
    for made, pair in zip(images, real.test, strict=True):
        differ = [(made != background).any(axis=2) for background in backgrounds]
        found = min(differ, key=np.count_nonzero)
        from_mask = np.argwhere(found)[:, None] - np.argwhere(pair.condition.mask)[None]
        assert found[pair.condition.mask].any()
        assert np.hypot(*np.moveaxis(from_mask, -1, 0)).min(axis=1).max() <= 1
    others = make(controls.COPY_PASTE, seeds=[seed + 1 for seed in SEEDS])
    assert all(not np.array_equal(a, b) for a, b in zip(images, others, strict=True))


def test_copy_paste_puts_a_polyp_in_each_piece_and_none_in_an_empty_mask(make: Any) -> None:
    pairs = [with_polyp((100, 100, 100), box(4 + i, 4, 8, 8), (200, 50, 50)) for i in range(3)]
    pieces = box(10, 40, 8, 8) | box(40, 10, 8, 8)
    test = [
        RealPair(plain((0, 0, 0)), Condition(name, mask, "p"))
        for name, mask in (("two", pieces), ("no", ~box(0, 0, SIZE, SIZE)))
    ]
    two, none = make(controls.COPY_PASTE, RealData(pairs, test, 0), [1, 2])
    assert two[14, 44].tolist() == two[44, 14].tolist() == [200, 50, 50] and two[30, 30].tolist() == [100, 100, 100]
    assert np.array_equal(none, plain((100, 100, 100)))


def test_copy_paste_never_answers_a_training_mask_with_its_own_image(make: Any) -> None:
    """Of two training images the other one gives both mucosa and polyp, whatever the seed."""
    colours = [((100, 100, 100), (200, 50, 50)), ((150, 150, 150), (50, 50, 200))]
    pairs = [with_polyp(mucosa, box(8, 8, 20, 20), polyp) for mucosa, polyp in colours]
    pairs = [RealPair(pair.image, replace(pair.condition, id=str(number))) for number, pair in enumerate(pairs)]
    for number, seed in enumerate(range(8)):
        own, other = pairs[number % 2], colours[1 - number % 2]
        (image,) = make(controls.COPY_PASTE, RealData(pairs, [own], 0), [seed])
        assert (tuple(image[50, 50]), tuple(image[18, 18])) == other
    with pytest.raises(DataError, match="no training image beside 0 holds a polyp"):
        make(controls.COPY_PASTE, RealData(pairs[:1], pairs[:1], 0), [0])


def test_derange_is_a_permutation_without_a_fixed_point() -> None:
    ids = [f"c{i}" for i in range(17)]
    partners = derange(ids, 0)
    assert set(partners) == set(partners.values()) == set(ids) and all(a != b for a, b in partners.items())
    assert derange(ids[::-1], 0) == partners and derange(ids, 1) != partners
    with pytest.raises(DataError, match="at least 2"):
        derange(ids[:1], 0)


@pytest.mark.parametrize(("control", "part"), [(controls.SHUFFLED_MASK, "mask"), (controls.SHUFFLED_PROMPT, "prompt")])
def test_a_shuffled_control_is_the_method_on_the_swapped_condition(
    control: Method[Any], part: str, real: RealData, tmp_path: Path, fake_plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "colour.safetensors").write_bytes(np.full(3, 120.0).tobytes())
    seen: list[Any] = []

    class Seeing(fake_methods.FakeGenerator):
        def generate(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Image]:
            seen.append((self.context, list(conditions), list(seeds)))
            return super().generate(conditions, seeds)

    monkeypatch.setattr(fake_methods, "load", Seeing)
    config = control.config.model_validate({"of": "fake", "of_settings": {"tint": 0.25}})
    generator: Generator = control.load(LoadContext(config, "none", SIZE, tmp_path, real=real))
    conditions = [pair.condition for pair in real.test]
    images = generator.generate(conditions[1:4], SEEDS[1:4])
    ((context, given, seeds),) = seen
    assert context.real is None and context.config == fake_methods.FakeConfig(tint=0.25) and seeds == SEEDS[1:4]
    known, partners = {c.id: c for c in conditions}, derange([c.id for c in conditions], real.seed)
    for own, swapped in zip(conditions[1:4], given, strict=True):
        for name in ("id", "mask", "prompt"):
            wanted = known[partners[own.id]] if name == part else own
            assert np.array_equal(getattr(swapped, name), getattr(wanted, name))
    plain_images = fake_methods.FakeGenerator(context).generate(given, seeds)
    assert all(np.array_equal(a, b) for a, b in zip(images, plain_images, strict=True))


def test_a_shuffled_controls_settings_follow_from_the_protocol(small_protocol: Protocol, fake_plugin: str) -> None:
    config = resolve_config(controls.SHUFFLED_MASK, small_protocol, sets=("of=fake",))
    inner = resolve_config(fake_methods.METHOD, small_protocol)
    assert config.settings.of_settings == {  # type: ignore[attr-defined]
        "num_inference_steps": 20,
        "guidance_scale": 7.0,
        "taam": {"mode": "B", "tokens": 4},
        "tint": 0.5,  # and no `tile`, which moves no pixel
    }
    assert restore_config(config.model_dump(mode="json")).config_hash == config.config_hash != inner.config_hash
    assert default_run_folder(config).name == f"shuffled-mask-seed0-{config.config_hash[:8]}"
    assert usual_config(config) == config
    assert not list(resampled._named(config))  # names nothing that verifying would load
    frozen = small_protocol.model_copy(update={"method_settings": {"fake": {"tint": 0.75}}})
    assert resolve_config(controls.SHUFFLED_MASK, frozen, sets=("of=fake",)).config_hash != config.config_hash
    for setting, message in (
        ("of=fakee", "--set of: unknown method 'fakee'; did you mean 'fake'"),
        ("of=real-split", "--set of=real-split: is itself a control"),
        ("of_settings={tint=0.1}", "unknown key 'of_settings'"),
    ):
        with pytest.raises(UsageError, match=message):
            resolve_config(controls.SHUFFLED_MASK, small_protocol, sets=(setting,))


class _TinyEncoder:
    """Colour means and spreads: fast, and enough to tell one image from another."""

    id, signature, dim, path, path_error = "lite0", "enc:tiny|w:00000000|resize:none", 6, "eager cpu", 0.0

    def encode_images(self, images: list[Image]) -> np.ndarray:
        return np.array([[*i.mean(axis=(0, 1)), *i.std(axis=(0, 1))] for i in images], dtype=np.float32)


def test_the_runs_of_real_split_and_vae_ceiling_score_as_the_scorecards_controls(
    make: Any, real: RealData, backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, opened = write_mini_clip(tmp_path / "clip"), synthesis_scorer.open_text_encoder
    monkeypatch.setattr(
        synthesis_scorer, "open_text_encoder", lambda name, device: opened(name, weights=clip, device=device)
    )
    monkeypatch.setattr(synthesis_scorer, "open_encoder", lambda name, device: _TinyEncoder())
    reconstruct = open_reconstruction(backbone)
    names: Any = {"set_encoder": "lite0", "text_encoder": "mini-clip", "segmenter": RedSegmenter()}

    def score(method: Method[Any]) -> Scorecard:
        files = write_images(tmp_path / method.info.name, make(method))
        assert all(np.array_equal(read_image(f), i) for f, i in zip(files, make(method), strict=True))
        changes = {VAE_CEILING: reconstruct}
        scorer = SynthesisScorer(real.test, real.train, "train@0", controls=changes, **names)
        return scorer.score(files).card

    floor, ceiling = score(controls.REAL_SPLIT), score(controls.VAE_CEILING)
    assert floor.scores == floor.controls[REAL_SPLIT] == ceiling.controls[REAL_SPLIT]
    assert ceiling.scores == ceiling.controls[VAE_CEILING] == floor.controls[VAE_CEILING]
    values = {score.metric: score for score in floor.scores}
    assert values["clip_image"].value is None and "compared with itself" in str(values["clip_image"].reason)
    moved = [image.copy() for image in make(controls.REAL_SPLIT)]
    moved[0][0, 0, 0] ^= 1  # as another processor may render it
    scorer = SynthesisScorer(real.test, real.train, "train@0", **names)
    again = scorer.score(write_images(tmp_path / "moved", moved)).card
    assert next(entry.value for entry in again.scores if entry.metric == "clip_image") is None
    none = {entry.metric.removesuffix("_lite0") for entry in ceiling.scores if entry.value is None}
    assert none <= {
        "precision",
        "recall",
        "density",
        "coverage",
        "seam_gradient",
        "seam_colour",
        "clip_score_polyp",
    }  # too few, too small
