"""What a notebook teaches by writing it agrees with the module; what is quoted agrees with what was measured."""

import inspect
import json
import re
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import keras
import nbformat
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import fr_utils
import inception_blocks_v2
from facerec import evaluation
from facerec._files import ROOT
from facerec.learning import siamese, siamese_training, triplets
from facerec.networks import threshold_for
from tests.facerec.learning.crowds import all_triplets, crowd, squared

#: Notebooks that are to be done: contents, empty cells, folded solutions.
DONE = ["Face_Recognition.ipynb", "train_siamese.ipynb", "train_facenet.ipynb", "evaluate.ipynb"]
EXERCISES = sorted((ROOT / "exercises" / "solutions").glob("*.ipynb"))


def cell_with_tag(notebook: str, tag: str) -> str:
    """The source of the notebook's one code cell of that tag."""
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    (source,) = [cell.source for cell in cells if tag in cell.metadata.get("tags", [])]
    return source


@pytest.mark.parametrize("notebook", DONE)
def test_contents_name_every_chapter_and_link_to_it(notebook):
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    sources = [cell.source for cell in cells if cell.cell_type == "markdown"]
    listed = re.findall(r"^(\d+)\. \[(.+)\]\(#(.+)\)$", sources[1], re.MULTILINE)
    headings = [re.match(r'<a id="(.+)"></a>\n\n## (\d+) · (.+)\n?', source) for source in sources]
    assert listed == [(found[2], found[3], found[1]) for found in headings if found]
    assert [int(number) for number, _, _ in listed] == list(range(1, len(listed) + 1))
    assert sum(source.count("\n## ") for source in sources) == len(listed)


@pytest.mark.parametrize("notebook", DONE)
def test_every_chapter_with_code_ends_with_what_to_remember(notebook):
    chapters: list[list] = [[]]
    for cell in nbformat.read(ROOT / notebook, as_version=4).cells:
        if cell.cell_type == "markdown" and "\n## " in cell.source:
            chapters.append([])
        chapters[-1].append(cell)
    for chapter in chapters[2:]:  # after the opening and the set-up
        if any(cell.cell_type == "code" for cell in chapter):
            texts = [cell.source for cell in chapter if cell.cell_type == "markdown"]
            assert "> **Remember:**" in texts[-1], texts[0][:80]


@pytest.mark.parametrize("notebook", DONE)
def test_an_empty_cell_for_the_reader_comes_before_each_folded_solution(notebook):
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    tags = [cell.metadata.get("tags", []) for cell in cells]
    yours = [i for i, tag in enumerate(tags) if "yours" in tag]
    assert yours and [i + 1 for i in yours] == [i for i, tag in enumerate(tags) if "solution" in tag]
    for i in yours:
        assert re.fullmatch(r"# your [\w ]+", cells[i].source)
        assert "**Write it yourself" in cells[i - 1].source
        assert cells[i + 1].metadata.jupyter.source_hidden


@pytest.mark.parametrize("notebook", DONE)
def test_no_line_of_code_is_longer_than_88_characters(notebook):
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    lines = [line for cell in cells if cell.cell_type == "code" for line in cell.source.splitlines()]
    assert [line for line in lines if len(line) > 88] == []


