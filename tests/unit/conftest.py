"""Fixtures of several files of unit tests."""

import pytest

from ccbench.protocols.protocol import PROTOCOLS, Protocol


@pytest.fixture
def protocol(small_protocol: Protocol, monkeypatch: pytest.MonkeyPatch, fake_plugin: str) -> str:
    """The small protocol under a backbone name that is not a path, known by name."""
    monkeypatch.setitem(PROTOCOLS, "small", small_protocol.model_copy(update={"backbone": "sd-mini"}))
    return "small"
