"""The agent captioner: a scripted model for what it accepts, tiny random models of the real classes for the rest."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ccbench.data.captioners import AgentCaptioner, NoCaption, chat_models, open_chat_model
from ccbench.data.captioners.agent import ASPECTS, TEMPLATE, Turn, choose_aspects, outline_polyp, read_answer
from ccbench.errors import DataError, MissingError, UsageError
from ccbench.types import Image
from tiny_chat import write_tiny_chat, write_tiny_vision

MASK = np.zeros((96, 96), dtype=np.bool_)
MASK[10:22, 12:24] = True  # small, upper left
IMAGE = np.where(MASK[:, :, None], np.uint8((200, 70, 60)), np.uint8((190, 110, 90)))
GOOD = {"foreground": "a small red polyp in the upper left", "background": "bright mucosa with few folds"}
SMALL = {"count": "one", "size": "small", "position": "upper left"}


class Script:
    """A model that says what was written for it, and keeps what it was asked."""

    name = "scripted"
    revision = "r1"

    def __init__(self, *answers: str, sees: bool = True) -> None:
        self.sees = sees
        self.answers = list(answers)
        self.asked: list[list[Turn]] = []
        self.images: list[Image | None] = []

    def answer(self, turns: Sequence[Turn], image: Image | None) -> str:
        self.asked.append(list(turns))
        self.images.append(image)
        return self.answers.pop(0)


def answer(**changes: object) -> str:
    return json.dumps({**GOOD, **changes})


def test_a_good_answer_becomes_a_caption_with_its_record() -> None:
    model = Script(answer())
    captioner = AgentCaptioner(model)
    caption = captioner.caption(IMAGE, MASK, "frame")
    assert caption.text == "a small red polyp in the upper left; bright mucosa with few folds."
    assert (caption.foreground, caption.background) == tuple(GOOD.values())
    assert caption.attributes["position"] == "upper left"
    assert captioner.id == "agent-2:scripted@r1"
    assert caption.details == {
        "model": "scripted",
        "revision": "r1",
        "template": TEMPLATE,
        "aspects": list(choose_aspects("frame")),
        "attempts": 1,
        "refused": [],
    }


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{answer()}\n```",
        f"<think>a {{polyp}}</think>Sure: {answer(note=1)} I hope that helps.",
        answer(foreground="  a small red polyp\n in the upper left. "),
    ],
)
def test_an_answer_is_found_in_what_surrounds_it(text: str) -> None:
    assert read_answer(text, SMALL) == tuple(GOOD.values())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no braces", "no JSON object"),
        ('{"foreground": "a polyp"}', "no JSON object"),
        ('{"foreground": "a polyp", "background": ', "no JSON object"),
        (answer(foreground=["a polyp"]), '"foreground" is not a text'),
        (answer(background=" . "), '"background" is empty'),
        (answer(background="fold " * 26), '"background" has 26 words'),
        (answer(foreground="polyp " * 24, background="fold " * 24), "48 words"),
        (answer(foreground="a small red bump"), 'does not speak of a "polyp"'),
        (answer(foreground="a bulky polyp"), "calls the polyp large, by its mask it is small"),
        (answer(foreground="a polyp at the bottom left"), "places the polyp lower, by its mask it lies upper left"),
        (answer(foreground="a small polyp on the right"), "places the polyp right"),
    ],
)
def test_what_cannot_be_used_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_answer(text, SMALL)


@pytest.mark.parametrize(
    "foreground", ["a polyp", "a tiny polyp near the top", "a small polyp, its left side darker than its right"]
)
def test_what_does_not_contradict_the_mask_is_taken(foreground: str) -> None:
    assert read_answer(answer(foreground=foreground), SMALL)[0] == foreground


def test_a_frame_without_polyp_needs_an_answer_without_polyp() -> None:
    empty = np.zeros_like(MASK)
    model = Script(answer(), answer(foreground="no visible polyp"))
    caption = AgentCaptioner(model).caption(IMAGE, empty, "empty")
    assert caption.foreground == "no visible polyp" and caption.details["attempts"] == 2
    assert "There is no polyp in it" in model.asked[0][0].text
    assert 'must say "no polyp"' in model.asked[1][-1].text


def test_a_refused_answer_is_sent_back_with_the_reason() -> None:
    model = Script("what?", answer(foreground="a large polyp"), answer())
    caption = AgentCaptioner(model).caption(IMAGE, MASK, "frame")
    assert caption.details["attempts"] == 3
    assert [reason.split(";")[0] for reason in caption.details["refused"]] == [
        'no JSON object with "foreground" and "background" was found',
        "the foreground calls the polyp large, by its mask it is small",
    ]
    last = model.asked[2]
    assert [turn.role for turn in last] == ["user", "assistant", "user", "assistant", "user"]
    assert last[1].text == "what?" and "no JSON object" in last[2].text and "by its mask it is small" in last[4].text


def test_no_usable_answer_is_an_error_of_that_image() -> None:
    model = Script("a", "b")
    with pytest.raises(NoCaption, match=r"frame-7: scripted gave no caption that can be used in 2 attempts.*no JSON"):
        AgentCaptioner(model, attempts=2).caption(IMAGE, MASK, "frame-7")
    assert model.answers == []


def test_a_model_that_sees_is_shown_the_outline_and_another_is_told_all() -> None:
    seeing, blind = Script(answer()), Script(answer(), sees=False)
    for model in (seeing, blind):
        AgentCaptioner(model).caption(IMAGE, MASK, "frame")
    assert np.array_equal(seeing.images[0], outline_polyp(IMAGE, MASK)) and blind.images == [None]
    assert "colour: redder" not in seeing.asked[0][0].text
    for told in ("count: one", "size: small", "position: upper left", "surface: smooth", "colour: redder"):
        assert told in blind.asked[0][0].text


def test_the_outline_lies_around_the_polyp() -> None:
    shown = outline_polyp(IMAGE, MASK)
    changed = (shown != IMAGE).any(axis=2)
    assert not (changed & MASK).any() and changed.any()
    assert {tuple(pixel) for pixel in shown[changed]} == {(0, 255, 0)}
    assert np.abs(np.argwhere(changed) - 16).max() <= 10  # the mask reaches from 10 to 23


def test_aspects_rotate() -> None:
    chosen = [choose_aspects(f"frame-{index}") for index in range(200)]
    assert all(first != second for first, second in chosen)
    assert {name: sum(name in pair for pair in chosen) > 70 for name in ASPECTS} == dict.fromkeys(ASPECTS, True)
    assert choose_aspects("frame-0") == chosen[0]
    model = Script(answer())
    AgentCaptioner(model).caption(IMAGE, MASK, "frame-0")
    assert [text in model.asked[0][0].text for text in ASPECTS.values()] == [name in chosen[0] for name in ASPECTS]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chat model and a vision-language model with random weights."""
    root = tmp_path_factory.mktemp("models")
    write_tiny_chat(root / "chat")
    write_tiny_vision(root / "vision")
    return root


