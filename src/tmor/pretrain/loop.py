"""Pre-training, top to bottom: stage 1 learns from motion and video, stage 2 from text as well (T-MOR, METHOD
section 2-3)."""

from __future__ import annotations

import copy
import csv
import hashlib
import io
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tmor.config import DataConfig, PretrainConfig, pretrain_config
from tmor.errors import CheckpointError, ConfigError, TmorError
from tmor.model.checkpoint import load_model, read_tensors, save_model, write_tensors
from tmor.model.compute import autocast
from tmor.model.model import Model, ModelSpec
from tmor.model.unik import BASE, SMALL
from tmor.posecap.captions import plain_label
from tmor.posecap.shards import is_shards, open_shards
from tmor.posecap.triplets import Triplet, attach_videos, read_triplets
from tmor.pretrain.clips import Clips
from tmor.pretrain.clusters import cluster, diagnostics, noise_as_singletons
from tmor.pretrain.distillation import Distillation, check_input, teacher_embeddings, with_teachers
from tmor.pretrain.losses import cluster_nce, paired_nce
from tmor.pretrain.memory import remember
from tmor.pretrain.ranks import Ranks
from tmor.pretrain.sampling import SAME_TEXT, Bank, cluster_masks, epoch_order, instance, step_generator
from tmor.pretrain.whitening import fit_whitening
from tmor.skeleton.canonical import is_seen
from tmor.skeleton.formats.files import write_whole
from tmor.teachers.cache import embed_texts
from tmor.teachers.huggingface import load_text_teacher

log = logging.getLogger("tmor")

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""

_TARGETS = "targets.safetensors"
"""What a student's teachers say of the clips, in the run's folder until it ends."""

_PART = 64
"""Clips in one pass of the encoder: they fit a processor's cache, and batch norm sees each part by itself."""


@dataclass
class _State:
    """Everything that a resumed run needs, beside the config.

    Args:
        begun_with: hashes of what must be the same when the run is resumed.
    """

    model: Model
    average: Model
    optimizer: torch.optim.AdamW
    clusters: Tensor
    begun_with: dict[str, str]
    eps: float | None = None
    epoch: int = 0
    step: int = 0
    distillation: Distillation | None = None
    banks: dict[str, Bank] = field(default_factory=dict)


def pretrain(
    config: PretrainConfig,
    *,
    data: Path,
    out: Path,
    resume: bool = False,
    ranks: Ranks = Ranks(),  # noqa: B008 (immutable)
    progress: Progress = lambda what, done, total: None,
) -> Model:
    """Train a model and write it to ``out/model.safetensors``.

    ``out`` also gets ``config.json``, ``log.jsonl`` and ``log.csv`` (one line per epoch) and ``state.safetensors``,
    written whole at the end of every epoch: a run that was interrupted at any moment continues from there with
    ``resume`` and ends with the same weights.

    Args:
        data: the folder that the config's paths are relative to.
        out: a folder for this run; it must not hold another run.
        resume: continue the run that ``out`` holds.
        ranks: the processes that train together (:func:`tmor.pretrain.ranks.start`), each of which calls this. How
            many they are makes no difference but rounding. Files and messages are the first one's.

    Raises:
        TmorError: ``out`` already holds a run (or with ``resume``: one of another config or of other data), data are
            missing or invalid.
    """
    clips, text_rows, state = ranks.together(lambda: _prepare(config, data, out, resume, ranks, progress))
    found = len(clips), state.step
    first = ranks.told(lambda: found)
    ranks.together(lambda: _check_alike(found, first))
    total = config.self_epochs + config.text_epochs
    while state.epoch < total:
        started = time.monotonic()
        record = _recluster(state, clips, config, ranks, progress)
        record |= _epoch(state, clips, text_rows, config, ranks, progress)
        record |= {"epoch": state.epoch, "stage": 1 if state.epoch < config.self_epochs else 2}
        record["seconds"] = time.monotonic() - started
        state.epoch += 1
        if ranks.first:
            # The log first: when killed in between, the epoch is run again and its line replaced; else it would lack.
            _append_log(out, record)
            _store(state, out / "state.safetensors")
            log.info("%s", record)
    final = state.average if config.average else state.model
    fit_whitening(final, clips, config, progress)
    final = remember(final.cpu(), clips, text_rows, config, progress).eval()
    if ranks.first:
        save_model(final, out / "model.safetensors")
        (out / _TARGETS).unlink(missing_ok=True)
    return final


