"""Every check passes the solution, sends the stub back, and names each typical mistake in its own words."""

from __future__ import annotations

import nbformat
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

from facerec.course import check, learning, own
from facerec.errors import FaceError, NotYet
from facerec.learning import triplets
from tools.upkeep import exercises

#: Exercise → (what is replaced in the solution, by what, what the check answers).
MISTAKES = {
    "triplet_loss": [
        (" + alpha", "", "the margin is missing"),
        (
            "tf.maximum(to_positive - to_negative + alpha, 0.0)",
            "to_positive - to_negative + alpha",
            "the maximum with 0",
        ),
        ("return tf.reduce_sum(", "return tf.reduce_mean(", "you took the mean; the course sums"),
        ("return tf.reduce_sum(", "return tf.reduce_max(", "you took the largest loss; the course sums"),
        ("return tf.reduce_sum(", "return (", "add the triplets' losses up"),
        ("anchor, positive, negative =", "anchor, negative, positive =", "positive and negative are swapped"),
        ("to_positive - to_negative +", "to_positive**0.5 - to_negative**0.5 +", "these are distances"),
        (" + alpha, 0.0)", ", 0.0) + alpha", "alpha belongs inside the maximum: outside"),
        (" + alpha, 0.0))", ", 0.0)) + alpha", "alpha belongs inside the maximum and to every triplet"),
        ("+ alpha", "- alpha", "the margin has the wrong sign"),
        ("+ alpha", "+ 0.2", "alpha is always 0.2"),
        (", axis=-1)", ")", "sum over the numbers of an encoding only"),
        ("tf.reduce_sum(tf.square", "tf.reduce_mean(tf.square", "a squared distance is the sum"),
        (
            "+ alpha, 0.0",
            "+ alpha, 1.0",
            "for anchor (0, 0), positive (1, 0), negative (0, 1) and alpha 0.2 the loss is",
        ),
        (", axis=-1)", ", axis=0)", "sum over axis=-1, the numbers of an encoding"),
        (
            "tf.reduce_sum(tf.maximum(to_positive - to_negative + alpha, 0.0))",
            "tf.reduce_sum(tf.maximum((anchor - positive) ** 2 - (anchor - negative) ** 2 + alpha, 0.0))",
            "first the sum over axis=-1, then the maximum",
        ),
        ("anchor - negative", "positive - negative", "the negative's distance is measured from the anchor"),
        ("tf.square(anchor - positive)", "tf.square(anchor - positve)", "triplet_loss stopped with NameError"),
        ("return tf", "tf", "triplet_loss returns nothing"),
    ],
    "verify": [
        (
            "distance < threshold",
            "distance <= threshold",
            "exactly the threshold must not open the door: use < and not <=",
        ),
        ("distance < threshold", "distance > threshold", "at a distance of 0.22 your door_open is False"),
        ("distance < threshold", "distance < 0.7", "with threshold=0.1 the door opened"),
        (
            "if identity not in database:",
            "if False:",
            "for a name that is not in the database yours stops with Python's",
        ),
        (
            "raise UnknownIdentity(",
            "return 2.0, bool(",
            "'leena' is not in the database, and yours answered (2.000, True)",
        ),
        (
            "raise UnknownIdentity(",
            "raise ValueError(",
            "an unknown name must raise UnknownIdentity; yours raised Value",
        ),
        ("return distance, door_open", "return door_open, distance", "the two answers are swapped"),
        ("return distance, door_open", "return door_open", "verify must return two things"),
        ("- database[identity])", "- database[identity]) ** 2", "the distance is squared"),
        ("- database[identity])", "- database[identity], 1)", "the distance is the sum of the absolute differences"),
        (
            "np.linalg.norm(encoding - database[identity])",
            "min(np.linalg.norm(encoding - one) for one in database.values())",
            "that is the distance to the nearest person",
        ),
        ("np.linalg.norm(encoding - database[identity])", "encoding @ database[identity]", "that is a dot product"),
        (
            "np.linalg.norm(encoding - database[identity])",
            "np.linalg.norm(encoding) - np.linalg.norm(database[identity])",
            "that is the difference of two lengths",
        ),
        (
            "return distance, door_open",
            "return abs(encoding - database[identity]), door_open",
            "a distance is one number",
        ),
        ('(f"the database has no one called {identity!r}")', "", "tell the person at the door what is wrong"),
        ("not in database", "in database", "raise UnknownIdentity only for a name that is not in"),
        ("(image_path, model)", "(f'images/{image_path}.jpg', model)", "give img_to_encoding the two arguments as"),
    ],
    "who_is_it": [
        ("return distance, None", "", "a stranger must give None; you gave 'lena'"),
        ("return distance, None", "return distance, 'nobody'", "a stranger must give None; you gave 'nobody'"),
        ("return distance, None", "return np.inf, None", "for a stranger, too, return the distance"),
        ("distance < threshold", "distance <= threshold", "exactly the threshold must not give a name"),
        ("distance < threshold", "distance < 0.7", "with threshold=0.1 a person at 0.22 got a name"),
        ("identity = min(", "identity = max(", "you took the farthest person"),
        ("min(gaps, key=gaps.get)", "[*gaps][-1]", "you took the last person of the database"),
        ("min(gaps, key=gaps.get)", "next(n for n in gaps if gaps[n] < 0.7)", "you took the first person who is near"),
        ("return distance, identity", "return identity, distance", "the two answers are swapped"),
        ("- known)", "- known) ** 2", "the distance is squared"),
        ("return distance, None", "raise UnknownIdentity(identity)", "a stranger is not a mistake here"),
        ("database.items()", "{'ada': np.zeros(128)}.items()", "Use the argument database"),
        ("if not distance", "if distance", "lena is 0.22 away, and got no name"),
    ],
    "choose_threshold": [
        ("np.nanmin(impostors)", "np.nanmax(owners)", "lets an impostor at 0.6 in"),
        ("np.nanmin(impostors)", "np.nanmax(impostors)", "you took the farthest impostor"),
        ("np.nanmin(impostors)", "np.nanmin(impostors) - 0.01", "keeps every impostor out, but so does 0.600"),
        ("np.nanmin(impostors)", "np.nanmin(impostors) + 1e-6", "lets an impostor at 0.6 in"),
        ("np.nanmin(impostors)", "round(np.nanmin(impostors), 2)", "0.62 lets an impostor at 0.6177 in"),
        ("owners < threshold", "owners <= threshold", "an owner at the threshold itself stays outside"),
        ("np.mean(owners", "100 * np.mean(owners", "return a share between 0 and 1"),
        ("np.nanmin(impostors)", "np.min(impostors)", "your threshold is NaN"),
        ("np.mean(owners", "np.sum(owners", "return the share of owners, not their number"),
        ("owners < threshold", "owners >= threshold", "that is the share of owners who are kept out"),
        ("owners < threshold", "owners[owners == owners] < threshold", "an owner whose face was not found (NaN)"),
        ("np.mean(owners", "np.mean(np.append(owners, impostors)", "return the share of owners only"),
        (
            "return threshold, np.mean(owners < threshold)",
            "return threshold",
            "choose_threshold must return two things",
        ),
    ],
    "inception_block": [
        ('(3, strides=1, padding="same")', '(3, padding="same")', "the branches differ in height or width"),
        ("branches = [conv(x, one, 1)]", "branches = []", "the 1×1 branch is missing"),
        ("((3, three), (5, five))", "((3, three),)", "the 5×5 branch is missing"),
        ("branches.append(conv(pooled, pool_filters, 1))", "branches.append(pooled)", "after the pooling comes a 1×1"),
        ("branches.append(conv(pooled, pool_filters, 1))", "", "the branch with the pooling is missing"),
        ("conv(conv(x, few, 1), filters, size)", "conv(x, filters, size)", "a 1×1 convolution in front of the 3×3"),
        (
            "conv(conv(x, few, 1), filters, size)",
            "conv(conv(x, filters, 1), few, size)",
            "`three` and `five` are (few, fi",
        ),
        ("MaxPooling2D", "AveragePooling2D", "the fourth branch begins with layers.MaxPooling2D"),
        ("use_bias=False", "use_bias=True", "leave the bias out"),
        ("(layers.BatchNormalization()(x))", "(x)", "each of the 6 convolutions is followed by its own batch norm"),
        (
            "layers.ReLU()(layers.BatchNormalization()(x))",
            "layers.BatchNormalization()(layers.ReLU()(x))",
            "a block returns",
        ),
        ("return layers.Concatenate()(branches)", "return branches", "return one tensor"),
        ("return layers.Concatenate()(branches)", "return branches[-1]", "only the last branch comes out"),
        ("layers.Concatenate()(branches)", "layers.Concatenate(branches)", "that is a layer without an input"),
        ("layers.Concatenate()(branches)", "layers.Add()(branches)", "stacked in the channels, not added up"),
        ("layers.Concatenate()(branches)", "layers.Concatenate()(branches[0])", "give Concatenate a list"),
        ("conv(x, one, 1)]", "conv(x, three, 1)]", "pairs: few, filters = three"),
        (
            "return layers.Concatenate()(branches)",
            "return layers.Concatenate()([conv(x, one, 1), conv(x, three, 3)])",
            "`three` and `five` are pairs: few, filters = three",
        ),
        ("(5, five)", "(3, five)", "no convolution of yours has a window of 5×5"),
        ("MaxPooling2D(3", "MaxPooling2D(2", "the pooling looks at 3×3 pixels; yours at 2×2"),
        ("conv(conv(x, few", "conv(conv(branches[-1], few", "each branch begins at x, with 20 channels"),
        (
            'padding="same")(x)\n    branches.append(conv(pooled, pool_filters, 1))',
            'padding="same")(conv(x, pool_filters, 1))\n    branches.append(pooled)',
            "the pooling looks at x itself",
        ),
    ],
    "count_weights": [
        (" + 4 * f", "", "batch normalisation has weights, too"),
        ("4 * f", "2 * f", "batch normalisation has four weights per filter, of which two are learned"),
        ("4 * f", "5 * f", "there is no bias (use_bias=False)"),
        ("4 * f", "f", "there is no bias, but batch normalisation"),
        ("k**2", "k", "a window of side k looks at k × k pixels"),
        ("k**2 *", "", "a window looks at several pixels"),
        (", (1, channels, pool_filters)", "", "the 1×1 convolution after the pooling is missing"),
        ("(size, few, filters)]", "(size, channels, filters)]", "the windows look at `few` channels"),
        ("4 * f", "4", "you counted four for each convolution"),
        ("(1, channels, pool_filters)", "(3, channels, pool_filters)", "a max-pooling has no weights"),
        ("4 * f", "7 * f", "(20, 4, (7, 8), (2, 3), 5) is 1,130, and yours says 1217"),
        ("[(1, channels, few), (size", "[(size", "the 1×1 convolutions in front of the windows are missing"),
    ],
    "leaks": [
        (" | set(pairs.identity_2)", "", "you looked at identity_1 only"),
        ("set(pairs.identity_1) | ", "", "you looked at identity_2 only"),
        (
            "people_of(train) & people_of(test)",
            "set(train.identity_1) & set(test.identity_1) | set(train.identity_2) & set(test.identity_2)",
            "a person may be in the first column of one table",
        ),
        (
            "set(pairs.identity_1) | set(pairs.identity_2)",
            "set(pairs.picture_1) | set(pairs.picture_2)",
            "another picture of the same person leaks",
        ),
        ("return set(", "pairs = pairs[pairs.same]; return set(", "you looked at pairs of one person only"),
        ("(train) & people_of(", "(test) & people_of(", "those are all people of the test pairs"),
        ("(train) &", "(train) |", "those are the people of either table"),
        ("(train) &", "(train) ^", "those are the people who are in one table only"),
        (
            "return people_of(train) & people_of(test)",
            "return len(people_of(train) & people_of(test)) > 0",
            "return the names",
        ),
        (
            "return people_of(train) & people_of(test)",
            "return [*people_of(train) & people_of(test)]",
            "returned a list",
        ),
    ],
    "split_people": [
        (".isin(names[: round(share * len(names))])", ".index < share * len(people)", "is in both parts"),
        ("people[~chosen]", "people[~chosen][1:]", "each picture must be in one of the parts; in neither: 1 of"),
        ("share * len(names)", "share * len(names) / 2", "0.6 of 20 people are 12; your first part has 6"),
        ("share * len(names)", "share * len(people)", "take the share of the names, each once"),
        ("round(share * len(names))", "int(share * len(names))", "6.6, rounded 7; your first part has 6"),
        ("people[chosen], people[~chosen]", "people[~chosen], people[chosen]", "return the chosen people first"),
        ("default_rng(seed)", "default_rng()", "the same seed must give the same parts"),
        ("default_rng(seed)", "default_rng(0)", "every seed gives the same parts"),
        ("return people[chosen], people[~chosen]", "return names, names", "return two tables"),
    ],
    "semi_hard": [
        ("& (d[a] < d[a, p] + alpha)", "", "the upper bound is missing"),
        ("& (d[a] > d[a, p])", "", "a negative that is nearer than the positive is hard"),
        ("& (d[a] > d[a, p]) & (d[a] < d[a, p] + alpha)", "", "these are the hardest negatives"),
        ("d[a] > d[a, p]", "d[a] >= d[a, p]", "d(a, n) = d(a, p) is not farther"),
        ("d[a] < d[a, p] + alpha", "d[a] <= d[a, p] + alpha", "d(a, n) = d(a, p) + alpha has no loss"),
        (
            "np.where(fits, d[a], np.inf).argmin()",
            "fits.argmax()",
            "of several semi-hard negatives take the nearest; you ",
        ),
        ("np.inf).argmin()", "-1).argmax()", "of several semi-hard negatives take the nearest; you took the farthest"),
        (".sum(axis=2)", ".sum(axis=2) ** 0.5", "the distances must be squared"),
        ("a != p and", "a < p and", "every two faces of a person make two pairs"),
        ("a != p and", "", "a face can't be its own positive"),
        (
            "(d[a] > d[a, p]) & (d[a] < d[a, p] + alpha)",
            "(d[a] >= d[a, p]) & (d[a] <= d[a, p] + alpha)",
            "both bounds are strict",
        ),
        (" and fits.any()", "", "if no negative fits, leave the pair out: yours then names face 0"),
        ("d[a, p] + alpha", "d[a, p] + 0.2", "yours found no triplets where there are 43"),
        ("append((a, p,", "append((p, a,", "the columns are anchor, positive, negative"),
        ("(who != who[a]) &", "(np.arange(len(who)) != a) &", "a negative must be another person"),
        (
            "return np.array(triplets)",
            "return np.array(triplets)[:, :2]",
            "return one row (anchor, positive, negative)",
        ),
    ],
    "roc": [
        ("distances < thresholds", "distances <= thresholds", "a pair at the threshold itself is not accepted"),
        ("distances < thresholds", "distances > thresholds", "a small distance means one person"),
        (
            "accepted[:, ~same].mean(axis=1), accepted[:, same]",
            "accepted[:, same].mean(axis=1), accepted[:, ~same]",
            "the two",
        ),
        (
            ", accepted[:, same].mean(axis=1)",
            ", 1 - accepted[:, same].mean(axis=1)",
            "the second answer is the share of same pairs",
        ),
        (".mean(axis=1)", ".sum(axis=1) / len(same)", "false accepts are a share of the different pairs"),
        (".mean(axis=1)", ".sum(axis=1)", "return shares, not counts"),
        (
            ".mean(axis=1)",
            ".sum(axis=1) / np.where(accepted.any(axis=1), accepted.sum(axis=1), np.nan)",
            "that is the share of the accepted pairs",
        ),
        (".mean(axis=1)", ".mean(axis=0)", "return one share per threshold"),
    ],
    "equal_error": [
        (
            "return (false_accepts[nearest] + false_rejects[nearest]) / 2",
            "return thresholds[nearest]",
            "that is the thr",
        ),
        ("false_rejects[nearest]) / 2", "false_rejects[nearest])", "you added the two errors up"),
        ("return (", "return 1 - (", "that is the share of right answers"),
        (
            "np.abs(false_accepts - false_rejects)",
            "(false_accepts + false_rejects)",
            "you took the threshold with the sm",
        ),
        ("np.abs(false_accepts - false_rejects)", "np.abs(thresholds - 0.7)", "0.7 is where another network's errors"),
        (
            "return (false_accepts[nearest] + false_rejects[nearest]) / 2",
            "return np.min(false_accepts * (~same).mean() + false_rejects * same.mean())",
            "that is the smallest share of wrong answers",
        ),
        ("np.append(np.unique(distances), distances.max() + 1)", "np.linspace(0, 2, 6)", "at the threshold"),
        ("return (false_accepts[nearest] + false_rejects[nearest]) / 2", "return nearest", "that is a row's number"),
        ("return (", "return 100 * (", "not a percentage"),
        ("1 - true_accepts", "true_accepts", "did you compare them with true accepts?"),
        ("np.abs(false_accepts - false_rejects)", "(false_accepts - false_rejects)", "take np.abs of their difference"),
        (
            "    nearest =",
            "    false_accepts *= (~same).mean(); false_rejects *= same.mean()\n    nearest =",
            "you divided both by all",
        ),
    ],
    "bootstrap_people": [
        (
            "right[np.concatenate([rows[number] for number in drawn])]",
            "rng.choice(right, len(right))",
            "you drew pairs",
        ),
        ("rng.integers(len(rows), size=len(rows))", "rng.permutation(len(rows))", "every drawing gave the same"),
        ("for number in drawn", "for number in set(drawn)", "a person who is drawn twice counts twice"),
        ("[0.025, 0.975]", "[0.05, 0.95]", "that is a 90 % interval"),
        (
            "np.quantile(shares, [0.025, 0.975])",
            "np.mean(shares) - np.std(shares), np.mean(shares) + np.std(shares)",
            "mean ± one standard deviation covers",
        ),
        ("integers(len(rows),", "integers(len(rows) - 1,", "the last person is never drawn"),
        (
            "right[np.concatenate([rows[number] for number in drawn])].mean()",
            "np.mean([right[rows[number]].mean() for number in drawn])",
            "you took the mean of the people's shares",
        ),
        (
            "drawn = rng.integers",
            "drawn = np.random.default_rng(seed).integers",
            "make rng once, before the loop",
        ),
        ("return np.quantile(", "return 1 - np.quantile(", "the two ends are swapped"),
        ("right[np.concatenate", "1 - right[np.concatenate", "an interval of the share of wrong decisions"),
        ("for name in np.unique(person)", "for name in range(30)", "your interval is NaN, the mean of no rows"),
        ("size=len(rows))", "size=len(rows) // 2)", "draw as many people as there are"),
        ("default_rng(seed)", "default_rng()", "the same seed must give the same interval"),
        ("np.quantile(shares, [0.025, 0.975])", "np.array([0.3, 0.4])", "the interval [0.300, 0.400] does not contain"),
    ],
    "report": [
        (
            "i, j = np.triu_indices(len(people), 1)",
            "i, j = np.triu_indices(len(people))",
            "a picture is not a pair with itself",
        ),
        (
            "i, j = np.triu_indices(len(people), 1)",
            "i, j = (~np.eye(len(people), dtype=bool)).nonzero()",
            "each pair counts once: a with b",
        ),
        (
            "i, j = np.triu_indices(len(people), 1)",
            "i, j = np.indices(2 * [len(people)]).reshape(2, -1)",
            "each pair counts ",
        ),
        (" if len(shown) >= fewest else None", "", "2 shares here rest on fewer than ten people"),
        (">= fewest", "> fewest", "exactly `fewest` people, here 10, are enough"),
        (">= fewest", ">= 10", "fewest is always 10 in your function"),
        ("len(shown) >=", "kind.sum() >=", "12 pictures of two people make many pairs, and are still two people"),
        ("len(shown) >=", "len(set(people)) >=", "you count people who are in no pair of this kind"),
        ("len(shown) >=", "len(set(people[i][kind])) >=", "only the first person of each pair counts"),
        ("len(shown) >=", "len(set(people[i][same])) >=", "with fewest=11 you withhold both shares"),
        (
            "return mistakes[kind].mean()",
            "return 1 - mistakes[kind].mean()",
            "those are the shares of right decisions",
        ),
        ("< threshold", "<= threshold", "a distance of the threshold itself"),
        ("< threshold", "< 0.7", "the threshold is always 0.7"),
        ("mistakes[kind].mean()", "mistakes[kind].sum() / len(same)", "false rejects are a share of the same pairs"),
        ("share(~accepted, same)", "share(accepted, ~same)", "false_rejects should be"),
        ('"same_pairs": same.sum()', '"same_pairs": None', "withhold the shares only"),
        ('"pictures": len(people),', "", "the report must be a dict that also has 'pictures'"),
    ],
}


