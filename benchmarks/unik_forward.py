"""How fast the motion encoder is: small against base, base against a plain per-head UNIK and the usual padded input.

Run `python benchmarks/unik_forward.py`. Everything is measured in one process, the sides by turns, so the ratios hold
on a busy machine too; the figures are medians.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from pathlib import Path

import torch
from timing import by_turns
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tmor.model.published import import_unik
from tmor.model.unik import BASE, SMALL, UNIK

_spec = importlib.util.spec_from_file_location("plain_unik", Path(__file__).parents[1] / "tests" / "plain_unik.py")
assert _spec is not None
assert _spec.loader is not None
plain_unik = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(plain_unik)


def largest_difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    torch.manual_seed(0)
    torch.set_num_threads(2)
    small, base = UNIK(SMALL).eval(), UNIK(BASE).eval()
    x = torch.randn(16, 1, 64, 17, 2)
    print(f"16 clips x 64 frames, two threads; {operations(small):.3f} and {operations(base):.2f} GFLOP a clip")
    report(by_turns({"base": lambda: base(x), "small": lambda: small(x)}, repeats), "small", 16)
    print()

    torch.set_num_threads(1)
    for frames in (35, 150):
        x = torch.randn(1, 1, frames, 17, 2)
        print(f"one clip x {frames} frames, one thread")
        report(by_turns({"base": lambda x=x: base(x), "small": lambda x=x: small(x)}, 3 * repeats), "small", 1)
        print()
    plain = plain_unik.stirred(plain_unik.PlainUnik())
    with tempfile.TemporaryDirectory() as folder:
        torch.save(plain.state_dict(), Path(folder, "plain.pt"))
        slots = import_unik(Path(folder, "plain.pt")).encoder
    free = UNIK(BASE).eval()

    # Slots are filled, so both sides compute as many bodies.
    x = torch.randn(8, 2, 64, 17, 2)
    theirs = x.permute(0, 4, 2, 3, 1).contiguous()
    difference = largest_difference(slots(x), plain(theirs))
    assert difference < 1e-4, f"features differ by {difference}"
    seconds = by_turns({"plain": lambda: plain(theirs), "ours": lambda: slots(x)}, repeats)
    print(f"UNIK, 16 bodies x 64 frames (features differ by {difference:.0e})")
    report(seconds, "ours", 16)

    # A clip as JHMDB has them, and as it is usually padded.
    clip = torch.randn(1, 1, 35, 17, 2)
    padded = torch.zeros(1, 2, 150, 17, 2)
    padded[:, :1, :35] = clip
    padded_theirs = padded.permute(0, 4, 2, 3, 1).contiguous()
    difference = largest_difference(slots(padded), plain(padded_theirs))
    assert difference < 1e-4, f"features differ by {difference}"
    sides = {
        "plain, 2 persons x 150 frames": lambda: plain(padded_theirs),
        "ours with slots, 2 persons x 150 frames": lambda: slots(padded),
        "ours, 1 person x 35 frames": lambda: free(clip),
    }
    print("\nUNIK, one clip of one person and 35 frames")
    report(by_turns(sides, 3 * repeats), "ours, 1 person x 35 frames", 1)


def operations(encoder: UNIK) -> float:
    """GFLOP of one clip of 64 frames, two for a product and its sum."""
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        encoder(torch.randn(1, 1, 64, 17, 2))  # with gradients: by the blocks as they are written
    return counter.get_total_flops() / 1e9


def report(seconds: dict[str, float], ours: str, clips: int) -> None:
    for name, value in seconds.items():
        ratio = f"   {value / seconds[ours]:5.2f} x ours" if name != ours else ""
        print(f"  {name:42}{1e3 * value / clips:9.1f} ms each{ratio}")


if __name__ == "__main__":
    main()