def _prepare(
    config: PretrainConfig, data: Path, out: Path, resume: bool, ranks: Ranks, progress: Progress
) -> tuple[Clips, Tensor, _State]:
    """The clips, their texts as :func:`_texts` gives them, and where training stands."""
    torch.manual_seed(config.seed)
    triplets = read_training_data(config, data)
    clips = Clips.from_triplets(triplets, fps=config.fps)
    _check_terms(config, clips)
    teachers = [load_model(name) for name in config.distilled_from]
    _check_teachers(teachers, clips, config, data)
    text_rows, spec = _texts(config, clips)
    begun_with = _hashes(triplets, teachers)
    if ranks.first:
        _open_run(out, config, resume)
    stored = _stored(out / "state.safetensors", begun_with) if resume else None
    distillation = None
    if teachers:
        spec = replace(spec, training=with_teachers(spec.training, teachers))
        targets = _targets(teachers, clips, out / _TARGETS, begun_with, ranks, progress)
        distillation = Distillation(spec.shape.features, targets).to(ranks.device)
    model = Model(spec).to(ranks.device)
    state = _State(
        model,
        copy.deepcopy(model),
        _optimizer(_learning(model, distillation), config),
        clusters=torch.arange(len(clips)),
        begun_with=begun_with,
        distillation=distillation,
    )
    if stored is not None:
        _restore(state, *stored)
    return clips, text_rows, state


def _targets(
    teachers: Sequence[Model], clips: Clips, path: Path, begun_with: dict[str, str], ranks: Ranks, progress: Progress
) -> Tensor:
    """What a student learns to say, computed once: a resumed run reads it from ``path``."""
    if path.exists():
        tensors, header = read_tensors(path)
        if header == {"kind": "targets", **begun_with}:
            return tensors["targets"]
    targets = teacher_embeddings(teachers, clips, progress=progress)
    if ranks.first:
        write_tensors(path, {"targets": targets}, {"kind": "targets", **begun_with})
    return targets


def _check_alike(found: tuple[int, int], first: tuple[int, int]) -> None:
    """Raise a TmorError where this rank has other clips, or another state, than the first one."""
    if found != first:
        raise TmorError(
            f"{found[0]} clips and a state at step {found[1]}, where the first rank has {first[0]} and {first[1]}; "
            "expected the same data and run folder on all machines"
        )


def read_training_data(config: PretrainConfig, data: Path) -> list[Triplet]:
    """The triplets of all data sets of a config; clips in which nobody is seen are left out, counted and logged, and
    so is what the config leaves out by name.

    Raises:
        TmorError: data are missing or invalid, or nothing has a name that is left out.
    """
    triplets: list[Triplet] = []
    names = [entry.name for entry in config.data]
    for entry in config.data:
        if entry.name in config.leave_out:
            log.info("%s: left out", entry.path)
            continue
        found = _read(entry, data, descriptions=config.descriptions)
        names += dict.fromkeys(t.source for t in found)
        kept = [t for t in found if t.source not in config.leave_out]
        if len(kept) < len(found):
            log.info("%s: %d of %d clips left out by their source", entry.path, len(found) - len(kept), len(found))
        read = _part(kept, config)
        if not entry.text:
            read = [replace(t, texts=(), label=None) for t in read]
        if entry.depth is not None and config.video_term:
            read = _with_depth(read, entry, data)
        seen = [t for t in read if is_seen(t.track)]
        if len(seen) < len(read):
            log.warning(
                "%s: %d of %d clips left out, nobody is seen in them", entry.path, len(read) - len(seen), len(read)
            )
        triplets += seen
    for name in config.leave_out:
        if name not in names:
            raise TmorError(
                f"leave_out: no file and no source of clips is called '{name}'; there are "
                f"{', '.join(dict.fromkeys(names))}"
            )
    return triplets


def _read(entry: DataConfig, data: Path, *, descriptions: bool) -> list[Triplet]:
    path = _path(entry, data)
    if not is_shards(path):
        captions = None if entry.captions is None else data / entry.captions
        return read_triplets(path, part=entry.part, captions=captions, descriptions=descriptions)
    if entry.captions is not None or entry.depth is not None:
        raise TmorError(
            f"{entry.path}: a data set of triplets has its own texts and videos; leave captions and depth out"
        )
    return open_shards(path).triplets(part=entry.part, descriptions=descriptions)


def _path(entry: DataConfig, data: Path) -> str | Path:
    return entry.path if "://" in entry.path else data / entry.path


