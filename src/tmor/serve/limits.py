"""How much a server takes, and the checks of what people send: labels, pose files, examples, videos, names of files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tmor.errors import TmorError
from tmor.model.answers import Labels, check_labels, described_labels
from tmor.serve.examples import joined_labels, read_examples
from tmor.skeleton.formats.files import unpacked_bytes
from tmor.skeleton.tracks import Track

if TYPE_CHECKING:
    from tmor.model.model import Model

_MOST_LETTERS = 120  # of a name that is shown


class TooLargeError(TmorError):
    """An upload is larger than the server takes."""


@dataclass(frozen=True)
class Limits:
    """How much a server takes.

    Args:
        upload_bytes: of a video.
        pose_bytes: of a pose file or a file of examples, which are read into memory whole.
        memory_bytes: that the poses of one file may take; also what an .npz may unpack to.
        video_s: length of a video, in seconds.
        people, frames: of one file; frames over all of its people.
        waiting: uploads and pose jobs at a time, and questions to the model at a time.
        labels, label_length: of a question.
        descriptions, description_length: of one label.
        examples, example_s: of one enrolled label, and the longest example in seconds.
        sessions: at a time.
        session_files: that a session holds; those that failed make room for new ones.
        total_bytes: of all sessions' poses; no upload is taken beyond.
        idle_s: a session that is not used for so long is forgotten.
        stall_s: an upload of which nothing comes for so long is given up.
    """

    upload_bytes: int = 2 << 30
    pose_bytes: int = 64 << 20
    memory_bytes: int = 256 << 20
    video_s: float = 3600.0
    people: int = 100
    frames: int = 400_000
    waiting: int = 8
    labels: int = 500
    label_length: int = 200
    descriptions: int = 20
    description_length: int = 500
    examples: int = 5
    example_s: float = 60.0
    sessions: int = 64
    session_files: int = 8
    total_bytes: int = 1 << 30
    idle_s: float = 3600.0
    stall_s: float = 60.0


def asked_labels(
    model: Model, labels: Labels, examples: Mapping[str, Sequence[Track]], limits: Limits
) -> Labels | None:
    """The labels given, spelt as they are enrolled, and the enrolled ones that are not among them; None = there are
    neither, and the model has classes of its own.

    Raises:
        TmorError: there are no labels or too many, or one is empty, given twice, too long or described at too great
            length.
    """
    if model.spec.classes and not labels and not examples:
        return None
    if len(labels) > limits.labels:
        raise TmorError(f"{len(labels)} labels are given; expected at most {limits.labels}")
    names = described_labels(joined_labels(labels, examples))
    if len(names) > limits.labels:
        raise TmorError(f"{len(names)} labels with the enrolled ones; expected at most {limits.labels}")
    for name, texts in names.items():
        check_label(name, limits)
        _check_descriptions(name, texts, limits)
    return names


def check_label(label: str, limits: Limits) -> str:
    """The label, stripped.

    Raises:
        TmorError: it is empty, too long, or no text.
    """
    (label,) = check_labels([label])
    if not _is_text(label):
        raise TmorError(f"label {label[:40]!r} holds half a character; expected text")
    if len(label) > limits.label_length:
        raise TmorError(f"label '{label[:40]}...' has {len(label)} characters; expected at most {limits.label_length}")
    return label


def _is_text(text: str) -> bool:
    """Whether it holds no half of a character, which JSON can say and nothing can write."""
    return text == text.encode(errors="ignore").decode()


def _check_descriptions(label: str, texts: Sequence[str], limits: Limits) -> None:
    if len(texts) > limits.descriptions:
        raise TmorError(f"label '{label}' has {len(texts)} descriptions; expected at most {limits.descriptions}")
    for text in texts:
        if not text.strip() or not _is_text(text):
            raise TmorError(f"label '{label}' has the description {text[:40]!r}; expected words")
        if len(text) > limits.description_length:
            raise TmorError(
                f"a description of label '{label}' has {len(text)} characters; expected at most "
                f"{limits.description_length}"
            )


def load_examples(path: Path, name: str, limits: Limits) -> dict[str, list[Track]]:
    """The examples of an upload.

    Raises:
        TmorError: it is no file of examples, or larger than the server takes.
    """
    try:
        check_pose_file(path, limits)
        examples = read_examples(path)
        tracks = [track for own in examples.values() for track in own]
        if not tracks:
            raise TmorError(f"{path}: holds no examples")
        check_tracks(path, tracks, limits)
        for label, own in examples.items():
            check_label(label, limits)
            if unseen := sum(track.missing_share == 1 for track in own):
                raise TmorError(f"{path}: {unseen} examples of label '{label}' have no visible joint")
        if len(examples) > limits.labels:
            raise TmorError(f"{path}: has {len(examples)} labels; expected at most {limits.labels}")
        return examples
    except TmorError as error:
        raise spoken(error, path, shown_name(name)) from error


def check_pose_file(path: Path, limits: Limits) -> None:
    """
    Raises:
        TooLargeError: the file, or what it unpacks to, is larger than is read into memory.
    """
    if (size := path.stat().st_size) > limits.pose_bytes:
        raise TooLargeError(f"{path}: a file of poses of {size} bytes; expected at most {limits.pose_bytes}")
    if (size := unpacked_bytes(path)) > limits.memory_bytes:
        raise TooLargeError(f"{path}: unpacks to {size} bytes; expected at most {limits.memory_bytes}")


def shown_name(name: str) -> str:
    """A file's name as it is shown: no folders, nothing that can't be printed, not long. It never names a file here."""
    return printable(re.split(r"[\\/]", name)[-1], r"\.\w{1,15}") or "upload"


def check_tracks(path: Path, tracks: Sequence[Track], limits: Limits) -> None:
    """
    Raises:
        TooLargeError: there are more people, frames or bytes than a server keeps.
    """
    frames, size = sum(map(len, tracks)), held_bytes(tracks)
    if len(tracks) > limits.people or frames > limits.frames or size > limits.memory_bytes:
        raise TooLargeError(
            f"{path}: {len(tracks)} tracks of {frames} frames, {size} bytes; expected at most {limits.people} tracks, "
            f"{limits.frames} frames and {limits.memory_bytes} bytes; the command tmor predict takes more"
        )


def check_length(path: Path, seconds: float, limits: Limits) -> None:
    """
    Raises:
        TooLargeError: a video lasts longer than a server takes.
    """
    if seconds > limits.video_s:
        raise TooLargeError(f"{path}: the video lasts {seconds:.1f} s or more; expected at most {limits.video_s:g} s")


def held_bytes(tracks: Sequence[Track]) -> int:
    """Memory that tracks take."""
    return sum(t.keypoints.nbytes + (0 if t.scores is None else t.scores.nbytes) for t in tracks)


def spoken(error: TmorError, path: Path, name: str) -> TmorError:
    """The same error about the file as the user calls it."""
    return type(error)(str(error).replace(str(path), name).replace(path.stem, Path(name).stem))


def printable(text: str, ending: str) -> str:
    """What can be printed of a text; of a long one the beginning, and the end if that is such an ending (a pattern)."""
    text = "".join(c for c in text if c.isprintable()).strip()
    if len(text) <= _MOST_LETTERS:
        return text
    end = found[0] if (found := re.search(f"{ending}$", text)) else ""
    return text[: _MOST_LETTERS - len(end)] + end
