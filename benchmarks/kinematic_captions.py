"""How often the kinematic captioner says what a class of real movements means.

    python benchmarks/kinematic_captions.py ../shared/data            # training parts, on which the rules were tuned
    python benchmarks/kinematic_captions.py ../shared/data --test     # test parts
    python benchmarks/kinematic_captions.py ../shared/data --show squat

What counts as naming a class is a pattern per class, written down before any caption of the data was looked at. A hit
says nothing about what else the sentence claims; "elsewhere" is how often the pattern holds for the set's other
classes.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from tmor.errors import TmorError
from tmor.posecap.kinematics import describe_movement
from tmor.skeleton.formats.packed import PackedSet, read_packed

DOWN = r"(bend\w* (the trunk )?forward|reach\w* down|squat|crouch|lunge|kneel)"
# Somebody who stands and moves the right hand alone does none of these.
ONE_HANDED = (
    *("right arm swipe to the left", "right arm swipe to the right", "right hand wave", "right hand draw x"),
    *("right hand draw circle (clockwise)", "right hand draw circle (counter clockwise)", "draw triangle"),
    *("right hand knock on door", "right hand catch an object"),
)
FALSE = r"left (arm|hand|elbow)|both (arms|hands|elbows)|clap|jump|lie|lying|push-up|kick|walk|run|squat|sit|lunge"
HAND = r"(the right|both) (arm|hand|elbow)s?"

# set, its training part, its rate where the file doesn't say, and class -> what its captions should say.
SETS: tuple[tuple[str, str, float | None, dict[str, str]], ...] = (
    (
        "utd_mhad/utd_mhad_skeleton.npz",
        "is_train_xsub",
        30.0,
        {
            "right arm swipe to the left": r"swing\w* (the right arm|both arms) to the left",
            "right arm swipe to the right": r"swing\w* (the right arm|both arms) to the right",
            "right hand wave": r"wav\w* the right hand",
            "two hand front clap": r"clap|hands together",
            "right arm throw": r"(swing|stretch|rais|punch)\w* (with )?" + HAND,
            "cross arms in the chest": r"(hands? to the chest|both arms|both hands|hands)",
            "basketball shoot": r"(rais|stretch|push|straighten)\w* (with )?both",
            "right hand draw x": HAND,
            "right hand draw circle (clockwise)": r"circles? (with )?the right|circling the right",
            "right hand draw circle (counter clockwise)": r"circles? (with )?the right|circling the right",
            "draw triangle": HAND,
            "bowling (right hand)": r"swing\w* the right arm|" + DOWN,
            "front boxing": r"punch\w* with (both|the (left|right)) hands?",
            "baseball swing from right": r"swing\w* (the (left|right) arm|both arms)",
            "tennis right hand forehand swing": r"swing\w* the right arm",
            "arm curl (two arms)": r"bend\w*( and straighten\w*)? both elbows",
            "tennis serve": r"(right|both) (arms?|hands?)( and lower\w*)? above the head",
            "two hand push": r"(push\w* with both hands|stretch\w*( and pull\w* back)? both arms)",
            "right hand knock on door": r"(shak|wav)\w* the right hand",
            "right hand catch an object": r"(rais|stretch|bring|bend|swing)\w*( and \w+)? (the right|both)",
            "right hand pick up and throw": DOWN,
            "jogging in place": r"runs? in place|running in place",
            "walking in place": r"walks? in place|walking in place",
            "sit to stand": r"stands? up|standing up",
            "stand to sit": r"sits? down|sitting down",
            "forward lunge (left foot forward)": r"lunge\w*|lunging",
            "squat (two arms stretch out)": r"squat",
        },
    ),
    (
        "nw_ucla/nw_ucla.npz",
        "is_train_xview",
        None,
        {
            "pick up with one hand": DOWN,
            "pick up with two hands": DOWN,
            "drop trash": r"(rais|stretch|bring|swing|lower|bend)\w* the (left|right) (arm|hand|elbow)",
            "walk around": r"walk",
            "sit down": r"sits? down|sitting down",
            "stand up": r"stands? up|standing up",
            "donning": r"(arm|hand|elbow)s?",
            "doffing": r"(arm|hand|elbow)s?",
            "throw": r"(rais|stretch|swing|punch)\w* (with )?(the (left|right)|both) (arm|hand)",
            "carry": r"walk",
        },
    ),
    (
        "hdm05_11/hdm05_11.npz",
        "is_train_xsub",
        None,
        {
            "put an object down on the floor (right hand)": DOWN,
            "elbow to knee exercise": r"knee",
            "grab an object from high up (right hand)": r"(rais|stretch)\w*( and lower\w*)? the right arm",
            "hop on both legs": r"jump",
            "jog in a left circle": r"run",
            "kick forward with the left leg": r"kick\w* with the left leg",
            "lie down on the floor": r"lies down|lying down",
            "rotate both arms backward": r"circl\w* both arms",
            "sneak": r"walk|step",
            "squat": r"squat",
            "throw a basketball": r"both (arms|hands)",
        },
    ),
    (
        "penn_action/penn_action.npz",
        "is_train",
        None,
        {
            "baseball_pitch": r"(swing|rais|lift)\w* (the|both)|kick",
            "baseball_swing": r"(swing|rais|stretch)\w* (the (left|right) arm|both arms)",
            "bench_press": r"(rais|stretch|bend|straighten|push)\w*( and \w+)?( back)? (with )?both",
            "bowl": r"(swing|rais)\w* (the|both)|walk|run|step|lunge|" + DOWN,
            "clean_and_jerk": r"above the head",
            "golf_swing": r"(swing|rais)\w*( and \w+)? (the (left|right) arm|both arms)",
            "jump_rope": r"jump",
            "jumping_jacks": r"jump\w*.*both arms|both arms.*(jump|legs)|legs.*both arms",
            "pullup": r"pull\w* the body up",
            "pushup": r"push-up",
            "situp": r"sits up|lies back",
            "squat": r"squat",
            "strum_guitar": r"(left|right|both) (hand|arm|elbow)s?",
            "tennis_forehand": r"(swing|rais|stretch)\w* (the|both)",
            "tennis_serve": r"above the head",
        },
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with the packed sets")
    parser.add_argument("--test", action="store_true", help="the test parts instead of the training parts")
    parser.add_argument("--every", type=int, default=1, help="take every n-th sequence alone")
    parser.add_argument("--show", help="print the captions of classes whose name contains this")
    options = parser.parse_args()
    for path, part, fps, expected in SETS:
        packed = read_packed(options.data / path)
        chosen = ~packed.part(part) if options.test else packed.part(part)
        report(packed, np.flatnonzero(chosen)[:: options.every], fps, expected, options.show)


def report(packed: PackedSet, rows: np.ndarray, fps: float | None, expected: dict[str, str], show: str | None) -> None:
    """Print a table of hits per class."""
    assert packed.labels is not None
    seen, hits, said, empty, false = Counter(), Counter(), {}, 0, 0
    for i in rows:
        name = packed.class_names[packed.labels[i]]
        if show is not None and show not in name:
            continue
        caption = caption_of(packed, int(i), fps)
        hit = re.search(expected[name], spelt_out(caption)) is not None
        seen[name] += 1
        hits[name] += hit
        empty += not caption
        false += name in ONE_HANDED and re.search(FALSE, caption) is not None
        said.setdefault(name, Counter())[caption] += 1
        if show is not None:
            print(f"{'+' if hit else '-'} {packed.ids[i]:12s} {caption}")
    if not seen:
        return
    print(f"\n{packed.name}: {len(expected)} classes, {sum(seen.values())} sequences, {empty} without a caption")
    print("| class | named | elsewhere | what is said most |\n| --- | --- | --- | --- |")
    elsewhere: dict[str, float] = {}
    for name in expected:
        if seen[name]:
            usual, count = said[name].most_common(1)[0]
            elsewhere[name] = _share(expected[name], [said[other] for other in said if other != name])
            row = f"| {name} | {hits[name]}/{seen[name]} | {elsewhere[name]:.0%} | {usual or '(nothing)'} ({count}) |"
            print(row)
    if one_handed := sum(seen[name] for name in ONE_HANDED):
        print(f"false claims in classes of one hand alone: {false} of {one_handed} captions hold one")
    mean = 100 * np.mean([hits[name] / seen[name] for name in seen])
    print(
        f"mean over classes: {mean:.1f}% named; the same words elsewhere {100 * np.mean(list(elsewhere.values())):.1f}%"
    )


def _share(pattern: str, said: list[Counter[str]]) -> float:
    """Of captions of other classes in which the pattern is found as well."""
    found = sum(n for captions in said for text, n in captions.items() if re.search(pattern, spelt_out(text)))
    return found / max(sum(captions.total() for captions in said), 1)


def spelt_out(caption: str) -> str:
    """The caption with limbs instead of pronouns."""
    said: list[str] = []
    limb = ""
    for clause in caption.split(", then "):
        said.append(re.sub(r"\b(it|them)\b", limb, clause))
        found = re.search(r"(the (left|right)|both) \w+", said[-1])
        limb = found.group() if found else limb
    return ", then ".join(said)


def caption_of(packed: PackedSet, i: int, fps: float | None) -> str:
    """The caption of a sequence's first person; empty where nobody is seen."""
    track = packed.tracks(i)[0]
    try:
        return describe_movement(track if track.fps is not None else replace(track, fps=fps))
    except TmorError:
        return ""


if __name__ == "__main__":
    main()
