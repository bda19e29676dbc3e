"`fer_nb predict` as its users meet it: stopped, on a full disk, with files of every kind"
import os, re, shutil, signal, subprocess

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conftest import COMMAND, assert_ok, assert_one_line, environment, snapshot
from test_dashboard import DETECTOR, SAMPLES
from test_interrupted import stop, wait_for

SLOW_READER = '''
import time
from PIL import Image
load = Image.Image.load
def slow_load(self, *args): time.sleep(.01); return load(self, *args)
Image.Image.load = slow_load
'''
FULL_DISK = '''
import builtins
real_open = builtins.open
def open_on_full_disk(path, *args, **options): return real_open('/dev/full' if str(path).endswith('.part') else path, *args, **options)
builtins.open = open_on_full_disk
'''


def images_of(release):
    "The folders of a release in which there are images, and nothing else"
    return [release/split for split in ('train', 'validation', 'test')]

@pytest.fixture(scope='module')
def uninterrupted(fer_nb, drawn, tmp_path_factory):
    "The table of a run that nothing disturbed"
    folder = tmp_path_factory.mktemp('uninterrupted')
    table = folder/'faces.csv'
    ended = assert_ok(fer_nb('predict', *images_of(drawn), '--output', table, home=folder))
    images = len(list(drawn.glob('*/*/*.png')))
    assert f'{images} faces in {images} of {images} files' in ended.out
    return table.read_text(encoding='utf-8')

def done(journal):
    "How many files a journal has"
    if not journal.exists(): return 0
    lines = journal.read_text(encoding='utf-8').splitlines()
    return sum(line.startswith('[') for line in lines)

STOPS = {'killed': (signal.SIGKILL, -9), 'Ctrl-C': (signal.SIGINT, 130),
         'told to end': (signal.SIGTERM, 143)}

@pytest.mark.parametrize('how, code', STOPS.values(), ids=STOPS)
def test_stopped_it_says_what_is_kept_goes_on_and_writes_the_same_table(
        start, fer_nb, home, tmp_path, drawn, uninterrupted, sabotage, how, code):
    output, journal = tmp_path/'faces.csv', tmp_path/'.faces.csv.journal'
    command = ('predict', *images_of(drawn), '--output', output)
    process = start(*command, home=home, env=sabotage(SLOW_READER))
    wait_for(lambda: done(journal) > 20, process)
    ended, err = stop(process, how)
    kept, total = done(journal), len(uninterrupted.splitlines()) - 1
    said = f'fer_nb: interrupted. {kept} of {total} files are kept: the same command goes on from there\n'
    assert (ended, err) == (code, '' if how == signal.SIGKILL else said)
    assert not output.exists() and 20 < kept < total
    assert_ok(fer_nb(*command, home=home))
    assert output.read_text(encoding='utf-8') == uninterrupted and not journal.exists()


def test_ctrl_c_without_output_says_that_nothing_is_kept(start, home, drawn, sabotage, tmp_path):
    marker = tmp_path/'reading'
    process = start('predict', *images_of(drawn), home=home, env=sabotage(SLOW_READER.replace('time.sleep(.01)', f'open({str(marker)!r}, "w").close(), time.sleep(.01)')))
    wait_for(marker.exists, process)
    assert stop(process, signal.SIGINT) == (130, 'fer_nb: interrupted. No table is kept: with --output, the command could go on from here\n')


def test_a_full_disk_keeps_the_journal_and_the_next_run_needs_no_picture(fer_nb, home, tmp_path, drawn, uninterrupted, sabotage):
    output = tmp_path/'faces.csv'
    command = ('predict', *images_of(drawn), '--output', output)
    assert_one_line(fer_nb(*command, home=home, env=sabotage(FULL_DISK)), "can't write", 'faces.csv', 'Free some space')
    assert not output.exists() and (tmp_path/'.faces.csv.journal').exists()
    assert_ok(fer_nb(*command, home=home))
    assert output.read_text(encoding='utf-8') == uninterrupted


