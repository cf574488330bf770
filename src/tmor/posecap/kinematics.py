"""A caption read off the skeleton: which limb moves where, how often, in which order. Rules of ours, nothing learned.

Every rule looks at one signal (how high a wrist is over its shoulder, how far the hips are over the ankles, ...), cuts
it into swings from one turning point to the next, and names those that are large enough. What isn't seen is not named.
Lengths are in heights of the body, angles in degrees, times in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from tmor.posecap.body import (
    ARM,
    FPS,
    OTHER_SIDE,
    SHANK,
    SIDES,
    THIGH,
    UPPER_ARM,
    Body,
    Swing,
    in_series,
    mean_seen,
    runs,
    smooth,
    swings_of,
    unwrapped,
)
from tmor.posecap.phrases import Phrase, both_sides, in_turn, overlap, repeated, sentence
from tmor.skeleton.tracks import Track


def describe_movement(track: Track, *, phases: int = 3) -> str:
    """What a person does, in one sentence without a subject: ``raises the left arm above the head, then lowers it``.

    Left and right are the person's. A mirrored track gives the mirrored sentence.

    Args:
        track: any layout with shoulders and hips, 2D or 3D.
        phases: at most so many movements after one another, the largest.

    Returns:
        The sentence in small letters without a full stop. Empty where nothing is seen to move and too little is seen to
        call the person still.

    Raises:
        TmorError: no joint is seen in any frame.
        LayoutError: the layout has no shoulders or hips.
    """
    return sentence(movement_phrases(track), phases)


def movement_phrases(track: Track) -> tuple[Phrase, ...]:
    """All movements that are found, in the order in which they start; see :func:`describe_movement`."""
    body = Body.of(track)
    kicks, lifts = _feet_lifted(body)
    gait = _gait(body)
    # Feet that lift in turn run, even where a sensor sees both off the floor.
    jumps = [p for p in _jumps(body) if not any(overlap(p, q) >= 0.5 for q in gait if q.way == "in place")]
    whole = [*_floor(body), *_hanging(body), *jumps, *kicks, *gait, *_levels(body), *_turns(body)]
    whole = _without_explained(whole)
    whole = [p for p in whole if p.verb != "steps" or not _during(p, whole, ("lunges",))]
    legs = [phrase for phrase in [*lifts, *_legs(body)] if not _during(phrase, whole, _NO_LEGS)]
    trunk = [phrase for phrase in _leans(body) if not _during(phrase, whole, _NO_TRUNK)]
    arms = [phrase for phrase in _arms(body) if not _during(phrase, whole, _no_arms(phrase))]
    found = [*whole, *legs, *trunk, *arms]
    if not found and (still := _still(body)):
        found = [still]
    return tuple(sorted(found, key=lambda p: (p.start_s, -p.size, p.verb)))


# Whole-body movements that imply what legs, trunk and arms do meanwhile.
_NO_LEGS = (
    "jumps",
    "walks",
    "runs",
    "walks or runs",
    "squats",
    "sits",
    "stands",
    "lies",
    "gets",
    "crouches",
    "rises",
    "lunges",
    "does",
)
_NO_LEGS += ("sits up", "lies back", "sits up and lies back", "lies back and sits up", "pulls", "steps")
_NO_TRUNK = tuple(verb for verb in _NO_LEGS if verb not in ("walks", "walks or runs", "steps"))
_NO_ARMS = ("does", "pulls", "lies", "gets", "sits up", "lies back", "sits up and lies back", "lies back and sits up")


def _no_arms(phrase: Phrase) -> tuple[str, ...]:
    """Arms swing as one walks and go along as one sits down: only what goes beyond that is worth a word."""
    small = (phrase.size < 0.6 and phrase.times == 1) or phrase.verb == "shakes"
    return (*_NO_ARMS, "walks", "runs", "walks or runs", "sits", "stands", "squats", "lunges") if small else _NO_ARMS


def _during(phrase: Phrase, whole: Iterable[Phrase], verbs: tuple[str, ...]) -> bool:
    return any(other.verb in verbs and overlap(phrase, other) >= 0.5 for other in whole)


_LEVELS = ("squats", "sits", "stands", "crouches", "rises", "lunges")


def _without_explained(whole: list[Phrase]) -> list[Phrase]:
    """Bending the knees before and after a jump is part of it, and so on: the first in the list explains the others."""
    kept: list[Phrase] = []
    for phrase in whole:
        near = replace(phrase, start_s=phrase.start_s - 0.2, end_s=phrase.end_s + 0.2)
        free = ("turns", "walks", "runs", "walks or runs", "steps") if phrase.verb in _LEVELS else ("turns",)
        if phrase.verb == "turns" or not any(overlap(near, p) >= 0.4 for p in kept if p.verb not in free):
            kept.append(phrase)
    return kept


# ---- The whole body.


def _lying(body: Body) -> np.ndarray:
    """(frames,) bool: the trunk is level and the hips are about as low as the feet."""
    return (np.abs(body.trunk) < 0.45) & ((body.leg < 0.35) | (np.isnan(body.leg) & (np.abs(body.trunk) < 0.3)))


def _floor(body: Body) -> list[Phrase]:
    """Lying down, getting up, sit-ups, push-ups."""
    lying = _lying(body)
    if not lying.any():
        return []
    found: list[Phrase] = []
    for series in in_series(swings_of(body.trunk, 0.45), gap_s=2.0):
        count, span = _times(series), (series[0].start, series[-1].end)
        high = [float(body.leg[swing.end if swing.up else swing.start]) for swing in series]
        if not lying[max(span[0] - 5, 0) : span[1] + 6].any() or (len(series) > 1 and max(high) > 0.6):
            continue
        low = [float(body.leg[swing.first if swing.up else swing.last]) for swing in series]
        if max(low) > 0.28:  # bent over in a crouch
            continue
        if len(series) == 1 and high[0] > 0.6:
            verb, way = ("gets", "up from the floor") if series[0].up else ("lies", "down")
            # The hips move before and after the trunk does.
            span = (0, span[1]) if not series[0].up else (span[0], len(lying) - 1)
            found.append(body.phrase(verb, "", way, span, 1.7))
        elif len(series) == 1:
            found.append(body.phrase("sits up" if series[0].up else "lies back", "", "", span, 1.5))
        else:
            verb = "sits up and lies back" if series[0].up else "lies back and sits up"
            found.append(body.phrase(verb, "", "", span, 1.5, times=count, usual=1.6))
    if found:
        return found
    wrists = mean_seen(np.stack([body.y("left_wrist"), body.y("right_wrist")], axis=1), axis=1)
    lift = body.y("neck") - wrists
    for series in in_series(swings_of(np.where(lying, lift, np.nan), 0.06), gap_s=1.5):
        start, end = span = series[0].start, series[-1].end
        held = np.nanstd(wrists[start : end + 1]) < 0.5 * np.nanstd(body.y("neck")[start : end + 1])
        if held and len(series) >= 2 and np.nanmedian(lift[start : end + 1]) > 0.03:
            times = _times(series)
            found.append(body.phrase("does", "push-ups" if times > 1 else "a push-up", "", span, 1.5))
    for swing in [] if found else swings_of(body.leg, 0.5):
        if not swing.up and lying[min(swing.end + 3, len(lying) - 1) :].mean() > 0.5:
            found.append(body.phrase("lies", "", "down", swing.span, 1.5))
        elif swing.up and lying[: max(swing.start - 3, 1)].mean() > 0.5:
            found.append(body.phrase("gets", "", "up from the floor", swing.span, 1.5))
    return found


def _hanging(body: Body) -> list[Phrase]:
    """Pulling oneself up to hands that hold on to something above the head."""
    wrists = np.stack([body.y("left_wrist"), body.y("right_wrist")], axis=1).min(axis=1)
    lift = body.y("neck") - wrists
    held = (wrists > body.y("neck") - 0.12) & ~(body.leg < 0.3)
    found = []
    for series in in_series(swings_of(np.where(held, lift, np.nan), 0.08), gap_s=2.0):
        start, end = span = series[0].start, series[-1].end
        moved, stayed = body.y("neck")[start : end + 1], wrists[start : end + 1]
        hips = body.y("mid_hip")[start : end + 1]
        hung = float(np.max(stayed - moved)) > 0.2
        if hung and np.ptp(stayed) < 0.5 * np.ptp(moved) and np.ptp(hips) > 0.6 * np.ptp(moved):
            found.append(body.phrase("pulls", "the body", "up on the arms", span, 1.5, times=_times(series, up=True)))
    return found


def _times(series: Sequence[Swing], *, up: bool | None = None) -> int:
    """How often the first swing of a series (or each swing up) comes."""
    first = series[0].up if up is None else up
    return max(1, sum(swing.up == first for swing in series))


def _feet(body: Body) -> tuple[np.ndarray, np.ndarray]:
    return body.y("left_ankle"), body.y("right_ankle")


def _jumps(body: Body) -> list[Phrase]:
    """Both feet leave the floor, and the hips go up with them."""
    lower = np.minimum(*_feet(body))
    found: list[tuple[int, int]] = []
    swings = swings_of(lower, 0.018 if body.dims == 3 else 0.025)
    for rise, fall in pairwise(swings):
        start, end = rise.start, fall.end
        both = [float(y[rise.last] - y[rise.first]) for y in _feet(body)]
        if (
            not rise.up
            or min(both) < 0.6 * rise.size
            or end - start > 1.2 * FPS
            or abs(rise.before - fall.after) > 0.6 * rise.size
        ):
            continue
        hips = body.y("mid_hip")
        if min(hips[rise.end] - hips[rise.start], hips[fall.start] - hips[fall.end]) > 0.4 * rise.size:
            found.append((start, end))
    merged: list[list[tuple[int, int]]] = []
    for span in found:
        if merged and span[0] - merged[-1][-1][1] < 1.0 * FPS:
            merged[-1].append(span)
        else:
            merged.append([span])
    return [
        body.phrase("jumps", "", _travel(body, (s[0][0], s[-1][1]), 0.3), (s[0][0], s[-1][1]), 2.0, times=len(s))
        for s in merged
    ]


def _travel(body: Body, span: tuple[int, int], least: float) -> str:
    """Where the hips go over a stretch, in the person's own directions, such as ``forward``; empty below ``least``."""
    hip = body.at("mid_hip")
    step = np.diff(hip, axis=0, prepend=hip[:1])[span[0] : span[1] + 1]
    where = slice(span[0], span[1] + 1)
    ahead = float(np.nansum((step * body.ahead[where]).sum(axis=1)))
    left = float(np.nansum((step * body.left[where]).sum(axis=1)))
    if max(abs(ahead), abs(left)) < least:
        return ""
    if abs(ahead) >= abs(left):
        return "forward" if ahead > 0 else "backward"
    return "to the left" if left > 0 else "to the right"


