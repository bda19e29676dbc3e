"Killed or interrupted, a stage goes on where it stopped, or says that it begins anew, and an older result stays"
import shutil, signal, time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import TRAIN, assert_ok, snapshot

SLOW_DISK = '''
import os, time
replace = os.replace
def slow_replace(*args): time.sleep(.01); replace(*args)
os.replace = slow_replace
'''
def interrupted(what): return [f'fer_nb: interrupted. {what} are kept: the same command goes on from there']

COPIED, EPOCHS = interrupted('Images that were copied'), interrupted('Finished epochs')
BROKEN_OFF = ['fer_nb: interrupted. The same command begins anew']


def wait_for(condition, process, seconds=60):
    "Return once `condition()` holds; fail where the process ends first"
    for _ in range(seconds * 200):
        if condition(): return
        assert process.poll() is None, process.communicate()
        time.sleep(.005)
    process.kill()
    pytest.fail('the command never came so far')

def stop(process, how):
    "Send a signal; returns exit code and standard error"
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.mark.parametrize('how, code, said', [(signal.SIGKILL, -9, []), (signal.SIGINT, 130, COPIED), (signal.SIGTERM, 143, COPIED)],
                         ids=['killed', 'Ctrl-C', 'told to end'])
def test_prepare_stopped_while_copying_goes_on(start, fer_nb, home, drawn, prepared, sabotage, how, code, said):
    raw, whole = home/'data/raw', prepared[0]/'data/raw'
    process = start('prepare', '--source', drawn, home=home, env=sabotage(SLOW_DISK))
    wait_for(lambda: len(list(raw.glob('*.png'))) >= 20, process)
    ended, err = stop(process, how)
    assert (ended, err.splitlines()) == (code, said)
    if how != signal.SIGKILL: assert not list(raw.glob('.*')), 'no temporary file, no lock'
    copied = {o.name: o.stat().st_mtime_ns for o in raw.glob('*.png')}
    assert 20 <= len(copied) < len(list(whole.glob('*.png'))) and not (raw/'dataset.csv').exists()
    assert_ok(fer_nb('prepare', '--source', drawn, home=home))
    assert snapshot(raw) == snapshot(whole)
    assert {name: (raw/name).stat().st_mtime_ns for name in copied} == copied, 'images that were there are not copied again'


def interrupt_at(module): return f'''
import signal, sys
class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}: signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupter())
'''

@pytest.mark.parametrize('module', ['fer_nb.core', 'pandas', 'keras.src.models.sequential'])
def test_interrupted_while_loading_libraries_says_one_line(fer_nb, home, sabotage, module):
    ended = fer_nb('models', home=home, env=sabotage(interrupt_at(module)))
    assert (ended.code, ended.err.splitlines()) == (130, BROKEN_OFF)


def test_interrupted_while_cleaning_keeps_the_tables(fer_nb, prepared_home, sabotage):
    before = snapshot(prepared_home)
    at_first_table = ("import os, signal\nreplace = os.replace\n"
                      "def interrupted(a, b): signal.raise_signal(signal.SIGINT); replace(a, b)\nos.replace = interrupted\n")
    ended = fer_nb('prepare', '--noise', '0.1', home=prepared_home, env=sabotage(at_first_table))
    assert (ended.code, ended.err.splitlines()) == (130, COPIED)
    assert snapshot(prepared_home) == before


def test_ctrl_c_at_the_menu_leaves_without_traceback(start, home):
    process = start(home=home)
    while not (line := process.stdout.readline()).startswith('  0'): assert line != ''
    time.sleep(.2)
    _, err = stop(process, signal.SIGINT)
    assert process.returncode in (0, 130) and 'Traceback' not in err


def begin_training(start, home, *args):
    "A training that has done an epoch and is in a later one"
    process, history = start(*args, home=home), home/'models/baseline/run/history.csv'
    wait_for(history.exists, process)
    return process, history

def weights(home, monkeypatch):
    from fer_nb.models import load_model
    monkeypatch.setenv('FER_NB_HOME', str(home))
    return load_model('baseline')[0].get_weights()

def test_training_killed_and_run_again_equals_one_that_was_not(start, fer_nb, prepared_home, trained, monkeypatch):
    process, unfinished = begin_training(start, prepared_home, *TRAIN)
    assert stop(process, signal.SIGKILL)[0] == -9
    assert 1 <= len(pd.read_csv(unfinished)) < 3
    assert 'Epoch 1/' not in assert_ok(fer_nb(*TRAIN, home=prepared_home)).out, 'the first epoch is not done again'
    histories = [pd.read_csv(o/'models/baseline/history.csv').drop(columns=['seconds', 'images_per_second', 'waiting']) for o in (prepared_home, trained[0])]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    pairs = list(zip(weights(prepared_home, monkeypatch), weights(trained[0], monkeypatch), strict=True))
    assert pairs and all(np.array_equal(a, b) for a, b in pairs)
    assert not unfinished.parent.exists()


def test_training_interrupted_leaves_the_older_model_as_it_was(start, trained_home, monkeypatch):
    before = snapshot(trained_home/'models')
    process, unfinished = begin_training(start, trained_home, 'train', 'baseline', '--epochs', '20', '--restart')
    code, err = stop(process, signal.SIGINT)
    assert (code, err.splitlines()) == (130, [EPOCHS[0].replace('command', 'command without --restart')])
    assert before.items() <= snapshot(trained_home/'models').items() and unfinished.exists()
    assert weights(trained_home, monkeypatch)


def test_interrupted_while_tidying_up_after_training_the_model_stays_and_the_command_works(here, prepared_home, monkeypatch):
    remove, command = shutil.rmtree, ('train', '--epochs', '1')
    def interrupted(folder, *args, **options):
        if not list(Path(folder).glob('epoch-*.keras')): return remove(folder, *args, **options)
        for path in Path(folder).iterdir():
            if path.name != 'history.csv': path.unlink()
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(shutil, 'rmtree', interrupted)
        ended = here(*command, home=prepared_home)
    assert (ended.code, ended.err.splitlines()) == (130, EPOCHS)
    assert weights(prepared_home, monkeypatch)
    assert here(*command, home=prepared_home).code == 0