def test_what_is_no_picture_is_listed_and_the_rest_is_done(fer_nb, home, tmp_path, release):
    (release/'test'/'letter.png').write_text('Dear Sir or Madam')
    (release/'test'/'cut.mp4').write_bytes(b'\0\0\0\x18ftypmp42')
    ended = fer_nb('predict', release/'test', '--output', tmp_path/'faces.parquet', '--annotate', tmp_path/'copies', home=home)
    images = len(list(release.glob('test/*/*.png')))
    assert ended.code == 1 and f'{images} faces in {images} of {images + 2} files' in ended.out
    first, *problems = ended.err.splitlines()
    assert first == 'fer_nb: 2 problems:'
    assert 'letter.png is neither an image nor a film' in problems[1]
    assert 'cut.mp4 breaks off' in problems[0]
    assert len(pd.read_parquet(tmp_path/'faces.parquet')) == len(list((tmp_path/'copies').rglob('*.png'))) == images


def test_wrong_arguments_fail_at_once(fer_nb, home, tmp_path, drawn):
    predict = lambda *args: fer_nb('predict', *args, home=home)
    assert_one_line(predict(''), 'a path is empty')
    assert_one_line(predict(drawn, '--min-face', '0'), 'min_face is 0')
    (tmp_path/'folder.csv').mkdir()
    assert_one_line(predict(drawn, '--output', tmp_path/'folder.csv'), 'folder.csv is a folder')
    (tmp_path/'empty').mkdir()
    assert_one_line(predict(tmp_path/'empty'), 'no file', str(tmp_path/'empty'))
    assert_one_line(predict(tmp_path/'*.jpg'), 'no file', '*.jpg')
    assert_one_line(predict(drawn, '--output', tmp_path/'faces.xlsx'), 'faces.xlsx', '.csv, .jsonl, .parquet')
    assert_one_line(predict(drawn, '--model', 'nobody'), "no model 'nobody'")
    assert_one_line(predict(drawn, '--annotate', drawn), 'where this command writes')
    assert_one_line(predict('no\x1b[31m\nsuch'), r'no\x1b[31m\nsuch')
    assert_one_line(predict(drawn, '--output', '/proc/faces.csv'), "can't write /proc")


def test_copies_never_take_the_place_of_sources_by_another_name(fer_nb, home, tmp_path, release):
    pictures = release/'test'/'happy'
    before = snapshot(pictures)
    (tmp_path/'link').symlink_to(pictures)
    assert_one_line(fer_nb('predict', tmp_path/'link', '--annotate', pictures, home=home), 'where this command writes')
    assert snapshot(pictures) == before


# A home with the detector, and photographs with a face.

@pytest.fixture
def home_with_detector(home):
    (home/'data').mkdir(parents=True)
    if DETECTOR.exists(): shutil.copy(DETECTOR, home/'data')
    return home

@pytest.fixture
def predict(fer_nb, home_with_detector):
    "predict(*args): the command, with the detector at hand"
    def predict(*args, **options):
        return fer_nb('predict', *args, home=home_with_detector, **options)
    return predict

@pytest.fixture(scope='session')
def photograph(): return Image.open(SAMPLES/'astronaut.jpg').convert('RGB')

def make_film(path, photograph, frames=5, rate=10):
    "A film of the photograph, `rate` frames a second"
    from fer_nb.video import FilmWriter
    small = np.asarray(photograph.resize((256, 256)))
    with FilmWriter(path.with_name('film.mp4')) as film:
        for number in range(frames): film.write(small, number/rate)
    return path.with_name('film.mp4').rename(path)

def rows(path): return len(pd.read_csv(path))


# Nothing is skipped in silence, and content decides.

def test_linked_folders_are_read_and_a_loop_of_links_ends(predict, tmp_path, photograph):
    (tmp_path/'in').mkdir()
    (tmp_path/'out').mkdir()
    photograph.save(tmp_path/'in'/'a.jpg')
    photograph.save(tmp_path/'out'/'c.jpg')
    (tmp_path/'in'/'linked').symlink_to(tmp_path/'out')
    (tmp_path/'out'/'back').symlink_to(tmp_path/'in')
    ended = assert_ok(predict(tmp_path/'in', '--output', tmp_path/'o.csv'))
    assert '2 faces in 2 of 2 files' in ended.out


LOCKED = ['setpriv', '--bounding-set=-dac_override,-dac_read_search']  # what root may do else