def _gait(body: Body) -> list[Phrase]:
    """Walking, running, steps: the body gets along the floor, or the feet pass each other, or lift in turn."""
    found = _ways(body) if body.dims == 3 else _strides(body)
    if any(phrase.verb != "steps" for phrase in found):
        return found
    left, right = (body.y(f"{side}_ankle") + body.y(f"{side}_knee") for side in SIDES)
    for series in in_series(swings_of(left - right, 0.05 if body.dims == 3 else 0.12), gap_s=0.6):
        span = series[0].start, series[-1].end
        level = np.ptp(body.leg[span[0] : span[1] + 1]) < 0.22
        if len(series) >= 4 and level:
            way = "in place" if body.dims == 3 or _path(body, span) < 0.35 else ""
            return [body.phrase(_pace(body, span, series), "", way, span, 1.6)]
    return found


def _ways(body: Body) -> list[Phrase]:
    """In 3D: stretches in which hips and feet get along the floor."""
    hip = body.at("mid_hip")[:, [0, 2]]
    feet = mean_seen(np.stack([body.at("left_ankle"), body.at("right_ankle")], axis=1), axis=1)[:, [0, 2]]
    slow = smooth(hip, 0.2)
    speed = np.linalg.norm(np.gradient(slow, axis=0), axis=1) * FPS if len(slow) > 1 else np.zeros(len(slow))
    found = []
    for start, stop in runs(speed > 0.12, least=6):
        span = start, stop - 1
        path = np.linalg.norm(slow[stop - 1] - slow[start])
        least = min(path, float(np.nan_to_num(np.linalg.norm(feet[stop - 1] - feet[start]))))
        steps = swings_of(body.forwards(body.at("left_ankle") - body.at("right_ankle"))[start:stop], 0.1)
        if least > 0.5 or (np.linalg.norm(np.diff(slow[start:stop], axis=0), axis=1).sum() > 0.8 and len(steps) >= 3):
            found.append(body.phrase(_pace(body, span, steps), "", _travel(body, span, 0.25), span, 1.6))
        elif least > 0.1:
            found.append(body.phrase("steps", "", _travel(body, span, 0.05), span, 0.8))
    return found


