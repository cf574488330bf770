"""Captioners: text for clips that have none, from the skeleton, from frames of the video, or from the class name."""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tmor.config import cache_folder
from tmor.errors import TmorError
from tmor.posecap.captions import plain_label
from tmor.posecap.filters import is_refusal
from tmor.posecap.kinematics import describe_movement
from tmor.skeleton.formats.files import whole_file
from tmor.skeleton.tracks import Track
from tmor.teachers.huggingface import fetched_folder, weight_files

_log = logging.getLogger("tmor")


@dataclass(frozen=True, eq=False)
class Clip:
    """What a captioner may look at.

    Args:
        track: one person's movement; None = not there.
        frames: (n, height, width, 3) uint8 RGB, evenly spaced over the clip; None = not there.
        label: the class name; None = not known.
    """

    track: Track | None = None
    frames: np.ndarray | None = None
    label: str | None = None


class Captioner(Protocol):
    """Puts a clip into words.

    ``name`` becomes the captions' origin.
    """

    name: str

    def __call__(self, clip: Clip) -> tuple[str, ...]:
        """Texts, the plainest first; none where the clip lacks what the captioner looks at, or there is nothing to say.

        Raises:
            TmorError: the captioner itself does not work: no answer, no such model.
        """
        ...


def load_captioner(name: str, *, dry_run: bool = False) -> Captioner:
    """The captioner of that name.

    Args:
        name: ``kinematic``; ``ENDPOINT#MODEL`` for a language model that describes class names, such as
            ``https://api.openai.com/v1#gpt-4o-mini``; else a folder or hub id of an image-text-to-text model.
        dry_run: of an endpoint: print what it would be asked, and ask nothing.

    Raises:
        TmorError: there is no such captioner, or an endpoint without a model.
    """
    if name == KinematicCaptioner.name:
        return KinematicCaptioner()
    if re.match(r"https?://", name):
        endpoint, _, model = name.partition("#")
        if not model:
            raise TmorError(f"captioner '{name}': expected the endpoint's model behind a #, such as {endpoint}#MODEL")
        return EndpointCaptioner(endpoint, model, dry_run=dry_run)
    return PictureCaptioner(name)


class KinematicCaptioner:
    """Reads the skeleton by rules (:func:`tmor.posecap.kinematics.describe_movement`); needs no model, no network."""

    name = "kinematic"

    def __init__(self, *, phases: int = 3) -> None:
        self.phases = phases

    def __call__(self, clip: Clip) -> tuple[str, ...]:
        if clip.track is None or np.isnan(clip.track.keypoints).all():
            return ()
        text = describe_movement(clip.track, phases=self.phases)
        return (text,) if text else ()


# ---- Models that look at pictures.

PICTURE_PROMPT = (
    "These are frames of a short video, in order. Describe in one sentence how the person's body moves: which limbs, "
    "in which direction, how often, in which order. Leave out clothes, looks and surroundings."
)


