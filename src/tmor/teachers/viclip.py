"""ViCLIP, the paper's frozen video and text encoder, in plain torch (METHOD section 6)."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tmor.errors import CheckpointError
from tmor.teachers.clip_bpe import SIZE as WORDS
from tmor.teachers.clip_bpe import ClipTokens
from tmor.teachers.weights import read_weights

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pixels (0 to 1) that it was trained on, red, green, blue."""

_HEAD = 64  # channels of an attention head, in every CLIP
_BATCH = 8  # clips at once: an L/14 needs about 60 MB for each
_EXTRA = {"temp"}  # the temperature it was trained with


@dataclass(frozen=True)
class ViClipShape:
    """The network's sizes. B/16 and L/14 are the published ones; a smaller one serves tests.

    Args:
        patch, grid: pixels along a side of a patch, patches along a side of a frame.
        frames: of a clip.
        width, layers: of the video transformer; its heads have 64 channels.
        text_length: tokens of a text, with the start and the end mark.
        text_width, text_layers: of the text transformer; its heads have 64 channels.
        output: width of the embeddings.
    """

    patch: int = 16
    grid: int = 14
    frames: int = 8
    width: int = 768
    layers: int = 12
    text_length: int = 32
    text_width: int = 512
    text_layers: int = 12
    output: int = 512

    @property
    def gflop(self) -> float:
        """Of one clip, a multiplication and an addition counted as two."""
        patches = self.frames * self.grid**2
        tokens = patches + 1
        layer = 24 * tokens * self.width**2 + 4 * tokens**2 * self.width
        return (self.layers * layer + 2 * patches * self.width * 3 * self.patch**2) / 1e9


B16 = ViClipShape()
L14 = ViClipShape(patch=14, grid=16, width=1024, layers=24, text_width=768, output=768)