def _strides(body: Body) -> list[Phrase]:
    """In 2D, from the side: the feet pass each other."""
    left, right, hip = body.at("left_ankle"), body.at("right_ankle"), body.at("mid_hip")
    found: list[Phrase] = []
    for series in in_series(swings_of(body.forwards(left - right), 0.16), gap_s=0.5):
        span = _longer(body, series)
        where = slice(span[0], span[1] + 1)
        # Both feet swing about the hips of somebody who walks; one alone kicks or steps.
        ways = sorted(float(np.ptp(body.forwards(foot - hip)[where])) for foot in (left, right))
        level = np.ptp(body.leg[where]) < 0.3
        if (len(series) >= 3 or (len(series) == 2 and _path(body, span) > 0.35)) and ways[0] > 0.5 * ways[1] and level:
            found.append(body.phrase(_pace(body, span, series), "", _travel(body, span, 0.25), span, 1.6))
    return found


def _path(body: Body, span: tuple[int, int]) -> float:
    """How far the hips get along the floor, in 2D along the picture."""
    hip = body.at("mid_hip")
    seen = np.flatnonzero(~np.isnan(hip[span[0] : span[1] + 1, 0])) + span[0]
    if len(seen) < 2:
        return 0.0
    return float(np.linalg.norm((hip[seen[-1]] - hip[seen[0]])[[0, 2] if body.dims == 3 else [0]]))


