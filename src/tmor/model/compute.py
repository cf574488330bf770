"""Where, and how precisely, an encoder computes while it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from tmor.config import Precision
from tmor.errors import TmorError

DeviceName = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Compute:
    """Where, and how precisely, an encoder computes while it is trained.

    Args:
        device: the processor, or the first CUDA device.
        precision: of the products; weights and losses are single precision all the same. With bf16, a processor that
            has such products takes half the time, another one longer.

    Raises:
        TmorError: there is no such device or precision, or PyTorch sees no CUDA device.
    """

    device: DeviceName = "cpu"
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        for what, value, known in (
            ("device", self.device, get_args(DeviceName)),
            ("precision", self.precision, get_args(Precision)),
        ):
            if value not in known:
                raise TmorError(f"{what} is '{value}'; expected {' or '.join(known)}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise TmorError("device is 'cuda'; PyTorch sees no CUDA device on this machine")

    def autocast(self) -> torch.autocast:
        """Within it products have this precision."""
        return autocast(self.device, self.precision)


def autocast(device: str, precision: Precision) -> torch.autocast:
    """Within it products on a kind of device have a precision."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")


PROCESSOR = Compute()
"""The processor, in single precision."""
