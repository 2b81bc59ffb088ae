"""Captioners: what writes the text of an image from its pixels and its mask."""

from ccbench.data.captioners.agent import AgentCaptioner
from ccbench.data.captioners.captioner import Caption, Captioner, NoCaption
from ccbench.data.captioners.chat_models import open_chat_model
from ccbench.data.captioners.measured import MeasuredCaptioner, Version

__all__ = ["AgentCaptioner", "Caption", "Captioner", "MeasuredCaptioner", "NoCaption", "Version", "open_chat_model"]
