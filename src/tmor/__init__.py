"""What a person is doing, and when, from body movement alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tmor.model.checkpoint import load_model
    from tmor.model.model import Model
    from tmor.skeleton.formats import read_tracks
    from tmor.skeleton.layouts import Layout
    from tmor.skeleton.tracks import Track

__all__ = ["Layout", "Model", "Track", "load_model", "read_tracks"]
__version__ = "0.1.0"

_HOME = {
    "Layout": "tmor.skeleton.layouts",
    "Model": "tmor.model.model",
    "Track": "tmor.skeleton.tracks",
    "load_model": "tmor.model.checkpoint",
    "read_tracks": "tmor.skeleton.formats",
}


def __getattr__(name: str) -> Any:
    # Lazily, so that the command line answers before torch has been imported.
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'tmor' has no attribute '{name}'")