@pytest.mark.parametrize("notebook", [*DONE, *(f"exercises/solutions/{path.name}" for path in EXERCISES)])
def test_no_line_of_text_is_lost_on_the_website(notebook):
    """There, a line that begins with a percent sign is a comment."""
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    lines = [line for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    assert [line for line in lines if line.lstrip().startswith("%")] == []


@pytest.mark.parametrize("notebook", ["Face_Recognition.ipynb", "train_facenet.ipynb"])
@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_the_readers_triplet_loss_matches_the_module(notebook, alpha):
    written = {"tf": tf}
    exec(cell_with_tag(notebook, "triplet-loss"), written)
    y_pred = np.random.default_rng(0).normal(size=(3, 7, 128)).astype("float32")
    expected = float(triplets.triplet_loss(None, list(y_pred), alpha))
    assert expected > 1
    assert float(written["triplet_loss"](None, list(y_pred), alpha)) == pytest.approx(expected, rel=1e-6)


def test_the_readers_database_matches_the_module(images, small_network, tmp_path):
    pictures = {"mei": "mei", "lena": "lena", "camera_1": "camera_1", "video_call_2": "otto", "lookalike": "lookalike"}
    for name, picture in pictures.items():
        shutil.copy(images / f"{picture}.jpg", tmp_path / f"{name}.jpg")
    (tmp_path / "notes.txt").write_text("not a picture")
    written = {"Path": Path, "img_to_encoding": fr_utils.img_to_encoding}
    exec(cell_with_tag("Face_Recognition.ipynb", "build-database"), written)
    theirs, _ = fr_utils.build_database(tmp_path, small_network, progress=False)
    mine = written["build_database"](tmp_path, small_network)
    assert list(mine) == list(theirs) == ["lena", "mei"]
    for name, encoding in theirs.items():
        np.testing.assert_allclose(mine[name], encoding, atol=1e-5)


@pytest.fixture
def three_people(monkeypatch) -> dict[str, np.ndarray]:
    """A database in which a "picture" is its own encoding, for the module as for the reader."""
    monkeypatch.setattr(fr_utils, "img_to_encoding", lambda photo, model, aligned=False: photo)
    return dict(zip(("lena", "mei", "otto"), np.eye(128, dtype="float32"), strict=False))


def visitors(database: dict[str, np.ndarray]) -> Iterator[tuple[np.ndarray, float]]:
    """Encodings near someone and near no one, and thresholds below, at and above their smallest distance."""
    for encoding in (0.5 * database["mei"], 0.75 * database["otto"], -database["lena"]):  # exact in floats
        nearest = min(float(np.linalg.norm(encoding - known)) for known in database.values())
        yield from ((encoding, threshold) for threshold in (0.9 * nearest, nearest, 1.1 * nearest))


@pytest.mark.parametrize("name", ["verify", "who_is_it"])
def test_the_readers_decision_matches_the_module(name, three_people, small_network, capsys):
    written = {"np": np, "img_to_encoding": lambda photo, model: photo}
    exec(cell_with_tag("Face_Recognition.ipynb", name.replace("_", "-")), written)
    claims = [(identity,) for identity in three_people] if name == "verify" else [()]
    answers = set()
    for (encoding, threshold), claim in product(visitors(three_people), claims):
        asked = (encoding, *claim, three_people, small_network, threshold)
        expected, said = getattr(fr_utils, name)(*asked), capsys.readouterr().out
        distance, answer = written[name](*asked)
        assert (distance, answer) == (pytest.approx(expected[0], rel=1e-5), expected[1])
        assert capsys.readouterr().out == said
        answers.add(answer)
    assert answers == ({True, False} if name == "verify" else {"mei", "otto", None})


@pytest.mark.parametrize("name", ["verify", "who_is_it"])
def test_the_readers_threshold_matches_the_module(name, small_network):
    written = {"np": np}
    exec(cell_with_tag("Face_Recognition.ipynb", name.replace("_", "-")), written)
    assert inspect.signature(written[name]).parameters["threshold"].default == threshold_for(small_network)


def test_the_readers_inception_block_matches_the_module():
    """The same weights, in the order in which they were made, give the same output."""
    written = {"layers": keras.layers}
    exec(cell_with_tag("Face_Recognition.ipynb", "inception-block"), written)
    row = inception_blocks_v2.BLOCKS["3a"]
    x, y = keras.Input((12, 12, 192)), keras.Input((12, 12, 192))
    theirs = keras.Model(x, written["inception"](x, row.one, row.three, row.five, row.pool_filters))
    ours = keras.Model(y, inception_blocks_v2.inception_block(y, row, "block"))
    rng = np.random.default_rng(0)
    ours.set_weights([rng.uniform(0.1, 1, weight.shape) for weight in ours.get_weights()])
    theirs.set_weights(ours.get_weights())
    face = rng.normal(size=(1, 12, 12, 192)).astype("float32")
    np.testing.assert_allclose(theirs(face), ours(face), rtol=1e-4)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0])
