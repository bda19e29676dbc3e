"`tools/trials.py`: short trainings whose table stands in the training notebook"
import importlib.util, shutil
from pathlib import Path

import pandas as pd, pytest

ROOT = Path(__file__).parents[1]

def load(path):
    spec = importlib.util.spec_from_file_location('trials', path)
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module

@pytest.fixture
def trials(prepared_home, monkeypatch):
    "The script as it stands in a project with few drawn faces, with two trials of one epoch"
    monkeypatch.setenv('FER_NB_HOME', 'set by the script')
    for name in ('tools', 'models'): (prepared_home/name).mkdir()
    module = load(shutil.copy(ROOT/'tools'/'trials.py', prepared_home/'tools'))
    module.BASE |= dict(epochs=1)
    module.TRIALS = {'nothing': {}, 'no mixup': dict(mixup=0.)}
    return module

def test_interrupted_trials_go_on_and_end_in_a_table(trials, prepared_home, monkeypatch):
    real, trained = trials.train, []
    def train(config, name, folder):
        trained.append(name)
        if len(trained) == 2: raise KeyboardInterrupt
        return real(config, name, folder)
    monkeypatch.setattr(trials, 'train', train)
    with pytest.raises(KeyboardInterrupt): trials.main('1')
    trials.main('1')
    assert trained == ['nothing-1', 'no-mixup-1', 'no-mixup-1']
    table = pd.read_csv(prepared_home/'models'/'trials.csv')
    assert table.change.tolist() == ['nothing', 'no mixup'] and table.seed.tolist() == [1, 1]
    assert table[['P1', 'P2', 'macro_f1']].stack().between(0, 1).all() and (table.log_loss > 0).all()
    assert [o.name for o in (prepared_home/'models').iterdir()] == ['trials.csv']          # networks of trials are no models

def test_the_table_shown_is_of_the_trials_that_can_be_run(monkeypatch):
    monkeypatch.setenv('FER_NB_HOME', 'set by the script')
    table = pd.read_csv(ROOT/'models'/'trials.csv')
    names = list(load(ROOT/'tools'/'trials.py').TRIALS)
    assert all(rows.change.tolist() == names for _, rows in table.groupby('seed'))
