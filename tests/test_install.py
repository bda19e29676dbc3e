"What an installation brings: pins for every Python, its own libraries, nothing heavy"
import shutil, subprocess, sys
from configparser import ConfigParser
from importlib.metadata import distribution, distributions
from pathlib import Path

import pandas as pd
import pytest
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conftest import (CHECKOUT, Ended, assert_ok, assert_one_line, build_wheel, call,
                      copy_sources, empty_environment, environment)
from test_dashboard import DETECTOR, SAMPLES

UV = Path(sys.executable).with_name('uv')
PINS = CHECKOUT/'constraints.txt'


# The pins

def oldest_python():
    config = ConfigParser(delimiters=['='])
    config.read(CHECKOUT/'settings.ini', encoding='utf-8')
    return config['DEFAULT']['min_python'] + '.0'

def resolve(python, wheel, pins=PINS):
    "name==version of every package that a Python gets with all extras, as wheels"
    lines = call(UV, 'pip', 'compile', '--quiet', '--no-header', '--no-annotate',
                 '--only-binary', ':all:', '--python-version', python,
                 '--constraints', pins, '-', input=f'fer_nb[all,dev] @ {wheel}')
    return {line for line in lines.splitlines() if '==' in line}

@pytest.fixture(scope='session')
def wheel(tmp_path_factory):
    sources = copy_sources(tmp_path_factory.mktemp('sources')/'checkout')
    return build_wheel(sources, tmp_path_factory.mktemp('wheel'))

@pytest.mark.parametrize('python', [oldest_python(), '3.12', '3.13'])
def test_every_package_is_pinned_to_a_wheel_for_this_python(python, wheel):
    pinned = {line.split(' ;')[0] for line in PINS.read_text().splitlines()}
    resolved = resolve(python, wheel)
    assert {'numpy', 'tensorflow'} <= {line.split('==')[0] for line in resolved}
    assert resolved - pinned == set()


# The shared libraries

# Every Debian has these, a minimal one too: the C library, and what the programs that
# install packages need, dpkg (libz) and apt (those of GCC).
GLIBC = {'libc.so.6', 'libdl.so.2', 'libm.so.6', 'libmvec.so.1', 'libpthread.so.0',
         'librt.so.1', 'libutil.so.1', 'ld-linux-x86-64.so.2', 'ld-linux-aarch64.so.1'}
MINIMAL = GLIBC | {'libz.so.1', 'libgcc_s.so.1', 'libstdc++.so.6'}
# LiteRT loads these for an accelerator whose maker's libraries are there, else never.
OPTIONAL = ('libLiteRtCompilerPlugin_', 'libLiteRtDispatch_')
SERVING = {'dashboard', 'media', 'parquet'}

def needed_by(name, extras, found):
    "Add to `found` the distributions that one needs here, itself among them"
    if found.get(name, set()) >= {'', *extras}: return
    found[name] = found.get(name, set()) | {'', *extras}
    for line in distribution(name).requires or ():
        needed = Requirement(line)
        if not needed.marker or any(needed.marker.evaluate({'extra': extra})
                                    for extra in found[name]):
            needed_by(canonicalize_name(needed.name), needed.extras, found)

def dynamic_tags(path):
    "What a shared library tells the dynamic linker; nothing where it is no such file"
    with path.open('rb') as file:
        try: elf = ELFFile(file)
        except ELFError: return []
        sections = elf.iter_segments('PT_DYNAMIC')
        return [tag for section in sections for tag in section.iter_tags()]

def foreign_libraries(path):
    "The libraries that a file needs and that no wheel brings to where it looks"
    tags, folders = dynamic_tags(path), []
    for tag in tags:
        looks = getattr(tag, 'runpath', None) or getattr(tag, 'rpath', '')
        folders += looks.replace('${ORIGIN}', '$ORIGIN').split(':')
    here = [Path(folder.replace('$ORIGIN', str(path.parent))) for folder in folders]
    needed = {tag.needed for tag in tags if hasattr(tag, 'needed')}
    return {name for name in needed - MINIMAL
            if not any((folder/name).exists() for folder in here)}

def foreign_to(distribution):
    paths = [Path(distribution.locate_file(file)) for file in distribution.files]
    libraries = [path.resolve() for path in paths
                 if '.so' in path.name and not path.name.startswith(OPTIONAL)]
    found = {path.name: foreign_libraries(path) for path in libraries}
    return {name: foreign for name, foreign in found.items() if foreign}

