"""An exercise out of TOML: every mistake in it is answered with the key and the nearest known one."""

import tomllib

import pytest

import crosscheck
from crosscheck.errors import UsageError
from crosscheck.exercises import load, shipped
from crosscheck.exercises.template import solution, template

ITEM = '[[items]]\nlayer = "Linear"\nname = "A"\n'


def written(tmp_path, text):
    (tmp_path / "exercise.toml").write_text(text)
    return load(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no [[items]]"),
        ("tilte = 'x'\n" + ITEM, "unknown key 'tilte': did you mean title"),
        ("a = [", "no valid TOML"),
        ("items = [3]", "expected a table"),
        ("title = 3\n" + ITEM, "title = 3: expected text in quotes"),
        ("show = 'hint'\n" + ITEM, "did you mean hints?"),
        ("mismatch = 2\n" + ITEM, "between 0 and 1"),
        ("mismatch = true\n" + ITEM, "expected a whole number or a number"),
        ("against = ['torhc']\n" + ITEM, "did you mean torch?"),
        ("convention = 'cache'\n" + ITEM, "did you mean cached"),
        ("allowed_imports = [3]\n" + ITEM, "a list of texts"),
        ("[limits]\nsecond = 3\n" + ITEM, "unknown limit 'second': did you mean seconds?"),
        ("[limits]\nseconds = 0\n" + ITEM, "a positive number"),
        ("[[items]]\nname = 'A'\n", "item 1 (A): it has no layer"),
        ("[[items]]\nlayer = 'Linear'\n", "item 1: it has no name"),
        ("[[items]]\nlayer = 'Liner'\nname = 'A'\n", "item 1 (A): unknown layer 'Liner'"),
        ("[[items]]\nlayer = 3\nname = 'A'\n", "layer = 3"),
        ("[[items]]\nlayer = [3]\nname = 'A'\n", "neither a name nor"),
        ("[[items]]\nlayer = 'own.py:scale'\nname = 'A'\n", "there is no own.py beside"),
        (ITEM + "point = {}\n", "did you mean points?"),
        (ITEM + "points = { grad_wieghts = 1 }\n", "did you mean grad_weights"),
        (ITEM + "points = { output = -1 }\n", "not negative"),
        (ITEM + "points = { output = 'a' }\n", "expected a whole number or a number"),
        (ITEM + "options = { bais = true }\n", "did you mean bias?"),
        (ITEM + "sizes = { bathc = 2 }\n", "did you mean batch?"),
        (ITEM + "sizes = { batch = 0 }\n", "a positive whole number"),
        (ITEM + "dtypes = ['float16']\n", "unknown dtype 'float16'"),
        (ITEM + "gradients = ['wieghts']\n", "did you mean weights?"),
        (ITEM + "attributes = { wieghts = 'W' }\n", "did you mean weights"),
        (ITEM + "constructor = ['in_feature']\n", "did you mean in_features"),
        (ITEM + "scale = { grad_weight = '1/batch' }\n", "did you mean grad_weights"),
        (ITEM + "scale = { grad_weights = '1/n' }\n", "axis names (batch"),
        (ITEM + "scale = { grad_weights = '1/' }\n", "is no factor"),
        (ITEM + "transposed = ['wieghts']\n", "did you mean weights"),
        (ITEM + "convention = 'own.py:mine'\n", "there is no own.py beside"),
        (ITEM + ITEM, "two items are called 'A'"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path, text, says):
    with pytest.raises(UsageError) as error:
        written(tmp_path, text)
    assert says in str(error.value) and str(error.value).startswith(
        ("exercise.toml", str(tmp_path))
    )


def test_finding_one(tmp_path):
    assert "backpropagation" in shipped()
    with pytest.raises(UsageError, match="did you mean backpropagation"):
        load("backprop")
    with pytest.raises(UsageError, match="no such file"):
        load("absent/exercise.toml")
    with pytest.raises(UsageError, match="crosscheck exercise new"):
        load(tmp_path)


def test_the_shipped_one():
    found = load("backpropagation")
    assert found.points == 11 and found.solution is not None
    assert [i.title for i in found.items] == ["nn_Linear", "nn_Sigmoid", "nn_MSECriterion"]
    assert found.items[2].options == {"reduction": "sum"}


def test_an_own_layer_in_a_file_beside_it(tmp_path):
    (tmp_path / "own.py").write_text(
        "import crosscheck\n"
        "scale = crosscheck.Layer('Scale', inputs={'x': 'batch features'},\n"
        "    parameters={'scale': 'features'}, outputs={'output': 'batch features'})\n"
        "other = 3\n"
    )
    found = written(tmp_path, "[[items]]\nlayer = 'own.py:scale'\nname = 'A'\n")
    assert [*found.items[0].points] == ["output", "grad_x", "grad_scale", "contract"]
    with pytest.raises(UsageError, match="no crosscheck.Layer"):
        written(tmp_path, "[[items]]\nlayer = 'own.py:other'\nname = 'A'\n")
    with pytest.raises(UsageError, match="did you mean scale"):
        written(tmp_path, "[[items]]\nlayer = 'own.py:scal'\nname = 'A'\n")


def test_only_some_gradients_are_asked_for(tmp_path):
    found = written(tmp_path, ITEM + "gradients = ['weights']\n")
    assert [*found.items[0].points] == ["output", "grad_weights", "contract"]


@pytest.mark.parametrize("names", [("Linear",), ("Conv2d", "MSELoss"), ("LSTM", "ReLU")])
def test_the_template_is_an_exercise_and_its_comments_show_known_keys(tmp_path, names):
    layers = [crosscheck.catalogue[name] for name in names if name in crosscheck.catalogue]
    text = template('A "title"', layers)
    found = written(tmp_path, text)
    assert found.title == 'A "title"' and len(found.items) == len(layers)
    compile(solution(layers), "solution.py", "exec")
    # Each commented line, uncommented, is one that the reader knows.
    for line in text.splitlines():
        if line.startswith("# ") and " = " in line and "sizes" not in line:
            key, value = line[2:].split(" = ", 1)
            tomllib.loads(f"{key} = {value}")
            (tmp_path / "exercise.toml").write_text(text.replace(line, f"{key} = {value}", 1))
            assert load(tmp_path).items