def test_the_readers_semi_hard_triplets_match_the_module(alpha):
    written = {"np": np}
    exec(cell_with_tag("train_facenet.ipynb", "semi-hard"), written)
    rng = np.random.default_rng(0)
    encodings, who = rng.normal(size=(24, 4)).astype("float32"), np.repeat(np.arange(6), 4)
    encodings /= np.linalg.norm(encodings, axis=1, keepdims=True)
    expected = triplets.semi_hard_triplets(encodings, who, alpha).triplets()
    assert len(expected) > 5
    np.testing.assert_array_equal(written["semi_hard"](encodings, who, alpha), expected)
    assert written["semi_hard"](encodings, who, 0.0).shape == (0, 3)


def test_the_readers_hardest_triplets_match_the_module():
    written = {"np": np}
    exec(cell_with_tag("train_facenet.ipynb", "hardest"), written)
    encodings, who = crowd(2)
    np.testing.assert_array_equal(
        written["hardest"](encodings, who), triplets.hardest_triplets(encodings, who).triplets()
    )


def test_the_readers_all_triplets_are_those_with_a_loss():
    written = {"np": np}
    exec(cell_with_tag("train_facenet.ipynb", "all"), written)
    encodings, who = crowd(1)
    found = [tuple(row) for row in written["all_triplets"](encodings, who)]
    costly = [(a, p, n) for a, p, n in all_triplets(who) if squared(encodings, a, p) + 0.2 > squared(encodings, a, n)]
    assert 10 < len(costly) < len(all_triplets(who)) and sorted(found) == sorted(costly)


def test_the_readers_random_triplets_are_triplets_and_all_negatives_occur():
    written = {"np": np}
    exec(cell_with_tag("train_facenet.ipynb", "random"), written)
    who = np.repeat(np.arange(3), 4)
    drawn = [written["random_triplets"](None, who) for _ in range(40)]
    for rows in drawn:
        a, p, n = rows.T
        assert len(rows) == 3 * 4 * 3 and (who[a] == who[p]).all() and (a != p).all() and (who[a] != who[n]).all()
    assert set(np.concatenate(drawn)[:, 2]) == set(range(12))


def test_the_training_step_descends_along_the_gradient_of_the_mean_triplet_loss():
    written = {"tf": tf, "triplets": triplets, "triplet_loss": triplets.triplet_loss}
    exec(cell_with_tag("train_facenet.ipynb", "train-step"), written)
    rng = np.random.default_rng(0)
    faces, who = rng.normal(size=(6, 5)).astype("float32"), np.arange(6)
    rows = np.array([[0, 3, 1], [4, 3, 2]])  # one with a loss, one without
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, use_bias=False)])
    before = rng.normal(size=(5, 4))
    model.set_weights([before])
    step = written["make_train_step"](model, keras.optimizers.SGD(0.01), lambda encodings, who: rows)
    loss, apart = step(faces, who)

    def mean_loss(weights):
        e = faces @ weights
        to_positive, to_negative = ((e[rows[:, 0]] - e[rows[:, k]]) ** 2 for k in (1, 2))
        return np.maximum(to_positive.sum(axis=1) - to_negative.sum(axis=1) + 0.2, 0).mean()

    assert float(loss) == pytest.approx(mean_loss(before), rel=1e-4) and loss > 0.1
    assert float(apart) == pytest.approx(np.square((faces @ before)[:, None] - faces @ before).sum(2).mean(), rel=1e-4)
    slope = np.array([[(mean_loss(before + d) - mean_loss(before - d)) / 2e-5 for d in row] for row in _nudges(5, 4)])
    np.testing.assert_allclose(model.get_weights()[0], before - 0.01 * slope, atol=1e-4)


