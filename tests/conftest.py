"A small synthetic release, homes made from it, and ways to run the command line"
import hashlib, io, os, shutil, signal, subprocess, sys, venv
from dataclasses import dataclass
from pathlib import Path

os.environ['CUDA_VISIBLE_DEVICES'] = '-1'               # on processors, the same training gives the same weights
for name in ('FER_NB_HOME', 'PYTHONPATH'): os.environ.pop(name, None)

import pytest
from typer.testing import CliRunner

COMMAND = str(Path(sys.executable).with_name('fer_nb'))
TRAIN = ('train', 'baseline', '--epochs', '3', '--batch-size', '64')


@dataclass
class Ended:
    "What is left of a command that ended"
    code: int
    out: str
    err: str


def environment(home, env=None): return os.environ | {'FER_NB_HOME': str(home), 'COLUMNS': '200'} | (env or {})

def snapshot(folder):
    "Path -> digest of every file below a folder, temporary files left out"
    return {str(o.relative_to(folder)): hashlib.sha256(o.read_bytes()).hexdigest() for o in sorted(Path(folder).rglob('*')) if o.is_file() and o.suffix != '.part'}

def assert_one_line(ended, *parts):
    "The command failed with one line that holds all of `parts`, and without a traceback"
    assert ended.code == 1, ended
    lines = ended.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith('fer_nb: '), ended.err
    assert 'unforeseen' not in lines[0], ended.err
    for part in parts: assert part in lines[0], ended.err

def assert_ok(ended):
    assert ended.code == 0 and ended.err == '', ended
    return ended


@pytest.fixture(scope='session')
def elsewhere(tmp_path_factory): return tmp_path_factory.mktemp('elsewhere')

@pytest.fixture(scope='session')
def start(elsewhere):
    "start(*args, home=…): the installed command as a running process, in a folder that has nothing to do with it"
    def start(*args, home, env=None, **options):
        options.setdefault('preexec_fn', lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))     # a shell's background jobs ignore Ctrl-C
        return subprocess.Popen([COMMAND, *map(str, args)], cwd=elsewhere, env=environment(home, env), text=True, encoding='utf-8',
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    return start

@pytest.fixture(scope='session')
def fer_nb(start):
    "fer_nb(*args, home=…): the same, run to its end"
    def fer_nb(*args, home, input='', env=None, **options):
        process = start(*args, home=home, env=env, **options)
        try: out, err = process.communicate(input, timeout=120)
        finally: process.kill()
        return Ended(process.returncode, out, err)
    return fer_nb

@pytest.fixture
def here(monkeypatch):
    "here(*args, home=…): the command line within this process, for what needs TensorFlow but no process of its own"
    def here(*args, home, input=''):
        from fer_nb.cli import app
        monkeypatch.setenv('FER_NB_HOME', str(home))
        result = CliRunner(env={'COLUMNS': '200'}).invoke(app, list(map(str, args)), input=input)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)
    return here

@pytest.fixture
def sabotage(tmp_path):
    "sabotage(code): an environment in which Python runs `code` before the command, to break what the command relies on"
    def sabotage(code):
        folder = tmp_path/'sabotage'
        folder.mkdir()
        (folder/'sitecustomize.py').write_text(code, encoding='utf-8')
        return {'PYTHONPATH': str(folder)}
    return sabotage


@pytest.fixture(scope='session')
def drawn(tmp_path_factory):
    "A synthetic release that no test changes"
    from fer_nb.acquisition import make_release
    return make_release(tmp_path_factory.mktemp('drawn')/'release', train=120, validation=24, test=24)

@pytest.fixture(scope='session')
def prepared(drawn, fer_nb, tmp_path_factory):
    "A prepared home that no test changes, and what the command said"
    home = tmp_path_factory.mktemp('prepared')/'home'
    return home, fer_nb('prepare', '--source', drawn, home=home)

@pytest.fixture(scope='session')
def trained(prepared, fer_nb, tmp_path_factory):
    "A home with a trained baseline that no test changes, and what the command said"
    home = shutil.copytree(prepared[0], tmp_path_factory.mktemp('trained')/'home')
    return home, fer_nb(*TRAIN, home=home)

@pytest.fixture
def home(tmp_path): return tmp_path/'home'

@pytest.fixture
def release(drawn, tmp_path): return shutil.copytree(drawn, tmp_path/'release')

@pytest.fixture
def prepared_home(prepared, home): return shutil.copytree(prepared[0], home)

@pytest.fixture
def trained_home(trained, home): return shutil.copytree(trained[0], home)


CHECKOUT = Path(__file__).resolve().parent.parent
BUILT_FROM = ('fer_nb', 'models', 'nbs', 'data/README.md', 'setup.py', 'settings.ini',
              'pyproject.toml', 'README.md')

def call(*args, timeout=300, **options):
    "What a program prints; a test fails where the program does"
    ended = subprocess.run(list(map(str, args)), capture_output=True, text=True,
                           encoding='utf-8', timeout=timeout, **options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout

def copy_sources(tree):
    "A copy of what a wheel is built from"
    rubbish = shutil.ignore_patterns('__pycache__', 'run')
    for name in BUILT_FROM:
        source, target = CHECKOUT/name, tree/name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir(): shutil.copytree(source, target, ignore=rubbish)
        else: shutil.copy(source, target)
    return tree

def build_wheel(tree, folder):
    call(sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps',
         '--wheel-dir', folder, tree)
    return next(folder.glob('fer_nb-*.whl'))

def empty_environment(folder):
    "An environment without any package: its folder, and where its packages come"
    venv.create(folder, with_pip=False)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return folder, Path(call(folder/'bin/python', '-c', where).strip())


@pytest.fixture(scope='session')
def camera(tmp_path_factory):
    "A film for the browser's camera: the sample photograph, 640 × 480, thirty times"
    from PIL import Image
    picture = Image.new('RGB', (640, 480), 'gray')
    picture.paste(Image.open(Path(__file__).resolve().parent.parent/'fer_nb'/'static'/'samples'/'astronaut.jpg').convert('RGB').resize((480, 480)), (80, 0))
    picture.save(frame := io.BytesIO(), 'jpeg', quality=95)
    film = tmp_path_factory.mktemp('camera')/'film.mjpeg'
    film.write_bytes(frame.getvalue()*30)
    return film

@pytest.fixture(scope='session')
def browser(camera):
    "Chromium with a camera, started once, that asks nobody for anything by itself"
    from playwright.sync_api import Error, sync_playwright
    path = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    with sync_playwright() as playwright:
        try: browser = playwright.chromium.launch(executable_path=path, args=['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
                                                  '--disable-component-update', '--disable-sync', '--use-fake-device-for-media-stream', f'--use-file-for-fake-video-capture={camera}'])
        except Error: pytest.fail('no Chromium: apt-get install chromium, or .venv/bin/playwright install chromium')
        yield browser
        browser.close()
