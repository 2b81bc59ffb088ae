"""phantom-128 is fixed: counts, ids, seeds and, by hash, every caption and mask."""

import numpy as np
import pytest

from ccbench.base.seeding import derive_seed
from ccbench.data.pairs import LazyPairs
from ccbench.data.phantom import phantom_source
from ccbench.data.phantom.phantom_source import MANIFESTS
from ccbench.data.phantom.render import render_phantom
from ccbench.data.split import Split, open_split
from ccbench.protocols.protocol import find_protocol

PHANTOM = find_protocol("phantom-128")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def test_counts_ids_and_seeds() -> None:
    items = []
    for split, count in (("train", 800), ("validation", 100), ("test", 200)):
        pairs = open_split(PHANTOM, split, None).pairs
        assert isinstance(pairs, LazyPairs)
        assert len(pairs) == count
        assert pairs.items[7] == (f"phantom-{split}-0007", derive_seed("phantom-128", split, 7))
        items += pairs.items
    assert len({item.seed for item in items}) == len({item.id for item in items}) == 1100


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_is_fixed_by_hash(split: Split) -> None:
    """Golden values from this renderer, exact: ids, seeds, attributes, captions, masks (pixels differ between CPUs).

    A change of the renderer that moves one needs a new version of the protocol.
    """
    assert open_split(PHANTOM, split, None).manifest_sha256 == MANIFESTS[split]


def test_the_manifest_sees_id_caption_attributes_and_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    plain = open_split(PHANTOM, "test", None, 2).manifest_sha256
    seen = {
        plain,
        open_split(PHANTOM, "test", None, 3).manifest_sha256,
        open_split(PHANTOM, "train", None, 2).manifest_sha256,
    }
    phantom = render_phantom(1)
    other = {
        "caption": replace(phantom, caption=phantom.caption + "."),
        "mask": replace(phantom, mask=~phantom.mask),
        "attributes": replace(phantom, attributes=replace(phantom.attributes, vessels="other")),
    }
    for changed in (phantom, *other.values()):
        monkeypatch.setattr(phantom_source, "_render", lambda seed, changed=changed: changed)
        seen.add(open_split(PHANTOM, "test", None, 2).manifest_sha256)
    assert len(seen) == 7
    brighter = replace(phantom, image=np.clip(phantom.image, 1, 255))
    monkeypatch.setattr(phantom_source, "_render", lambda seed: brighter)
    assert open_split(PHANTOM, "test", None, 2).manifest_sha256 in seen


def test_a_pair_is_its_phantom() -> None:
    pair = open_split(PHANTOM, "test", None, 1).pairs[0]
    phantom = render_phantom(derive_seed("phantom-128", "test", 0))
    assert np.array_equal(pair.image, phantom.image)
    assert np.array_equal(pair.condition.mask, phantom.mask)
    assert (pair.condition.id, pair.condition.prompt) == ("phantom-test-0000", phantom.caption)
    assert pair.condition.cluster is None


def test_a_caller_that_writes_into_a_pair_changes_no_other() -> None:
    pairs = open_split(PHANTOM, "test", None, 1).pairs
    first = pairs[0]
    kept = first.image.copy()
    first.image[:] = 0
    assert np.array_equal(pairs[0].image, kept)


def test_another_size_is_squashed() -> None:
    pair = open_split(PHANTOM.model_copy(update={"image_size": 64}), "test", None, 1).pairs[0]
    assert pair.image.shape == (64, 64, 3)
    assert pair.condition.mask.shape == (64, 64)


def test_a_limit_keeps_the_first() -> None:
    pairs = open_split(PHANTOM, "train", None, 3).pairs
    assert [pair.condition.id for pair in pairs] == [f"phantom-train-{i:04d}" for i in range(3)]
    assert len(open_split(PHANTOM, "test", None, 10_000).pairs) == 200
