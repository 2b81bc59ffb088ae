"""A small CLIP-style BPE vocabulary trained on captions, for the text towers of `sd-mini` and `mini-clip`."""

import json
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"


def train_vocabulary(captions: Iterable[str], size: int = 900) -> CLIPTokenizer:
    """Return CLIP's tokenizer on a vocabulary of about `size` tokens trained on `captions`.

    As in CLIP the last two ids are the start and the end token. Every byte is in the alphabet, so that any text has
    tokens, also words that no caption holds.
    """
    pipeline = CLIPTokenizer().backend_tokenizer
    trainer_side = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    trainer_side.normalizer, trainer_side.pre_tokenizer = pipeline.normalizer, pipeline.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    trainer_side.train_from_iterator(captions, trainer)
    model = json.loads(trainer_side.to_str())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    for letter in alphabet:  # a byte that ends a word in no caption still needs its end-of-word form
        vocabulary.setdefault(letter + "</w>", len(vocabulary))
    vocabulary[START] = len(vocabulary)
    vocabulary[END] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=[tuple(pair) for pair in model["merges"]], model_max_length=77)


def tokenise(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Return (N, 77) token ids, padded and truncated."""
    ids: torch.Tensor = tokenizer(
        texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
    ).input_ids
    return ids