def _nudges(rows: int, columns: int, by: float = 1e-5) -> np.ndarray:
    """A change of each weight on its own, (rows, columns, rows, columns)."""
    return by * np.eye(rows * columns).reshape(rows, columns, rows, columns)


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_the_readers_arcface_loss_is_its_formula(margin):
    written = {"tf": tf}
    exec(cell_with_tag("train_facenet.ipynb", "arcface"), written)
    rng = np.random.default_rng(0)
    x, w, who = rng.normal(size=(6, 3)).astype("float32"), rng.normal(size=(4, 3)).astype("float32"), [0, 1, 2, 3, 0, 1]
    losses = []
    for face, person in zip(x, who, strict=True):
        angles = np.arccos(w @ face / np.linalg.norm(w, axis=1) / np.linalg.norm(face))
        logits = 16 * np.cos(angles + margin * (np.arange(4) == person))
        losses.append(np.log(np.exp(logits).sum()) - logits[person])
    assert float(written["arcface_loss"](x, w, who, margin)) == pytest.approx(np.mean(losses), rel=1e-3)


def test_the_readers_l1_distance_matches_the_module():
    written = {"layers": keras.layers, "ops": keras.ops}
    exec(cell_with_tag("train_siamese.ipynb", "l1-distance"), written)
    pair = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")
    np.testing.assert_array_equal(written["L1Distance"]()(list(pair)), siamese.L1Distance()(list(pair)))


def test_the_readers_contrastive_loss_is_that_of_the_paper():
    written = {"ops": keras.ops}
    exec(cell_with_tag("train_siamese.ipynb", "contrastive-loss"), written)
    pairs = {(1, 0.5): 0.25, (1, 2.0): 4.0, (0, 0.5): 2.25, (0, 1.5): 0.25, (0, 2.5): 0.0}  # at margin 2
    same, distance = np.array(list(pairs), "float32").T
    np.testing.assert_allclose(written["contrastive_loss"](same, distance, 2.0), list(pairs.values()))


def test_the_readers_training_step_matches_the_module():
    """On the same batch it has the loss of the module's learner, and changes the weights alike."""
    keras.utils.set_random_seed(0)
    models = [siamese.make_siamese("compact", 16) for _ in range(2)]
    models[1].set_weights(models[0].get_weights())
    rng = np.random.default_rng(0)
    faces, who = rng.uniform(0, 1, (8, 16, 16, 3)).astype("float32"), np.repeat(np.arange(4), 2)
    first, second = np.triu_indices(8, 1)
    written = {"tf": tf, "ops": keras.ops, "first": first, "second": second, "model": models[0]}
    written |= {"embedding": siamese.embedding_of(models[0]), "neuron": models[0].get_layer("score")}
    written |= {"distance": siamese.L1Distance(), "optimizer": keras.optimizers.SGD(0.1)}
    exec(cell_with_tag("train_siamese.ipynb", "training-step"), written)
    same = (who[first] == who[second]).astype("float32")
    weight = 0.5 * (same / same.mean() + (1 - same) / (1 - same.mean()))
    learner = siamese_training.with_all_pairs(models[1], 8)
    learner.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    expected = learner.train_on_batch(faces, same, sample_weight=weight)
    assert float(written["training_step"](faces, who)) == pytest.approx(float(expected), rel=1e-5)
    for ours, theirs in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_readers_ten_fold_protocol_matches_the_module(seed):
    written = {"np": np, "evaluation": evaluation}
    exec(cell_with_tag("evaluate.ipynb", "ten-fold"), written)
    rng = np.random.default_rng(seed)
    same, folds = rng.random(400) < 0.5, rng.integers(10, size=400)
    distances = np.where(same, 0.6, 0.9) + rng.normal(0, 0.2, 400)
    protocol = evaluation.lfw_protocol(distances, same, folds)
    assert 0.6 < protocol.accuracy < 0.95
    assert written["ten_fold"](distances, same, folds) == pytest.approx((protocol.accuracy, protocol.standard_error))


