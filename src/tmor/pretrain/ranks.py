"""Several processes that train one model: which part of a batch each does, and what they tell each other.

Every rank encodes its own share of a batch. All ranks then hold the features of the whole batch and compute the same
heads and losses from them, so that banks, masks and logs are those of one process; gradients reach the encoder through
the rank's own features, and are added up. Lightning Fabric starts the processes, or finds those that torchrun or SLURM
started.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tmor.errors import TmorError

_PATIENCE = timedelta(hours=1)  # the others wait while the first rank clusters

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together; by default there is no other.

    Args:
        rank: this one's number; the first (0) writes files and messages.
        count: of all.
        device: what this one computes on.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and messages."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """Which of n consecutive things this rank does; the shares of all ranks are disjoint and cover them."""
        return slice(n * self.rank // self.count, n * (self.rank + 1) // self.count)

    def total(self, x: Tensor) -> Tensor:
        """The sum of all ranks' ``x``, the same bits on each. In place."""
        if self.count > 1:
            with self._contact():
                dist.all_reduce(x)
        return x

    def gather(self, own: Tensor, rows: slice, of: int) -> Tensor:
        """(of, d): the rows of all ranks; gradients flow into ``own``, which are ``rows`` of them."""
        if self.count == 1:
            return own
        whole = own.new_zeros(of, own.shape[1])
        whole[rows] = own.detach()
        whole = self.total(whole)
        return torch.cat([whole[: rows.start], own, whole[rows.stop :]])

    def told(self, find: Callable[[], T]) -> T:
        """What ``find`` returns on the first rank, which alone calls it."""
        answer = [find() if self.first else None]
        if self.count > 1:
            with self._contact():
                dist.broadcast_object_list(answer, src=0)
        return answer[0]  # pyright: ignore

    def together(self, work: Callable[[], T]) -> T:
        """Do ``work`` on every rank; a TmorError of any is raised on all."""
        if self.count == 1:
            return work()
        result, fault = None, None
        try:
            result = work()
        except TmorError as error:
            fault = error
        faults: list[TmorError | None] = [None] * self.count
        with self._contact():
            dist.all_gather_object(faults, fault)
        for rank, found in enumerate(faults):
            if found is not None:
                raise found if rank == 0 else type(found)(f"rank {rank}: {found}")
        return result  # pyright: ignore

    @contextmanager
    def one_batch_norm(self, module: nn.Module, parts: slice, of: int) -> Iterator[None]:
        """Meanwhile the ranks run their ``parts`` of a batch's ``of`` through ``module``, in training mode; afterwards
        its running statistics are as if one process had run all of them in their order.

        Each part moves a statistic r to (1 - m) r + m s, with s of that part alone. So what a rank's parts add does
        not depend on where it started, and fades with the number of parts that come after them.
        """
        if self.count == 1:
            yield
            return
        norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        of_norm = [(n, s) for n in norms for s in (n.running_mean, n.running_var) if s is not None]
        statistics = [s for _, s in of_norm]
        keep = torch.cat([torch.full_like(s, 1 - (n.momentum or 0.0)) for n, s in of_norm])
        before = torch.cat(statistics)
        yield
        with torch.no_grad():
            added = torch.cat(statistics) - keep ** (parts.stop - parts.start) * before
            after = keep**of * before + self.total(added * keep ** (of - parts.stop))
            for statistic, value in zip(statistics, after.split([len(s) for s in statistics]), strict=True):
                statistic.data.copy_(value)  # unseen by autograd, which would take it for a change of saved inputs
            for norm in norms:
                if norm.num_batches_tracked is not None:
                    norm.num_batches_tracked += of - (parts.stop - parts.start)

    def add_gradients(self, learning: nn.Module, shared: nn.Module) -> None:
        """Give each parameter of ``learning`` the gradient that one process would have found.

        Args:
            shared: the part of it through which each rank ran its own rows alone; the other gradients are the
                same on all ranks already, up to rounding, and become so bit for bit.
        """
        if self.count == 1:
            return
        own = {id(p) for p in shared.parameters()}
        wanted = [p for p in learning.parameters() if id(p) in own or p.grad is not None]
        flat = [torch.zeros_like(p) if p.grad is None else p.grad for p in wanted]
        whole = self.total(
            torch.cat([(g if id(p) in own else g / self.count).flatten() for p, g in zip(wanted, flat, strict=True)])
        )
        for p, g in zip(wanted, whole.split([p.numel() for p in wanted]), strict=True):
            p.grad = g.view_as(p)

    @contextmanager
    def _contact(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RuntimeError(
                f"rank {self.rank} of {self.count} lost contact with the others: one of them ended, or did not answer "
                f"for {_PATIENCE}; start all of them again with --resume"
            ) from error


def start(device: Literal["cpu", "cuda"] | None = None, *, devices: int = 1, nodes: int = 1) -> Ranks:
    """Start the other processes of a training, or join them where torchrun or SLURM started them.

    The command line of this process is run again for each further device of this machine. Under torchrun the numbers
    are torchrun's.

    Args:
        device: None: CUDA if there is a device of that kind, else the processors.
        devices: processes on each machine, a CUDA device each.
        nodes: machines; on each the same command is run, by SLURM, or with MASTER_ADDR and NODE_RANK set.

    Raises:
        TmorError: there are not so many devices, or SLURM started another number of processes, or lightning-fabric is
            not installed.
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if dist.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    if devices < 1 or nodes < 1:
        raise TmorError(f"{devices} devices on {nodes} nodes; expected at least 1 of each")
    there = torch.cuda.device_count() if kind == "cuda" else devices
    if devices > there:
        raise TmorError(f"{devices} CUDA devices are asked for; PyTorch sees {there} on this machine")
    if devices * nodes == 1:
        return Ranks(device=torch.device(kind))
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ImportError:
        raise TmorError(
            "training with several processes needs lightning-fabric; pip install 'tmor[distributed]'"
        ) from None
    for name in ("distributed", "rank_zero"):  # which greet at the start
        logging.getLogger(f"lightning_fabric.utilities.{name}").setLevel(logging.WARNING)
    fabric = Fabric(accelerator=kind, devices=devices, num_nodes=nodes, strategy=DDPStrategy(timeout=_PATIENCE))
    try:
        fabric.launch()
    except ValueError as error:  # SLURM's or torchrun's numbers are others
        raise TmorError(f"{devices} devices on {nodes} nodes: {error}") from error
    if fabric.global_rank:
        logging.getLogger("tmor").setLevel(logging.ERROR)
    return Ranks(fabric.global_rank, fabric.world_size, fabric.device)