@pytest.fixture(scope="module")
def solutions() -> dict[str, tuple[str, str]]:
    """Exercise → the cell of its solution, and the code of the notebook's cells before it that are no checks."""
    found = {}
    for path in sorted(exercises.SOLUTIONS.glob("*.ipynb")):
        before = ""
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type != "code" or "expected" in cell.metadata.get("tags", []):
                continue
            name = cell.source.partition("### BEGIN")[0].rpartition("def ")[2].partition("(")[0]
            if exercises.SOLUTION.search(cell.source):
                found[name] = cell.source, before
            before += cell.source + "\n\n"
    return found


def written(name: str, cell: str, before: str):
    """The function that a student wrote in this cell."""
    names: dict = {}
    exec(before, names)
    exec(cell, names)
    return names[name]


def test_there_is_a_check_and_five_mistakes_for_every_solution(solutions):
    assert sorted(solutions) == sorted(check.__all__) == sorted(MISTAKES)
    for name, mistakes in MISTAKES.items():
        messages = {message for *_, message in mistakes}
        assert len(messages) >= 5, name


@pytest.mark.parametrize("name", check.__all__)
def test_a_check_passes_the_solution(name, solutions, capsys):
    getattr(check, name)(written(name, *solutions[name]))
    assert capsys.readouterr().out.startswith("✓ ")