def pairs_with_ties(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances (n,) of which many are equal, same (n,) and the people (n, 2) of invented pairs."""
    rng = np.random.default_rng(seed)
    same, who = rng.random(300) < 0.4, rng.integers(20, size=(300, 2))
    who[same, 1] = who[same, 0]
    who[~same, 1] = (who[~same, 0] + 1 + who[~same, 1] % 19) % 20
    return (np.where(same, 0.6, 0.9) + rng.normal(0, 0.2, 300)).round(2), same, who


@pytest.mark.parametrize("seed", range(3))
def test_the_readers_roc_and_equal_error_match_the_module(seed):
    written = {"np": np}
    exec(cell_with_tag("evaluate.ipynb", "roc"), written)
    exec(cell_with_tag("evaluate.ipynb", "equal-error"), written)
    distances, same, _ = pairs_with_ties(seed)
    rates = evaluation.error_rates(distances, same)
    thresholds, false_accepts, true_accepts = written["roc"](distances, same)
    np.testing.assert_allclose(thresholds[:-1], rates.threshold[:-1])
    np.testing.assert_allclose(false_accepts, rates.false_accepts)
    np.testing.assert_allclose(true_accepts, 1 - rates.false_rejects)
    threshold, rate = written["equal_error"](distances, same)
    expected, expected_rate = evaluation.equal_error(distances, same)
    assert 0.05 < rate == pytest.approx(expected_rate)
    both = evaluation.error_rates(distances, same, [expected, threshold])
    assert both.false_accepts.nunique() == both.false_rejects.nunique() == 1  # the same pairs lie below either
    assert written["equal_error"](np.array([0.2, 0.7, 0.6, 1.0]), np.array([True, True, False, False])) == (0.7, 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_the_readers_bootstrap_matches_the_module(seed):
    written = {"np": np}
    exec(cell_with_tag("evaluate.ipynb", "bootstrap"), written)
    distances, same, who = pairs_with_ties(seed)
    right = (distances < 0.75) == same
    found = written["bootstrap_people"](right, same, who, samples=100, seed=seed)
    expected = evaluation.bootstrap(
        lambda _, __, weight: np.average(right, weights=weight), distances, same, who, samples=100, seed=seed
    )
    assert found[1] < found[0] < found[2]
    assert found == pytest.approx((expected.value, expected.low, expected.high))


@pytest.mark.parametrize("folder", ["weights/resnet", "keras-facenet-h5"])
def test_a_model_card_quotes_what_was_measured(folder):
    result = json.loads((ROOT / f"docs/results/lfw_{Path(folder).name}.json").read_text())
    card = (ROOT / folder / "MODEL_CARD.md").read_text()
    block = re.search(r"<!-- accuracy -->(.*?)<!-- /accuracy -->", card, re.DOTALL)[1]

    def interval(row):
        return f"{100 * row['value']:.1f} % [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"

    assert interval(result["accuracy_at_0.7"]) in block
    assert interval(result["accuracy_at_trained"]) in block
    assert f"({result['trained_threshold']:.3f})" in block
    assert f"{100 * result['false_accepts_at_0.7']:.1f} %, {100 * result['false_rejects_at_0.7']:.1f} %" in block
    assert f"{result['auc']:.4f}" in block
    assert f"({result['people']} people" in card


@pytest.mark.parametrize("network", ["resnet", "keras-facenet-h5"])
def test_the_rates_table_is_what_its_columns_say(network):
    rates = pd.read_csv(ROOT / f"docs/results/lfw_{network}_rates.csv")
    for _, part in rates.groupby("people"):
        assert part.threshold.is_monotonic_increasing
        assert part.false_accepts.is_monotonic_increasing and part.false_rejects.is_monotonic_decreasing
        at = part[np.isclose(part.threshold, 0.7)].iloc[0]
        assert abs(at.false_accepts - at.false_rejects) < 0.01  # 0.7 is the equal-error threshold


def test_results_name_the_network_that_was_measured():
    files = sorted((ROOT / "docs" / "results").glob("lfw_*.json"))
    results = {file.stem.removeprefix("lfw_"): json.loads(file.read_text()) for file in files}
    assert {"resnet", "keras-facenet-h5", "generated", "pixels"} <= set(results)
    assert {name: Path(result["network"]).name for name, result in results.items()} == {name: name for name in results}
    assert len({result["auc"] for result in results.values()}) == len(results)


@pytest.mark.parametrize("card", sorted(ROOT.glob("**/MODEL_CARD.md")), ids=lambda path: path.parent.name)
def test_a_model_card_has_nothing_left_to_fill_in(card):
    assert re.findall(r"^[A-Z]{4,}$|TODO|TABLE_", card.read_text(encoding="utf-8"), re.MULTILINE) == []
