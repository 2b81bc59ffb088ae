"""Vision-language and chat models in Hugging Face format, for the agent captioner."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image as PilImage

from ccbench.base.files import check_plain, read_json
from ccbench.base.text import one_line
from ccbench.data.captioners.agent import Turn
from ccbench.errors import MissingError, UsageError
from ccbench.types import Image

if TYPE_CHECKING:
    pass

MAX_NEW_TOKENS = 256
_SMALL_FILE = 10_000_000  # bytes, up to which a file's content counts for the revision of a local model
_CONFIGURATIONS = (
    *("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json"),
    *("video_preprocessor_config.json", "generation_config.json"),
)
_BRINGS_CODE = (
    "--model {model}: {file} asks for Python of its own (auto_map), which is never run; give a model of a kind that "
    "transformers has"
)


class TransformersModel:
    """A loaded model that answers greedily, so that one conversation has one answer."""

    def __init__(self, name: str, revision: str, sees: bool, network: Any, processor: Any) -> None:
        self.name = name
        self.revision = revision
        self.sees = sees
        self._network = network
        self._processor = processor

    def answer(self, turns: Sequence[Turn], image: Image | None) -> str:
        """Answer the last turn; see `ChatModel`."""
        import torch

        inputs = self._processor.apply_chat_template(
            [self._message(turn, image if index == 0 else None) for index, turn in enumerate(turns)],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        device, dtype = self._network.device, self._network.dtype
        moved = {name: value.to(device, dtype if value.is_floating_point() else None) for name, value in inputs.items()}
        with torch.no_grad():
            tokens = self._network.generate(**moved, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        said = tokens[0, inputs["input_ids"].shape[1] :]
        return str(self._processor.decode(said, skip_special_tokens=True))

    def _message(self, turn: Turn, image: Image | None) -> dict[str, Any]:
        if not self.sees:
            return {"role": turn.role, "content": turn.text}
        content: list[dict[str, Any]] = [{"type": "text", "text": turn.text}]
        if image is not None:
            content.insert(0, {"type": "image", "image": PilImage.fromarray(image)})
        return {"role": turn.role, "content": content}


def open_chat_model(model: str, revision: str | None = None, device: str = "cpu") -> TransformersModel:
    """Load a vision-language model, or a chat model that is told what was measured.

    Args:
        model: a local folder in Hugging Face format, or a hub id, which may be fetched unless `HF_HUB_OFFLINE` is set.
        revision: branch, tag or commit of a hub id.

    Raises:
        MissingError: the model is not there.
        DataError: its folder holds a device, or files that are no JSON.
        UsageError: it is of another kind, brings Python of its own, or a revision of a local folder.
    """
    import transformers

    local = Path(model).is_dir()
    if local and revision is not None:
        raise UsageError(f"--revision {revision}: {model} is a local folder and has none; leave it out")
    offline = local or os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    where = {"revision": revision, "local_files_only": offline, "trust_remote_code": False}
    if local:
        _check_folder(Path(model))
    try:
        config = transformers.AutoConfig.from_pretrained(model, **where)
        sees = type(config) in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
        if not sees and type(config) not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING:
            raise UsageError(f"--model {model}: a {config.model_type} model does not chat; give one that does")
        kind = transformers.AutoModelForImageTextToText if sees else transformers.AutoModelForCausalLM
        reader = transformers.AutoProcessor if sees else transformers.AutoTokenizer
        processor = reader.from_pretrained(model, **where)
        if processor.chat_template is None:
            raise UsageError(f"--model {model}: has no chat template; give an instruction-tuned model")
        network = kind.from_pretrained(model, dtype="auto", use_safetensors=True, **where).eval().to(device)
    except (OSError, ValueError, ImportError, RecursionError) as error:
        if "trust_remote_code" in str(error):
            raise UsageError(_BRINGS_CODE.format(model=model, file="its configuration")) from error
        reason = one_line(error, 200)
        raise MissingError(
            f"--model {model}: {reason}; wanted a folder in Hugging Face format with safetensors weights, "
            "or a hub id while online"
        ) from error
    commit = _hash_folder(Path(model)) if local else config._commit_hash
    return TransformersModel(Path(model).name if local else model, str(commit), sees, network, processor)


def _check_folder(folder: Path) -> None:
    """Refuse a folder that brings its own Python, before any of its files decides what is loaded."""
    check_plain(folder)
    for file in sorted(folder.glob("*.json")):
        if file.name in _CONFIGURATIONS and "auto_map" in read_json(file):
            raise UsageError(_BRINGS_CODE.format(model=folder, file=file.name))


def _hash_folder(folder: Path) -> str:
    """Hash of a local model: the content of its small files, names and sizes of all, since weights take minutes."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\t{size}\n".encode())
        if size <= _SMALL_FILE:
            digest.update(path.read_bytes())
    return f"sha256-{digest.hexdigest()[:16]}"