@pytest.mark.parametrize("name", check.__all__)
def test_a_check_sends_the_stub_back(name, solutions):
    cell, before = solutions[name]
    stub = written(name, exercises.SOLUTION.sub(exercises.STUB, cell), before)
    with pytest.raises(NotYet, match="not written yet"):
        getattr(check, name)(stub)


def test_a_check_names_the_function_that_is_missing(solutions):
    cell, before = solutions["equal_error"]
    without_roc = written("equal_error", cell, exercises.SOLUTION.sub(exercises.STUB, before))
    with pytest.raises(NotYet, match="NotImplementedError` in roc"):
        check.equal_error(without_roc)


@pytest.mark.parametrize(
    ("name", "right", "wrong", "message"),
    [(name, *mistake) for name, mistakes in MISTAKES.items() for mistake in mistakes],
)
def test_a_check_names_the_mistake(name, right, wrong, message, solutions):
    cell, before = solutions[name]
    assert right in cell
    with pytest.raises(NotYet) as caught:
        getattr(check, name)(written(name, cell.replace(right, wrong), before))
    assert message in str(caught.value)


def test_semi_hard_triplets_of_the_check_are_the_modules():
    encodings, who = learning.small_crowd()
    rows = triplets.semi_hard_triplets(encodings, who, 3.0).triplets()
    to_negative = np.square(encodings[rows[:, 0]] - encodings[rows[:, 2]]).sum(axis=1)
    assert {(a, p, float(d)) for (a, p, _), d in zip(rows.tolist(), to_negative, strict=True)} == learning.mine(
        encodings, who, 3.0
    )


def test_own_pictures_are_found_and_their_absence_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert len(own.my_faces("none_here").people) == 28
    assert "There is no folder none_here yet" in capsys.readouterr().out
    for name in ("ada", "bob"):
        (tmp_path / "my_faces" / name).mkdir(parents=True)
        (tmp_path / "my_faces" / name / "1.jpg").touch()
    found = np.array([[0.6, 0.8], [np.nan, np.nan]]), {1: FaceError("no face in it")}
    monkeypatch.setattr("facerec.networks.load_facenet", lambda: None)
    monkeypatch.setattr("facerec.encoding.photos_to_encodings", lambda pictures, model, progress: found)
    faces = own.my_faces()
    assert (faces.people.tolist(), faces.pictures) == (["ada"], ["my_faces/ada/1.jpg"])
    assert "bob/1.jpg (no face in it)" in capsys.readouterr().out.replace("\\", "/")


def test_a_notebook_shows_the_answer_without_a_traceback(capsys):
    shell = InteractiveShell()
    shell.run_cell("from facerec.errors import FaceError, NotYet\nraise NotYet('the margin is missing')")
    assert capsys.readouterr().out.strip() == "✗ the margin is missing"
