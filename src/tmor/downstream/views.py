"""What an evaluation looks like: confusion matrices, accuracy by class, a map of the features, and a page of them."""

from __future__ import annotations

import base64
import contextlib
import html
import io
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tmor.downstream.benchmarks.labelled import LabelledSet
from tmor.downstream.evaluate import Evaluation
from tmor.downstream.metrics.classification import confusion
from tmor.downstream.tables import result_rows
from tmor.errors import TmorError
from tmor.skeleton.formats.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_MAPPED = 2000
"""Samples on the map of features; of more, so many are drawn by lot."""

_SEED = 0
_MOST_COUNTED_CLASSES = 30
_PAIRS = 10
_DPI = 110
_INK, _SOFT, _ABSENT = "#20262e", "#5c6672", "#e6e8eb"

# Blue is right and orange wrong: told apart by the colour-blind too, and both darken evenly away from white.
_RIGHT, _WRONG = "#0072b2", "#d55e00"
_SHARES = ["#7a2f00", _WRONG, "#f6b98a", "#ffffff", "#9cc9e6", _RIGHT, "#003a63"]

# The palette of Okabe and Ito without its yellow, which white swallows; further classes change the marker.
_CLASS_COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#20262e"]
_CLASS_MARKERS = "osD^vPXp"

_MORE_FONTS = ["Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Microsoft YaHei", "PingFang SC"]
_MORE_FONTS += ["Hiragino Sans", "Yu Gothic", "Malgun Gothic", "Apple SD Gothic Neo", "Arial Unicode MS", "Noto Sans"]


def write_views(folder: Path, data: LabelledSet, found: Evaluation) -> None:
    """Write the pictures of an evaluation and a page that shows them.

    Per mode that has answers ``confusion-MODE.png`` and ``classes-MODE.png``; where there are features
    ``embedding.png``; and ``index.html``, which holds the pictures itself and needs no other file, script or network.
    Nothing is written unless all of it could be drawn. The same evaluation gives the same bytes.

    Args:
        folder: created where it is missing; other files in it are left alone.
        data: the set that was evaluated.
        found: answers index ``data.class_names``; features have one row per sample of ``data``.

    Raises:
        TmorError: a file of one of these names is there already; the folder can't be written; answers or features
            don't belong to ``data``.
    """
    drawn = {f"{kind}-{mode}.png" for mode in found.answers for kind in ("confusion", "classes")}
    drawn |= set() if found.features is None else {"embedding.png"}
    if folder.exists() and not folder.is_dir():
        raise TmorError(f"{folder}: is a file; expected a folder for the views")
    for name in sorted({*drawn, "index.html"}):
        if (folder / name).exists():
            raise TmorError(f"{folder / name}: exists already; choose another folder or remove it")
    if found.result["part"].startswith("validation"):
        data = data.validation(found.result["seeds"][0])

    tallies = {mode: _tally(mode, data, *answers) for mode, answers in found.answers.items()}
    pictures = {}
    for mode, tally in tallies.items():
        pictures[f"confusion-{mode}.png"] = _png(draw_confusion(tally))
        pictures[f"classes-{mode}.png"] = _png(draw_classes(tally))
    if found.features is not None:
        pictures["embedding.png"] = _png(draw_embedding(data, found.features))
    page = _page(data, found.result, tallies, pictures)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in {**pictures, "index.html": page.encode()}.items():
            with whole_file(folder / name) as file:
                file.write(content)
    except OSError as error:
        raise TmorError(f"{folder}: can't be written: {error.strerror}") from error


@dataclass(frozen=True, eq=False)
class Tally:
    """What a mode answered.

    Args:
        mode: its name.
        names: the classes.
        counts: (classes, classes) int64: how often a sample of the row's class was answered with the column's.
    """

    mode: str
    names: Sequence[str]
    counts: np.ndarray

    @property
    def samples(self) -> np.ndarray:
        """(classes,) int64 test samples."""
        return self.counts.sum(axis=1)

    @property
    def shares(self) -> np.ndarray:
        """(classes, classes) of the row's samples; NaN where it has none."""
        total = self.samples[:, None]
        return np.where(total > 0, self.counts / np.maximum(total, 1), np.nan)

    @property
    def wrong(self) -> np.ndarray:
        """(classes, classes) int64 ``counts`` without the right answers."""
        return self.counts - np.diag(np.diag(self.counts))

    def confused(self, most: int) -> list[tuple[int, int]]:
        """(class, wrong answer) by falling count; the earlier class goes first among equals."""
        order = np.argsort(-self.wrong, axis=None, kind="stable")[:most]
        pairs = [divmod(int(at), len(self.names)) for at in order]
        return [pair for pair in pairs if self.wrong[pair]]


