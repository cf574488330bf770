"""Frozen text and video encoders by name: sentence encoders, CLIP-like models, ViCLIP."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tmor.errors import TmorError
from tmor.teachers.offline import SHA256, offline_folder

if TYPE_CHECKING:
    from torch import Tensor

# Text towers alone: model type -> class.
_SIGLIP_TEXT = {"siglip_text_model": "SiglipTextModel", "siglip2_text_model": "Siglip2TextModel"}

_FRAMES = 8  # of a clip, for teachers of single images
_BATCH = 8  # clips at once


class TextTeacher(Protocol):
    """A frozen text encoder E_T.

    ``name`` says how to load it again, ``hash`` identifies its weights, ``width`` is the size of its embeddings.
    """

    name: str
    hash: str
    width: int

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(len(texts), width) float32, L2-normalised."""
        ...


class VideoTeacher(Protocol):
    """A frozen video encoder E_V.

    ``name`` says how to load it again, ``hash`` identifies its weights, ``width`` is the size of its embeddings; it
    looks at ``frames`` pictures of ``size`` x ``size`` pixels, evenly spaced over a clip.
    """

    name: str
    hash: str
    width: int
    frames: int
    size: int

    def encode_video(self, pixels: Tensor) -> np.ndarray:
        """(b, frames, 3, size, size) uint8, RGB, not normalised -> (b, width) float32, L2-normalised."""
        ...


class DualTeacher(TextTeacher, VideoTeacher, Protocol):
    """Both at once, in one space of embeddings."""


def load_text_teacher(name: str) -> TextTeacher:
    """The text teacher of that name.

    Args:
        name: ``offline`` for the encoder that ships in a package; ``viclip:FILE``, or just a file that ends in .pth,
            .pt or .safetensors, for ViCLIP's text side; else a folder, else a Hugging Face hub id.

    Raises:
        TmorError: the model can't be found or fetched, or has no text encoder.
    """
    if name == "offline":
        teacher = _Sentences(_Folder("offline", offline_folder()))
        if not SHA256.startswith(teacher.hash):
            raise TmorError(f"the offline text teacher's weights have sha256 {teacher.hash}...; expected {SHA256}")
        return teacher
    viclip = _viclip_file(name)
    if viclip is not None:
        return _ViClip(name, viclip, "cpu")
    folder = _Folder(name, fetched_folder("teacher", name, ", or use 'offline'"))
    return _Dual(folder, "cpu") if folder.dual else _Sentences(folder)


