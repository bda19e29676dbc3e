"A serving file that doesn't belong to its model: never a prediction of the old network"
import json, os

import numpy as np
import pandas as pd
import pytest

from conftest import assert_ok, assert_one_line

WITHOUT_TENSORFLOW = '''
import importlib.util
find_spec = importlib.util.find_spec
def find(name, package=None): return None if name == 'tensorflow' else find_spec(name, package)
importlib.util.find_spec = find
'''


@pytest.fixture
def exported_home(here, trained_home):
    assert_ok(here('export', 'baseline', home=trained_home))
    return trained_home

def served(here, home, face):
    "The probabilities that `fer_nb predict` writes"
    assert_ok(here('predict', face, '--model', 'baseline', '--output', home/'o.csv', home=home))
    return pd.read_csv(home/'o.csv').iloc[0, -8:].to_numpy(float)

def trained(home, face, monkeypatch):
    "The probabilities of the network itself"
    from fer_nb.inference import InKeras
    from fer_nb.preprocessing import preprocess
    monkeypatch.setenv('FER_NB_HOME', str(home))
    return InKeras('baseline')(preprocess(face)[None])[0][0]

def face_of(home): return next((home/'data/raw').glob('happy_*.png'))

def retrain(home, here):
    command = ('train', '--epochs', '2', '--seed', '7', '--learning-rate', '.003', '--restart')
    assert here(*command, home=home).code == 0

def change_temperature(home, here):
    path = home/'models/baseline/card.json'
    card = json.loads(path.read_text(encoding='utf-8'))
    path.write_text(json.dumps(card | {'temperature': 4.}), encoding='utf-8')

def exchange(home, here):
    "Another model's serving file"
    from fer_nb.core import model_dirs
    other = (model_dirs()['final']/'serving.tflite').read_bytes()
    (home/'models/baseline/serving.tflite').write_bytes(other)

def random_bytes(home, here):
    (home/'models/baseline/serving.tflite').write_bytes(os.urandom(50_000))

def truncate(home, here):
    path = home/'models/baseline/serving.tflite'
    path.write_bytes(path.read_bytes()[:-100])

CHANGES = [retrain, change_temperature, exchange, random_bytes, truncate]

@pytest.mark.parametrize('change', CHANGES, ids=lambda change: change.__name__)
def test_a_stale_serving_file_is_made_anew(here, exported_home, monkeypatch, change):
    face = face_of(exported_home)
    before = served(here, exported_home, face)
    np.testing.assert_allclose(before, trained(exported_home, face, monkeypatch), atol=.05)
    change(exported_home, here)
    now = served(here, exported_home, face)
    np.testing.assert_allclose(now, trained(exported_home, face, monkeypatch), atol=.05)
    anew = (exported_home/'models/baseline/serving.tflite').read_bytes()
    again = served(here, exported_home, face)
    assert (exported_home/'models/baseline/serving.tflite').read_bytes() == anew
    np.testing.assert_allclose(again, now, atol=1e-5)


@pytest.mark.parametrize('change', CHANGES[1:], ids=lambda change: change.__name__)
def test_without_tensorflow_it_is_refused(fer_nb, here, exported_home, sabotage, change):
    change(exported_home, here)
    ended = fer_nb('predict', face_of(exported_home), '--model', 'baseline',
                   home=exported_home, env=sabotage(WITHOUT_TENSORFLOW))
    assert_one_line(ended, 'serving.tflite was made from other weights', 'fer_nb export baseline',
                    "pip install 'fer_nb[train]'")


def test_without_tensorflow_a_model_that_was_not_exported_says_so(fer_nb, trained_home, sabotage):
    ended = fer_nb('predict', face_of(trained_home), '--model', 'baseline', home=trained_home,
                   env=sabotage(WITHOUT_TENSORFLOW))
    assert_one_line(ended, 'has no serving.tflite', "pip install 'fer_nb[train]'")