def _tally(mode: str, data: LabelledSet, truth: np.ndarray, answer: np.ndarray) -> Tally:
    try:
        return Tally(mode, data.class_names, confusion(truth, answer, len(data.class_names)))
    except ValueError as error:
        raise TmorError(f"answers of {mode} don't belong to {data.name}: {error}") from None


# ---- pictures


def draw_confusion(tally: Tally) -> Figure:
    """A confusion matrix: a row per true class, in order of the classes, its colours the shares of its
    samples; counts in the cells of up to 30 classes. The rows of classes without samples are grey."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    classes = len(tally.names)
    # In inches: a count fits, or else a line of small text; a picture of thousands of classes stays a picture.
    cell = max(0.36, 2.6 / classes) if classes <= _MOST_COUNTED_CLASSES else min(0.15, 40 / classes)
    side = cell * classes
    size = min(9.0, 45 * cell)
    shares = tally.shares
    right = np.eye(classes, dtype=bool)
    # The root, so that a confusion of a few percent is seen at all.
    shades = np.sqrt(shares) * np.where(right, 1, -1)
    colours = LinearSegmentedColormap.from_list("answers", _SHARES)

    with _plain_style():
        figure = _figure(side, side)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_facecolor(_ABSENT)
        axes.imshow(
            np.ma.masked_invalid(shades), cmap=colours, vmin=-1, vmax=1, aspect="equal", interpolation="nearest"
        )
        names = _short_names(tally.names, 44)
        ticks = np.arange(classes)
        axes.set_xticks(ticks, names, rotation=90, fontsize=size, parse_math=False)
        axes.set_yticks(ticks, names, fontsize=size, parse_math=False)
        axes.set_xticks(ticks[1:] - 0.5, minor=True)
        axes.set_yticks(ticks[1:] - 0.5, minor=True)
        axes.grid(which="minor", color=_ABSENT, linewidth=0.5)
        # In a large matrix the names are far from most cells: they stand on all sides.
        far = classes > _MOST_COUNTED_CLASSES
        axes.tick_params(which="major", length=2, color=_SOFT, top=far, labeltop=far, right=far, labelright=far)
        axes.tick_params(which="minor", length=0)
        axes.spines[:].set_color(_SOFT)
        axes.set_ylabel("true class", color=_SOFT, fontsize=9)
        axes.set_xlabel("answer", color=_SOFT, fontsize=9)
        if classes <= _MOST_COUNTED_CLASSES:
            for row, column in np.argwhere(tally.counts).tolist():
                dark = abs(shades[row, column]) > 0.6
                count = str(tally.counts[row, column])
                colour = "white" if dark else _INK
                axes.text(column, row, count, ha="center", va="center", fontsize=min(size, 8.0), color=colour)

        _heading(axes, f"{tally.mode}: answers by true class")
        bottom = _bottom(figure, axes)
        bar = figure.add_axes((0, bottom - 0.4 / side, 2.6 / side, 0.12 / side))
        scale = figure.colorbar(ScalarMappable(Normalize(-1, 1), colours), cax=bar, orientation="horizontal")
        percents = np.array([100, 25, 5, 0, 5, 25, 100])
        scale.set_ticks(list(np.sqrt(percents / 100) * np.sign(np.arange(-3, 4))), labels=[str(p) for p in percents])
        bar.tick_params(labelsize=6.5, length=2, colors=_SOFT)
        bar.set_xlabel("wrong, % of the true class          right, %", fontsize=7, color=_SOFT)
        if not tally.samples.all():
            bar.set_title("grey: no test samples", fontsize=7, color=_SOFT, loc="left")
        return figure


def draw_classes(tally: Tally) -> Figure:
    """A bar per class that has test samples, the best on top: its share of right answers, how many samples
    it has, and which wrong answer it got most (the first of equals)."""
    shown = np.flatnonzero(tally.samples)
    share = 100 * np.diag(tally.shares)[shown]
    best_first = np.argsort(-share, kind="stable")
    shown, share = shown[best_first], share[best_first]
    names = _short_names(tally.names, 44)
    height = max(0.2 * len(shown), 0.4)

    with _plain_style():
        figure = _figure(6.0, height)
        axes = figure.add_axes((0, 0, 1, 1))
        rows = np.arange(len(shown))
        axes.barh(rows, share, height=0.72, color=_RIGHT)
        labels = [f"{names[k]}  ({tally.samples[k]})" for k in shown]
        axes.set_yticks(rows, labels, fontsize=8, parse_math=False)
        axes.set_ylim(max(len(shown), 1) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        for row, k in enumerate(shown):
            text = f"{share[row]:.0f}%"
            wrong = tally.wrong[k]
            if wrong.any():
                text += f"   {wrong.max()}× {names[int(wrong.argmax())]}"
            axes.annotate(
                text,
                (share[row], row),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
                color=_INK,
                parse_math=False,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
            )
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=8, colors=_SOFT)
        axes.grid(axis="x", color=_ABSENT)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.spines["left"].set_color(_SOFT)
        if len(shown):
            mean = float(share.mean())
            axes.axvline(mean, color=_WRONG, linestyle=(0, (4, 2)), linewidth=1.2)
            axes.annotate(
                f"mean of the classes {mean:.1f}%",
                (mean, 0),
                (0, -18),
                xycoords=axes.get_xaxis_transform(),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=8,
                color=_WRONG,
            )
        axes.set_xlabel("right answers in %, then the most frequent wrong answer", fontsize=8, color=_SOFT, labelpad=17)
        _heading(axes, f"{tally.mode}: accuracy by class (test samples)")
        return figure


def draw_embedding(data: LabelledSet, features: np.ndarray) -> Figure:
    """A t-SNE map of at most :data:`MOST_MAPPED` samples that a fold uses, those of the test part larger and
    outlined; each class has its name at a line from the median of its samples, beside the crowd.

    Args:
        features: (n, d) of the n samples.

    Raises:
        TmorError: the number of rows is another, or a row is not finite.
    """
    from matplotlib.lines import Line2D

    if features.ndim != 2 or len(features) != len(data.labels):
        raise TmorError(f"features of {data.name} are {features.shape}; expected ({len(data.labels)}, width)")
    if not np.isfinite(features).all():
        row = int(np.argmin(np.isfinite(features).all(axis=1)))
        raise TmorError(f"features of {data.name}: row {row} is not finite; expected numbers")
    rows = np.flatnonzero(np.any([fold.train | fold.test for fold in data.folds], axis=0))
    if thinned := len(rows) > MOST_MAPPED:
        rows = np.sort(np.random.default_rng(_SEED).choice(rows, MOST_MAPPED, replace=False))
    at = _map(features[rows])
    labels, test = data.labels[rows], np.any([fold.test for fold in data.folds], axis=0)[rows]
    # Where every sample is a test sample of some fold, as in leave-one-out, there is nothing to set apart.
    both = bool(test.any() and not test.all())

    with _plain_style():
        figure = _figure(11.0, 9.0)
        axes = figure.add_axes((0, 0, 1, 1))
        present = np.unique(labels)
        styles = {
            int(k): (_CLASS_COLOURS[k % len(_CLASS_COLOURS)], _CLASS_MARKERS[k // len(_CLASS_COLOURS) % 8])
            for k in present
        }
        for emphasis, part in ((False, ~test), (True, test)):
            style: dict[str, Any] = (
                {"s": 34, "edgecolors": _INK, "linewidths": 0.6, "zorder": 3}
                if emphasis and both
                else {"s": 15 if both else 24, "linewidths": 0, "alpha": 0.5 if both else 0.85, "zorder": 2}
            )
            for k, (colour, marker) in styles.items():
                own = at[part & (labels == k)]
                axes.scatter(own[:, 0], own[:, 1], color=colour, marker=marker, **style)
        axes.margins(0.03)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(_ABSENT)

        middles = np.array([np.median(at[labels == k], axis=0) for k in present]).reshape(-1, 2)
        names = _wrapped_names(data.class_names, present)
        size = 8.5 if len(present) <= 30 else 7.5 if len(present) <= 80 else 6.0
        _name_groups(figure, axes, names, middles, at, size)
        if both:
            dots: dict[str, Any] = {"marker": "o", "linestyle": "", "color": _SOFT}
            handles = [
                Line2D([], [], markersize=6, markeredgecolor=_INK, label=f"test ({test.sum()})", **dots),
                Line2D([], [], markersize=4, markeredgewidth=0, alpha=0.5, label=f"training ({(~test).sum()})", **dots),
            ]
            axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, -0.005), ncols=2, frameon=False)
        which = f"{len(rows)} samples drawn by lot" if thinned else f"{len(rows)} samples"
        _heading(axes, f"Features of {which}, by t-SNE; dots mark the medians of the classes")
        return figure


def _map(features: np.ndarray) -> np.ndarray:
    """(n, 2) t-SNE of (n, d) features by direction from their mean, begun at their first two principal components."""
    from sklearn.manifold import TSNE

    n = len(features)
    if n < 3:  # too few to have neighbours
        return np.arange(2.0 * n).reshape(n, 2)
    # What all samples share would outweigh what tells them apart.
    rows = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-12)
    rows -= rows.mean(axis=0)
    values, axes = np.linalg.eigh(rows.T @ rows)
    axes = axes[:, np.argsort(-values, kind="stable")[:50]]
    # A component's sign is the linear algebra library's choice.
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    rows = rows @ axes
    begin = np.zeros((n, 2))
    begin[:, : rows.shape[1]] = rows[:, :2]
    begin *= 1e-4 / max(float(begin[:, 0].std()), 1e-12)
    # Equal samples would stay one point, whose gradient is 0 / 0.
    begin += np.random.default_rng(_SEED).normal(0, 1e-6, begin.shape)
    tsne = TSNE(2, perplexity=min(30.0, (n - 1) / 3), init=begin, random_state=_SEED)  # pyright: ignore
    return tsne.fit_transform(rows.astype(np.float32))


def _name_groups(
    figure: Figure, axes: Axes, names: Sequence[str], middles: np.ndarray, points: np.ndarray, size: float
) -> None:
    """Write names near (k, 2) middles, with a line to each, beside the (n, 2) points and each other."""
    from matplotlib.patheffects import withStroke

    texts = [
        axes.text(
            float(middle[0]),
            float(middle[1]),
            name,
            ha="center",
            va="center",
            fontsize=size,
            color=_INK,
            linespacing=1.0,
            parse_math=False,
            path_effects=[withStroke(linewidth=2.4, foreground="white")],
            zorder=6,
        )
        for name, middle in zip(names, middles, strict=True)
    ]
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in texts]
    sizes = np.array([(box.width, box.height) for box in boxes]).reshape(-1, 2) + 4
    pixels = axes.transData.transform(middles)
    placed = _apart(pixels, sizes, axes.transData.transform(points), np.array(axes.get_window_extent().extents))
    back = axes.transData.inverted()
    for text, end in zip(texts, back.transform(placed), strict=True):
        text.set_position((float(end[0]), float(end[1])))
    ends = back.transform(np.clip(pixels, placed - sizes / 2, placed + sizes / 2))
    for middle, end in zip(middles, ends, strict=True):
        axes.plot(
            *zip(middle, end, strict=True),
            color=_INK,
            linewidth=0.7,
            marker="o",
            markersize=3.0,
            markevery=[0],
            path_effects=[withStroke(linewidth=1.8, foreground="white")],
            zorder=5,
        )


def _apart(middles: np.ndarray, sizes: np.ndarray, points: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Places for boxes that don't overlap and hide few points, near where they want to be; all in pixels.

    Args:
        middles: (k, 2) wanted.
        sizes: (k, 2) width and height.
        points: (n, 2).
        within: (4,) left, bottom, right and top of the room there is.

    Returns:
        (k, 2) middles of the boxes; one without a free place stays where it is.
    """
    # Points in a box are the difference of four sums over all to its lower left, on a grid of 3 pixels.
    step, low = 3.0, within[:2]
    shape = np.ceil((within[2:] - low) / step).astype(int) + 1
    counts = np.zeros(shape + 1)
    cells = np.clip(((points - low) // step).astype(int), 0, shape - 1) + 1
    np.add.at(counts, (cells[:, 0], cells[:, 1]), 1)
    sums = counts.cumsum(axis=0).cumsum(axis=1)

    radius, angle = np.meshgrid(np.arange(0, 300, 5.0), np.linspace(0, 2 * np.pi, 24, endpoint=False), indexing="ij")
    # Wider than high, as the boxes are.
    offsets = np.stack([1.3 * radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(-1, 2)
    placed = middles.astype(np.float64).copy()
    done: list[int] = []
    for i in np.argsort(-sizes[:, 0], kind="stable").tolist():
        tries, half = middles[i] + offsets, sizes[i] / 2
        free = ((tries - half >= low) & (tries + half <= within[2:])).all(axis=1)
        gaps = np.abs(tries[:, None] - placed[done]) - (sizes[i] + sizes[done]) / 2
        free &= np.all((gaps > 0).any(axis=2), axis=1)
        x0, y0 = np.clip((tries - half - low) // step, 0, shape - 1).astype(int).T
        x1, y1 = np.clip((tries + half - low) // step + 1, 0, shape).astype(int).T
        hidden = sums[x1, y1] - sums[x0, y1] - sums[x1, y0] + sums[x0, y0]
        cost = np.where(free, hidden + 0.04 * radius.ravel(), np.inf)
        if free.any():
            placed[i] = tries[np.argmin(cost)]
        done.append(i)
    return placed


@contextlib.contextmanager
def _plain_style() -> Iterator[None]:
    """matplotlib as it comes (a user's settings could hand class names to TeX), and installed fonts for names that its
    own font can't write; what none of them has is drawn as a box, without a warning per letter."""
    import matplotlib
    import matplotlib.style
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    families = ["DejaVu Sans", *(name for name in _MORE_FONTS if name in installed)]
    with matplotlib.style.context("default"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        matplotlib.rcParams["font.family"] = families
        yield


def _figure(width: float, height: float) -> Figure:
    """A figure of this size in inches on the Agg canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _heading(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=11, fontweight="bold", color=_INK, pad=10, parse_math=False)


def _bottom(figure: Figure, axes: Axes) -> float:
    """How far down the axes reach with their labels, as a share of the figure."""
    figure.draw_without_rendering()
    box = axes.get_tightbbox()
    assert box is not None
    return float(box.transformed(figure.transFigure.inverted()).y0)


def _png(figure: Figure) -> bytes:
    """The picture with all that stands beside the axes."""
    content = io.BytesIO()
    with _plain_style():
        figure.savefig(content, format="png", bbox_inches="tight", pad_inches=0.15)
    return content.getvalue()


def _one_line(name: str) -> str:
    """What can be drawn of a name: one line without control characters and lone surrogates."""
    words = " ".join(name.split())
    return "".join(c if c.isprintable() else "\ufffd" for c in words) or "(no name)"


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of which equal ones have the number of their class (from 0)."""
    return [f"{name} [{k}]" if names.count(name) > 1 else name for k, name in enumerate(names)]


def _short_names(names: Sequence[str], most: int) -> list[str]:
    lines = [_one_line(name) for name in names]
    return _distinct([line if len(line) <= most else line[: most - 1].rstrip() + "…" for line in lines])


def _wrapped_names(names: Sequence[str], present: np.ndarray) -> list[str]:
    """The names of these classes in up to three lines of 18 characters."""
    wrapped = [textwrap.wrap(_one_line(name), 18, max_lines=3, placeholder="…") for name in names]
    distinct = _distinct(["\n".join(lines) for lines in wrapped])
    return [distinct[k] for k in present]


# ---- page

_STYLE = """
:root { color-scheme: light dark; --ground: #f4f5f3; --card: #fff; --ink: #20262e; --soft: #5c6672; --line: #e2e5e3; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #111417; --card: #191d22; --ink: #e6e9ec; --soft: #9aa5b1; --line: #2c323a; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.page { max-width: 1200px; margin: 0 auto; padding: 1.6rem clamp(.8rem, 2.5vw, 2rem) 3rem; }
h1, h2, h3, p, td, th { overflow-wrap: anywhere; unicode-bidi: isolate; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.15rem; margin: 0 0 .6rem; }
h3 { font-size: .9rem; color: var(--soft); margin: 1.4rem 0 .3rem; }
p { margin: .2rem 0; color: var(--soft); max-width: 90ch; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 1rem 1.1rem;
  margin-top: 1rem; }
.scroll { overflow: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th { text-align: left; font-size: .8rem; color: var(--soft); }
th, td { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.num { text-align: right; white-space: nowrap; }
label { display: block; overflow: auto; cursor: zoom-in; border-radius: 10px; background: #fff; }
label input { position: absolute; opacity: 0; }
label img { display: block; max-width: 100%; height: auto; }
label:has(:focus-visible) { outline: 2px solid currentColor; outline-offset: 2px; }
label:has(:checked) { cursor: zoom-out; }
:checked + img { max-width: none; }
"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def _page(
    data: LabelledSet, result: Mapping[str, Any], tallies: Mapping[str, Tally], pictures: Mapping[str, bytes]
) -> str:
    """The whole page; nothing from outside gets into it but through :func:`_text`."""
    title = f"{result['benchmark']}, {result['protocol']}: {result['model']}"
    seeds = ", ".join(map(str, result["seeds"]))
    facts = [
        f"{result['train']} training and {result['test']} test samples of {result['classes']} classes in "
        f"{result['folds']} {'fold' if result['folds'] == 1 else 'folds'}.",
        f"Part: {result['part']}. Seeds: {seeds}; pictures and pairs show the first. {result['date']}.",
    ]
    if result["skipped"]:
        facts.append("Left out: " + ", ".join(f"{n} × {reason}" for reason, n in result["skipped"].items()) + ".")
    if pictures:
        facts.append("A click on a picture, or the space bar, shows it in full size.")
    figures = _table(("measure", "%", "note"), [row[1:] for row in result_rows([dict(result)])], numeric={1})
    sections = [f"<h2>Figures</h2>{figures}"]
    for mode, tally in tallies.items():
        parts = [
            f"<h2>{_text(mode)}</h2>",
            f"<h3>The {_PAIRS} most confused pairs</h3>",
            _confused_pairs(tally),
            "<h3>Confusion matrix</h3>",
            _picture(pictures[f"confusion-{mode}.png"], f"Confusion matrix of {mode}, {len(tally.names)} classes"),
            "<h3>Classes</h3>",
            _picture(pictures[f"classes-{mode}.png"], f"Bars of the accuracy of {mode} by class"),
        ]
        sections.append("".join(parts))
    if "embedding.png" in pictures:
        about = "<p>Near samples look alike to the model; distances between far groups and their sizes mean little.</p>"
        alt = f"Map of the features of samples of {len(data.class_names)} classes"
        sections.append(f"<h2>Map of the features</h2>{about}{_picture(pictures['embedding.png'], alt)}")
    body = "\n".join(f"<section>{section}</section>" for section in sections)
    paragraphs = "".join(f"<p>{_text(fact)}</p>" for fact in facts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<link rel="icon" href="data:,">
<title>{_text(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<div class="page">
<h1>{_text(title)}</h1>
{paragraphs}
{body}
</div>
</body>
</html>
"""


def _confused_pairs(tally: Tally) -> str:
    pairs = tally.confused(_PAIRS)
    if not pairs:
        return "<p>None: every answer is right.</p>"
    rows = [
        (
            tally.names[k],
            tally.names[answer],
            f"{tally.counts[k, answer]} of {tally.samples[k]}",
            f"{100 * tally.shares[k, answer]:.0f}",
            f"{tally.counts[answer, k]} of {tally.samples[answer]}",
        )
        for k, answer in pairs
    ]
    return _table(("true class", "answer", "samples", "%", "the other way round"), rows, numeric={2, 3, 4})


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: set[int]) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        side = [' class="num"' if i in numeric else "" for i in range(len(row))]
        return "".join(f"<{tag}{side[i]}>{_text(cell)}</{tag}>" for i, cell in enumerate(row))

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{cells(heads, "th")}</tr>{body}</table></div>'


def _picture(png: bytes, about: str) -> str:
    """A picture within the page's width; a click or the space bar shows it in full size."""
    source = base64.b64encode(png).decode()
    return (
        f'<label><input type="checkbox" aria-label="Full size">'
        f'<img alt="{_text(about)}" src="data:image/png;base64,{source}"></label>'
    )


def _text(value: str) -> str:
    """Text to stand in HTML or in a quoted attribute; file and class names may hold lone surrogates."""
    return html.escape(str(value)).encode("utf-8", "replace").decode()