class ViCLIP(nn.Module):
    """The encoder with random weights; :func:`load_viclip` gives it those of a file. Frozen: no gradients.

    ``name`` says what it is, ``width`` is the size of its embeddings, ``frames`` and ``size`` are those of its clips.
    """

    def __init__(self, shape: ViClipShape = B16, *, name: str = "viclip") -> None:
        super().__init__()
        self.shape, self.name = shape, name
        self.width, self.frames, self.size = shape.output, shape.frames, shape.patch * shape.grid
        self.vision_encoder = _VideoEncoder(shape)
        self.text_encoder = _TextEncoder(shape)
        self.vocabulary_folder: Path | None = None
        self.eval().requires_grad_(False)

    @cached_property
    def hash(self) -> str:
        """Of the weights as they are computed with: the same from .pth and .safetensors, and from any folder."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()[:16]

    @cached_property
    def _tokens(self) -> ClipTokens:
        return ClipTokens(self.vocabulary_folder)

    @torch.inference_mode()
    def encode_video(self, pixels: Tensor) -> Tensor:
        """The embeddings of clips.

        Args:
            pixels: (b, frames, 3, size, size) float, RGB from 0 to 1, normalised with ``MEAN`` and ``STD``.

        Returns:
            (b, width) float32, L2-normalised, on the device of the weights.

        Raises:
            ValueError: ``pixels`` has another shape.
        """
        expected = (self.frames, 3, self.size, self.size)
        if pixels.ndim != 5 or tuple(pixels.shape[1:]) != expected:
            raise ValueError(f"pixels has shape {tuple(pixels.shape)}; expected (clips, {str(expected)[1:]}")
        device = self.vision_encoder.proj.device
        rows = [self.vision_encoder(part.to(device, torch.float32)) for part in pixels.split(_BATCH)]
        return F.normalize(torch.cat(rows), dim=1)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """The embeddings of texts; what goes beyond ``text_length`` tokens is cut off.

        Returns:
            (len(texts), width) float32, L2-normalised, on the device of the weights.

        Raises:
            TmorError: CLIP's vocabulary is not installed.
        """
        device = self.text_encoder.text_projection.device
        rows = [torch.zeros((0, self.width), device=device)]
        for i in range(0, len(texts), 64):
            tokens = torch.from_numpy(self._tokens(texts[i : i + 64], length=self.shape.text_length))
            rows.append(self.text_encoder(tokens.to(device)))
        return F.normalize(torch.cat(rows), dim=1)


# The modules below are named as the official tensors are.


class _VideoEncoder(nn.Module):
    def __init__(self, shape: ViClipShape) -> None:
        super().__init__()
        width, scale = shape.width, shape.width**-0.5
        self.conv1 = nn.Conv3d(3, width, (1, shape.patch, shape.patch), (1, shape.patch, shape.patch), bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(1 + shape.grid**2, width))
        self.temporal_positional_embedding = nn.Parameter(scale * torch.randn(1, shape.frames, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = _Transformer(width, shape.layers)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, shape.output))

    def forward(self, pixels: Tensor) -> Tensor:
        """(b, frames, 3, size, size) -> (b, output)."""
        b, frames = pixels.shape[:2]
        kernel = self.conv1.weight[:, :, 0]
        x = F.conv2d(pixels.flatten(0, 1), kernel, stride=kernel.shape[-1]).flatten(2).transpose(1, 2)
        # Frame by frame, where the authors go patch by patch: every token has its position, so the order is all one.
        x = x.unflatten(0, (b, frames)) + self.positional_embedding[1:] + self.temporal_positional_embedding[:, :, None]
        first = (self.class_embedding + self.positional_embedding[0]).expand(b, 1, -1)
        x = self.transformer(self.ln_pre(torch.cat([first, x.flatten(1, 2)], dim=1)))
        return self.ln_post(x[:, 0]) @ self.proj


class _TextEncoder(nn.Module):
    def __init__(self, shape: ViClipShape) -> None:
        super().__init__()
        width = shape.text_width
        self.token_embedding = nn.Embedding(WORDS, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(shape.text_length, width))
        self.transformer = _Transformer(width, shape.text_layers, causal=True)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(width**-0.5 * torch.randn(width, shape.output))

    def forward(self, tokens: Tensor) -> Tensor:
        """(b, length) int64 -> (b, output)."""
        end = tokens.argmax(dim=1)  # the end mark is the last of all words
        # No token sees a later one, so what follows the last end mark needs no computing.
        tokens = tokens[:, : int(end.max()) + 1]
        x = self.transformer(self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]])
        return self.ln_final(x[torch.arange(len(x)), end]) @ self.text_projection


class _Transformer(nn.Module):
    def __init__(self, width: int, layers: int, *, causal: bool = False) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(_Block(width, causal=causal) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resblocks:
            x = block(x)
        return x


class _Block(nn.Module):
    def __init__(self, width: int, *, causal: bool) -> None:
        super().__init__()
        self.attn = _Attention(width, causal=causal)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        inner = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](inner * torch.sigmoid(1.702 * inner))


class _Attention(nn.Module):
    def __init__(self, width: int, *, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.in_proj_weight = nn.Parameter(width**-0.5 * torch.randn(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            F.linear(x, self.in_proj_weight, self.in_proj_bias).unflatten(2, (3, -1, _HEAD)).permute(2, 0, 3, 1, 4)
        )
        return self.out_proj(F.scaled_dot_product_attention(q, k, v, is_causal=self.causal).transpose(1, 2).flatten(2))


def load_viclip(path: str | Path) -> ViCLIP:
    """ViCLIP with the weights of an official checkpoint, whose tensors tell its sizes (B/16, L/14).

    Weights stay on disk until they are used; half-precision ones are brought to float32.

    Args:
        path: ``.pth`` with {"model": tensors by name} or the tensors alone, or ``.safetensors``; which it is, its
            content says. CLIP's vocabulary file may lie beside it.

    Raises:
        CheckpointError: there is no such file, it is no such checkpoint, it would run code, or a tensor is missing,
            unexpected or of another shape.
    """
    path = Path(path)
    tensors = {name: tensor for name, tensor in read_weights(path, of="ViCLIP").items() if name not in _EXTRA}
    shape = _shape(path, tensors)
    with torch.device("meta"):
        model = ViCLIP(shape, name=f"viclip:{path}")
    expected = model.state_dict()
    for name, tensor in expected.items():
        if name not in tensors:
            raise CheckpointError(f"{path}: tensor '{name}' is missing")
        if tensors[name].shape != tensor.shape:
            raise CheckpointError(
                f"{path}: tensor '{name}' has shape {tuple(tensors[name].shape)}; expected {tuple(tensor.shape)}"
            )
        if not tensors[name].is_floating_point():
            raise CheckpointError(f"{path}: tensor '{name}' is {tensors[name].dtype}; expected floating-point numbers")
    for name in tensors:
        if name not in expected:
            raise CheckpointError(f"{path}: tensor '{name}' is unexpected; ViCLIP has none of that name")
    model.load_state_dict({name: tensors[name].float().contiguous() for name in expected}, assign=True)
    model.vocabulary_folder = path.parent
    return model.requires_grad_(False)


def _shape(path: Path, tensors: dict[str, Tensor]) -> ViClipShape:
    """The sizes that the tensors tell; whether all of them agree is for the caller to check."""

    def sizes(name: str, ndim: int) -> torch.Size:
        if name not in tensors:
            raise CheckpointError(f"{path}: tensor '{name}' is missing")
        if tensors[name].ndim != ndim or 0 in tensors[name].shape:
            raise CheckpointError(
                f"{path}: tensor '{name}' has shape {tuple(tensors[name].shape)}; expected {ndim} sizes above 0"
            )
        return tensors[name].shape

    def layers(encoder: str) -> int:
        pattern = re.compile(encoder + r"\.transformer\.resblocks\.(\d+)\.")
        return len({found[1] for name in tensors if (found := pattern.match(name))})

    width, _, _, patch, _ = sizes("vision_encoder.conv1.weight", 5)
    positions = sizes("vision_encoder.positional_embedding", 2)[0]
    text_length, text_width = sizes("text_encoder.positional_embedding", 2)
    for name, value in (("vision_encoder", width), ("text_encoder", text_width)):
        if value % _HEAD:
            raise CheckpointError(
                f"{path}: '{name}' is {value} wide; expected a multiple of {_HEAD}, a head's channels"
            )
    if text_length < 3:
        raise CheckpointError(f"{path}: texts have {text_length} positions; expected at least 3")
    return ViClipShape(
        patch=patch,
        grid=math.isqrt(positions - 1),
        frames=sizes("vision_encoder.temporal_positional_embedding", 3)[1],
        width=width,
        layers=layers("vision_encoder"),
        text_length=text_length,
        text_width=text_width,
        text_layers=layers("text_encoder"),
        output=sizes("vision_encoder.proj", 2)[1],
    )
