"A wheel, installed into another environment and used from another folder"
import os, shutil, sys, zipfile
from pathlib import Path

import pytest, requests

from conftest import build_wheel, call, copy_sources, empty_environment
from test_dashboard import DETECTOR, free_port, running


@pytest.fixture(scope='module')
def tree(trained, tmp_path_factory):
    """A copy of what a wheel is built from, with a model of ours under a shipped name,
    one under its own, and data that must not travel"""
    tree = copy_sources(tmp_path_factory.mktemp('tree')/'checkout')
    model = trained[0]/'models/baseline'
    for name in ('final', 'mine'):
        shutil.copytree(model, tree/'models'/name, dirs_exist_ok=True)
    shutil.copytree(trained[0]/'data/raw', tree/'data/raw')
    return tree

@pytest.fixture(scope='module')
def wheel(tree, tmp_path_factory):
    return build_wheel(tree, tmp_path_factory.mktemp('dist'))

@pytest.fixture(scope='module')
def environment(wheel, tmp_path_factory):
    "Another environment: our dependencies, but only the wheel's fer_nb"
    folder, there = empty_environment(tmp_path_factory.mktemp('environment'))
    ours = [path for path in sys.path if path.endswith('-packages')]
    (there/'dependencies.pth').write_text('\n'.join(ours), encoding='utf-8')
    call(sys.executable, '-m', 'pip', '--python', folder/'bin/python', 'install',
         '--quiet', '--no-deps', '--no-index', wheel)
    return folder, there

@pytest.fixture
def inside(environment, elsewhere):
    "inside(program, *args, **environment): a program of the other environment, run in another folder"
    def inside(program, *args, **env): return call(environment[0]/'bin'/program, *args, cwd=elsewhere, env=os.environ | {'COLUMNS': '200'} | env)
    return inside


def test_the_wheel_holds_the_package_and_the_models(wheel, tree):
    held = set(zipfile.ZipFile(wheel).namelist())
    modules = {f'fer_nb/{o.name}' for o in (tree/'fer_nb').glob('*.py')}
    models = {f'fer_nb/_shipped/{name}/{file}' for name in ('baseline', 'final') for file in ('model.keras', 'serving.tflite', 'card.json')}
    assert 'fer_nb/cli.py' in modules
    static = {str(o.relative_to(tree)) for o in (tree/'fer_nb'/'static').rglob('*') if o.is_file()}
    assert 'fer_nb/static/webcam.js' in static
    assert modules | models | static | {'fer_nb/_notebooks/12_dashboard.ipynb'} <= held
    assert not [o for o in held if 'mine' in o]             # what somebody trained in the checkout stays there


def test_the_wheel_holds_no_data(wheel):
    strange = [o for o in zipfile.ZipFile(wheel).namelist() if '.dist-info/' not in o and Path(o).suffix not in ('.py', '.keras', '.tflite')
               and not o.startswith('fer_nb/static/') and Path(o).name not in ('card.json', '12_dashboard.ipynb')]
    assert strange == []


def test_the_installed_package_is_used_and_its_home_is_the_users_data_folder(inside, environment, tmp_path):
    code = "import fer_nb.core as core; print(core.__file__, core.home(), sep='\\n')"
    file, home = inside('python', '-c', code, XDG_DATA_HOME=str(tmp_path)).splitlines()
    assert Path(file).is_relative_to(environment[1])
    assert Path(home) == tmp_path/'fer_nb'


def test_the_installed_command_knows_the_shipped_model(inside, tmp_path):
    code = "from fer_nb.models import load_model; print(load_model('final')[1]['data']['train_images'])"
    assert int(inside('python', '-c', code, FER_NB_HOME=str(tmp_path)).split()[-1]) > 0


def test_the_installed_package_finds_its_dashboard(inside):
    code = "from fer_nb.serving import dashboard_notebook; from fer_nb.widgets import Dashboard; print(dashboard_notebook(), Dashboard().page.controls.samples[0].description)"
    notebook, sample = inside('python', '-c', code).split()
    assert Path(notebook).match('fer_nb/_notebooks/12_dashboard.ipynb') and Path(notebook).exists() and sample == 'astronaut'


def test_the_installed_command_serves_the_dashboard(environment, tmp_path):
    (tmp_path/'data').mkdir()
    if DETECTOR.exists(): shutil.copy(DETECTOR, tmp_path/'data')
    command = [environment[0]/'bin'/'fer_nb', 'dashboard', '--no-browser', '--port', str(port := free_port())]
    with running(command, port, os.environ | {'FER_NB_HOME': str(tmp_path), 'JUPYTER_PATH': f'{sys.prefix}/share/jupyter'}) as address: page = requests.get(address, timeout=60)
    assert page.status_code == 200 and 'application/vnd.jupyter.widget-view+json' in page.text and 'Traceback' not in page.text


def test_the_installed_command_prepares_like_the_checkouts(inside, drawn, prepared, tmp_path):
    inside('fer_nb', 'prepare', '--source', drawn, FER_NB_HOME=str(tmp_path))
    tables = [(o/'data/raw/dataset_cleaned.csv').read_bytes() for o in (tmp_path, prepared[0])]
    assert tables[0] == tables[1]
