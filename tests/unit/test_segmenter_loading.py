"""What segmenters are trained on: squashed images, batches at several sizes, augmentation by hash."""

import numpy as np
import pytest
import torch
from PIL import Image as PilImage
from torchvision.transforms import v2

from ccbench.segmenters.loading import Labelled, LabelledSet, Place, ScaledBatches, squash
from ccbench.segmenters.mmlab import DefaultSampler
from ccbench.segmenters.networks.parts import SOFT_MASK
from ccbench.types import Image
from tiny_segmenters import draw_discs


def noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width", "size"), [(41, 67, 32), (31, 19, 64), (37, 90, 37)])
def test_squash_is_torchvisions_resize(height: int, width: int, size: int) -> None:
    """Of a PIL image, as PraNet's loader resizes, to the bit; of a tensor with antialias to one grey level."""
    image = noise(height, width)
    found = squash(image, size)
    resize = v2.Resize((size, size), v2.InterpolationMode.BILINEAR, antialias=True)
    np.testing.assert_array_equal(found, np.asarray(resize(PilImage.fromarray(image))))
    tensor = resize(torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    assert np.abs(tensor.astype(int) - found).max() <= 1
    mask = (image[..., 0] > 127).astype(np.uint8) * 255
    np.testing.assert_array_equal(squash(mask, size), np.asarray(resize(PilImage.fromarray(mask))))
    assert squash(found, size) is found


def test_labelled_keeps_the_order_and_gives_masks_soft_edges() -> None:
    pairs = draw_discs(3, 0, 40)
    data = Labelled.of(pairs, 32)
    assert data.images.shape == (3, 32, 32, 3) and data.masks.shape == (3, 32, 32)
    assert data.masks.min() == 0 and data.masks.max() == 255 and ((data.masks > 0) & (data.masks < 255)).any()
    other = Labelled.of(draw_discs(2, 1, 40), 32)
    both = data.joined(other)
    assert np.array_equal(both.images, np.concatenate([data.images, other.images])) and len(both.masks) == 5
    for number, pair in enumerate(pairs):
        np.testing.assert_array_equal(data.images[number], squash(pair.image, 32))


def batches(count: int, epoch: int, sides: tuple[int, ...] = (64, 96)) -> list[list[Place]]:
    dataset = LabelledSet(Labelled(np.zeros((count, 8, 8, 3), np.uint8), np.zeros((count, 8, 8), np.uint8)), 0, False)
    sampler = DefaultSampler(dataset, shuffle=True, seed=3)
    sampler.set_epoch(epoch)
    found = ScaledBatches(sampler, 4, sides)
    listed = list(found)
    assert len(found) == len(listed)
    return listed


def test_every_image_once_a_pass_at_each_size() -> None:
    first, second = batches(10, 0), batches(10, 1)
    assert len(first) == 3 * 2 and [batch[0].side for batch in first] == [64, 96] * 3
    assert [len(batch) for batch in first] == [4, 4, 4, 4, 2, 2]
    for side in (64, 96):
        assert sorted(place.number for batch in first for place in batch if place.side == side) == list(range(10))
    for small, large in zip(first[::2], first[1::2], strict=True):
        assert [place.number for place in small] == [place.number for place in large]
    assert {place.epoch for batch in second for place in batch} == {1}
    orders = [[place.number for batch in listed[::2] for place in batch] for listed in (first, second)]
    assert orders[0] != orders[1] and batches(10, 0) == first


def marked(seed: int = 0, augment: bool = True) -> LabelledSet:
    """Images whose red channel is their mask."""
    pairs = draw_discs(3, 5, 48)
    masks = np.stack([pair.condition.mask.astype(np.uint8) * 255 for pair in pairs])
    images = np.stack([masks, np.full_like(masks, 90), np.full_like(masks, 60)], axis=-1)
    return LabelledSet(Labelled(images, masks), seed, augment)


def test_the_augmentation_follows_seed_pass_and_number_only() -> None:
    data = marked()
    first = data[Place(1, 0, 48)]["inputs"]
    _ = data[Place(2, 0, 48)], torch.rand(3)
    assert torch.equal(data[Place(1, 0, 48)]["inputs"], first) and torch.equal(
        marked()[Place(1, 0, 48)]["inputs"], first
    )
    others = [data[Place(1, 1, 48)], data[Place(2, 0, 48)], marked(seed=1)[Place(1, 0, 48)]]
    assert not any(torch.equal(other["inputs"], first) for other in others)
    before = torch.get_rng_state()
    _ = data[Place(0, 0, 48)]
    assert torch.equal(torch.get_rng_state(), before)


def test_the_augmentation_moves_image_and_mask_together() -> None:
    """The red channel stays where the mask is: in 10 draws, 19 of 20 pixels agree, and the mask has moved."""
    data, plain = marked(), marked(augment=False)
    moved = 0
    for epoch in range(10):
        item = data[Place(0, epoch, 48)]
        mask, red = item["data_samples"].get(SOFT_MASK).data[0] > 0.5, item["inputs"][0] - item["inputs"][2] > 60
        assert (mask == red).float().mean() > 0.95 and mask.any()
        moved += not torch.equal(mask, plain[Place(0, epoch, 48)]["data_samples"].get(SOFT_MASK).data[0] > 0.5)
    assert moved >= 9


def test_an_item_without_augmentation_is_the_image_at_its_side() -> None:
    """Bilinear with aligned corners, as PraNet's loop resizes batches: soft masks stay soft, labels are cut at 0.5."""
    data = marked(augment=False)
    own, other = data[Place(1, 0, 48)], data[Place(1, 4, 64)]
    assert torch.equal(own["inputs"], data[Place(1, 7, 48)]["inputs"]) and own["inputs"].dtype == torch.float32
    wanted = torch.nn.functional.interpolate(own["inputs"][None], (64, 64), mode="bilinear", align_corners=True)[0]
    torch.testing.assert_close(other["inputs"], wanted, rtol=0, atol=0)
    soft, hard = other["data_samples"].get(SOFT_MASK).data, other["data_samples"].gt_sem_seg.data
    assert soft.shape == hard.shape == (1, 64, 64) and ((soft > 0) & (soft < 1)).any()
    assert torch.equal(hard, (soft > 0.5).long()) and other["data_samples"].ori_shape == (64, 64)
