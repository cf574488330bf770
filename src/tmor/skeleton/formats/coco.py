"""COCO keypoints JSON, in both of its forms, with 17 joints (COCO), 26 (Halpe), or those that the file names itself.

- Results, as pose estimators write them (AlphaPose too): ``[{"image_id", "keypoints": [x, y, v, ...]}, ...]``.
  ``image_id`` is the frame's number or a file name that ends in one. The first number is the first frame; one that
  nobody is in is a frame without people.
- Annotations: ``{"images": [{"id", "file_name"}], "annotations": [{"image_id", "keypoints"}], "categories": [...]}``.
  The images are the frames, in the order of ``frame_id``, else of their numbered file names, else of ``id``.
  ``categories[0]["keypoints"]`` names the joints (PoseTrack has 17 others) and ``"skeleton"`` the bones.

Pixels, y down. A joint with v = 0 or at (0, 0) is unseen. Where every v is 0, 1 or 2 it is COCO's flag; otherwise it is
the confidence and becomes the score. People are followed by ``track_id`` (AlphaPose: ``idx``) where every one has it,
else by the nearest mid hip. Frames of several videos (``vid_id``, or file names that differ before the number) are kept
apart. The frame rate is not stated, hence unknown.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np

from tmor.errors import FormatError, LayoutError
from tmor.skeleton.formats.files import numbers, read_json
from tmor.skeleton.formats.persons import link_identified, to_tracks
from tmor.skeleton.layouts import LAYOUTS, Layout
from tmor.skeleton.tracks import Track

_log = logging.getLogger("tmor")

_BY_COUNT = {17: LAYOUTS["coco17"], 26: LAYOUTS["halpe26"]}


def read_coco(path: str | Path, content: Any = None) -> list[Track]:
    """Read a COCO keypoints file, one track per person.

    Args:
        path: the file.
        content: its parsed JSON, where it has been read already.

    Raises:
        FormatError: the file is not COCO keypoints, or its frames can't be put in order.
    """
    path = Path(path)
    content = read_json(path) if content is None else content
    if isinstance(content, list):
        found, places, layout = content, None, None
    elif isinstance(content, dict) and isinstance(content.get("annotations"), list):
        found, places, layout = content["annotations"], _places(path, content), _named_layout(path, content)
    else:
        raise FormatError(f"{path}: neither a list of results nor an object with 'annotations'; expected COCO's")
    if not found:
        _log.warning("%s: nobody is in it", path)

    flags = True
    videos: dict[str, list[tuple[int, Any, np.ndarray]]] = {}
    for i, person in enumerate(found):
        what = f"{path}: {'result' if places is None else 'annotation'} {i}"
        if not isinstance(person, dict) or "keypoints" not in person or "image_id" not in person:
            raise FormatError(f"{what} has no 'keypoints' or no 'image_id'")
        values = numbers(person["keypoints"], where=f"{what}: keypoints")
        if layout is None:
            layout = _BY_COUNT.get(len(values) // 3)
        if layout is None or len(values) != 3 * len(layout):
            expected = "51 (17 joints) or 78 (26)" if layout is None else f"{3 * len(layout)} ({len(layout)} joints)"
            raise FormatError(f"{what} has {len(values)} numbers in keypoints; expected {expected}")
        points = values.reshape(-1, 3)
        flags = flags and bool(np.isin(points[:, 2], (0, 1, 2)).all())
        points[(points[:, 2] <= 0) | (points[:, :2] == 0).all(axis=1), :2] = np.nan
        image = person["image_id"]
        if not isinstance(image, int | str):
            raise FormatError(f"{what} has image_id {image}; expected a number or a name")
        if places is None:
            video, frame = _numbered(image)
            if frame is None:
                raise FormatError(f"{what} has image_id '{image}', which has no frame number")
        elif image in places:
            video, frame = places[image]
        else:
            raise FormatError(f"{what} has image_id '{image}', which is not the id of one of 'images'")
        videos.setdefault(video, []).append((frame, _identity(person), points))
    tracks = []
    for video, people in videos.items():
        if flags:
            people = [(frame, own, points[:, :2]) for frame, own, points in people]
        id = path.stem if len(videos) == 1 else f"{path.stem}/{video.strip('/_- ')}"
        first = min(frame for frame, _, _ in people) if places is None else 0
        assert layout is not None
        tracks += to_tracks(link_identified(people, layout), layout, path=path, id=id, first=first)
    return tracks


def _identity(person: dict[str, Any]) -> int | float | str | None:
    own = person.get("track_id", person.get("idx"))
    if isinstance(own, list):
        own = own[0] if len(own) == 1 else None
    return own if isinstance(own, int | float | str) else None


def _numbered(name: Any) -> tuple[str, int | None]:
    """``clip_000012.jpg`` -> ("clip_", 12)."""
    if isinstance(name, int):
        return "", name
    found = re.fullmatch(r"(.*?)(\d+)(\.\w+)?", str(name))
    # No camera counts to a number of a hundred digits, which would take long to read.
    return (found[1], int(found[2])) if found and len(found[2]) < 100 else (str(name), None)


def _places(path: Path, content: dict[str, Any]) -> dict[Any, tuple[str, int]]:
    """Image id -> its video and its frame in it, counted from 0."""
    images = content.get("images")
    if not isinstance(images, list) or not all(
        isinstance(image, dict) and isinstance(image.get("id"), int | str) for image in images
    ):
        raise FormatError(f"{path}: no list 'images' whose entries have an 'id'; expected COCO annotations")
    videos: dict[str, list[tuple[Any, Any]]] = {}
    for image in images:
        video, number = _numbered(image.get("file_name", image["id"]))
        video = str(image.get("vid_id", image.get("video_id", video if number is not None else "")))
        order = image.get("frame_id", image["id"] if number is None else number)
        videos.setdefault(video, []).append((order, image["id"]))
    places = {}
    for video, frames in videos.items():
        try:
            frames.sort()
        except TypeError:
            raise FormatError(
                f"{path}: the images have ids of several types, so that their order is not clear"
            ) from None
        places |= {id: (video, frame) for frame, (_, id) in enumerate(frames)}
    return places


def _named_layout(path: Path, content: dict[str, Any]) -> Layout | None:
    """The layout that ``categories`` names, if it does."""
    categories = content.get("categories")
    named = (
        [c for c in categories if isinstance(c, dict) and c.get("keypoints")] if isinstance(categories, list) else []
    )
    if not named:
        return None
    try:
        names = tuple(map(str, named[0]["keypoints"]))
        bones = tuple((names[a - 1], names[b - 1]) for a, b in named[0].get("skeleton") or ())
        own = Layout(path.stem, names, bones)
    except (LayoutError, IndexError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: categories[0] does not name joints and bones: {error}") from error
    known = (layout for layout in LAYOUTS.values() if layout.standard_joints == own.standard_joints)
    return next(known, own)
