"""Two processes train as one: gradients, banks and clusters are those of one process; losing one ends the other."""

import copy
import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import traceback
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tmor.config import ClusterConfig, DataConfig, PretrainConfig
from tmor.errors import CheckpointError, TmorError
from tmor.model.checkpoint import read_tensors
from tmor.posecap.triplets import attach_videos
from tmor.pretrain import loop
from tmor.pretrain.distillation import Distillation
from tmor.pretrain.ranks import Ranks, start
from tmor.skeleton.formats import write_packed
from tmor.skeleton.sample import sample_track

ACTIONS = ("walk", "clap", "squat", "drink", "jump")
SETTINGS = PretrainConfig(
    data=(DataConfig("toy.npz", depth="made up"),),
    clip_frames=8,
    width=32,
    self_epochs=1,
    text_epochs=2,
    epoch_samples=160,
    batch=80,  # 160 views: parts of 64, 64 and 32, of which the ranks take one and two
    bank=100,
    learning_rate=2e-3,
    warmup=4,
    clusters=ClusterConfig(eps=0.3, min_samples=2),
)


class Teacher:
    """A text teacher for whom every text means something else."""

    def __init__(self, name: str = "offline") -> None:
        self.name, self.hash, self.width = name, f"hash of {name}", 12

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = [np.random.default_rng(zlib.crc32(text.encode())).normal(size=self.width) for text in texts]
        x = np.stack(rows).astype(np.float32)
        return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    tracks = [sample_track(action, body=n, style=n) for action in ACTIONS for n in range(4)]
    tracks = [replace(track, id=f"{n}") for n, track in enumerate(tracks)]
    write_packed(folder / "toy.npz", tracks, labels=[action for action in ACTIONS for _ in range(4)])
    return folder


def with_some_videos(triplets, entry, folder):
    return attach_videos(triplets, {f"toy/{n}": np.random.default_rng(n).normal(size=6) for n in range(12)})


def one_of_two(rank: int, port: int, work: Callable, folder: Path, given: tuple) -> None:
    """In a process of its own: do ``work`` as this rank; what goes wrong is in ``folder``."""
    os.environ |= {"LOCAL_RANK": f"{rank}", "NODE_RANK": "0", "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}", "TMOR_CACHE": f"{folder}/cache{rank}"}
    torch.set_num_threads(1)
    loop.load_text_teacher, loop._with_depth = Teacher, with_some_videos
    try:
        work(start("cpu", devices=2), *given)
    except Exception:
        (folder / f"rank{rank}.txt").write_text(traceback.format_exc())
        os._exit(1)  # as the command line ends, and at once