def _part(triplets: list[Triplet], config: PretrainConfig) -> list[Triplet]:
    """The config's share of a data set, at least one clip of it."""
    if config.data_share == 1:
        return triplets
    order = torch.randperm(len(triplets), generator=step_generator(config.seed, 8))
    kept = order[: max(1, round(config.data_share * len(triplets)))].sort().values
    return [triplets[i] for i in kept.tolist()]


def _hashes(triplets: Sequence[Triplet], teachers: Sequence[Model]) -> dict[str, str]:
    """By which the clips and the teachers of a run are known again."""
    clips, weights = hashlib.sha256(), hashlib.sha256()
    for t in triplets:
        clips.update(json.dumps([t.id, t.source, len(t.track), t.texts]).encode())
    for teacher in teachers:
        for name, x in teacher.state_dict().items():
            weights.update(name.encode() + x.cpu().numpy().tobytes())
    return {"clips": clips.hexdigest()[:16]} | ({"teachers": weights.hexdigest()[:16]} if teachers else {})


def _check_terms(config: PretrainConfig, clips: Clips) -> None:
    """Raise a TmorError where a stage would have nothing to learn from."""
    if config.text_term and config.text_epochs and not clips.texts:
        raise TmorError("the config has a text term, but none of its data has text")
    if config.motion_term or config.distilled_from or (config.video_term and clips.videos.shape[1]):
        return
    why = "motion_term is false, and video_term is false or none of the data has video"
    if config.self_epochs:
        raise TmorError(f"stage 1 has nothing to learn from: {why}; set self_epochs to 0")
    if not config.text_term:
        raise TmorError(f"stage 2 has nothing to learn from: text_term and {why}")


def _check_teachers(teachers: Sequence[Model], clips: Clips, config: PretrainConfig, data: Path) -> None:
    """Raise a TmorError where a teacher sees another input, or was trained on what is left out."""
    left_out = set(config.leave_out)
    for entry in config.data if teachers else ():
        path = _path(entry, data)
        if entry.name in config.leave_out and is_shards(path):
            left_out |= set(open_shards(path).column("collection")["collection"].to_pylist()) - set(clips.source_names)
    for name, teacher in zip(config.distilled_from, teachers, strict=True):
        check_input(teacher)
        for source in teacher.spec.training.get("sources", []):
            if source in left_out:
                raise TmorError(f"{name}, a teacher, was trained on '{source}', which is left out")


def _with_depth(triplets: list[Triplet], entry: DataConfig, data: Path) -> list[Triplet]:
    from tmor.teachers.depth import embed_depth_file

    assert entry.depth is not None
    embeddings = {f"{entry.name}/{id}": row for id, row in embed_depth_file(data / entry.depth).items()}
    return attach_videos(triplets, embeddings)


def _texts(config: PretrainConfig, clips: Clips) -> tuple[Tensor, ModelSpec]:
    """Teacher embeddings (k, d) of all texts, and the description of the model; without a text term neither."""
    spec = ModelSpec(
        name=f"tmor-{config.size}",
        shape=BASE if config.size == "base" else SMALL,
        fps=config.fps,
        clip_frames=config.clip_frames,
        width=config.width,
        teacher="",
        video_width=clips.videos.shape[1],
        training={
            "config": config.as_dict(),
            "clips": len(clips),
            "sources": list(clips.source_names),
            "class_names": sorted({plain_label(name) for name in clips.label_names} | _captions(clips)),
            "date": date.today().isoformat(),
        },
    )
    if not (config.text_term and config.text_epochs):
        return torch.zeros(0, spec.teacher_width), spec
    teacher = load_text_teacher(config.teacher)
    rows = torch.from_numpy(embed_texts(teacher, clips.texts))
    return rows, replace(spec, teacher=config.teacher, teacher_hash=teacher.hash, teacher_width=teacher.width)


def _captions(clips: Clips) -> set[str]:
    """The plainest texts of the clips that have no class name."""
    plainest = clips.text_ids[clips.labels < 0, 0]
    return {clips.texts[k] for k in plainest[plainest >= 0].unique().tolist()}


def _learning(model: Model, distillation: Distillation | None) -> nn.ModuleList:
    """All that has gradients."""
    return nn.ModuleList([model] if distillation is None else [model, distillation])


