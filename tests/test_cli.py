"The command line as its users meet it: one process a command"
import json, os, subprocess, sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import assert_ok, assert_one_line

COMMANDS = ('prepare', 'eda', 'train', 'tune', 'evaluate', 'export', 'predict', 'dashboard', 'models')
METRICS = ('accuracy', 'balanced accuracy', 'macro F1', 'weighted F1', 'calibration error', 'log loss')


def test_prepare_fills_data_raw_and_says_what_it_found(prepared, drawn):
    home, ended = prepared
    assert_ok(ended)
    raw = home/'data'/'raw'
    assert {'dataset', 'dataset_noisy', 'noise_ledger', 'dataset_cleaned', 'dataset_repaired', 'dataset_rejected', 'duplicates',
            'near_duplicates'} <= {o.stem for o in raw.glob('*.csv')}
    rows = pd.read_csv(raw/'dataset.csv')
    assert len(rows) == len(list(raw.glob('*.png'))) == len(list(drawn.glob('*/*/*.png')))
    assert f'{len(rows):,} images in {raw}' in ended.out
    assert 'recall 1.000' in ended.out and 'pixel-identical' in ended.out


def test_prepare_without_source_uses_what_is_there(prepared_home, fer_nb):
    cleaned = (prepared_home/'data/raw/dataset_cleaned.csv').read_bytes()
    ended = assert_ok(fer_nb('prepare', home=prepared_home))
    assert 'Using the' in ended.out
    assert (prepared_home/'data/raw/dataset_cleaned.csv').read_bytes() == cleaned


def test_eda_writes_figures_and_a_page(prepared_home, fer_nb):
    ended = assert_ok(fer_nb('eda', home=prepared_home))
    page = prepared_home/'results/eda/index.html'
    assert ended.out.strip() == f'Figures: {page}'
    pictures = list(page.parent.glob('*.png'))
    assert len(pictures) >= 8
    assert all(o.name in page.read_text(encoding='utf-8') for o in pictures)


def test_train_writes_a_model_its_card_history_and_curves(trained):
    home, ended = trained
    assert_ok(ended)
    folder = home/'models/baseline'
    assert {o.name for o in folder.iterdir()} == {'model.keras', 'card.json', 'README.md', 'history.csv', 'curves.png'}
    card = json.loads((folder/'card.json').read_text(encoding='utf-8'))
    assert card['training']['epochs'] == 3 and card['data']['source'] == 'release'
    assert len(pd.read_csv(folder/'history.csv')) == 3
    assert f'Model: {folder}' in ended.out


def test_evaluate_prints_and_writes_the_metrics_and_models_lists_them(trained_home, fer_nb):
    ended = assert_ok(fer_nb('evaluate', home=trained_home))
    assert all(metric in ended.out for metric in METRICS)
    assert all(column in ended.out for column in ('validation', 'test without twins', 'P1, arg-max', 'P2, majority'))
    folder = trained_home/'models/baseline/evaluation'
    assert {'metrics.json', 'predictions.csv', 'report_P1.json', 'confusion_counts_P1.png', 'roc_P2.png'} <= {o.name for o in folder.iterdir()}
    accuracy = json.loads((folder/'metrics.json').read_text(encoding='utf-8'))['metrics']['test']['P2']['accuracy']['value']
    listed = assert_ok(fer_nb('models', home=trained_home)).out
    assert all(part in listed for part in ('baseline', 'final', '684712', 'release', f'{accuracy:.1%}'))


@pytest.mark.parametrize('input', ['0\n', 'x\n0\n', ''], ids=['zero', 'nonsense, then zero', 'end of input'])
def test_menu_ends_with_zero_or_the_end_of_input(fer_nb, home, input):
    ended = assert_ok(fer_nb(home=home, input=input))
    assert 'data preparation' in ended.out and 'training' in ended.out
    assert not home.exists()


def test_menu_prepares(fer_nb, home, release):
    ended = fer_nb(home=home, input=f'1\n{release}\n0\n')
    assert_ok(ended)
    assert (home/'data/raw/dataset_cleaned.csv').exists()


def test_menu_returns_after_an_error(fer_nb, home):
    ended = fer_nb(home=home, input='1\n/no/such/source\n0\n')
    assert ended.code == 0 and ended.out.count('data preparation') == 2
    assert ended.err.count('\n') == 1 and 'is not there' in ended.err


@pytest.mark.parametrize('command', [None, *COMMANDS])
def test_help_names_options(fer_nb, home, command):
    ended = assert_ok(fer_nb(*filter(None, [command]), '--help', home=home))
    assert all(name in ended.out for name in (COMMANDS if command is None else ['--help', 'fer_nb ' + command]))


@pytest.mark.parametrize('args, named', [(['dance'], 'dance'), (['prepare', '--colour'], '--colour'), (['train', '--epochs', 'x'], '--epochs')])
def test_a_mistyped_command_ends_with_2_and_is_named(fer_nb, home, args, named):
    ended = fer_nb(*args, home=home)
    assert ended.code == 2 and named in ended.err and 'Traceback' not in ended.err


def test_an_error_is_one_line_and_with_debug_a_traceback(fer_nb, home):
    assert_one_line(fer_nb('prepare', '--policy', 'guess', home=home), "unknown policy 'guess'", "'repair' or 'drop'")
    ended = fer_nb('--debug', 'prepare', '--policy', 'guess', home=home)
    assert ended.code == 1
    assert ended.err.startswith('Traceback') and ended.err.splitlines()[-1].startswith('fer_nb.core.DataError: unknown policy')


def test_help_starts_without_heavy_libraries():
    code = ("import sys\nfrom fer_nb.cli import app\ntry: app(['--help'])\nexcept SystemExit: pass\n"
            "print('LOADED', *sorted({'tensorflow', 'keras', 'pandas', 'cv2', 'matplotlib'} & set(sys.modules)))")
    ended = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == 'LOADED'


def test_an_empty_home_variable_counts_as_none(elsewhere):
    ended = subprocess.run([sys.executable, '-c', 'from fer_nb.core import home; print(home())'], capture_output=True, text=True, check=True,
                           cwd=elsewhere, env=os.environ | {'FER_NB_HOME': ''})
    assert not Path(ended.stdout.strip()).is_relative_to(elsewhere)
