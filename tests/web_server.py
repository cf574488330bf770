"""What the tests of the web server share: a tiny model, a made-up pose estimator, videos, a running server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import tmor.model.model
from letters import TINY, Teacher
from tmor.model.model import Model
from tmor.pose import People
from tmor.skeleton.sample import sample_track


def tiny_model(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Model:
    monkeypatch.setenv("TMOR_CACHE", str(cache))
    monkeypatch.setattr(tmor.model.model, "load_text_teacher", lambda name: Teacher())
    torch.manual_seed(0)
    return Model(TINY).eval()


class Estimator:
    """Sees somebody do squats in every picture that is not black; while ``gate`` is closed it takes its time."""

    name, hash, layout = "made up", "made up", "unik17"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.pictures = self.closed = 0
        self.broken = False
        self._squat = sample_track("squat")

    def __call__(self, image: np.ndarray, time_s: float) -> People:
        self.pictures += 1
        if self.broken:
            raise ZeroDivisionError
        self.gate.wait(20)
        if image.mean() < 20:
            return People(np.zeros((0, 17, 2), np.float32), np.zeros((0, 17), np.float32), np.zeros((0, 4), np.float32))
        frame = round(time_s * (self._squat.fps or 15)) % len(self._squat)
        pose = self._squat.keypoints[frame, :, :2] * np.float32([1, -1])
        height, width = image.shape[:2]
        points = (pose - pose.mean(axis=0)) * np.float32(height / 3) + np.float32([width / 2, height / 2])
        box = np.concatenate([points.min(axis=0), points.max(axis=0)])
        return People(points[None].astype(np.float32), np.full((1, 17), 0.9, np.float32), box[None].astype(np.float32))

    def close(self) -> None:
        self.closed += 1


def write_video(
    path: Path,
    seconds: float = 2.0,
    *,
    fps: int = 10,
    codec: str = "mpeg4",
    size: tuple[int, int] = (64, 48),
    level: int = 120,
    pix_fmt: str = "yuv420p",
) -> Path:
    """A grey video of about that brightness."""
    av = pytest.importorskip("av", reason="PyAV is not installed (extra video)")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        for i in range(round(seconds * fps)):
            image = np.full((size[1], size[0], 3), level + i % 2, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    av = pytest.importorskip("av", reason="PyAV is not installed (extra video)")
    with av.open(str(path), "w") as container:
        voice = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(voice.encode(frame))
        container.mux(voice.encode(None))
    return path


@contextlib.contextmanager
def running(app) -> Iterator[str]:
    """The address of a server that runs the application in a thread."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