def _pace(body: Body, span: tuple[int, int], series: Sequence[Swing]) -> str:
    """Walking or running: by speed over the floor in 3D, else by steps per second and how high the feet go.

    People change from walking to running at about 2 m/s. In place they walk with up to 3.3 steps a second and jog with
    3.7 or more (UTD-MHAD's training part).
    """
    seconds = max(span[1] - span[0], 1) / FPS
    if body.dims == 3 and body.rate_known:
        hip = body.at("mid_hip")[span[0] : span[1] + 1, [0, 2]]
        way = np.linalg.norm(np.diff(smooth(hip, 0.15), axis=0), axis=1)
        if np.nansum(way) / seconds > 0.3:
            return "runs" if np.nansum(way) / seconds > 1.1 or len(series) / seconds > 2.35 else "walks"
    if not body.rate_known:
        return "walks or runs"
    rate = len(series) / seconds
    high = bool(series) and float(np.mean([swing.size for swing in series])) > 0.2
    return "runs" if rate > 3.5 or (rate > 2.5 and high) else "walks"


def _longer(body: Body, series: Sequence[Swing]) -> tuple[int, int]:
    """The first and last half step are part of a walk."""
    half = (series[-1].end - series[0].start) // max(2 * len(series), 1)
    return max(series[0].start - half, 0), min(series[-1].end + half, len(body.x) - 1)


