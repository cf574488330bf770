"""Tracks as tmor writes them: nothing of a :class:`Track` is lost.

An .npz with ``tmor_tracks``, a JSON text ``{"version": 1, "layouts": [{"name", "joints", "bones"}], "tracks":
[{"layout": index, "fps", "start_s", "id"}]}``, and for track i ``keypoints_i`` (frames, joints, 2 | 3) float32 and,
where it has them, ``scores_i`` (frames, joints) float32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tmor.errors import FormatError, TmorError
from tmor.skeleton.formats.files import write_arrays
from tmor.skeleton.layouts import Layout
from tmor.skeleton.tracks import Track

VERSION = 1


def write_tracks(path: str | Path, tracks: Sequence[Track], *, overwrite: bool = False) -> None:
    """Write tracks of any layouts and rates to one file, whole or not at all.

    Args:
        path: where to, ending in ``.npz``.
        tracks: at least one.
        overwrite: replace a file that exists.

    Raises:
        TmorError: there are no tracks, the name does not end in ``.npz``, or the file exists.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise TmorError(f"{path}: a file of tracks must have a name that ends in .npz")
    if not tracks:
        raise TmorError(f"{path}: there are no tracks to write")
    layouts = list(dict.fromkeys(track.layout for track in tracks))
    header = {
        "version": VERSION,
        "layouts": [{"name": own.name, "joints": own.joints, "bones": own.bones} for own in layouts],
        "tracks": [
            {"layout": layouts.index(track.layout), "fps": track.fps, "start_s": track.start_s, "id": track.id}
            for track in tracks
        ],
    }
    arrays = {"tmor_tracks": np.array(json.dumps(header))}
    for i, track in enumerate(tracks):
        arrays[f"keypoints_{i}"] = track.keypoints
        if track.scores is not None:
            arrays[f"scores_{i}"] = track.scores
    write_arrays(path, arrays, overwrite=overwrite)


def unpack(path: Path, arrays: Mapping[str, np.ndarray]) -> list[Track]:
    """The tracks of an .npz whose arrays have been read.

    Raises:
        FormatError: it was written by a newer tmor, or it is not what :func:`write_tracks` writes.
    """
    try:
        header = json.loads(str(arrays["tmor_tracks"]))
        version = header["version"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: tmor_tracks is not the JSON header that write_tracks writes: {error}") from error
    if version != VERSION:
        raise FormatError(f"{path}: tracks of version {version}; this tmor reads version {VERSION}")
    try:
        layouts = [
            Layout(own["name"], tuple(own["joints"]), tuple(map(tuple, own["bones"]))) for own in header["layouts"]
        ]
        for name, array in arrays.items():
            if name.startswith(("keypoints_", "scores_")) and array.dtype.kind != "f":
                raise FormatError(f"{path}: {name} has type {array.dtype}; expected float32")
        return [
            Track(
                arrays[f"keypoints_{i}"],
                layouts[own["layout"]],
                own["fps"],
                scores=arrays.get(f"scores_{i}"),
                start_s=float(own["start_s"]),
                id=own["id"],
            )
            for i, own in enumerate(header["tracks"])
        ]
    except FormatError:
        raise
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: tmor_tracks or its arrays are damaged: {type(error).__name__} {error}") from error
    except TmorError as error:
        raise FormatError(f"{path}: {error}") from error