def _optimizer(learning: nn.Module, config: PretrainConfig) -> torch.optim.AdamW:
    parameters = list(learning.parameters())
    decay = [p for p in parameters if p.ndim > 1]
    plain = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def _recluster(state: _State, clips: Clips, config: PretrainConfig, ranks: Ranks, progress: Progress) -> dict[str, Any]:
    """Clusters for this epoch (METHOD section 3), and what to log of them."""
    if config.clusters is None or state.epoch < max(1, config.clusters.start_epoch):
        return {}
    settings = config.clusters
    if settings.by_label:
        state.clusters = noise_as_singletons(clips.labels)
        return {"clusters": len(clips.label_names)}
    features = embed_clips(state.model, clips, config, ranks, progress)
    found = ranks.told(lambda: cluster(features, eps=settings.eps, min_samples=settings.min_samples).cpu())
    record = diagnostics(found, previous=None if state.eps is None else state.clusters, truth=clips.labels)
    for move in found.moves:
        log.warning("clusters: %s", move)
    if not found.exact:
        log.warning("clusters: approximate, for there are %d clips", len(clips))
    state.clusters, state.eps = found.sample_clusters(), found.eps
    return {**record, "eps": found.eps, "eps_moves": list(found.moves), "exact": found.exact}


@torch.inference_mode()
def embed_clips(model: Model, clips: Clips, config: PretrainConfig, ranks: Ranks, progress: Progress) -> Tensor:
    """(n, features) L2-normalised embeddings of all clips without augmentation."""
    model.eval()
    batches = torch.arange(len(clips)).split(128)
    own = ranks.share(len(batches))
    features = torch.zeros(len(clips), model.encoder.features, device=ranks.device)
    for done, ids in enumerate(batches[own]):
        progress("embedding", done, len(batches[own]))
        x = clips.plain(ids, frames=config.clip_frames)[:, None].to(ranks.device)
        with autocast(ranks.device.type, config.precision):
            features[ids] = model.encoder(x).float()
    return torch.nn.functional.normalize(ranks.total(features), dim=1)


def _epoch(
    state: _State,
    clips: Clips,
    text_rows: Tensor,
    config: PretrainConfig,
    ranks: Ranks,
    progress: Progress,
) -> dict[str, Any]:
    """One pass over ``epoch_samples`` clips; in stage 2 those without text rest, if there is a text term."""
    stage = 1 if state.epoch < config.self_epochs else 2
    rows = torch.arange(len(clips))
    if stage == 2 and config.text_term:
        rows = rows[clips.text_ids[:, 0] >= 0]
    order = rows[
        epoch_order(
            clips.sources[rows],
            count=config.epoch_samples,
            balance=config.balance,
            generator=step_generator(config.seed, 1, state.epoch),
        )
    ]
    batches = [ids for ids in order.split(config.batch) if len(ids) > 1]
    found: dict[str, list[float]] = {}  # of each term in the batches that have it
    state.model.train()
    for done, ids in enumerate(batches):
        progress(f"stage {stage}, epoch {state.epoch + 1}", done, len(batches))
        _set_rate(state.optimizer, _rate(state.step, len(batches), config))
        losses = _losses(state, clips, text_rows, ids, config, ranks, with_text=stage == 2)
        if not losses:  # none of these clips has what the terms need
            state.step += 1
            continue
        loss = torch.stack(list(losses.values())).sum()
        if not bool(loss.isfinite()):
            raise FloatingPointError(f"the loss is {float(loss)} at step {state.step}: {losses}")
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        ranks.add_gradients(_learning(state.model, state.distillation), state.model.encoder)
        torch.nn.utils.clip_grad_norm_([p for group in state.optimizer.param_groups for p in group["params"]], 5.0)
        state.optimizer.step()
        state.step += 1
        _follow(state.average, state.model, min(config.average, state.step / (state.step + 10)))
        for name, value in losses.items():
            found.setdefault(name, []).append(float(value.detach()))
    means = {f"loss_{name}": sum(values) / len(values) for name, values in found.items()}
    return means | {"rate": state.optimizer.param_groups[0]["lr"]}


