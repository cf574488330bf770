"""How fast DBSCAN is, and how good it is where it is approximate.

    python benchmarks/dbscan.py                              # exact, against scikit-learn's brute force
    python benchmarks/dbscan.py --rows 1000000               # beyond what is exact: time, memory, agreement on a subset
    python benchmarks/dbscan.py --data ../shared/data        # on embeddings of real movements by tmor-small

Rows are 128 L2-normalised numbers: a mixture of 3,000 clusters of very different sizes with 20% noise, or augmented
views of the training clips. Both sides get the same rows, eps, threads and process; figures are CPU seconds, since the
machine may be busy, and wall-clock seconds beside them. scikit-learn is asked for algorithm="brute" and
n_jobs = threads.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn.functional import normalize

from tmor.pretrain import clusters

MIN_SAMPLES = 4


def mixture(rows: int, *, centres: int = 3000, noise: float = 0.2, spread: float = 0.25, seed: int = 0) -> Tensor:
    """Clusters whose n-th has a share of about n^-0.8, and noise that is uniform on the sphere."""
    generator = torch.Generator().manual_seed(seed)
    clustered = round(rows * (1 - noise))
    share = torch.arange(1, centres + 1).double() ** -0.8
    of = torch.multinomial(share, clustered, replacement=True, generator=generator)
    middle = normalize(torch.randn(centres, 128, generator=generator), dim=1)
    x = torch.empty(rows, 128)
    x[:clustered] = middle[of] + torch.randn(clustered, 128, generator=generator) * (spread / 128**0.5)
    x[clustered:] = torch.randn(rows - clustered, 128, generator=generator)
    return normalize(x, dim=1)[torch.randperm(rows, generator=generator)]


def real(rows: int, data: Path) -> Tensor:
    """Augmented views of the clips that tmor-small was trained on, as it embeds them."""
    from tmor import load_model
    from tmor.config import read_pretrain_config
    from tmor.pretrain.clips import Clips
    from tmor.pretrain.loop import read_training_data

    config = read_pretrain_config(Path(__file__).parents[1] / "examples/pretrain/tmor-small.toml")
    clips = Clips.from_triplets(read_training_data(config, data), fps=config.fps)
    encoder = load_model("tmor-small").encoder
    generator = torch.Generator().manual_seed(0)
    found = []
    with torch.inference_mode():
        for ids in (torch.arange(rows) % len(clips)).split(256):
            mirrored = torch.rand(len(ids), generator=generator) < 0.5
            x = clips.augmented(ids, mirrored, frames=config.clip_frames, settings=config.augment, generator=generator)
            found.append(encoder(x[:, None]))
    return normalize(torch.cat(found), dim=1)


def timed(what: str, call: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    wall, cpu = time.monotonic(), time.process_time()
    labels = call()
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    largest = np.bincount(labels[labels >= 0]).max(initial=0) / len(labels)
    print(
        f"  {what:32}{cpu:9.1f} CPU s{wall:9.1f} s   {labels.max() + 1} clusters, {(labels < 0).mean():.1%} noise, "
        f"largest {largest:.1%}",
        flush=True,
    )
    return labels, cpu


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """ARI, each noise point a cluster of its own."""
    return float(adjusted_rand_score(*(clusters.noise_as_singletons(torch.from_numpy(own)) for own in (one, other))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--data", type=Path, help="the folder of real movements; else a mixture is drawn")
    parser.add_argument("--eps", type=float, nargs="*", default=None)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    x = mixture(given.rows) if given.data is None else real(given.rows, given.data)
    kind = "a mixture" if given.data is None else "embeddings of real movements"
    print(f"{len(x):,} x {x.shape[1]}, {kind}; {given.threads} thread(s), min_samples {MIN_SAMPLES}")
    with threadpool_limits(given.threads):
        for eps in given.eps or [clusters.choose_eps(x, min_samples=MIN_SAMPLES)]:
            print(f"eps {eps:.4f}")
            if len(x) <= clusters._EXACT_UP_TO:
                exact(x, eps, given.threads)
            else:
                approximate(x, eps)


def exact(x: Tensor, eps: float, threads: int) -> None:
    ours, fast = timed("ours, exact", lambda: clusters.dbscan(x, eps=eps, min_samples=MIN_SAMPLES).numpy())
    brute = DBSCAN(eps=eps, min_samples=MIN_SAMPLES, algorithm="brute", n_jobs=threads)
    theirs, slow = timed(f'scikit-learn, "brute", n_jobs={threads}', lambda: brute.fit_predict(x.numpy()))
    print(f"  labels differ at {(ours != theirs).sum()} rows; {slow / fast:.1f} times as fast (CPU seconds)")
    few, _ = timed(f"ours, {clusters._PROBES} probes", lambda: probing(x, eps))
    print(f"  ARI of that against exact: {agreement(ours, few):.6f}")


def approximate(x: Tensor, eps: float) -> None:
    whole, _ = timed(f"ours, {clusters._PROBES} probes", lambda: probing(x, eps))
    print(f"  peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    subset = x[:50_000]
    ours, _ = timed("50,000 of them, exact", lambda: clusters.dbscan(subset, eps=eps, min_samples=MIN_SAMPLES).numpy())
    few, _ = timed(f"50,000 of them, {clusters._PROBES} probes", lambda: probing(subset, eps))
    print(f"  ARI on the subset, of probing against exact: {agreement(ours, few):.6f}")
    both = (ours >= 0) & (whole[: len(subset)] >= 0)
    print(
        f"  of {(ours >= 0).sum()} rows that are clustered exactly in the subset, {both.sum()} are in the whole; ARI "
        f"of the labels there: {adjusted_rand_score(ours[both], whole[: len(subset)][both]):.6f}"
    )


def probing(x: Tensor, eps: float) -> np.ndarray:
    labels, is_exact = clusters._dbscan(x, eps, MIN_SAMPLES, None, clusters._PROBES)
    print(f"  (it says that it is {'exact' if is_exact else 'approximate'})")
    return labels.numpy()


if __name__ == "__main__":
    main()