@pytest.mark.skipif(os.getuid() == 0 and not shutil.which('setpriv'), reason='root reads all')
def test_a_locked_folder_a_dead_link_and_a_text_are_named(
        home_with_detector, tmp_path, photograph):
    folder = tmp_path/'in'
    (folder/'locked').mkdir(parents=True)
    photograph.save(folder/'a.jpg')
    photograph.save(folder/'locked'/'b.jpg')
    (folder/'gone.jpg').symlink_to(tmp_path/'nowhere')
    (folder/'notes.txt').write_text('Dear Sir or Madam')
    (folder/'locked').chmod(0)
    command = [COMMAND, 'predict', str(folder), '--output', str(tmp_path/'o.csv')]
    if os.getuid() == 0: command = LOCKED + command
    ended = subprocess.run(command, env=environment(home_with_detector),
                           capture_output=True, text=True, timeout=120)
    (folder/'locked').chmod(0o755)
    assert ended.returncode == 1 and rows(tmp_path/'o.csv') == 1
    for named in ("locked can't be opened: Permission denied", 'gone.jpg is a link to',
                  'notes.txt is neither an image nor a film'): assert named in ended.stderr


def test_suffixes_don_t_matter(predict, tmp_path, photograph):
    folder = tmp_path/'in'
    folder.mkdir()
    for name, kind in {'a.jfif': 'JPEG', 'b.jpe': 'JPEG', 'c.ppm': 'PPM', 'd': 'PNG',
                       'e.mp4': 'WEBP'}.items(): photograph.save(folder/name, kind)
    make_film(folder/'f.jpg', photograph)
    ended = assert_ok(predict(folder, '--output', tmp_path/'o.csv', '--annotate', tmp_path/'m'))
    assert '10 faces in 6 of 6 files' in ended.out
    assert {path.name for path in (tmp_path/'m').iterdir()} == {
        'a.jfif.png', 'b.jpe.png', 'c.ppm.png', 'd.png', 'e.mp4.png', 'f.jpg.mp4'}


def test_a_telephone_s_heic_is_read(predict, tmp_path, photograph):
    import pillow_heif
    pillow_heif.from_pillow(photograph).save(tmp_path/'photo.heic')
    assert '1 face in 1 of 1 file' in assert_ok(predict(tmp_path/'photo.heic')).out


# The table first; a name is nothing but a name.

NAMES = ['tips_$5_to_$10', '50%_{x}_[bold]_\\frac^_', '~root', '*[1]?', 'two\nlines',
         'http:||x', '-- output', os.fsdecode(b'caf\xe9'), 'いぐ前のビデオ'*11, 'x'*251]

@pytest.mark.parametrize('name', NAMES)
def test_any_name_works_for_an_image_a_film_its_plot_and_their_copies(
        predict, tmp_path, photograph, name):
    folder = tmp_path/'in'
    folder.mkdir()
    photograph.save(folder/name, 'JPEG')
    make_film(folder/f'{name}.mp4', photograph)
    ended = assert_ok(predict(folder, '--output', tmp_path/'o.csv', '--annotate', tmp_path/'m'))
    assert '6 faces in 2 of 2 files' in ended.out and rows(tmp_path/'o.csv') == 6
    assert len(list((tmp_path/'m').iterdir())) == 2
    assert len(list((tmp_path/'o_over_time').iterdir())) == 1


def test_a_plot_or_a_copy_that_fails_costs_no_table(predict, tmp_path, photograph):
    make_film(tmp_path/'film.mp4', photograph)
    photograph.save(tmp_path/'a.jpg')
    (tmp_path/'o_over_time').write_text('a file where a folder should be')
    (tmp_path/'m').write_text('a file where a folder should be')
    ended = predict(tmp_path/'a.jpg', tmp_path/'film.mp4', '--output', tmp_path/'o.csv',
                    '--annotate', tmp_path/'m')
    assert ended.code == 1 and rows(tmp_path/'o.csv') == 6
    assert ended.err.startswith('fer_nb: 3 problems:')
    assert 'has no plot' in ended.err and ended.err.count("can't write") == 3


# Going on.