def _losses(
    state: _State,
    clips: Clips,
    text_rows: Tensor,
    ids: Tensor,
    config: PretrainConfig,
    ranks: Ranks,
    *,
    with_text: bool,
) -> dict[str, Tensor]:
    """L_mm, L_mv and, in stage 2, L_mt of one batch (eq. 4-9); rows that lack a modality are skipped."""
    generator = step_generator(config.seed, 2, state.step)
    model = state.model
    features, mirrored = _two_views(model, clips, ids, config, ranks, generator)
    both = instance(ids, mirrored).to(ranks.device)
    assert model.motion_head is not None
    first, second = model.motion_head(features).chunk(2)
    losses: dict[str, Tensor] = {}
    if config.motion_term:
        losses["motion"] = _term(
            state, "motion", first, second, both, temperature=config.temperature_motion, config=config
        )
    if state.distillation is not None:
        losses["distillation"] = state.distillation(features, torch.cat([both, both]))
    if model.video_head is not None and config.video_term:
        # A mirrored movement is not what its video shows.
        there = ~clips.videos[ids].isnan().any(dim=1) & ~mirrored
        if int(there.sum()) > 1:
            video = model.video_head(clips.videos[ids[there]].to(ranks.device))
            losses["video"] = _term(
                state, "video", first[there], video, both[there], temperature=config.temperature_motion, config=config
            )
    if with_text and config.text_term and model.text_head is not None:
        keys = clips.key_texts(ids, mirrored)
        there = keys >= 0
        if int(there.sum()) > 1:
            keys = keys[there].to(ranks.device)
            texts, weights = clips.text_weights(
                ids[there], mirrored[there], plain=config.plain_text, generator=generator
            )
            mixed = torch.nn.functional.embedding_bag(texts, text_rows, per_sample_weights=weights, mode="sum")
            rows = torch.nn.functional.normalize(mixed, dim=1)
            noise = torch.randn(rows.shape, generator=generator) * (config.text_noise / math.sqrt(rows.shape[1]))
            text = model.text_head(torch.nn.functional.normalize(rows + noise, dim=1).to(ranks.device))
            # Both views of a movement answer to its text.
            for name, motion in (("text", first), ("text_second", second)):
                losses[name] = 0.5 * _term(
                    state,
                    "text",
                    motion[there],
                    text,
                    both[there],
                    temperature=config.temperature_text,
                    config=config,
                    keys=keys,
                    text_rows=text_rows,
                    push=name == "text_second",
                )
    return losses


