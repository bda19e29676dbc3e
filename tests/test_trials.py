"`tools/trials.py`: short trainings whose table stands in the experiments notebook"
import importlib.util, json, shutil
from pathlib import Path

import pandas as pd, pytest

from fer_nb.training import TrainingConfig

ROOT = Path(__file__).parents[1]

@pytest.fixture
def load(monkeypatch):
    "load(path): the script as a module"
    def load(path):
        monkeypatch.setenv('FER_NB_HOME', 'set by the script')
        spec = importlib.util.spec_from_file_location('trials', path)
        spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
        return module
    return load

@pytest.fixture
def trials(load, prepared_home):
    "The script as it stands in a project with few drawn faces, with two trials of one epoch"
    for name in ('tools', 'models'): (prepared_home/name).mkdir()
    module = load(shutil.copy(ROOT/'tools'/'trials.py', prepared_home/'tools'))
    module.BASE |= dict(epochs=1)
    module.TRIALS = {'nothing changed': {}, 'no mixup': dict(mixup=0.)}
    return module

def test_interrupted_trials_go_on_and_other_settings_are_tried_again(trials, prepared_home, monkeypatch):
    real, tried = trials.train, []
    def train(config, name, folder):
        tried.append((config.mixup, config.seed))
        if len(tried) == 2: raise KeyboardInterrupt
        return real(config, name, folder)
    monkeypatch.setattr(trials, 'train', train)
    with pytest.raises(KeyboardInterrupt): trials.main('1')
    assert len(pd.read_csv(trials.TABLE)) == 1                  # what was measured is not lost
    trials.main('1')
    assert tried == [(.2, 1), (0, 1), (0, 1)]
    table = pd.read_csv(trials.TABLE)
    assert table.change.tolist() == ['nothing changed', 'no mixup'] and table.seed.tolist() == [1, 1]
    assert table[['P1', 'P2', 'macro_f1']].stack().between(0, 1).all() and (table.cross_entropy > 0).all()
    assert [o.name for o in (prepared_home/'models').iterdir()] == ['trials.csv']          # networks of trials are no models
    shutil.rmtree(prepared_home/'build')
    trials.TRIALS['no mixup'] = dict(mixup=.1)
    trials.main('1')
    assert tried[3:] == [(.1, 1)] and pd.read_csv(trials.TABLE).change.tolist() == ['nothing changed', 'no mixup']

def test_no_seed_is_a_question(trials):
    with pytest.raises(SystemExit, match='which seeds'): trials.main()

def test_the_table_in_the_book_is_of_these_settings(load):
    trials, table = load(ROOT/'tools'/'trials.py'), pd.read_csv(ROOT/'models'/'trials.csv')
    fingerprint = json.loads((ROOT/'models'/'final'/'card.json').read_text(encoding='utf-8'))['data']['fingerprint']
    for seed in (42, 43):
        rows = table[table.seed == seed]
        assert dict(zip(rows.change, rows.settings)) == {o: trials.digest(o, fingerprint) for o in trials.TRIALS}, f'run `python tools/trials.py {seed}`'
    assert table.notna().all(axis=None)
    for change in trials.TRIALS.values(): TrainingConfig(**trials.BASE | change)            # settings that exist