class PictureCaptioner:
    """Any image-text-to-text model of Hugging Face transformers, such as SmolVLM, Qwen2-VL or LLaVA.

    Only classes of transformers itself and safetensors are loaded, never code that comes with a model.

    Args:
        model: a folder, else a hub id, which is fetched.
        prompt: what the model is asked.
        frames: at most so many of a clip's frames are shown, evenly spaced.
        longest: of an answer, in tokens.

    Raises:
        TmorError: the model can't be found, fetched or loaded, or is of another kind.
    """

    def __init__(self, model: str, *, prompt: str = PICTURE_PROMPT, frames: int = 8, longest: int = 80) -> None:
        if frames < 1 or longest < 1:
            raise TmorError(f"captioner '{model}': {frames} frames, {longest} tokens; expected at least 1 of each")
        self.name, self.prompt, self.frames, self.longest = model, prompt, frames, longest
        self._folder = fetched_folder("captioner", model)
        weight_files("captioner", model, self._folder)
        self._loaded: tuple[Any, Any] | None = None

    def __call__(self, clip: Clip) -> tuple[str, ...]:
        if clip.frames is None or not len(clip.frames):
            return ()
        import torch
        from PIL import Image

        if self._loaded is None:
            self._loaded = self._load()
        model, processor = self._loaded
        chosen = np.linspace(0, len(clip.frames) - 1, min(self.frames, len(clip.frames))).round().astype(int)
        inputs = self._inputs(processor, [Image.fromarray(clip.frames[i]) for i in chosen])
        inputs = inputs.to(model.device, model.dtype)  # of what is no whole number, as pictures are
        with torch.inference_mode():
            # Greedy: the same clip is given the same words.
            out = model.generate(**inputs, max_new_tokens=self.longest, do_sample=False)
        answer = processor.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]
        text = " ".join(answer.split())
        return (text,) if text else ()

    def _inputs(self, processor: Any, images: list[Any]) -> Any:
        if getattr(processor, "chat_template", None):
            content = [*({"type": "image", "image": image} for image in images), {"type": "text", "text": self.prompt}]
            return processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
        places = " ".join([getattr(processor, "image_token", "<image>")] * len(images))
        return processor(images=images, text=f"{places}\n{self.prompt}", return_tensors="pt")

    def _load(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        options = {"local_files_only": True, "trust_remote_code": False}
        try:
            model: Any = AutoModelForImageTextToText.from_pretrained(self._folder, use_safetensors=True, **options)
            model = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
            return model, AutoProcessor.from_pretrained(self._folder, **options)
        except Exception as error:  # whatever a folder from outside may be lacking
            raise TmorError(
                f"captioner '{self.name}' can't be loaded as an image-text-to-text model: {type(error).__name__}: "
                f"{' '.join(str(error).split())[:300]}"
            ) from error


# ---- Language models behind an endpoint.

_KEY_VARIABLE = "OPENAI_API_KEY"
_COUNT = 4  # descriptions of a label
_MOST_BYTES = 2**20
_LONGEST_WAIT_S = 60.0
_AGAIN = (408, 429, 500, 502, 503, 504)


class EndpointCaptioner:
    """Descriptions of a class name's movement by a language model behind an OpenAI-compatible endpoint.

    Answers are kept in the cache folder by endpoint, model and prompt, so no label is paid for twice. The key is read
    from ``OPENAI_API_KEY`` when a request is made (not set = none is sent); it is neither kept, nor logged, nor part of
    any message.

    Args:
        base_url: of the endpoint, such as ``https://api.openai.com/v1``. A key is sent over https only, or to this
            very machine.
        model: the endpoint's name of a model.
        timeout_s: of one try.
        tries: of one request, with growing pauses, where the endpoint is busy, fails, does not answer in time or
            answers something else than a JSON list of texts.
        dry_run: print prompts, each once, instead of sending them; the clips are then given no text.

    Raises:
        TmorError: ``base_url`` is no http(s) address.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        timeout_s: float = 60.0,
        tries: int = 5,
        dry_run: bool = False,
    ) -> None:
        address = urllib.parse.urlsplit(base_url)
        if address.scheme not in ("http", "https") or not address.hostname or address.username or address.query:
            raise TmorError(
                f"endpoint {address.scheme}://{address.hostname}: expected an address such as "
                "https://api.openai.com/v1, without a name, key or query in it"
            )
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._safe = address.scheme == "https" or address.hostname in ("localhost", "127.0.0.1", "::1")
        self._model, self._timeout_s, self._tries, self._dry_run = model, timeout_s, max(tries, 1), dry_run
        self._printed: set[str] = set()
        self.name = f"{model} at {address.hostname}"

    def prompt(self, label: str) -> str:
        """What the model is asked about a label."""
        return (
            f"Write {_COUNT} different English descriptions, of 8 to 25 words each, of how the body of a person "
            f"moves who does this action: {json.dumps(plain_label(label), ensure_ascii=False)}. Say which limbs move, "
            "where to, in which order; no names, clothes, objects' brands or surroundings, and no left or right unless "
            "the action says so. Answer with a JSON list of strings and nothing else."
        )

    def __call__(self, clip: Clip) -> tuple[str, ...]:
        if clip.label is None or not clip.label.strip():
            return ()
        prompt = self.prompt(clip.label)
        if self._dry_run:
            if prompt not in self._printed:
                print(prompt)
                self._printed.add(prompt)
            return ()
        id = hashlib.sha256(json.dumps([self._url, self._model, prompt]).encode()).hexdigest()
        path = cache_folder() / "captions" / f"{id}.json"
        known = _remembered(path)
        if known is None:
            known = self._asked(prompt, clip.label)
            if known:
                _remember(path, known)
        return known

    def _asked(self, prompt: str, label: str) -> tuple[str, ...]:
        problem = ""
        for n in range(self._tries):
            wait_s = 0.0
            try:
                answer = self._sent(prompt)
                if is_refusal(answer):
                    _log.warning("%s refused to describe '%s'; it gets no text", self.name, label)
                    return ()
                texts = _listed(answer)
                if texts:
                    return texts[:_COUNT]
                problem = f"the answer is no JSON list of texts: {_hidden(answer)[:120]!r}"
            except urllib.error.HTTPError as error:
                with error:
                    said = _hidden(error.read(2000).decode("utf-8", errors="replace"))
                    problem = f"HTTP {error.code}: {' '.join(said.split())[:200]}"
                    if error.code not in _AGAIN:
                        raise TmorError(f"{self.name}: {problem}{_key_hint(error.code)}") from None
                    wait_s = _seconds(error.headers.get("Retry-After"))
            except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
                reason = getattr(error, "reason", error)
                problem = f"{type(reason).__name__}: {_hidden(str(reason))}"
            except ValueError as error:
                problem = f"the answer can't be read: {_hidden(str(error))[:120]}"
            if n + 1 < self._tries:
                time.sleep(min(max(wait_s, 2.0**n), _LONGEST_WAIT_S))
        raise TmorError(f"{self.name}: no description of '{label}' after {self._tries} tries; {problem}")

    def _sent(self, prompt: str) -> str:
        """The model's answer."""
        headers = {"Content-Type": "application/json"}
        if key := _key():
            if not self._safe:
                raise TmorError(
                    f"{self.name}: a key would go over http in the clear; expected https, or unset {_KEY_VARIABLE}"
                )
            headers["Authorization"] = f"Bearer {key}"
        body = {"model": self._model, "messages": [{"role": "user", "content": prompt}]}
        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers, method="POST")
        with urllib.request.build_opener(_Stay).open(request, timeout=self._timeout_s) as response:
            content = response.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError("it is longer than 1 MiB")
        try:
            answer = json.loads(content)["choices"][0]["message"]
            return str(answer.get("content") or answer.get("refusal") or "")
        except (KeyError, IndexError, TypeError, AttributeError, RecursionError):
            raise ValueError(f"no choices[0].message.content in {content[:80]!r}") from None