def _two_views(
    model: Model, clips: Clips, ids: Tensor, config: PretrainConfig, ranks: Ranks, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Features (2 b, features) of two random views of each clip, all first ones before all second ones, and (b,) bool
    which are mirrored. Each rank encodes its share of them; all else is done on each for the whole batch."""
    mirrored = torch.rand(len(ids), generator=generator) < config.augment.mirror
    # Both views of a clip from the same side: what looks alike from everywhere is too little to tell movements apart.
    anywhere = torch.rand(len(ids), generator=generator) < config.augment.around
    turned = anywhere * (2 * math.pi * torch.rand(len(ids), generator=generator))
    n, parts = len(ids), math.ceil(2 * len(ids) / _PART)
    own = ranks.share(parts)
    mine = slice(own.start * _PART, min(own.stop * _PART, 2 * n))
    views = [
        clips.augmented(
            ids,
            mirrored,
            frames=config.clip_frames,
            settings=config.augment,
            generator=generator,
            turned=turned,
            share=slice(min(max(mine.start - first, 0), n), min(max(mine.stop - first, 0), n)),
        )
        for first in (0, n)
    ]
    x = torch.cat(views)[:, None].to(ranks.device)
    with autocast(ranks.device.type, config.precision), ranks.one_batch_norm(model.encoder, own, parts):
        encoded = [model.encoder(part) for part in x.split(_PART) if len(part)]
    none = torch.zeros(0, model.encoder.features, device=ranks.device)
    return ranks.gather(torch.cat(encoded).float() if encoded else none, mine, 2 * n), mirrored


def _term(
    state: _State,
    modality: str,
    x: Tensor,
    y: Tensor,
    rows: Tensor,
    *,
    temperature: float,
    config: PretrainConfig,
    keys: Tensor | None = None,
    text_rows: Tensor | None = None,
    push: bool = True,
) -> Tensor:
    """One pair of modalities: the batch in both directions, and its rows against the bank of ``y``. Rows whose
    ``keys``, of ``text_rows``, say the same are not contrasted."""
    bank = state.banks.setdefault(modality, Bank.empty(config.bank, y.shape[1], device=y.device))
    old_rows, old_y, old_keys = bank.filled()
    columns, others = torch.cat([rows, old_rows]), torch.cat([y, old_y])
    positive, negative = cluster_masks(rows, columns, state.clusters.to(rows.device))
    n = len(rows)
    if keys is not None and text_rows is not None:
        said = text_rows[torch.cat([keys, old_keys]).to(text_rows.device)].to(keys.device)
        negative = negative & (said[:n] @ said.T <= SAME_TEXT)
    loss = 0.5 * paired_nce(x, y, positive[:, :n], negative[:, :n], temperature=temperature)
    loss = loss + 0.5 * cluster_nce(x, others, positive, negative, temperature=temperature)
    if push:
        bank.push(rows, y, keys)
    return loss


def _rate(step: int, steps_per_epoch: int, config: PretrainConfig) -> float:
    """The learning rate: linear warm-up, then half a cosine down to zero at the end of the run."""
    total = steps_per_epoch * (config.self_epochs + config.text_epochs)
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, total - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def _follow(average: Model, model: Model, decay: float) -> None:
    for kept, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def _open_run(out: Path, config: PretrainConfig, resume: bool) -> None:
    """Claim ``out`` for this run, or check that it holds the run that is to be resumed."""
    file = out / "config.json"
    if file.exists():
        if not resume:
            raise TmorError(f"{out} already holds a run; continue it with --resume, or choose another folder")
        try:  # read as a config: one of before lacks the keys that came later
            same = pretrain_config(json.loads(file.read_text())) == config
        except (ValueError, ConfigError):  # somebody else's file
            same = False
        if not same:
            raise TmorError(f"{out} holds a run of another config; --resume continues only the same one")
    elif out.exists() and not out.is_dir():
        raise TmorError(f"{out} is a file; choose another folder")
    elif out.exists() and not all(path.name.startswith(".") for path in out.iterdir()):
        raise TmorError(f"{out} is not empty and holds no run; choose another folder")
    else:
        write_whole(file, json.dumps(config.as_dict(), indent=1).encode())


def _append_log(out: Path, record: dict[str, Any]) -> None:
    """One line per epoch; a line that a killed run left beyond its last checkpoint is replaced."""
    path = out / "log.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    records = [r for r in map(json.loads, lines) if r["epoch"] < record["epoch"]] + [record]
    write_whole(path, "".join(f"{json.dumps(r)}\n" for r in records).encode())
    columns = list(dict.fromkeys(key for r in records for key in r))
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    write_whole(out / "log.csv", table.getvalue().encode())


def _store(state: _State, path: Path) -> None:
    tensors = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    tensors |= {f"average.{k}": v.clone() for k, v in state.average.state_dict().items()}
    if state.distillation is not None:
        tensors |= {f"distillation.{k}": v for k, v in state.distillation.state_dict().items()}
    for i, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{k}": v for k, v in values.items()}
    for name, bank in state.banks.items():
        tensors |= {f"bank.{name}.ids": bank.ids, f"bank.{name}.rows": bank.rows, f"bank.{name}.keys": bank.keys}
    tensors["clusters"] = state.clusters
    header = {"kind": "training state", "epoch": state.epoch, "step": state.step, "eps": state.eps}
    header |= {"begun_with": state.begun_with}
    write_tensors(path, tensors, header | {"banks": {name: bank.at for name, bank in state.banks.items()}})


def _stored(path: Path, begun_with: dict[str, str]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The state of a run that began with the same; None where it was not yet written."""
    if not path.exists():
        return None
    tensors, header = read_tensors(path)
    if header.get("kind") != "training state":
        raise CheckpointError(f"{path}: holds {header.get('kind', 'something unknown')}; expected a training state")
    for what, known in header.get("begun_with", {}).items():  # states of before say nothing of it
        if begun_with.get(what) != known:
            raise TmorError(
                f"{path}: the {what} are not those that the run began with; --resume continues only with the same "
                "ids, sources, lengths and texts of clips, and the same weights of teachers"
            )
    return tensors, header


def _restore(state: _State, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    def below(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    state.model.load_state_dict(below("model."))
    state.average.load_state_dict(below("average."))
    if state.distillation is not None:
        state.distillation.load_state_dict(below("distillation."))
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in below("optimizer.").items():
        index, name = key.split(".", 1)
        slots.setdefault(int(index), {})[name] = value
    state.optimizer.load_state_dict({**state.optimizer.state_dict(), "state": slots})
    state.clusters = tensors["clusters"]
    state.epoch, state.step, state.eps = header["epoch"], header["step"], header["eps"]
    for name, at in header["banks"].items():
        bank = below(f"bank.{name}.")
        device = state.model.centre.device
        state.banks[name] = Bank(bank["ids"].to(device), bank["rows"].to(device), bank["keys"].to(device), at)