def test_a_copy_that_vanished_between_two_runs_is_made_again(
        start, fer_nb, home, tmp_path, drawn, sabotage):
    journal, copies = tmp_path/'.faces.csv.journal', tmp_path/'m'
    command = ('predict', drawn/'train', '--output', tmp_path/'faces.csv', '--annotate', copies)
    process = start(*command, home=home, env=sabotage(SLOW_READER))
    wait_for(lambda: done(journal) > 10, process)
    stop(process, signal.SIGKILL)
    made = len(list(copies.rglob('*.png')))
    next(copies.rglob('*.png')).unlink()
    assert_ok(fer_nb(*command, home=home))
    assert made > 0
    assert len(list(copies.rglob('*.png'))) == len(list((drawn/'train').rglob('*.png')))


def test_the_second_of_two_runs_on_one_table_is_told_so(
        start, fer_nb, home, tmp_path, drawn, uninterrupted, sabotage):
    command = ('predict', *images_of(drawn), '--output', tmp_path/'faces.csv')
    first = start(*command, home=home, env=sabotage(SLOW_READER))
    wait_for(lambda: done(tmp_path/'.faces.csv.journal') > 3, first)
    assert_one_line(fer_nb(*command, home=home), 'another run is writing', 'faces.csv')
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert (tmp_path/'faces.csv').read_text(encoding='utf-8') == uninterrupted


@pytest.mark.parametrize('how, code', [STOPS['Ctrl-C'], STOPS['told to end']],
                         ids=['Ctrl-C', 'told to end'])
def test_stopped_in_a_film_nothing_is_said_to_be_kept_and_no_half_copy_stays(
        start, home_with_detector, tmp_path, photograph, how, code):
    film, copies = make_film(tmp_path/'long.mp4', photograph, 3000), tmp_path/'m'
    process = start('predict', film, '--output', tmp_path/'o.csv', '--annotate', copies,
                    home=home_with_detector)
    wait_for(lambda: any(path.stat().st_size for path in copies.glob('.*.part')), process)
    ended, err = stop(process, how)
    assert ended == code
    assert err == 'fer_nb: interrupted. No file was finished: the same command begins anew\n'
    assert not list(copies.iterdir()) and done(tmp_path/'.o.csv.journal') == 0


# Films have true times.

def test_slow_motion_and_time_lapse_have_their_true_times(predict, tmp_path, photograph):
    slow = make_film(tmp_path/'slow.mp4', photograph, 48, rate=240)
    lapse = make_film(tmp_path/'lapse.mp4', photograph, 4, rate=.1)
    assert_ok(predict(slow, lapse, '--output', tmp_path/'o.csv', '--annotate', tmp_path/'m'))
    table = pd.read_csv(tmp_path/'o.csv')
    times = {name: group.time for name, group in table.groupby(table.source.map(os.path.basename))}
    np.testing.assert_allclose(times['slow.mp4'], np.arange(48)/240, atol=.001)
    np.testing.assert_allclose(times['lapse.mp4'], [0, 10, 20, 30], atol=.001)
    from fer_nb.video import Film
    for name, seconds in (('slow.mp4', .2), ('lapse.mp4', 40)):
        assert abs(Film(tmp_path/'m'/name).seconds - seconds) < .01


# Terminals.

def shell(line, home, **options):
    return subprocess.run(line, shell=True, env=environment(home), capture_output=True,
                          text=True, timeout=120, executable='/bin/bash', **options)

def test_a_pipe_is_read_whatever_it_brings(home_with_detector, tmp_path, photograph):
    photograph.save(tmp_path/'a.jpg')
    make_film(tmp_path/'b.mp4', photograph)
    for name, found in (('a.jpg', '1 face in 1 of 1 file'), ('b.mp4', '5 faces in 1 of 1 file')):
        ended = shell(f'cat {tmp_path/name} | {COMMAND} predict /dev/stdin', home_with_detector)
        assert (ended.returncode, ended.stderr) == (0, '') and found in ended.stdout

def test_an_empty_pipe_is_named(home):
    ended = shell(f'{COMMAND} predict /dev/stdin < <(true)', home)
    assert ended.returncode == 1 and 'empty' in ended.stderr and 'Traceback' not in ended.stderr