def load_video_teacher(name: str) -> DualTeacher:
    """The video teacher of that name, with the text encoder that shares its space; on a GPU where there is one.

    Args:
        name: ``viclip:FILE``, or just a file that ends in .pth, .pt or .safetensors, for ViCLIP; else a folder, else a
            Hugging Face hub id, of X-CLIP (sees the motion), or CLIP, SigLIP or SigLIP 2 (the mean over the frames).

    Raises:
        TmorError: the model can't be found or fetched, or has no image or video encoder.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    viclip = _viclip_file(name)
    if viclip is not None:
        return _ViClip(name, viclip, device)
    folder = _Folder(name, fetched_folder("teacher", name, ", or give ViCLIP's checkpoint as viclip:FILE"))
    if not folder.sees:
        raise TmorError(
            f"teacher '{name}' is a '{folder.kind}', which has no image or video encoder; "
            "expected ViCLIP, X-CLIP, CLIP, SigLIP or SigLIP 2"
        )
    return _Dual(folder, device)


def _viclip_file(name: str) -> Path | None:
    if name.startswith("viclip:"):
        return Path(name.removeprefix("viclip:"))
    return Path(name) if name.endswith((".pth", ".pt", ".safetensors")) else None


def fetched_folder(what: str, name: str, instead: str = "") -> Path:
    """The folder of a model in Hugging Face's format.

    Args:
        what: the model is, for the message.
        name: a folder, or an id of the hub, from which settings and weights are then fetched; no code ever is.
        instead: what else the user could do.

    Raises:
        TmorError: it is neither.
    """
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]))
    except Exception as error:  # the hub's client lets through whatever its HTTP library of the day raises
        raise TmorError(
            f"{what} '{name}' is neither a folder nor could it be fetched from the Hugging Face hub "
            f"({type(error).__name__}); pass a folder with config.json and *.safetensors{instead}"
        ) from error


def weight_files(what: str, name: str, folder: Path) -> list[Path]:
    """The files of weights in a folder in Hugging Face's format.

    Args:
        what, name: the model is, for the message.

    Raises:
        TmorError: there are none, or no config.json beside them.
    """
    found = sorted(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file() or not found:
        raise TmorError(f"{what} '{name}': {folder} holds no config.json with *.safetensors beside it")
    return found


class _Folder:
    """A model in Hugging Face's format: what its small files say, and the hash of its weights."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.hash = _sha256(weight_files("teacher", name, path))[:16]
        self.said = self.json("config.json")
        self.kind: str = self.said.get("model_type") or ""
        self.sees = "vision_config" in self.said
        # CLIP-like models keep their two towers' configurations apart; SigLIP's text tower may also come alone.
        self.dual = "text_config" in self.said or self.kind in _SIGLIP_TEXT

    def json(self, file: str) -> dict[str, Any]:
        """What a JSON file says; nothing where there is none."""
        path = self.path / file
        try:
            found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except ValueError as error:
            raise TmorError(f"teacher '{self.name}': {path} is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise TmorError(f"teacher '{self.name}': {path} holds {type(found).__name__}; expected a JSON object")
        return found


def _sha256(files: Sequence[Path]) -> str:
    """Of one file its own, of several that of theirs in order."""
    digests = []
    for file in files:
        with file.open("rb") as opened:
            digests.append(hashlib.file_digest(opened, "sha256"))
    return (
        digests[0].hexdigest()
        if len(digests) == 1
        else hashlib.sha256(b"".join(d.digest() for d in digests)).hexdigest()
    )


def _in_batches(texts: Sequence[str], width: int, encode: Callable[[list[str]], np.ndarray]) -> np.ndarray:
    rows = [encode(list(texts[i : i + 64])) for i in range(0, len(texts), 64)]
    x = np.concatenate(rows) if rows else np.zeros((0, width), dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True).clip(min=1e-12)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without transformers' bar for weights that are read from the disk in a moment."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


class _Sentences:
    """A sentence encoder."""

    def __init__(self, folder: _Folder) -> None:
        self.name, self.hash, self._path = folder.name, folder.hash, folder.path
        self.width: int = folder.said["hidden_size"]

    @cached_property
    def _model(self):
        from sentence_transformers import SentenceTransformer

        with _quietly():
            return SentenceTransformer(str(self._path), device="cpu", local_files_only=True)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        def rows(some: list[str]) -> np.ndarray:
            return np.asarray(self._model.encode(some, show_progress_bar=False), dtype=np.float32)

        return _in_batches(texts, self.width, rows)


class _Dual:
    """A CLIP-like model, or the text tower of one. Weights are loaded when first used, once for both sides."""

    def __init__(self, folder: _Folder, device: str) -> None:
        from transformers import AutoConfig

        self.name, self.hash = folder.name, folder.hash
        self._folder, self._device = folder, device
        # Configs on the hub leave out what is usual.
        config = AutoConfig.from_pretrained(folder.path)
        text, vision = getattr(config, "text_config", config), getattr(config, "vision_config", None)
        self.width: int = (
            getattr(config, "projection_dim", None) or getattr(text, "projection_size", None) or text.hidden_size
        )
        self._length: int = text.max_position_embeddings
        if vision is not None:
            self.frames: int = getattr(vision, "num_frames", _FRAMES)
            self._patch: int = vision.patch_size
            # SigLIP 2 may take any grid of patches of up to so many; a square is one.
            self.size: int = (
                self._patch * math.isqrt(vision.num_patches) if folder.kind == "siglip2" else vision.image_size
            )

    @cached_property
    def _model(self):
        import transformers

        loader = getattr(transformers, _SIGLIP_TEXT.get(self._folder.kind, "AutoModel"))
        with _quietly():
            return loader.from_pretrained(self._folder.path).eval().to(self._device)

    @cached_property
    def _tokenizer(self):
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self._folder.path)

    @cached_property
    def _mean_std(self) -> tuple[list[float], list[float]]:
        files = ("preprocessor_config.json", "processor_config.json")
        for said in map(self._folder.json, files):
            said = said.get("image_processor", said)
            pair = said.get("image_mean"), said.get("image_std")
            if all(isinstance(x, list) and len(x) == 3 and all(isinstance(v, int | float) for v in x) for x in pair):
                return pair
        raise TmorError(
            f"teacher '{self.name}': neither {' nor '.join(files)} in {self._folder.path} gives image_mean and "
            "image_std, three numbers each"
        )

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        siglip = self._folder.kind.startswith("siglip")
        features = self._model if self._folder.kind in _SIGLIP_TEXT else self._model.get_text_features

        @torch.inference_mode()
        def rows(some: list[str]) -> np.ndarray:
            # SigLIP was trained on texts in lower case, padded to its full length, and looks at the padding too.
            tokens = self._tokenizer(
                [text.lower() for text in some] if siglip else some,
                padding="max_length" if siglip else True,
                truncation=True,
                max_length=self._length,
                return_attention_mask=not siglip,
                return_tensors="pt",
            )
            return _pooled(features(**tokens.to(self._device))).cpu().numpy()

        return _in_batches(texts, self.width, rows)

    def encode_video(self, pixels: Tensor) -> np.ndarray:
        import torch

        from tmor.teachers.frames import normalised

        @torch.inference_mode()
        def rows(some: Tensor) -> Tensor:
            x = normalised(some.to(self._device), *self._mean_std)
            if hasattr(self._model, "get_video_features"):
                return _pooled(self._model.get_video_features(pixel_values=x))
            images = _pooled(self._model.get_image_features(**self._images(x.flatten(0, 1))))
            images = torch.nn.functional.normalize(images, dim=1)
            return images.unflatten(0, (-1, self.frames)).mean(dim=1)

        parts = [torch.nn.functional.normalize(rows(part), dim=1).cpu() for part in pixels.split(_BATCH)]
        return torch.cat(parts).numpy()

    def _images(self, x: Tensor) -> dict[str, Tensor]:
        """(n, 3, size, size) as the model takes it."""
        if self._folder.kind != "siglip2":
            return {"pixel_values": x}
        import torch

        grid, patch = self.size // self._patch, self._patch
        patches = x.reshape(-1, 3, grid, patch, grid, patch).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        return {
            "pixel_values": patches,
            "pixel_attention_mask": torch.ones(patches.shape[:2], dtype=torch.long, device=x.device),
            "spatial_shapes": torch.full((len(x), 2), grid, device=x.device),
        }


def _pooled(out: Any) -> Tensor:
    """transformers before 5 gives the features themselves."""
    return getattr(out, "pooler_output", out).float()


class _ViClip:
    """ViCLIP behind the protocols."""

    def __init__(self, name: str, path: Path, device: str) -> None:
        from tmor.teachers.viclip import load_viclip

        self._model = load_viclip(path).to(device)
        self.name, self.hash, self.width = name, self._model.hash, self._model.width
        self.frames, self.size = self._model.frames, self._model.size

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return self._model.encode_text(texts).cpu().numpy()

    def encode_video(self, pixels: Tensor) -> np.ndarray:
        from tmor.teachers.frames import normalised
        from tmor.teachers.viclip import MEAN, STD

        return self._model.encode_video(normalised(pixels, MEAN, STD)).cpu().numpy()
