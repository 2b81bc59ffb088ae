"""`ccbench segment score` on small files: the numbers, the JSON, the table of images, and each bad input."""

from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from calling import Call, Finished

SCORE = ("segment", "score", "--pred", "maps", "--gt", "masks")
METRICS = ["mDice_256", "mIoU_256", "mDice_0.5", "mIoU_0.5", "dice_pooled", "hd95"]
METRICS += ["s_measure", "e_measure_256", "weighted_f", "mae"]


def save(path: str, levels: list[int], colour: bool = False, width: int = 16) -> None:
    """Write a picture of (4 x number of levels, width) pixels, each level a band of 4 rows."""
    Path(path).parent.mkdir(exist_ok=True)
    grey = np.repeat(np.repeat(np.array(levels, np.uint8)[:, None], 4, 0), width, 1)
    pixels = np.stack([grey, grey, grey // 2], axis=2) if colour else grey
    PIL.Image.fromarray(pixels).save(path)


@pytest.fixture
def folders(call: Call) -> Call:
    """Two maps and their masks in the current folder: one perfect, one of both polyp bands and one too many."""
    save("maps/a.png", [255, 0, 0, 0])
    save("masks/a.png", [255, 0, 0, 0])
    save("maps/b.png", [200, 200, 160, 40])
    save("masks/b_mask.png", [128, 250, 127, 8])  # above 127, as JPEG leaves masks
    return call


def test_json_holds_the_scores_in_their_published_form(folders: Call) -> None:
    result = folders(*SCORE, "--json").json
    assert (result["pred"], result["gt"], result["png"], result["n"]) == ("maps", "masks", False, 2)
    fields = {"metric", "signature", "value", "interval", "p", "n", "n_real", "reason", "no_interval"}
    assert [set(score) for score in result["scores"]] == [fields] * len(METRICS)
    found = {score["metric"]: score for score in result["scores"]}
    assert list(found) == METRICS and all(score["n"] == 2 for score in found.values())
    assert found["mDice_0.5"]["value"] == pytest.approx((1 + 4 / 5) / 2)  # b: 2 bands of 3
    assert found["dice_pooled"]["value"] == pytest.approx(2 * 3 / (2 + 5))
    perfect = (255 + 2 / 5) / 256
    # b stretches to 1, 1, 0.75, 0: thresholds 255..192 mark two bands, 191..1 three, 0 all four.
    assert found["mDice_256"]["value"] == pytest.approx((perfect + (64 + 191 * 4 / 5 + 4 / 6) / 256) / 2)


def test_the_table_and_the_images_of_the_set(folders: Call) -> None:
    done = folders(*SCORE, "--output", "out/images.csv")
    assert done.code == 0 and "mDice_256 ↑" in done.out and "0.900" in done.out and "wrote" in done.out
    table = pd.read_csv("out/images.csv")
    assert list(table) == ["id", *(metric for metric in METRICS if metric != "dice_pooled")]
    assert table["id"].tolist() == ["a", "b"] and table["mDice_0.5"].tolist() == pytest.approx([1, 0.8])
    assert folders(*SCORE, "--quiet").err == ""
    assert folders(*SCORE, "--output", "masks").code == 2


def test_png_stretches_the_maps_first(folders: Call) -> None:
    """40, 160, 200 become 0, 191.25 and 255, or 0, 191 and 255, which reach the same thresholds."""
    plain, png = (folders(*SCORE, "--json", *more).json["scores"] for more in ((), ("--png",)))
    assert "png:yes" in png[0]["signature"] and "png:no" in plain[0]["signature"]
    assert png[0]["value"] == pytest.approx(plain[0]["value"], abs=1e-12)
    assert png[2] == plain[2] and png[4] == plain[4]


def test_the_masks_name_the_set_and_their_format_does_not(folders: Call) -> None:
    first = folders(*SCORE, "--json").json["scores"][0]["signature"]
    save("masks/b_mask.png", [200, 200, 0, 0])
    assert folders(*SCORE, "--json").json["scores"][0]["signature"] == first
    save("masks/b_mask.png", [200, 0, 0, 0])
    assert folders(*SCORE, "--json").json["scores"][0]["signature"] != first


def refused(done: Finished, *words: str) -> bool:
    return done.code == 4 and done.err.count("error: ") == 1 and all(word in done.err for word in words)


def test_files_that_do_not_pair_up(folders: Call) -> None:
    save("maps/c.png", [0])
    save("maps/d.png", [0])
    assert refused(folders(*SCORE, "-q"), "maps/c.png", "found no mask of that name", "nor for 1 more")
    save("masks/c.png", [0])
    save("masks/d.png", [0])
    save("masks/e.png", [0])
    assert refused(folders(*SCORE, "-q"), "masks/e.png", "found no map of that name;")
    save("masks/e_mask.png", [0])
    assert refused(folders(*SCORE, "-q"), "masks/e_mask.png", "e.png has the same name")
    save("other/x.png", [0])
    done = folders("segment", "score", "--pred", "maps", "--gt", "other", "-q")
    assert refused(done, "found no mask of that name", "a.png", "x.png")


@pytest.mark.parametrize(("pred", "words"), [("none", "not a folder"), ("empty", "holds no image")])
def test_folders_without_maps(folders: Call, pred: str, words: str) -> None:
    Path("empty").mkdir()
    assert refused(folders("segment", "score", "--pred", pred, "--gt", "masks"), pred, words)


def test_maps_that_cannot_be_scored(folders: Call) -> None:
    save("maps/b.png", [1, 2, 3])
    assert refused(folders(*SCORE, "-q"), "maps/b.png", "16 x 12 pixels", "16 x 16", "resize")
    save("maps/b.png", [0, 9, 9, 0], colour=True)
    assert refused(folders(*SCORE, "-q"), "maps/b.png", "128 of 256 pixels are coloured", "one channel")
    Path("maps/b.png").write_bytes(Path("maps/a.png").read_bytes()[:45])
    assert refused(folders(*SCORE, "-q"), "maps/b.png", "cannot be decoded")
    save("maps/b.png", [0, 9, 9, 0])
    Path("masks/a.png").write_text("no image")
    assert refused(folders(*SCORE, "-q"), "masks/a.png", "not an image")


def test_a_grey_map_of_three_channels_and_a_folder_against_itself(folders: Call) -> None:
    for path in ("maps/a.png", "maps/b.png"):
        PIL.Image.open(path).convert("RGB").save(path)
    assert folders(*SCORE, "--json").json["scores"][2]["value"] == pytest.approx(0.9)
    same = folders("segment", "score", "--pred", "maps", "--gt", "maps", "--polyp-is", "bright", "--json").json[
        "scores"
    ]
    assert same[2]["value"] == 1


def test_maps_and_masks_of_class_indices_are_refused(folders: Call) -> None:
    """Perfect predictions as 0 and 1, or masks as 0 and 1: every score would be that of an empty mask."""
    for name in ("a", "b"):
        save(f"ones/{name}.png", [1, 0, 0, 0])
        save(f"maps/{name}.png", [255, 0, 0, 0])
    one, two = (("segment", "score", "--pred", "ones", "--gt", "masks"), ("segment", "score", "--pred", "maps"))
    assert refused(folders(*one, "-q"), "ones", "no map has a value above 1", "--png")
    assert folders(*one, "-q", "--png").code == 0
    assert refused(folders(*two, "--gt", "ones", "-q"), "ones/a.png", "the highest value is 1: class indices")
    assert folders(*two, "--gt", "ones", "--polyp-is", "values:1", "--json").json["scores"][2]["value"] == 1


def test_what_is_left_out_of_a_folder_of_maps_is_said(folders: Call) -> None:
    save("maps/more/c.png", [255, 0, 0, 0])
    done = folders(*SCORE)
    assert done.code == 0 and "maps: left out 1 image in subfolders, such as maps/more/c.png" in done.err
    assert "paired 1 of 2 by names that are equal without words such as _mask: b.png + b_mask.png" in done.err


def test_a_map_in_the_alpha_channel_is_refused(folders: Call) -> None:
    alpha = np.zeros((16, 16), np.uint8)
    alpha[:4] = 255
    PIL.Image.fromarray(np.dstack([np.full((16, 16, 3), 255, np.uint8), alpha])).save("maps/a.png")
    assert refused(folders(*SCORE, "-q"), "maps/a.png", "transparent", "without an alpha channel")