@pytest.mark.parametrize('closed', ['>&-', '2>&-', '<&-', '>&- 2>&- <&-', '| head -1'])
def test_closed_streams_cost_nothing(home_with_detector, tmp_path, photograph, closed):
    for number in range(30): photograph.resize((48, 48)).save(tmp_path/f'{number}.png')
    table = tmp_path/'o.csv'
    ended = shell(f'{COMMAND} predict {tmp_path}/*.png --output {table} {closed}', home_with_detector)
    assert rows(table) == 30 and ended.stderr == ''
    assert ended.returncode == 0 or 'head' in closed
    ended = shell(f'{COMMAND} predict {tmp_path}/*.png {closed}', home_with_detector)
    assert ended.stderr == '' and (ended.returncode == 0 or 'head' in closed)

def test_an_ascii_terminal_gets_every_line(home_with_detector, tmp_path, photograph):
    photograph.save(tmp_path/'日本.jpg')
    ended = shell(f'PYTHONIOENCODING=ascii {COMMAND} predict {tmp_path}/日本.jpg', home_with_detector)
    assert ended.returncode == 0 and r'\u65e5' in ended.stdout and '1 face' in ended.stdout

def test_without_any_terminal_the_menu_ends(home):
    ended = shell(f'setsid {COMMAND} < /dev/null', home)
    assert ended.returncode == 0 and 'Traceback' not in ended.stderr

def test_without_a_terminal_there_are_no_control_codes(home_with_detector, tmp_path, photograph):
    (tmp_path/'in').mkdir()
    photograph.save(tmp_path/'in'/'\x1b[31mred.jpg')
    ended = shell(f'{COMMAND} predict {tmp_path}/in', home_with_detector)
    assert ended.returncode == 0 and not re.search(r'\x1b', ended.stdout + ended.stderr)


# More kinds of input.

def test_what_is_missing_is_named_and_the_rest_is_done(predict, tmp_path, photograph):
    photograph.save(tmp_path/'a.jpg')
    (tmp_path/'bare').mkdir()
    ended = predict(tmp_path/'nope.jpg', tmp_path/'a.jpg', tmp_path/'bare')
    assert ended.code == 1 and '1 face in 1 of 1 file' in ended.out
    assert 'there is no file at' in ended.err and 'there is no file in' in ended.err


def test_an_animation_is_read_in_part_and_says_so(predict, tmp_path, photograph):
    blank = Image.new('RGB', photograph.size)
    photograph.save(tmp_path/'moving.gif', save_all=True, append_images=[blank])
    ended = predict(tmp_path/'moving.gif')
    assert ended.code == 1 and '1 face in 1 of 1 file' in ended.out
    assert 'holds 2 images: only the first was read' in ended.err


def test_a_path_may_be_given_to_python_as_it_is(home_with_detector, tmp_path, photograph,
                                                monkeypatch):
    import fer_nb
    monkeypatch.setenv('FER_NB_HOME', str(home_with_detector))
    photograph.save(tmp_path/'a.jpg')
    for path in (tmp_path/'a.jpg', str(tmp_path/'a.jpg'), [tmp_path/'a.jpg']):
        assert len(fer_nb.predict(path).rows) == 1


@pytest.mark.skipif(not DETECTOR.exists(), reason='no detector beside this repository')
def test_nothing_appears_in_an_empty_home_but_the_detector(tmp_path, elsewhere):
    (tmp_path/'fer'/'data').mkdir(parents=True)
    shutil.copy(DETECTOR, tmp_path/'fer'/'data')
    home, before = tmp_path/'user', snapshot(tmp_path/'fer')
    home.mkdir()
    keep = {key: value for key, value in os.environ.items() if not key.startswith('XDG_')}
    ended = subprocess.run([COMMAND, 'predict', str(SAMPLES/'astronaut.jpg')], cwd=elsewhere,
                           env=keep | {'HOME': str(home), 'FER_NB_HOME': str(tmp_path/'fer')},
                           capture_output=True, text=True)
    assert '1 face in 1 of 1 file' in ended.stdout
    assert list(home.rglob('*')) == [] and snapshot(tmp_path/'fer') == before