@pytest.mark.skipif(sys.platform != 'linux', reason='reads ELF files')
def test_what_serves_brings_its_shared_libraries():
    names = {}
    needed_by('fer-nb', SERVING, names)
    assert {'opencv-python-headless', 'av', 'pyarrow', 'voila'} <= names.keys()
    found = {name: foreign_to(distribution(name)) for name in sorted(names)}
    assert {name: foreign for name, foreign in found.items() if foreign} == {}


# The light installation

MAX_MEGABYTES = 480
HEAVY = {'tensorflow', 'keras', 'ipywidgets', 'voila', 'optuna', 'pyarrow', 'mtcnn',
         'matplotlib', 'scipy', 'scikit-learn', 'seaborn', 'plotly', 'av', 'pandas'}

@pytest.fixture(scope='session')
def light(wheel, tmp_path_factory):
    "An environment of its own with what `pip install fer_nb` brings, and its packages"
    folder, packages = empty_environment(tmp_path_factory.mktemp('light'))
    call(sys.executable, '-m', 'pip', '--python', folder/'bin/python', 'install',
         '--quiet', '--constraint', PINS, wheel, timeout=900)
    return folder, packages

@pytest.fixture
def light_fer_nb(light, home, elsewhere):
    "light_fer_nb(*args): the command of the light installation, run to its end"
    (home/'data').mkdir(parents=True)
    if DETECTOR.exists(): shutil.copy(DETECTOR, home/'data')
    def light_fer_nb(*args):
        command = [str(word) for word in (light[0]/'bin/fer_nb', *args)]
        ended = subprocess.run(command, cwd=elsewhere, env=environment(home), text=True,
                               encoding='utf-8', capture_output=True, timeout=120)
        return Ended(ended.returncode, ended.stdout, ended.stderr)
    return light_fer_nb

def megabytes(folder):
    "What du says of a folder: its files' blocks on the disk, each file once"
    status = [path.lstat() for path in [folder, *folder.rglob('*')]]
    blocks = {(one.st_dev, one.st_ino): one.st_blocks for one in status}
    return sum(blocks.values()) * 512 / 2**20

def test_the_light_installation_is_light(light):
    names = {canonicalize_name(one.name) for one in distributions(path=[str(light[1])])}
    assert 'fer-nb' in names
    assert [name for name in names if name in HEAVY or 'jupyter' in name] == []
    assert megabytes(light[1]) <= MAX_MEGABYTES

def test_the_light_installation_recognises_a_face(light_fer_nb, tmp_path):
    photograph, table = SAMPLES/'astronaut.jpg', tmp_path/'faces.csv'
    assert_ok(light_fer_nb('predict', photograph, '--output', table))
    faces = pd.read_csv(table)
    assert faces.source.map(Path).tolist() == [photograph]
    assert faces.label.notna().all()

@pytest.fixture
def film(tmp_path):
    "A second of the sample photograph"
    import cv2
    picture, path = cv2.imread(str(SAMPLES/'astronaut.jpg')), tmp_path/'film.mp4'
    size = (picture.shape[1], picture.shape[0])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, size)
    for _ in range(10): writer.write(picture)
    writer.release()
    return path

@pytest.mark.parametrize('command', [
    'prepare --source synthetic', 'eda', 'train', 'tune', 'evaluate', 'export'])
def test_training_names_its_extra(command, light_fer_nb):
    assert_one_line(light_fer_nb(*command.split()), "pip install 'fer_nb[train]'")

def test_the_dashboard_names_its_extra(light_fer_nb):
    ended = light_fer_nb('dashboard', '--no-browser')
    assert_one_line(ended, "pip install 'fer_nb[dashboard]'")

def test_a_parquet_file_names_its_extra(light_fer_nb, tmp_path):
    table = tmp_path/'faces.parquet'
    ended = light_fer_nb('predict', SAMPLES/'astronaut.jpg', '--output', table)
    assert_one_line(ended, "pip install 'fer_nb[parquet]'")
    assert not table.exists()

def test_a_video_names_its_extra(light_fer_nb, film):
    assert_one_line(light_fer_nb('predict', film), "pip install 'fer_nb[media]'")