def _key() -> str:
    return os.environ.get(_KEY_VARIABLE, "").strip()


def _hidden(text: str) -> str:
    """Text of the endpoint's, which may repeat what it was sent, without the key."""
    return text.replace(key, "...") if (key := _key()) else text


def _key_hint(code: int) -> str:
    if code not in (401, 403):
        return ""
    return f" (the key is taken from {_KEY_VARIABLE}, which {'is set' if _key() else 'is not set'})"


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: the key would be sent along to wherever it points."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _listed(answer: str) -> tuple[str, ...]:
    """The texts of a JSON list, which may stand in a code fence or among other words; none where there is no list."""
    found = re.search(r"\[.*\]", answer, re.DOTALL)
    try:
        values = json.loads(found.group()) if found else []
    except (ValueError, RecursionError):
        return ()
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        return ()
    return tuple(filter(None, (" ".join(value.split()) for value in values)))


def _seconds(value: str | None) -> float:
    """Of a Retry-After header; a date counts as not given."""
    return float(value) if value and re.fullmatch(r"\d{1,6}(\.\d+)?", value.strip()) else 0.0


def _remembered(path: Path) -> tuple[str, ...] | None:
    try:
        texts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return tuple(texts) if isinstance(texts, list) and texts and all(isinstance(t, str) for t in texts) else None


def _remember(path: Path, texts: Sequence[str]) -> None:
    """A cache that can't be written is not an error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(json.dumps(list(texts), ensure_ascii=False).encode())
    except OSError as error:
        _log.warning("%s: the answer can't be kept: %s", path, error.strerror)