@pytest.mark.parametrize(("kind", "sees"), [("chat", False), ("vision", True)])
def test_a_random_model_speaks_garbage_and_gets_no_caption(
    models: Path, kind: str, sees: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_models, "MAX_NEW_TOKENS", 8)
    model = open_chat_model(str(models / kind))
    assert (model.name, model.sees) == (kind, sees)
    assert model.revision.startswith("sha256-")
    with pytest.raises(NoCaption, match=r"in 2 attempts.*no JSON object"):
        AgentCaptioner(model, attempts=2).caption(IMAGE, MASK, "frame")
    said = [model.answer([Turn("user", "Describe.")], shown if sees else None) for shown in (IMAGE, IMAGE, 255 - IMAGE)]
    assert said[0] == said[1]
    assert (said[0] != said[2]) == sees  # the pixels reach the network


def test_the_revision_of_a_folder_is_its_content(tmp_path: Path) -> None:
    def revision(text: str, name: str = "config.json") -> str:
        (tmp_path / name).write_text(text)
        return chat_models._hash_folder(tmp_path)

    first = revision("a")
    assert revision("b") != first
    assert revision("a") == first
    assert revision("a", "more.json") != first


def test_models_that_cannot_be_used_are_one_line(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("someone/not-here", str(tmp_path)):
        with pytest.raises(MissingError, match=f"--model {name}: .*wanted a folder in Hugging Face format"):
            open_chat_model(name)
    with pytest.raises(UsageError, match=r"--revision main: .* is a local folder"):
        open_chat_model(str(models / "chat"), revision="main")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip_vision_model"}))
    with pytest.raises(UsageError, match="a clip_vision_model model does not chat"):
        open_chat_model(str(tmp_path))


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "processor_config.json"])
def test_a_folder_that_asks_for_code_of_its_own_is_refused_and_nobody_is_asked(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ran"
    folder = write_tiny_chat(tmp_path / "model")
    (folder / "own.py").write_text(f"import os; os.mkdir({str(mark)!r})\nclass Own: pass\n")
    path = folder / file
    content = json.loads(path.read_text()) if path.exists() else {}
    automatic = dict.fromkeys(("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer", "AutoProcessor"), "own.Own")
    path.write_text(json.dumps({**content, "model_type": "own-kind", "auto_map": automatic}))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(UsageError, match=rf"{file} asks for Python of its own \(auto_map\), which is never run"):
        open_chat_model(str(folder))
    assert not mark.exists()
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match="is no plain file"):
        open_chat_model(str(folder))
