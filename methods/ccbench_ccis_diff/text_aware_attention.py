"""TAAM, text-aware attention (CCIS-DIFF Eq. 2-3), on diffusers' transformer block.

s_j says how far position j is looked at by the prompt's words: cross-attention probabilities, averaged over heads,
summed over the words, shifted by their median, divided by their maximum and clipped to [0, 1]. Self-attention then
runs with keys re-weighted by s. s_j (q_i . k_j) = q_i . (s_j k_j), so re-weighting keys needs no (h w, h w) map.
"""

from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import nn
from torch.nn import functional as F

from ccbench_ccis_diff.config import TaamSettings

SMOOTHING_TAPS = (0.21194156, 0.57611688, 0.21194156)  # exp(-(u / (2 * 0.5))^2), normalised: HD-Painter's kernel
LOG_FLOOR = 1e-6  # mode D: a key of s = 0 keeps this share, so that a row of zeros stays a distribution


def text_scores(probabilities: torch.Tensor, words: torch.Tensor, height: int, settings: TaamSettings) -> torch.Tensor:
    """Return s in [0, 1], (B, h w), from head-averaged cross-attention (B, h w, 77) and (B, 77) chosen tokens.

    A row without tokens (empty prompt) gets s = 1: there are no words to re-weight by. The median is the lower one
    of an even count, as `torch.median` and HD-Painter have it.
    """
    raw = (probabilities * words[:, None].to(probabilities.dtype)).sum(2)  # (B, h w)
    if settings.smooth:
        taps = torch.tensor(SMOOTHING_TAPS, dtype=raw.dtype, device=raw.device)
        # Zeros around the frame would lower s along it: most of 4 x 4 positions are at the border.
        mode = "replicate" if settings.smooth_padding == "replicate" else "constant"
        grid = F.pad(raw.view(len(raw), 1, height, -1), (1, 1, 1, 1), mode)
        raw = F.conv2d(grid, torch.outer(taps, taps)[None, None]).flatten(1)
    shifted = raw - raw.median(1, keepdim=True).values
    scores = (shifted / raw.amax(1, keepdim=True).clamp_min(1e-12)).clamp(0, 1)
    return torch.where(words.any(1, keepdim=True), scores, torch.ones_like(scores))


class TextAwareBlock(BasicTransformerBlock):
    """diffusers' transformer block whose self-attention is re-weighted by the prompt; same parameters, same names."""

    settings: TaamSettings | None

    @classmethod
    def adopt(cls, block: BasicTransformerBlock, settings: TaamSettings | None) -> "TextAwareBlock":
        """Return `block` as a text-aware one, sharing its parameters; `settings` None leaves it as it was."""
        adopted = cls.__new__(cls)
        adopted.__dict__ = block.__dict__
        object.__setattr__(adopted, "settings", settings)
        return adopted

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        encoder_hidden_states: torch.Tensor | None = None,
        encoder_attention_mask: torch.Tensor | None = None,
        timestep: torch.Tensor | None = None,
        cross_attention_kwargs: dict[str, Any] | None = None,
        class_labels: torch.Tensor | None = None,
        added_cond_kwargs: dict[str, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Run the block on (B, h w, D); `cross_attention_kwargs` holds `words` (B, 77) and `masks` (B, 1, H, W)."""
        if self.settings is None or cross_attention_kwargs is None:
            plain: torch.Tensor = super().forward(hidden_states, encoder_hidden_states=encoder_hidden_states)
            return plain
        assert encoder_hidden_states is not None
        words, masks = cross_attention_kwargs["words"], cross_attention_kwargs["masks"]
        height = round((hidden_states.shape[1] * masks.shape[2] / masks.shape[3]) ** 0.5)
        x = self.norm1(hidden_states)
        query, key, value = (_heads(self.attn1, project(x)) for project in _projections(self.attn1))
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.settings.gradient):
            scores = self._scores(hidden_states, query, key, value, encoder_hidden_states, words, height)
        attended = reweighted_attention(
            query, key, value, scores, self.settings, token_mask(masks, height, scores.shape[1] // height)
        )
        hidden_states = hidden_states + _merge(self.attn1, attended)
        hidden_states = hidden_states + self.attn2(
            self.norm2(hidden_states), encoder_hidden_states=encoder_hidden_states
        )
        fed: torch.Tensor = self.ff(self.norm3(hidden_states))
        return hidden_states + fed

    def _scores(
        self,
        residual: torch.Tensor,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        context: torch.Tensor,
        words: torch.Tensor,
        height: int,
    ) -> torch.Tensor:
        """s of every position, (B, h w)."""
        assert self.settings is not None
        if not self.settings.one_pass:
            residual = residual + _merge(self.attn1, F.scaled_dot_product_attention(query, key, value))
        asked = _heads(self.attn2, self.attn2.to_q(self.norm2(residual)))  # (B, heads, h w, d)
        told = _heads(self.attn2, self.attn2.to_k(context))  # (B, heads, 77, d)
        probabilities = (asked @ told.transpose(2, 3) * asked.shape[3] ** -0.5).softmax(3).mean(1)
        return text_scores(probabilities, words, height, self.settings)


def reweighted_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scores: torch.Tensor,
    settings: TaamSettings,
    inside: torch.Tensor,
) -> torch.Tensor:
    """Return self-attention (B, heads, h w, d) re-weighted by scores (B, h w); `inside` (B, h w) marks the polyp."""
    s = scores[:, None, :, None]  # (B, 1, h w, 1), one weight a key
    if settings.mode == "B":
        return F.scaled_dot_product_attention(query, key * s, value)
    if settings.mode == "C":
        # A row with s = 1 everywhere is an empty prompt and must stay as it is.
        told = (scores < 1).any(1)[:, None, None, None]
        return F.scaled_dot_product_attention(query, key * torch.where(told, 1 + settings.strength * s, 1.0), value)
    if settings.mode == "D":
        bias = (scores + LOG_FLOOR).log()[:, None, None, :]  # softmax of logits + log s: s times, renormalised
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    polyp = inside[:, None, :, None]
    plain = F.scaled_dot_product_attention(query, key, value)
    gated = F.scaled_dot_product_attention(query, key * torch.where(polyp, 1.0, s), value)
    return torch.where(polyp, gated, plain)


def install(transformers: list[tuple[int, Any]], settings: TaamSettings) -> None:
    """Make the blocks of (level, transformer) pairs text-aware where `settings.layers` says so."""
    for level, transformer in transformers:
        chosen = settings.layers == "all" or level in (1, 2)
        blocks: Any = transformer.transformer_blocks
        for index, block in enumerate(blocks):
            blocks[index] = TextAwareBlock.adopt(block, settings if chosen else None)


def _projections(attention: Any) -> tuple[nn.Module, nn.Module, nn.Module]:
    return attention.to_q, attention.to_k, attention.to_v


def _heads(attention: Any, x: torch.Tensor) -> torch.Tensor:
    """(B, n, heads d) -> (B, heads, n, d)."""
    return x.view(len(x), x.shape[1], attention.heads, -1).transpose(1, 2)


def _merge(attention: Any, x: torch.Tensor) -> torch.Tensor:
    """(B, heads, n, d) -> (B, n, D) through the output projection."""
    merged: torch.Tensor = attention.to_out[0](x.transpose(1, 2).flatten(2))
    return merged


def token_mask(masks: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(B, 1, H, W) -> (B, height width) bool at the attention's resolution: where more than half is polyp."""
    return (F.adaptive_avg_pool2d(masks, (height, width)) > 0.5).flatten(1)
