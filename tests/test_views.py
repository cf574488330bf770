"""Pictures and page of an evaluation: what they say, and that class names stay text."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from tmor.downstream import views
from tmor.downstream.benchmarks.labelled import LabelledSet
from tmor.downstream.benchmarks.protocol import Fold
from tmor.downstream.evaluate import Evaluation
from tmor.downstream.views import Tally, draw_classes, draw_confusion, draw_embedding, write_views
from tmor.errors import TmorError

HOSTILE = "</td><script>alert(1)</script><img src=//x onerror=\"alert('2')\"> $\\frac{ \u202e\x00\udcff\n"
NAMES = ("squat", HOSTILE, "wave", "nobody does this")
TRUTH = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
ANSWER = np.array([0, 1, 1, 2, 1, 0, 2, 2, 2, 2])
COUNTS = np.array([[1, 2, 1, 0], [1, 1, 0, 0], [0, 0, 4, 0], [0, 0, 0, 0]])


def made(names=NAMES, *, each=5, folds=None) -> LabelledSet:
    """Samples of the first three classes; every other one is of the test part."""
    labels = np.repeat(np.arange(3), each)
    train = np.arange(len(labels)) % 2 == 0
    return LabelledSet(
        name="moves",
        protocol="cross-subject",
        samples=((),) * len(labels),
        labels=labels,
        class_names=names,
        folds=folds or (Fold("one", train, ~train),),
        skipped={"nobody is seen": 3},
    )


def found(answers=("linear",), features=None, **result) -> Evaluation:
    mean = {"mean": 60.0, "std": None}
    about = {
        "model": "tiny",
        "benchmark": "moves",
        "protocol": "cross-subject",
        "metric": "top1",
        "part": "test",
        "folds": 1,
        "train": 8,
        "test": 10,
        "skipped": {"nobody is seen": 3},
        "classes": 4,
        "seeds": [0],
        "date": "2025-01-31",
        "published": [["Somebody et al.", "top-1 of others", 81.25]],
        "linear": {"top1": mean, "mean_class": mean},
        "few-shot": {"1": {"mean": 43.21, "std": 1.5}},
    }
    return Evaluation({**about, **result}, dict.fromkeys(answers, (TRUTH, ANSWER)), features)


def clouds(data: LabelledSet, spread: float = 0.05) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (np.eye(4, 6)[data.labels] + spread * rng.normal(size=(len(data.labels), 6))).astype(np.float32)


def first(figure) -> Any:
    """The axes that hold the picture itself."""
    return figure.axes[0]


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


class Elements(HTMLParser):
    """The tags and attributes that a browser would see, and the cells of tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.rows: list[list[str]] = []
        self.in_cell = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag):
        self.in_cell &= tag not in ("td", "th")

    def handle_data(self, data):
        if self.in_cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of an evaluation with everything in it."""
    folder = tmp_path_factory.mktemp("views") / "new" / "folder"
    data = made()
    write_views(folder, data, found(features=clouds(data)))
    return folder


def test_every_picture_is_there_and_in_the_page(written):
    names = {"confusion-linear.png", "classes-linear.png", "embedding.png"}
    assert {p.name for p in written.iterdir()} == {*names, "index.html"}
    page = (written / "index.html").read_text(encoding="utf-8")
    inside = {base64.b64decode(code) for code in re.findall(r'src="data:image/png;base64,([^"]+)"', page)}
    assert inside == {(written / name).read_bytes() for name in names}
    for png in inside:
        picture = imread(io.BytesIO(png))
        assert min(picture.shape[:2]) > 100
        assert picture[..., :3].std() > 0.02


def test_page_asks_nothing_of_the_network_and_runs_nothing(written):
    page = (written / "index.html").read_text(encoding="utf-8")
    seen = Elements(page)
    assert "script" not in seen.tags
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    addresses = [value for name, value in seen.attributes if name in ("src", "href", "srcset", "action")]
    assert len(addresses) == 4 and all(value.startswith("data:") for value in addresses if value)
    assert "default-src 'none'" in page
    assert not re.search(r"@import|url\(", page)


def test_hostile_class_names_stay_text(written):
    page = (written / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page and "<img src=//" not in page
    cell = HOSTILE.replace("\udcff", "?").replace("\x00", "\ufffd")
    assert cell in {text.replace("\x00", "\ufffd") for row in Elements(page).rows for text in row}
    figure = draw_confusion(Tally("linear", NAMES, COUNTS))
    label = first(figure).get_yticklabels()[1]
    assert not label.get_parse_math() and label.get_text().isprintable()


def test_page_has_the_figures_and_the_pairs_in_order(written):
    page = (written / "index.html").read_text(encoding="utf-8")
    rows = Elements(page).rows
    assert ["1-shot top-1", "43.2 ± 1.5", "20 episodes per seed"] in rows
    assert ["linear probe top-1", "60.0", ""] in rows
    assert ["top-1 of others", "81.2", "published: Somebody et al."] in rows
    pairs = rows[rows.index(["true class", "answer", "samples", "%", "the other way round"]) + 1 :]
    assert [row[2:] for row in pairs] == [
        ["2 of 4", "50", "1 of 2"],
        ["1 of 4", "25", "0 of 4"],
        ["1 of 2", "50", "2 of 4"],
    ]
    assert (pairs[1][0], pairs[1][1]) == ("squat", "wave")
    assert "Left out: 3 × nobody is seen." in page


def test_pairs_are_the_most_frequent_wrong_answers_only():
    tally = Tally("linear", NAMES, COUNTS)
    assert tally.confused(2) == [(0, 1), (0, 2)]
    assert tally.confused(10) == [(0, 1), (0, 2), (1, 0)]
    assert Tally("linear", NAMES, np.diag([3, 0, 2, 1])).confused(10) == []


def test_the_same_evaluation_gives_the_same_bytes(written, tmp_path):
    data = made()
    write_views(tmp_path, data, found(features=clouds(data)))
    assert all((tmp_path / p.name).read_bytes() == p.read_bytes() for p in written.iterdir())


def test_matrix_has_shares_of_rows_and_counts():
    figure = draw_confusion(Tally("linear", NAMES, COUNTS))
    shades = first(figure).images[0].get_array()
    # Root of the share; right answers above 0, wrong ones below.
    assert shades[0].tolist() == pytest.approx([0.5, -np.sqrt(0.5), -0.5, 0])
    assert shades[2, 2] == 1
    assert shades.mask[3].all() and not shades.mask[:3].any()
    assert texts(first(figure)) == ["1", "2", "1", "1", "1", "4"]
    assert figure.axes[1].get_title(loc="left") == "grey: no test samples"


@pytest.mark.parametrize(("classes", "counted"), [(30, True), (31, False)])
def test_large_matrices_have_names_on_all_sides_instead_of_counts(classes, counted):
    figure = draw_confusion(Tally("linear", [f"class {k}" for k in range(classes)], np.eye(classes, dtype=int)))
    axes = first(figure)
    assert len(axes.texts) == (classes if counted else 0)
    assert axes.xaxis.get_tick_params()["labeltop"] is not counted
    # A line of names at least as high as its letters.
    height = figure.get_figheight() * 72 / classes
    assert 6 <= axes.get_yticklabels()[0].get_fontsize() <= height


def test_bars_are_sorted_and_name_the_most_frequent_wrong_answer():
    names = ("squat", "a kick", "wave", "nobody does this")
    axes = first(draw_classes(Tally("linear", names, COUNTS)))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["wave  (4)", "a kick  (2)", "squat  (4)"]
    assert [bar.get_width() for bar in axes.patches] == [100, 50, 25]
    assert texts(axes) == ["100%", "50%   1× squat", "25%   2× a kick", "mean of the classes 58.3%"]
    assert axes.yaxis.get_inverted()  # the first is on top


def test_names_that_look_equal_get_numbers():
    long = "take a towel from somewhere and put it over the shoulder of "
    axes = first(draw_confusion(Tally("x", [long + "one", "sit", long + "two"], np.eye(3, dtype=int))))
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown == [
        "take a towel from somewhere and put it over… [0]",
        "sit",
        "take a towel from somewhere and put it over… [2]",
    ]


def test_map_sets_test_samples_apart_and_names_classes_at_their_medians():
    data = made(("a b", "$x_1$", "c", "nobody"), each=20)
    figure = draw_embedding(data, clouds(data))
    axes = first(figure)
    parts = [np.asarray(collection.get_offsets()) for collection in axes.collections]
    assert [len(part) for part in parts] == [10] * 6  # three classes in training, then in test
    assert axes.collections[3].get_sizes()[0] > axes.collections[0].get_sizes()[0]
    assert texts(axes) == ["a b", "$x_1$", "c"]
    for k, line in enumerate(axes.lines):
        both = np.concatenate([parts[k], parts[k + 3]])
        assert line.get_xydata()[0] == pytest.approx(np.median(both, axis=0))
    assert axes.get_legend() is not None
    # Clouds that lie apart are apart on the map.
    middles = [np.concatenate([parts[k], parts[k + 3]]) for k in range(3)]
    radius = max(np.linalg.norm(cloud - cloud.mean(axis=0), axis=1).max() for cloud in middles)
    assert np.linalg.norm(middles[0].mean(axis=0) - middles[1].mean(axis=0)) > radius


def test_map_draws_by_lot_and_leaves_out_what_no_fold_uses(monkeypatch):
    monkeypatch.setattr(views, "MOST_MAPPED", 20)
    mapped = []
    monkeypatch.setattr(views, "_map", lambda rows: mapped.append(rows) or rows[:, :2].astype(float))
    train = np.arange(60) < 25
    data = made(each=20, folds=(Fold("one", train, ~train & (np.arange(60) < 50)),))
    features = np.arange(60.0)[:, None] + np.zeros(3)
    for _ in range(2):
        title = first(draw_embedding(data, features)).get_title(loc="left")
    assert title.startswith("Features of 20 samples drawn by lot")
    assert len(mapped[0]) == 20 and (mapped[0] == mapped[1]).all()
    assert mapped[0].max() < 50


def test_map_of_leave_one_out_sets_nothing_apart():
    even = np.arange(15) % 2 == 0
    data = made(folds=(Fold("a", even, ~even), Fold("b", ~even, even)))
    assert first(draw_embedding(data, clouds(data))).get_legend() is None


@pytest.mark.parametrize("samples", [2, 3, 5])
def test_map_of_few_or_equal_samples(samples):
    at = views._map(np.ones((samples, 4), np.float32))
    assert at.shape == (samples, 2) and np.isfinite(at).all()


def test_labels_keep_apart_and_off_the_points():
    rng = np.random.default_rng(0)
    middles = rng.uniform(200, 300, (30, 2))
    sizes = np.tile([60.0, 12.0], (30, 1))
    points = rng.uniform(200, 300, (500, 2))
    at = views._apart(middles, sizes, points, np.array([0, 0, 600, 600]))
    gaps = np.abs(at[:, None] - at) - sizes[0]
    assert (gaps.max(axis=2)[~np.eye(30, dtype=bool)] > 0).all()
    hidden = (np.abs(points[:, None] - at) <= sizes[0] / 2).all(axis=2).any(axis=1)
    unmoved = (np.abs(points[:, None] - middles) <= sizes[0] / 2).all(axis=2).any(axis=1)
    assert hidden.sum() < 0.3 * unmoved.sum()


def test_no_features_no_map_and_no_answers_no_matrix(tmp_path):
    write_views(tmp_path / "a", made(), found(answers=()))
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["index.html"]
    page = (tmp_path / "a" / "index.html").read_text(encoding="utf-8")
    assert "image/png" not in page and "linear probe top-1" in page
    write_views(tmp_path / "b", made(), found())
    assert {p.name for p in (tmp_path / "b").iterdir()} == {"confusion-linear.png", "classes-linear.png", "index.html"}


def test_validation_never_shows_the_test_part(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(
        views, "draw_embedding", lambda data, _: shown.append(data) or draw_classes(Tally("", NAMES, COUNTS))
    )
    data = made()
    write_views(tmp_path, data, found(answers=(), features=clouds(data), part="validation, from the training part"))
    (fold,) = shown[0].folds
    assert (fold.train | fold.test).tolist() == data.folds[0].train.tolist()


@pytest.mark.parametrize("name", ["confusion-linear.png", "classes-linear.png", "embedding.png", "index.html"])
def test_a_file_that_exists_is_kept_and_nothing_written(tmp_path, name):
    (tmp_path / name).write_text("mine")
    (tmp_path / "other.txt").write_text("")
    data = made()
    with pytest.raises(TmorError, match=re.escape(f"{tmp_path / name}: exists already")):
        write_views(tmp_path, data, found(features=clouds(data)))
    assert {p.name for p in tmp_path.iterdir()} == {name, "other.txt"}
    assert (tmp_path / name).read_text() == "mine"


def test_errors_name_the_thing_and_leave_no_files(tmp_path):
    data = made()
    folder = tmp_path / "x"
    evaluation = replace(found(), answers={"linear": (TRUTH, ANSWER + 3)})
    with pytest.raises(
        TmorError, match="answers of linear don't belong to moves: answer holds class 4; expected 0 to 3"
    ):
        write_views(folder, data, evaluation)
    with pytest.raises(TmorError, match=r"features of moves are \(3, 6\); expected \(15, width\)"):
        write_views(folder, data, found(answers=(), features=np.zeros((3, 6))))
    features = clouds(data)
    features[4, 1] = np.nan
    with pytest.raises(TmorError, match="features of moves: row 4 is not finite"):
        write_views(folder, data, found(answers=(), features=features))
    assert not folder.exists()
    folder.write_text("")
    with pytest.raises(TmorError, match=r"x: is a file; expected a folder for the views"):
        write_views(folder, data, found())
    with pytest.raises(TmorError, match=r"can't be written: "):
        write_views(folder / "below", data, found(answers=()))