def as_two(work: Callable, folder: Path, *given) -> tuple[list[int | None], list[str]]:
    """Exit codes of the two ranks that did ``work``, and their tracebacks."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tmor.pretrain.loop", "lightning_fabric"])
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    processes = [context.Process(target=one_of_two, args=(rank, port, work, folder, given)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    ended = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    texts = [folder / f"rank{rank}.txt" for rank in (0, 1)]
    return ended, [text.read_text() if text.exists() else "" for text in texts]


def succeed(work: Callable, folder: Path, *given) -> None:
    assert as_two(work, folder, *given) == ([0, 0], ["", ""])


# --- alone -----------------------------------------------------------------------------------------------------------


def test_shares_are_disjoint_and_cover_everything() -> None:
    for count in (1, 2, 3, 7):
        for n in (0, 1, 5, 64):
            done = [i for rank in range(count) for i in range(n)[Ranks(rank, count).share(n)]]
            assert done == list(range(n))


def test_alone_nothing_is_exchanged() -> None:
    ranks, x = Ranks(), torch.ones(3, 2, requires_grad=True)
    assert ranks.total(x) is x
    assert ranks.gather(x, slice(0, 3), 3) is x
    assert ranks.told(lambda: 5) == ranks.together(lambda: 5) == 5


def test_devices_that_are_not_there_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(TmorError, match=r"^2 CUDA devices are asked for; PyTorch sees 1 on this machine$"):
        start("cuda", devices=2)
    with pytest.raises(TmorError, match=r"^0 devices on 1 nodes; expected at least 1 of each$"):
        start("cpu", devices=0)
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(TmorError, match=r"needs lightning-fabric; pip install 'tmor\[distributed\]'$"):
        start("cpu", devices=2)


# --- two ranks do what one process does ------------------------------------------------------------------------------


def exchange(ranks: Ranks) -> None:
    assert (ranks.count, ranks.device.type) == (2, "cpu")
    assert ranks.total(torch.tensor([1.0 + ranks.rank])).tolist() == [3.0]
    assert ranks.told(lambda: f"from {ranks.rank}") == "from 0"
    # Gathered rows carry gradients to the rank that they came from, and only there.
    x = torch.arange(10.0).reshape(5, 2)
    rows = slice(0, 2) if ranks.first else slice(2, 5)
    own = x[rows].clone().requires_grad_()
    whole = ranks.gather(own, rows, 5)
    assert torch.equal(whole, x)
    weight = torch.arange(10.0).reshape(5, 2) ** 2
    (whole * weight).sum().backward()
    assert own.grad is not None
    assert torch.equal(own.grad, weight[rows])


def disagree(ranks: Ranks) -> None:
    def work() -> int:
        if ranks.rank == 1:
            raise CheckpointError("the file is not on this machine")
        return 5

    with pytest.raises(CheckpointError, match=r"^rank 1: the file is not on this machine$"):
        ranks.together(work)
    assert ranks.together(lambda: ranks.rank) == ranks.rank


def share_batch_norm(ranks: Ranks) -> None:
    generator = torch.Generator().manual_seed(0)
    alone = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=0.3))
    together = copy.deepcopy(alone)
    for parts in (5, 2, 1):  # of one part one rank has none
        x = torch.randn(parts, 16, 3, generator=generator) + torch.arange(parts)[:, None, None]
        own = ranks.share(parts)
        with ranks.one_batch_norm(together, own, parts):
            for part in x[own]:
                together(part)
        for part in x:
            alone(part)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(together.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def take_a_step(ranks: Ranks, data: Path, folder: Path) -> None:
    """The same batch by one process and by two: losses, gradients, statistics and banks."""
    clips, rows, state = loop._prepare(SETTINGS, data, folder / f"{ranks.rank}", False, Ranks(), lambda *_: None)
    targets = torch.randn(2 * len(clips), 5, generator=torch.Generator().manual_seed(1))
    state.distillation = Distillation(state.model.encoder.features, targets)
    twin = copy.deepcopy(state)
    clusters = torch.arange(len(clips)) // 4
    for step in range(2):
        ids = (torch.arange(80) * 7 + step) % len(clips)
        for who in (state, twin):
            who.step, who.clusters = step, clusters
            who.model.train()
            loop._learning(who.model, who.distillation).zero_grad()
        one = loop._losses(state, clips, rows, ids, SETTINGS, Ranks(), with_text=True)
        two = loop._losses(twin, clips, rows, ids, SETTINGS, ranks, with_text=True)
        assert one.keys() == two.keys() == {"motion", "distillation", "video", "text", "text_second"}
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-5)
        for who, losses, by in ((state, one, Ranks()), (twin, two, ranks)):
            torch.stack(list(losses.values())).sum().backward()
            assert who.distillation is not None
            for p in who.distillation.parameters():
                assert p.grad is not None
                p.grad += 1e-7 * by.rank  # what rounding may do on another machine
            by.add_gradients(loop._learning(who.model, who.distillation), who.model.encoder)
        learning, learning_too = (loop._learning(who.model, who.distillation) for who in (state, twin))
        for (name, p), q in zip(learning.named_parameters(), learning_too.parameters(), strict=True):
            assert (p.grad is None) == (q.grad is None), name
            if p.grad is not None and q.grad is not None:
                torch.testing.assert_close(q.grad, p.grad, rtol=1e-5, atol=1e-5 * float(p.grad.abs().max()) + 1e-7)
                assert torch.equal(ranks.total(q.grad.clone()), 2 * q.grad), name  # the same bits on both
        for (name, p), q in zip(state.model.named_buffers(), twin.model.buffers(), strict=True):
            torch.testing.assert_close(q, p, rtol=1e-5, atol=1e-6, msg=name)
        for name, bank in state.banks.items():
            other = twin.banks[name]
            assert torch.equal(other.ids, bank.ids)
            assert torch.equal(other.keys, bank.keys)
            assert other.at == bank.at
            torch.testing.assert_close(other.rows, bank.rows, rtol=1e-5, atol=1e-5)
            # and it is the same bank on both ranks
            assert torch.equal(ranks.total(other.rows.clone()), 2 * other.rows)
    record = loop._recluster(replaced(twin, epoch=1), clips, SETTINGS, ranks, lambda *_: None)
    loop._recluster(replaced(state, epoch=1, model=twin.model), clips, SETTINGS, Ranks(), lambda *_: None)
    assert record["clusters"] > 1
    assert torch.equal(state.clusters, twin.clusters)
    assert torch.equal(ranks.total(twin.clusters.clone()), 2 * twin.clusters)


def replaced(state, **changes):
    for name, value in changes.items():
        setattr(state, name, value)
    return state


def all_in_one_process(ranks: Ranks, data: Path, folder: Path) -> None:
    exchange(ranks)
    disagree(ranks)
    share_batch_norm(ranks)
    take_a_step(ranks, data, folder)


def test_sums_statistics_losses_gradients_banks_and_clusters_are_those_of_one_process(
    data: Path, tmp_path: Path
) -> None:
    succeed(all_in_one_process, tmp_path / "ranks", data, tmp_path)


def train(ranks: Ranks, data: Path, out: Path, die_at: int | None) -> None:
    if ranks.rank == 1 and die_at is not None:
        original, calls = loop._losses, iter(range(1, 1000))

        def deadly(*args, **kwargs):
            if next(calls) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        loop._losses = deadly
    loop.pretrain(SETTINGS, data=data, out=out, resume=True, ranks=ranks)


def weights_of(out: Path) -> dict[str, torch.Tensor]:
    return read_tensors(out / "model.safetensors")[0]


@pytest.mark.slow
def test_killed_and_resumed_two_ranks_end_as_if_nothing_had_happened_and_near_one_process(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, (first, _) = as_two(train, tmp_path / "killed", data, tmp_path / "run", 4)  # in the second epoch
    assert ended == [1, -signal.SIGKILL]
    assert re.search(r"RuntimeError: rank 0 of 2 lost contact with the others: one of them ended, or did not", first)
    assert first.strip().endswith("start all of them again with --resume")
    succeed(train, tmp_path / "resumed", data, tmp_path / "run", None)
    succeed(train, tmp_path / "uninterrupted", data, tmp_path / "whole", None)
    resumed, whole = weights_of(tmp_path / "run"), weights_of(tmp_path / "whole")
    assert all(torch.equal(resumed[name], x) for name, x in whole.items())
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        *("config.json", "log.csv", "log.jsonl", "model.safetensors", "state.safetensors")
    ]

    monkeypatch.setattr(loop, "load_text_teacher", Teacher)
    monkeypatch.setattr(loop, "_with_depth", with_some_videos)
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)
    loop.pretrain(SETTINGS, data=data, out=tmp_path / "alone")
    logs = [
        [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        for out in (tmp_path / "alone", tmp_path / "whole")
    ]
    for one, two in zip(*logs, strict=True):
        assert one.keys() == two.keys()
        assert two["loss_motion"] == pytest.approx(one["loss_motion"], rel=1e-3)
        assert one.get("clusters") == two.get("clusters")


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["tmor", "torchrun"])
def test_the_command_line_trains_on_two_devices(launcher: str, data: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'data = [{ path = "toy.npz" }]\nclip_frames = 8\nself_epochs = 1\ntext_epochs = 1\nepoch_samples = 64\n'
    )
    start_by = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29611"]
    command = [sys.executable, *(start_by if launcher == "torchrun" else []), "-m", "tmor", "pretrain"]
    command += [f"{tmp_path}/run.toml", "--data", f"{data}", "-o", f"{tmp_path}/run", "--device", "cpu"]
    command += ["--threads", "1", *(["--devices", "2"] if launcher == "tmor" else [])]
    environment = os.environ | {"TMOR_CACHE": f"{tmp_path}/cache"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("wrote ") == 1
    assert "model.safetensors" in {path.name for path in (tmp_path / "run").iterdir()}
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert again.stderr.count("already holds a run; continue it with --resume") == 1
    assert again.returncode == (2 if launcher == "tmor" else 1)  # torchrun has its own
