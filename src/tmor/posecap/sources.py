"""The files that a data set is built from: what there is, what the data set calls it, and what is in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tmor.errors import FormatError, TmorError
from tmor.pose.videos import content_id
from tmor.posecap.shards import is_shards
from tmor.skeleton.formats.files import array_names, is_video, read_bytes, readable
from tmor.skeleton.formats.packed import is_packed

_VIDEOS = {".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".3gp"}
_POSES = {".npz", ".json", ".skeleton", ".bvh", ".pkl"}


@dataclass(frozen=True)
class Source:
    """A file to build from.

    Args:
        path: where it is.
        name: as the data set calls it: its path relative to the folder that was given, ``#part`` added where only a
            part of it is taken.
        collection: the folder's name, or a packed set's.
    """

    path: Path
    name: str
    collection: str


def find_videos(paths: Sequence[Path]) -> list[Source]:
    """The videos among files and in folders, by name or content, in the order of their names.

    Raises:
        TmorError: a path does not exist, there are none, or two would have the same name.
    """
    return _find(paths, lambda path: path.suffix.lower() in _VIDEOS or is_video(path), "videos")


def find_poses(paths: Sequence[Path], *, part: str | None = None) -> list[Source]:
    """The pose files among files and in folders (a folder with OpenPose's ``*_keypoints.json`` is one), in order.

    Raises:
        TmorError: a path does not exist, there are none, or two would have the same name.
    """
    found = _find(paths, lambda path: path.suffix.lower() in _POSES or _is_openpose(path), "pose files")
    return [Source(s.path, f"{s.name}#{part}" if part and _has_parts(s.path) else s.name, s.collection) for s in found]


def is_npz(path: Path) -> bool:
    """Whether a file is an .npz by its name: a packed set, or tracks."""
    return path.suffix.lower() == ".npz"


def _has_parts(path: Path) -> bool:
    """Whether an .npz is a packed set, or so damaged that it may have been one; files of tracks are taken whole."""
    names = array_names(path)
    return is_npz(path) and (is_packed(names) or not names)


def file_and_part(name: str) -> tuple[str, str]:
    """Of a source's name: the file's, and the part that was taken of it; empty = all."""
    found = re.fullmatch(r"(.+\.npz)#(.*)", name, re.IGNORECASE | re.DOTALL)
    return (found[1], found[2]) if found else (name, "")


def _find(paths: Sequence[Path], wanted: Callable[[Path], bool], what: str) -> list[Source]:
    found: dict[str, Source] = {}
    for path in paths:
        if not path.exists():
            raise TmorError(f"{path}: there is no such file or folder; expected {what}")
        inside = [path] if path.is_file() or _is_openpose(path) else sorted(path.rglob("*"))
        root = path.parent if inside == [path] else path
        data_sets = [folder for folder in inside if folder.is_dir() and is_shards(folder)]
        frames = {file.parent for file in inside if file.name.endswith("_keypoints.json")}
        for file in inside:
            name = file.relative_to(root).as_posix()
            if any(part.startswith(".") for part in name.split("/")):
                continue
            if file.exists() and not (file.is_file() or _is_openpose(file)):
                continue  # a folder, or a pipe, from which nothing may ever come
            if file.parent in frames and file != path:
                continue  # the folder is a source itself
            if any(folder in file.parents for folder in data_sets):
                continue
            if wanted(file):
                source = Source(file, readable(name), readable(root.resolve().name) or "root")
                same = found.setdefault(f"{source.collection}/{source.name}", source)
                if same.path.resolve() != file.resolve():
                    raise TmorError(
                        f"{file}: the data set would call it {source.collection}/{source.name}, as {same.path}; "
                        "expected folders of different names"
                    )
    if not found:
        raise TmorError(f"{', '.join(map(str, paths))}: no {what} found")
    return list(found.values())


def _is_openpose(path: Path) -> bool:
    return path.is_dir() and next(path.glob("*_keypoints.json"), None) is not None


def source_hash(path: Path) -> str:
    """SHA-256 of a source's bytes, of a folder of frames those of all of them.

    Raises:
        FormatError: it isn't there or can't be read.
    """
    if path.suffix.lower() in _POSES and not path.is_dir():
        try:
            read_bytes(path, 1)
        except FormatError as error:
            raise FormatError(f"{error}; expected a pose file ({', '.join(sorted(_POSES))})") from None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        return content_id(path)
    digest = hashlib.sha256()
    for file in sorted(path.glob("*_keypoints.json")):
        digest.update(f"{readable(file.name)} {content_id(file)}\n".encode())
    return digest.hexdigest()
