"`fer_nb predict` as its users meet it: killed, interrupted, on a full disk, and with files that are none"
import signal

import pandas as pd
import pytest
from conftest import assert_ok, assert_one_line, snapshot
from test_interrupted import INTERRUPTED, stop, wait_for

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


@pytest.fixture(scope='module')
def uninterrupted(fer_nb, drawn, tmp_path_factory):
    "The table of a run that nothing disturbed"
    folder = tmp_path_factory.mktemp('uninterrupted')
    ended = assert_ok(fer_nb('predict', drawn, '--output', folder/'faces.csv', home=folder))
    images = len(list(drawn.glob('*/*/*.png')))
    assert f'{images} faces in {images} of {images} files' in ended.out
    return (folder/'faces.csv').read_text(encoding='utf-8')

@pytest.mark.parametrize('how, code, said', [(signal.SIGKILL, -9, []), (signal.SIGINT, 130, INTERRUPTED)], ids=['killed', 'Ctrl-C'])
def test_stopped_it_goes_on_and_writes_the_same_table(start, fer_nb, home, tmp_path, drawn, uninterrupted, sabotage, how, code, said):
    output, journal = tmp_path/'faces.csv', tmp_path/'.faces.csv.journal'
    process = start('predict', drawn, '--output', output, home=home, env=sabotage(SLOW_READER))
    wait_for(lambda: journal.exists() and len(journal.read_text(encoding='utf-8').splitlines()) > 20, process)
    ended, err = stop(process, how)
    assert (ended, err.splitlines()) == (code, said)
    assert not output.exists() and 20 < len(journal.read_text(encoding='utf-8').splitlines()) < len(uninterrupted.splitlines())
    assert_ok(fer_nb('predict', drawn, '--output', output, home=home))
    assert output.read_text(encoding='utf-8') == uninterrupted and not journal.exists()


def test_ctrl_c_without_output_says_that_nothing_is_kept(start, home, drawn, sabotage, tmp_path):
    marker = tmp_path/'reading'
    process = start('predict', drawn, home=home, env=sabotage(SLOW_READER.replace('time.sleep(.01)', f'open({str(marker)!r}, "w").close(), time.sleep(.01)')))
    wait_for(marker.exists, process)
    assert stop(process, signal.SIGINT) == (130, 'fer_nb: interrupted. No table is kept: with --output, the command could go on from here\n')


def test_a_full_disk_keeps_the_journal_and_the_next_run_needs_no_picture(fer_nb, home, tmp_path, drawn, uninterrupted, sabotage):
    output = tmp_path/'faces.csv'
    command = 'predict', drawn, '--output', output
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
    assert [line.split(' is no ')[0].rpartition('/')[2] for line in ended.err.splitlines()] == [f'fer_nb: 2 of {images + 2} files could not be read, or not to the end:', 'letter.png', 'cut.mp4']
    assert len(pd.read_parquet(tmp_path/'faces.parquet')) == len(list((tmp_path/'copies').rglob('*.png'))) == images


def test_wrong_arguments_fail_at_once(fer_nb, home, tmp_path, drawn):
    predict = lambda *args: fer_nb('predict', *args, home=home)
    (tmp_path/'empty').mkdir()
    assert_one_line(predict(tmp_path/'empty'), 'no picture and no video', str(tmp_path/'empty'))
    assert_one_line(predict(tmp_path/'*.jpg'), 'no picture and no video', '*.jpg')
    assert_one_line(predict(drawn, '--output', tmp_path/'faces.xlsx'), 'faces.xlsx', '.csv, .jsonl, .parquet')
    assert_one_line(predict(drawn, '--model', 'nobody'), "no model 'nobody'")
    assert_one_line(predict(drawn, '--annotate', drawn), 'where this command writes')
    assert_one_line(predict(drawn, '--output', '/proc/faces.csv'), "can't write /proc")


def test_copies_never_take_the_place_of_sources_by_another_name(fer_nb, home, tmp_path, release):
    pictures = release/'test'/'happy'
    before = snapshot(pictures)
    (tmp_path/'link').symlink_to(pictures)
    assert_one_line(fer_nb('predict', tmp_path/'link', '--annotate', pictures, home=home), 'outside of')
    assert snapshot(pictures) == before
