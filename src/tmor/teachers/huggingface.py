"""Frozen text encoders: sentence encoders and the text side of CLIP-like models, by hub id or local folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from tmor.errors import TmorError
from tmor.teachers.offline import SHA256, offline_folder

# Text towers alone: model type -> class.
_SIGLIP_TEXT = {"siglip_text_model": "SiglipTextModel", "siglip2_text_model": "Siglip2TextModel"}


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


def load_text_teacher(name: str) -> TextTeacher:
    """The text teacher of that name.

    Args:
        name: ``offline`` for the encoder that ships in a package, else a folder, else a Hugging Face hub id.

    Raises:
        TmorError: the model can't be found or fetched, or has no text encoder.
    """
    if name == "offline":
        teacher = _HuggingFaceText("offline", offline_folder())
        if not SHA256.startswith(teacher.hash):
            raise TmorError(f"the offline text teacher's weights have sha256 {teacher.hash}...; expected {SHA256}")
        return teacher
    return _HuggingFaceText(name, _folder(name))


def _folder(name: str) -> Path:
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"]))
    except Exception as error:
        raise TmorError(
            f"teacher '{name}' is neither a folder nor could it be fetched from the Hugging Face hub "
            f"({type(error).__name__}); pass a folder with config.json and model.safetensors, or use 'offline'"
        ) from error


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


class _HuggingFaceText:
    def __init__(self, name: str, folder: Path) -> None:
        self.name, self._folder = name, folder
        weights = sorted(folder.glob("*.safetensors"))
        if not (folder / "config.json").is_file() or not weights:
            raise TmorError(f"teacher '{name}': {folder} holds no config.json with *.safetensors beside it")
        self.hash = _sha256(weights)[:16]
        config = json.loads((folder / "config.json").read_text())
        self._kind: str = config.get("model_type") or ""
        # CLIP-like models keep their two towers' configurations apart; SigLIP's text tower may also come alone.
        self._dual = "text_config" in config or self._kind in _SIGLIP_TEXT
        self.width = _dual_width(folder) if self._dual else config["hidden_size"]
        self._encoder = None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        if self._encoder is None:
            self._encoder = self._load_dual() if self._dual else self._load_sentence()
        rows = [self._encoder(list(texts[i : i + 64])) for i in range(0, len(texts), 64)]
        x = np.concatenate(rows) if rows else np.zeros((0, self.width), dtype=np.float32)
        return x / np.linalg.norm(x, axis=1, keepdims=True).clip(min=1e-12)

    def _load_sentence(self):
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(self._folder), device="cpu", local_files_only=True)
        return lambda texts: np.asarray(model.encode(texts, show_progress_bar=False), dtype=np.float32)

    def _load_dual(self):
        import torch
        import transformers

        tokenizer = transformers.AutoTokenizer.from_pretrained(self._folder)
        if self._kind in _SIGLIP_TEXT:
            model = getattr(transformers, _SIGLIP_TEXT[self._kind]).from_pretrained(self._folder).eval()
            length, features = model.config.max_position_embeddings, model
        else:
            model = transformers.AutoModel.from_pretrained(self._folder).eval()
            length, features = model.config.text_config.max_position_embeddings, model.get_text_features
        siglip = self._kind.startswith("siglip")

        def encode(texts: list[str]) -> np.ndarray:
            # SigLIP was trained on texts in lower case, padded to its full length, and looks at the padding too.
            tokens = tokenizer(
                [text.lower() for text in texts] if siglip else texts,
                padding="max_length" if siglip else True,
                truncation=True,
                max_length=length,
                return_attention_mask=not siglip,
                return_tensors="pt",
            )
            with torch.inference_mode():
                out = features(**tokens)
            return (out if isinstance(out, torch.Tensor) else out.pooler_output).float().numpy()

        return encode


def _dual_width(folder: Path) -> int:
    """The size of a CLIP-like model's text embeddings; configs on the hub leave out what is usual."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder)
    text = getattr(config, "text_config", config)
    return getattr(config, "projection_dim", None) or getattr(text, "projection_size", None) or text.hidden_size