def _levels(body: Body) -> list[Phrase]:
    """Squats, lunges, sitting down, standing up: the hips come nearer to the feet and leave them again."""
    found: list[Phrase] = []
    for swings in in_series(swings_of(body.leg, 0.16), gap_s=1.6):
        while swings and swings[0].up:  # more than one, where the person was out of sight in between
            found.append(_level(body, swings.pop(0)))
        paired = 2 * (len(swings) // 2)
        if paired:
            found.append(_dip(body, swings[:paired]))
        found += [_level(body, swing) for swing in swings[paired:]]
    return found


def _dip(body: Body, swings: Sequence[Swing]) -> Phrase:
    """Down and up again, once or more."""
    span, depth = (swings[0].start, swings[-1].end), float(np.mean([s.size for s in swings]))
    times = len(swings) // 2
    astride = body.forwards(body.at("left_ankle") - body.at("right_ankle"))
    widest = [_widest(astride, s.start, t.end) for s, t in zip(swings[::2], swings[1::2], strict=True)]
    if float(np.median(np.abs(widest))) > 0.24:
        way = "" if body.dims == 2 else f"with the {'left' if widest[0] > 0 else 'right'} foot forward"
        return body.phrase("lunges", "", way, span, 1.5, times=times, usual=1.6)
    if depth > 0.3:
        return body.phrase("squats", "", "", span, 1.5, times=times, usual=1.4)
    return body.phrase("bends and straightens", "the knees", "", span, 0.6 + depth, times=times, usual=1.4)


def _widest(signal: np.ndarray, start: int, end: int) -> float:
    """The value farthest from zero; 0 where none is seen."""
    piece = np.nan_to_num(signal[start : end + 1])
    return float(piece[np.abs(piece).argmax()])


def _level(body: Body, swing: Swing) -> Phrase:
    """Down or up for good."""
    low = swing.start if swing.up else swing.end
    shanks = mean_seen(np.array([(body.y(f"{s}_knee") - body.y(f"{s}_ankle"))[low] / SHANK for s in SIDES]), axis=0)
    seated = body.leg[low] > 0.4 and shanks > 0.3 and not body.trunk[low] < 0.45
    if swing.size < 0.22:
        return body.phrase("straightens" if swing.up else "bends", "the knees", "", swing.span, 0.4 + swing.size)
    if seated:
        verb, way = ("stands", "up") if swing.up else ("sits", "down")
    else:
        verb, way = ("rises", "from a crouch") if swing.up else ("crouches", "")
    return body.phrase(verb, "", way, swing.span, 1.5, usual=1.2)


def _turns(body: Body) -> list[Phrase]:
    """Turning on the spot or on the way."""
    found = []
    if body.dims == 2:
        for swing in swings_of(body.turn, 1.1):
            if swing.before * swing.after < 0 and min(abs(swing.before), abs(swing.after)) > 0.45:
                found.append(body.phrase("turns", "", "around", swing.span, 1.2))
        return found
    for swing in swings_of(body.turn, 55.0):
        if swing.size > 130:
            found.append(body.phrase("turns", "", "around", swing.span, 1.2))
        else:
            # The angle grows from the front towards the person's left.
            found.append(body.phrase("turns", "", "to the left" if swing.up else "to the right", swing.span, 0.9))
    return found


# ---- Legs and trunk.


def _feet_lifted(body: Body) -> tuple[list[Phrase], list[Phrase]]:
    """Kicks; and knees and feet that are lifted."""
    kicks: list[Phrase] = []
    lifts: list[Phrase] = []
    for side, other in OTHER_SIDE.items():
        over = np.maximum(body.y(f"{side}_ankle") - body.y(f"{other}_ankle"), 0)
        swings = swings_of(over, 0.09)
        for n, swing in enumerate(swings):
            if not swing.up:
                continue
            top = swing.end
            span = swing.start, swings[n + 1].end if n + 1 < len(swings) else swing.end
            knee = body.bend(f"{side}_hip", f"{side}_knee", f"{side}_ankle")[max(top - 3, 0) : top + 6]
            straight = float(np.max(knee, initial=0, where=~np.isnan(knee)))
            raised = (body.y(f"{side}_knee") - body.y(f"{side}_hip"))[top] / THIGH
            out = body.at(f"{side}_ankle")[swing.last] - body.at(f"{side}_hip")[swing.last]
            far = np.linalg.norm(out[[0, -1] if body.dims == 3 else [0]]) > 0.3
            if swing.after > 0.2 and (straight > 120 or far) and body.trunk[top] > 0.4:
                kicks.append(body.phrase("kicks with", f"the {side} leg", _kicked(body, side, top), span, 1.5))
            elif raised > -0.55:
                lifts.append(body.phrase("lifts", f"the {side} knee", "", span, 0.6 + swing.size, usual=0.9))
            elif swing.after > 0.12:
                lifts.append(body.phrase("lifts", f"the {side} foot", "", span, 0.3 + swing.size))
    return in_turn(repeated(kicks)), in_turn(repeated(lifts))


def _legs(body: Body) -> list[Phrase]:
    wide = np.abs(body.leftwards(body.at("left_ankle") - body.at("right_ankle")))
    return [phrase for series in in_series(swings_of(wide, 0.15), gap_s=1.0) for phrase in _opened(body, series)]


def _kicked(body: Body, side: str, top: int) -> str:
    foot = body.at(f"{side}_ankle") - body.at(f"{side}_hip")
    ahead, out = body.forwards(foot)[top], body.leftwards(foot)[top] * SIDES[side]
    if ahead > 0.15 and not ahead < out:
        return "forward"
    return "to the side" if out > 0.2 else "backward" if ahead < -0.15 else ""


def _opened(body: Body, series: Sequence[Swing]) -> list[Phrase]:
    span, size = (series[0].start, series[-1].end), 0.4 + float(np.mean([s.size for s in series]))
    first = "spreads" if series[0].up else "closes"
    if len(series) == 1:
        return [body.phrase(first, "the legs", "", span, size)]
    verb = f"{first} and {'closes' if series[0].up else 'spreads'}"
    return [body.phrase(verb, "the legs", "", span, size, times=_times(series))]


def _leans(body: Body) -> list[Phrase]:
    """Bending and leaning of the trunk."""
    trunk = body.at("neck") - body.at("mid_hip")
    up = trunk[:, 1]
    found: list[Phrase] = []
    ahead, left = body.forwards(trunk), body.leftwards(trunk)
    # Seen from the front, a trunk that bends forward gets shorter.
    if body.dims == 2 and np.isnan(ahead).all():
        steep = np.degrees(np.arccos((up / _quantile(np.linalg.norm(trunk, axis=1), 0.9)).clip(-1, 1)))
        steep = steep - np.degrees(np.arctan2(np.abs(left), np.maximum(up, 1e-9)))
    else:
        steep = np.degrees(np.arctan2(ahead, np.abs(up)))
        steep = np.where(up < 0, np.sign(steep) * 180 - steep, steep)
    sideways = np.degrees(np.arctan2(left, np.maximum(up, 0.05)))
    for series in in_series(swings_of(steep, 28.0), gap_s=1.5):
        found += _bent(body, series, "forward", "backward")
    for series in in_series(swings_of(sideways, 22.0), gap_s=1.0):
        found += _bent(body, series, "to the left", "to the right")
    return found


def _quantile(values: np.ndarray, q: float) -> float:
    seen = values[~np.isnan(values)]
    return max(float(np.quantile(seen, q)), 1e-9) if len(seen) else 1.0


def _bent(body: Body, series: Sequence[Swing], one: str, other: str) -> list[Phrase]:
    """Out of the upright is leaning or bending, back to it is straightening up."""
    verb = "bends" if one == "forward" else "leans"
    out = [swing for swing in series if abs(swing.after) > abs(swing.before)]
    if out:
        span = out[0].start, series[-1].end
        way = one if out[0].after > 0 else other
        verb = "leans" if way == "backward" else verb
        if len({swing.after > 0 for swing in out}) > 1:
            way = "back and forth" if one == "forward" else "from side to side"
            verb, times = "leans", 1
        else:
            times = len(out)
        size = 0.4 + max(swing.size for swing in out) / 90
        return [body.phrase(verb, "the trunk" if verb == "bends" else "", way, span, size, times=times, usual=1.0)]
    size = 0.3 + series[0].size / 90
    return [body.phrase("straightens", "the trunk", "", series[0].span, size, usual=1.0)]


# ---- Arms and hands.


def _arms(body: Body) -> list[Phrase]:
    together = _claps(body)
    found: list[Phrase] = []
    for side in SIDES:
        thrusts = _thrusts(body, side)
        own = _circles(body, side)
        own += [p for p in thrusts if p.verb == "punches with" and not _within(p, own)]
        for kind in (_waves, _sweeps):
            own += [p for p in kind(body, side) if not _within(p, own)]
        own += [p for p in _without_doubles([*thrusts, *_lifts(body, side)]) if not _within(p, own)]
        found += own
    claps = [phrase for phrase in together if phrase.verb == "claps"]
    found = [phrase for phrase in found if not _within(phrase, claps)]
    return [*together, *in_turn(repeated(both_sides(found)))]


def _within(phrase: Phrase, others: Iterable[Phrase]) -> bool:
    return any(overlap(phrase, other) >= 0.5 for other in others)


def _without_doubles(own: list[Phrase]) -> list[Phrase]:
    """Of stretching and raising the same arm at the same time, the larger."""
    kept: list[Phrase] = []
    for phrase in sorted(own, key=lambda p: -p.size):
        if not _within(phrase, kept):
            kept.append(phrase)
    return kept


def _lifts(body: Body, side: str) -> list[Phrase]:
    """The wrist rises or sinks relative to the shoulder."""
    shoulder, elbow, wrist = (body.at(f"{side}_{part}") for part in ("shoulder", "elbow", "wrist"))
    height = (wrist - shoulder)[:, 1] / ARM
    upper = (elbow - shoulder)[:, 1] / UPPER_ARM
    found = []
    for swing in swings_of(height, 0.42):
        top = swing.last if swing.up else swing.first
        place, hand = _place(body, side, top)
        still = abs(upper[swing.last] - upper[swing.first]) < 0.45 and place in ("", "in front of the body")
        if still:
            verb, limb, place = ("bends" if swing.up else "straightens"), f"the {side} elbow", ""
        elif swing.up and hand:
            verb, limb = "brings", f"the {side} hand"
        else:
            verb, limb, place = ("raises", f"the {side} arm", place) if swing.up else ("lowers", f"the {side} arm", "")
        found.append(body.phrase(verb, limb, place, swing.span, 0.15 + 0.6 * swing.size, usual=0.6))
    return found


def _place(body: Body, side: str, at: int) -> tuple[str, bool]:
    """Where a raised hand is, and whether it is at a part of the body."""
    wrist, shoulder, hip = (body.at(f"{side}_{part}")[at] for part in ("wrist", "shoulder", "hip"))
    head = body.at("head")[at]
    arm = np.zeros_like(body.x[:, 0]) + (wrist - shoulder)
    out, ahead = body.leftwards(arm)[at] * SIDES[side], body.forwards(arm)[at]
    up, reach = (wrist - shoulder)[1], np.linalg.norm(wrist - shoulder)
    if body.trunk[at] < 0.45:  # no up and down of the body's own
        return "", False
    if wrist[1] - head[1] > 0.06 or (np.isnan(head[1]) and up > 0.75 * ARM):
        return "above the head", False
    if np.linalg.norm(wrist - head) < (0.15 if body.dims == 3 else 0.1) and reach < 0.75 * ARM:
        return ("to the head" if wrist[1] > head[1] + 0.02 else "to the face"), True
    if np.linalg.norm(wrist - hip) < 0.1 and body.bend(f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")[at] < 140:
        return "to the hip", True
    if reach > 0.7 * ARM:
        if out > 0.6 * reach and not ahead > out:
            return "to the side", False
        if ahead > 0.6 * reach:
            return "forward", False
        if ahead < -0.6 * reach:
            return "backward", False
    if body.dims == 3 and np.linalg.norm(wrist - body.at("chest")[at]) < 0.17 and up > -0.6 * ARM:
        return "to the chest", True
    if ahead > 0.05 and up > -0.7 * ARM:
        return "in front of the body", False
    return "", False


def _thrusts(body: Body, side: str) -> list[Phrase]:
    """The hand moves level away from the shoulder: punching, pushing, reaching."""
    arm = body.at(f"{side}_wrist") - body.at(f"{side}_shoulder")
    reach = np.linalg.norm(arm, axis=1) / ARM
    found = []
    for swing in swings_of(reach, 0.28):
        far = swing.end if swing.up else swing.start
        level = abs(arm[far, 1]) < 0.45 * ARM
        rise = float(np.ptp(arm[swing.first : swing.last + 1, 1])) / ARM
        ahead = body.forwards(arm)[far] / ARM
        if not level or rise > 0.6 or not ahead > 0.5:
            continue
        if swing.up and swing.end - swing.start < 0.3 * FPS:
            found.append(body.phrase("punches with", f"the {side} hand", "", swing.span, 0.5 + swing.size))
        else:
            verb, way = ("stretches", "forward") if swing.up else ("pulls back", "")
            found.append(body.phrase(verb, f"the {side} arm", way, swing.span, 0.2 + swing.size, usual=0.6))
    # A fist that comes back belongs to the punch.
    punched = any(phrase.verb == "punches with" for phrase in found)
    return [phrase for phrase in found if not (punched and phrase.verb == "pulls back")]


def _waves(body: Body, side: str) -> list[Phrase]:
    """A raised hand goes to and fro."""
    arm = body.at(f"{side}_wrist") - body.at(f"{side}_shoulder")
    raised = (arm[:, 1] > -0.45 * ARM) & (body.y(f"{side}_wrist") > body.y(f"{side}_elbow"))
    axes = np.stack([body.leftwards(arm), body.forwards(arm), arm[:, 1]], axis=1) / ARM
    found = []
    for axis, verb, way, most, count in ((0, "waves", "", 2.0, 4), (1, "shakes", "back and forth", 0.45, 3)):
        for series in in_series(swings_of(np.where(raised, axes[:, axis], np.nan), 0.09), gap_s=0.3):
            quick = [s for s in series if s.end - s.start < 0.5 * FPS and s.size < most]
            if len(quick) < count or len(quick) < 0.6 * len(series):
                continue
            span = quick[0].start, quick[-1].end
            there = [_strength(values[span[0] : span[1] + 1]) for values in axes.T]
            if there[axis] == max(there):
                size = 0.8 + float(np.mean([s.size for s in quick]))
                found.append(body.phrase(verb, f"the {side} hand", way, span, size))
    return found


def _strength(signal: np.ndarray) -> float:
    """The mean size of a signal's swings to and fro; 0 where it goes one way and back at most."""
    swings = swings_of(signal, 0.06)
    return float(np.mean([swing.size for swing in swings])) if len(swings) >= 3 else 0.0


def _circles(body: Body, side: str) -> list[Phrase]:
    """The arm turns about the shoulder, or the hand goes round a point before the body."""
    arm = body.at(f"{side}_wrist") - body.at(f"{side}_shoulder")
    found = []
    ahead, out, v = body.forwards(arm), body.leftwards(arm) * SIDES[side], arm[:, 1]
    # Shoulders turn an arm that goes up in front down at the side: the plane between.
    for u in (ahead, out, (ahead - out) / np.sqrt(2)):
        wide = np.hypot(u, v) > 0.35 * ARM
        angle = np.degrees(unwrapped(np.where(wide, v, np.nan), np.where(wide, u, np.nan)))
        for swing in swings_of(angle, 300.0):
            times = max(1, round(swing.size / 360))
            found.append(body.phrase("circles", f"the {side} arm", "", swing.span, 1.4, times=times, usual=1.1))
    if found or len(v) < 2:
        return found[:1]
    sideways, up = np.gradient(out), np.gradient(v)
    moving = np.hypot(sideways, up) * FPS > 0.25
    turn = np.degrees(unwrapped(np.where(moving, up, np.nan), np.where(moving, sideways, np.nan)))
    for swing in swings_of(turn, 290.0):
        path = np.stack([out, v], axis=1)[swing.start : swing.end + 1]
        if _roundness(path) > 0.45 and np.ptp(path, axis=0).min() > 0.25 * ARM:
            times = max(1, round(swing.size / 360))
            verb = "draws a circle with" if times == 1 else "draws circles with"
            found.append(body.phrase(verb, f"the {side} hand", "", swing.span, 1.2))
    return found


def _roundness(path: np.ndarray) -> float:
    """1 for a circle, 0 for a line to and fro."""
    closed = np.concatenate([path, path[:1]])
    length = float(np.linalg.norm(np.diff(closed, axis=0), axis=1).sum())
    (x, y), (dx, dy) = path.T, np.diff(closed, axis=0).T
    area = abs(float((x * dy - y * dx).sum())) / 2
    return 4 * np.pi * area / max(length, 1e-9) ** 2


def _sweeps(body: Body, side: str) -> list[Phrase]:
    """The hand goes far across the front of the body or out from there, more than it goes up or down."""
    arm = (body.at(f"{side}_wrist") - body.at(f"{side}_shoulder")) / ARM
    found = []
    for swing in swings_of(body.leftwards(arm), 0.6):
        rise = float(np.ptp(arm[swing.first : swing.last + 1, 1]))
        if rise < swing.size:
            way = "to the left" if swing.up else "to the right"
            found.append(body.phrase("swings", f"the {side} arm", way, swing.span, 0.3 + 0.7 * swing.size, usual=0.5))
    return found


def _claps(body: Body) -> list[Phrase]:
    """The hands meet."""
    left, right = (body.at(f"{side}_wrist") - body.at("neck") for side in SIDES)
    apart = np.linalg.norm(left - right, axis=1)
    one, other = body.leftwards(left), body.leftwards(right)  # a clap takes both hands
    if body.dims == 2 and np.isnan(body.left).all():
        return []  # from the side, hands that pass each other seem to meet
    found = []
    for series in in_series(swings_of(apart, 0.07), gap_s=0.5):
        shut = []
        for swing in series:
            meet = [sign * float(way[swing.first] - way[swing.last]) for sign, way in ((1, one), (-1, other))]
            if not swing.up and swing.after < 0.1 and swing.before > 0.14 and min(meet) > 0.02:
                shut.append(swing)
        if not shut:
            continue
        span = shut[0].start, series[-1].end
        if len(shut) >= 2 and all(swing.end - swing.start < 0.7 * FPS for swing in shut[1:]):
            found.append(body.phrase("claps", "", "", span, 1.2))
        elif shut[0].before > 0.17:
            found.append(body.phrase("brings together", "the hands", "", shut[0].span, 0.3 + shut[0].size))
    return found


# ---- Nothing.


def _still(body: Body) -> Phrase | None:
    """Stillness is claimed only where most of the body is seen, most of the time."""
    if np.isnan(body.x[:, :, 0]).mean() > 0.25 or len(body.x) < 2:
        return None
    seen = body.x[:, ~np.isnan(body.x[..., 0]).all(axis=0)]
    low, high = np.nanquantile(seen, [0.02, 0.98], axis=0)
    moved = float(np.max(high - low))
    if moved > 0.15:
        return None  # it moves, in a way that has no name here
    lying, leg = _lying(body), float(np.nanmedian(body.leg)) if not np.isnan(body.leg).all() else np.nan
    way = "still lying" if lying.mean() > 0.5 else "still sitting" if leg < 0.65 else "still standing"
    return body.phrase("stays", "", way if moved < 0.06 else "almost still", (0, len(body.x) - 1), 0.1)
