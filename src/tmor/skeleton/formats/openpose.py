"""OpenPose: a folder with one ``NAME_000000000012_keypoints.json`` per frame.

``{"people": [{"person_id": [-1], "pose_keypoints_2d": [x, y, confidence, ...]}]}`` with 18 (COCO) or 25 (BODY_25)
joints, in pixels, y down; a confidence of 0 means unseen. A number that is missing between the first and the last file
is a frame without anybody. The frame rate is not stated, hence unknown.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from tmor.errors import FormatError
from tmor.skeleton.formats.files import numbers, read_json
from tmor.skeleton.formats.persons import link_identified, to_tracks
from tmor.skeleton.layouts import LAYOUTS, Layout
from tmor.skeleton.tracks import Track

_Person = tuple[int | None, np.ndarray]
_NAME = re.compile(r"(?:(?P<clip>.*?)_)?(?P<frame>\d+)_keypoints\.json")
_LAYOUTS = {18: LAYOUTS["openpose18"], 25: LAYOUTS["openpose25"]}


def read_openpose(path: str | Path) -> list[Track]:
    """Read a folder of OpenPose frames, or a single one of its files, as one track per person.

    A person is followed by ``person_id`` where every person has one that is not -1, else by the nearest mid hip. A
    folder with the frames of several clips gives the tracks of each, under the clip's name.

    Raises:
        FormatError: no file ``*_keypoints.json`` is there, or one of them is not what OpenPose writes.
    """
    path = Path(path)
    if not path.is_dir():
        people = _people(path, read_json(path))
        return _tracks(path, path.name.removesuffix("_keypoints.json").removesuffix(".json"), {0: people})
    clips: dict[str, dict[int, list[_Person]]] = {}
    names = sorted(file.name for file in path.iterdir())
    for name in names:
        found = _NAME.fullmatch(name)
        if not found:
            continue
        frames = clips.setdefault(found["clip"] or path.resolve().name, {})
        number = int(found["frame"])
        if number in frames:
            raise FormatError(f"{path / name}: frame {number} of this clip is there twice")
        frames[number] = _people(path / name, read_json(path / name))
    if not clips:
        what = f"{len(names)} other files, such as {names[0]}" if names else "nothing"
        raise FormatError(f"{path}: the folder holds {what}; expected OpenPose's NAME_000000000000_keypoints.json")
    return [track for clip, frames in clips.items() for track in _tracks(path, clip, frames)]


def _people(path: Path, content: Any) -> list[_Person]:
    """Per person its id (None = none) and (joints, 3): x, y, confidence; NaN where the confidence is 0."""
    if not isinstance(content, dict) or not isinstance(content.get("people"), list):
        raise FormatError(f"{path}: no list 'people'; expected a frame of OpenPose")
    people = []
    for i, person in enumerate(content["people"]):
        if not isinstance(person, dict) or "pose_keypoints_2d" not in person:
            raise FormatError(f"{path}: person {i} has no 'pose_keypoints_2d'")
        values = numbers(person["pose_keypoints_2d"], where=f"{path}: person {i}: pose_keypoints_2d")
        if len(values) not in (54, 75):
            raise FormatError(
                f"{path}: person {i} has {len(values)} numbers in pose_keypoints_2d; expected 54 (18 joints) or 75 (25)"
            )
        points = values.reshape(-1, 3)
        points[points[:, 2] <= 0, :2] = np.nan
        own = person.get("person_id", -1)
        own = own[0] if isinstance(own, list) and own else own
        people.append((own if isinstance(own, int) and own >= 0 else None, points))
    return people


def _tracks(path: Path, clip: str, frames: dict[int, list[_Person]]) -> list[Track]:
    counts = {len(points) for people in frames.values() for _, points in people}
    if len(counts) > 1:
        raise FormatError(f"{path}: clip '{clip}' has people of 18 and of 25 joints; expected one kind")
    layout: Layout = _LAYOUTS[counts.pop() if counts else 25]
    everybody = [(frame, own, points) for frame, people in frames.items() for own, points in people]
    return to_tracks(link_identified(everybody, layout), layout, path=path, id=clip, first=min(frames))
