"Whatever is wrong with the input: one line that says so, and nothing lost"
import json, resource, shutil, zipfile, zlib

import pandas as pd
import pytest
from conftest import assert_ok, assert_one_line, snapshot

NO_NETWORK = dict.fromkeys(('HTTPS_PROXY', 'HTTP_PROXY', 'ALL_PROXY', 'https_proxy', 'http_proxy', 'all_proxy'), 'http://127.0.0.1:9') | {
    'NO_PROXY': '', 'no_proxy': ''}
DO_NOT_WAIT = 'import time\ntime.sleep = lambda seconds: None\n'
DISK_FILLS_UP = '''
import builtins, os
real_open, files = builtins.open, []
def open_on_full_disk(path, *args, **options):
    if str(path).endswith('.part'):
        files.append(path)
        if len(files) > 100: path = '/dev/full'
    return real_open(path, *args, **options)
builtins.open = open_on_full_disk
'''
DISK_IS_FULL = '''
import shutil
from collections import namedtuple
shutil.disk_usage = lambda path: namedtuple('usage', 'total used free')(2**40, 2**40, 2**20)
'''


def vote_file(release): return release/'fer2013new.csv'

def change_votes(release, change):
    "Rewrite a release's vote file"
    table = pd.read_csv(vote_file(release))
    change(table).to_csv(vote_file(release), index=False)

def png(width, height):
    "A black picture with one bit a pixel, as PNG"
    def chunk(kind, data): return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)
    header = width.to_bytes(4) + height.to_bytes(4) + b'\x01\x00\x00\x00\x00'
    rows = zlib.compress(bytes((1 + -(-width // 8)) * height))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', rows) + chunk(b'IEND', b'')

HUGE = png(20_000, 20_000)

def zipped(release, path):
    with zipfile.ZipFile(path, 'w') as archive:
        for o in sorted(release.rglob('*')): archive.write(o, o.relative_to(release))
    return path


# What can be wrong with a source. Each makes it wrong and returns the arguments of `prepare` and what the message has to name.

def truncated_zip(release):
    path = zipped(release, release/'../copy.zip')
    path.write_bytes(path.read_bytes()[:-1000])
    return [path], ['copy.zip', 'truncated', 'download it again']

def zip_with_a_damaged_image(release):
    path = zipped(release, release/'../copy.zip')
    with zipfile.ZipFile(path) as archive: last = [o for o in archive.infolist() if o.filename.endswith('.png')][-1]
    blob = bytearray(path.read_bytes())
    blob[last.header_offset + 200] ^= 255
    path.write_bytes(blob)
    return [path], ['copy.zip', last.filename, 'download it again']

def not_there(release): return [release/'nowhere'], ['nowhere is not there']

def no_zip(release):
    (release/'notes.zip').write_text('hello')
    return [release/'notes.zip'], ['notes.zip is no zip']

def unknown_class_folder(release):
    (release/'train/happy').rename(release/'train/joy')
    return [release], ["unknown emotion 'joy'", 'train', 'expected one of angry']

def no_images(release):
    (release/'empty').mkdir()
    return [release/'empty'], ['holds no train/, validation/ or test/ folder']

def votes_without_columns(release):
    change_votes(release, lambda table: table.drop(columns=['fear', 'NF']))
    return [release], ['lacks the columns fear, NF']

def votes_that_are_no_counts(release):
    change_votes(release, lambda table: table.assign(neutral=-1))
    return [release], ['not ten counts from 0 up']

def votes_of_other_images(release):
    change_votes(release, lambda table: table.assign(**{'Image name': 'other_' + table['Image name']}))
    return [release], ['the votes belong to other images']

def votes_not_there(release): return [release, '--votes', release/'none.csv'], ['none.csv', 'No such file']

def empty_votes(release):
    vote_file(release).write_bytes(b'')
    return [release], ['is empty']

def votes_of_a_byte_order_mark(release):
    vote_file(release).write_bytes(b'\xef\xbb\xbf')
    return [release], ['is empty']

def augmented_without_columns(release):
    (release/'augmented.csv').write_text('a,b\n1,2\n')
    return [release], ['augmented.csv', 'augmented', 'original']

def fer2013_without_columns(release):
    (release/'fer2013.csv').write_text('emotion,Usage\n0,Training\n')
    return [release/'fer2013.csv'], ['fer2013.csv lacks the column pixels']

def fer2013_with_bad_pixels(release):
    usage = pd.read_csv(vote_file(release)).Usage
    pixels = [' '.join(['7'] * 2304)] * (len(usage) - 1) + ['1 2 3']
    pd.DataFrame(dict(emotion=0, pixels=pixels, Usage=usage)).to_csv(release/'fer2013.csv', index=False)
    return [release/'fer2013.csv'], [f'fer2013.csv, row {len(usage) + 1}', 'the pixels are not 2,304 numbers']

SOURCES = [truncated_zip, zip_with_a_damaged_image, not_there, no_zip, unknown_class_folder, no_images, votes_without_columns,
           votes_that_are_no_counts, votes_of_other_images, votes_not_there, empty_votes, votes_of_a_byte_order_mark,
           augmented_without_columns, fer2013_without_columns, fer2013_with_bad_pixels]

@pytest.mark.parametrize('spoil', SOURCES, ids=lambda o: o.__name__)
def test_a_bad_source_is_refused_and_the_data_stay(fer_nb, prepared_home, release, spoil):
    extra = release/'train/happy/fer9999999.png'                # makes it another source than the one that was imported
    shutil.copy(next((release/'train/happy').glob('fer*.png')), extra)
    before, (args, says) = snapshot(prepared_home), spoil(release)
    assert_one_line(fer_nb('prepare', '--source', *args, home=prepared_home), *says)
    assert snapshot(prepared_home) == before


@pytest.mark.parametrize('args, says', [(['--source', 'kaggle'], ['fer2013new.csv', '--votes none']),
                                        (['--source', 'kaggle', '--votes', 'none'], ['arnabkumarroy02/ferplus', 'goes on where it stopped']),
                                        (['--source', 'synthetic', '--votes', 'download'], ['fer2013new.csv', '--votes none'])],
                         ids=lambda o: ' '.join(o))
def test_without_network_the_message_says_how_to_go_on(fer_nb, prepared_home, sabotage, tmp_path, args, says):
    before = snapshot(prepared_home)
    env = NO_NETWORK | sabotage(DO_NOT_WAIT) | {'KAGGLEHUB_CACHE': str(tmp_path/'cache')}
    assert_one_line(fer_nb('prepare', *args, home=prepared_home, env=env), "can't download", *says)
    assert snapshot(prepared_home) == before


def test_without_space_prepare_stops_before_it_writes(fer_nb, prepared_home, release, sabotage):
    (release/'test/happy').rename(release/'test/happiness')     # another source
    before = snapshot(prepared_home)
    assert_one_line(fer_nb('prepare', '--source', release, home=prepared_home, env=sabotage(DISK_IS_FULL)), str(prepared_home), 'MiB are needed',
                    'Free some space')
    assert snapshot(prepared_home) == before


def test_a_disk_that_fills_up_keeps_what_was_copied_and_prepare_goes_on(fer_nb, home, drawn, prepared, sabotage):
    assert_one_line(fer_nb('prepare', '--source', drawn, home=home, env=sabotage(DISK_FILLS_UP)), str(home), 'No space left', 'Free some space')
    raw, whole = snapshot(home/'data/raw'), snapshot(prepared[0]/'data/raw')
    assert 50 < len(raw) < len(whole) and raw.items() <= whole.items()
    assert_ok(fer_nb('prepare', '--source', drawn, home=home))
    assert snapshot(home/'data/raw') == whole


@pytest.fixture
def small_files():
    "No file may grow beyond 1 MiB, as on a disk that is nearly full; a network needs more"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)

def test_a_network_that_cannot_be_written_leaves_the_older_model(here, trained_home, small_files):
    before = snapshot(trained_home)
    ended = here('train', '--epochs', '1', '--seed', '1', '--restart', home=trained_home)
    assert_one_line(ended, "can't write", str(trained_home/'models/baseline'))
    assert before.items() <= snapshot(trained_home).items()


@pytest.mark.parametrize('args, blocked', [(['prepare', '--source', 'RELEASE'], '.'), (['prepare'], '.'), (['prepare', '--source', 'RELEASE'], 'data'),
                                           (['eda'], 'results')], ids=str)
def test_a_folder_that_cannot_be_made_is_named(fer_nb, home, drawn, prepared, args, blocked):
    if args == ['eda']: shutil.copytree(prepared[0], home)
    block = home.parent/'file' if blocked == '.' else home/blocked
    block.parent.mkdir(parents=True, exist_ok=True)
    block.write_text('a file where a folder should be')
    args = [str(drawn) if o == 'RELEASE' else o for o in args]
    assert_one_line(fer_nb(*args, home=block/'home' if blocked == '.' else home), "can't write", str(block), 'not a folder')
    assert block.read_text() == 'a file where a folder should be'


@pytest.mark.parametrize('args, blocked', [(['train', '--name', 'other'], 'models/other'), (['evaluate'], 'models/baseline/evaluation')], ids=str)
def test_a_model_folder_that_cannot_be_written_is_named(here, trained_home, args, blocked):
    (trained_home/blocked).write_text('a file where a folder should be')
    before = snapshot(trained_home)
    assert_one_line(here(*args, home=trained_home), "can't write", str(trained_home/blocked))
    assert snapshot(trained_home) == before


def test_what_is_no_image_is_rejected_with_a_reason_and_prepare_goes_on(fer_nb, home, release):
    bad = {'fer8000001.png': (b'I am no image', 'unreadable'), 'fer8000002.jpg': (b'nor am I', 'unreadable'), 'fer8000003.png': (b'', 'unreadable'),
           'fer8000004.png': (HUGE, 'wrong size'), 'fer8000005.png': (png(48, 48)[:-40], 'unreadable'), 'fer8000006.png': (png(48, 48), 'blank')}
    for name, (blob, _) in bad.items(): (release/'train/happy'/name).write_bytes(blob)
    (release/'train/happy/notes.txt').write_text('not an image and not called one')
    good = len(list(release.glob('*/*/*.png'))) + 1 - len(bad)
    ended = assert_ok(fer_nb('prepare', '--source', release, '--noise', '0', home=home))
    assert '4 unreadable' in ended.out and '1 wrong size' in ended.out and '1 blank' in ended.out
    rejected = pd.read_csv(home/'data/raw/dataset_rejected.csv').set_index('filename')
    assert rejected.reason.to_dict() == {f'happy_{name}': f'image {reason}' for name, (_, reason) in bad.items()}
    assert len(pd.read_csv(home/'data/raw/dataset_cleaned.csv')) == good
    assert {name: (home/'data/raw'/f'happy_{name}').read_bytes() for name in bad} == {name: blob for name, (blob, _) in bad.items()}


DIALECTS = {'semicolon, Windows lines': dict(sep=';', lineterminator='\r\n'), 'tab, UTF-16': dict(sep='\t', encoding='utf-16'),
            'pipe, Latin-1': dict(sep='|', encoding='latin-1'), 'UTF-8 with mark': dict(encoding='utf-8-sig')}

@pytest.mark.parametrize('dialect', DIALECTS.values(), ids=DIALECTS)
def test_votes_in_any_usual_dialect_give_the_same_data(here, home, drawn, prepared, tmp_path, dialect):
    pd.read_csv(vote_file(drawn)).assign(note='Straße').to_csv(tmp_path/'votes.csv', index=False, **dialect)
    assert_ok(here('prepare', '--source', drawn, '--votes', tmp_path/'votes.csv', home=home))
    tables = [(o/'data/raw/dataset_cleaned.csv').read_bytes() for o in (home, prepared[0])]
    assert tables[0] == tables[1]


TABLES = {'columns missing': (lambda df: df.drop(columns=['label_id', 'split']), 'lacks the columns label_id, split'),
          'no rows': (lambda df: df.head(0), 'no rows'), 'a row twice': (lambda df: pd.concat([df, df.head(1)]), 'more than one row'),
          'unknown labels': (lambda df: df.assign(label='joy'), "has 'joy'")}

@pytest.mark.parametrize('change, says', TABLES.values(), ids=TABLES)
def test_a_bad_table_is_refused_and_the_cleaned_one_stays(here, prepared_home, change, says):
    table = prepared_home/'data/raw/dataset.csv'
    change(pd.read_csv(table)).to_csv(table, index=False)
    before = snapshot(prepared_home)
    assert_one_line(here('prepare', home=prepared_home), says)
    assert snapshot(prepared_home) == before


CLEANED = {'columns missing': (lambda df: df.drop(columns='pixel_hash'), 'lacks the column pixel_hash'), 'no rows': (lambda df: df.head(0), 'has no rows'),
           'unknown class': (lambda df: df.assign(label='joy'), "unknown emotion 'joy'"), 'unknown split': (lambda df: df.assign(split='all'), "the split 'all'"),
           'ids that are no numbers': (lambda df: df.assign(label_id='x'), 'label_id'),
           'votes that are no numbers': (lambda df: df.assign(votes_fear='many'), 'votes_fear')}

@pytest.mark.parametrize('command', ['train', 'evaluate'])
@pytest.mark.parametrize('change, says', CLEANED.values(), ids=CLEANED)
def test_a_bad_cleaned_table_is_refused_and_the_model_stays(here, trained_home, change, says, command):
    table = trained_home/'data/raw/dataset_cleaned.csv'
    change(pd.read_csv(table, dtype=str)).to_csv(table, index=False)
    before = snapshot(trained_home)
    assert_one_line(here(command, home=trained_home), 'dataset_cleaned.csv', says)
    assert snapshot(trained_home) == before


@pytest.mark.parametrize('command', ['eda', 'train', 'tune', 'evaluate'])
def test_a_stage_without_the_one_before_it_says_which(here, home, command):
    assert_one_line(here(command, home=home), 'fer_nb prepare')


def test_an_empty_split_is_prepared_and_training_says_what_is_missing(fer_nb, here, home, release):
    shutil.rmtree(release/'validation')
    assert '/ 0 validation /' in assert_ok(fer_nb('prepare', '--source', release, home=home)).out
    assert_one_line(here('train', home=home), 'no validation image', 'stratified')


def test_a_class_with_one_image_trains_on_the_official_split_only(fer_nb, here, home, release):
    for path in sorted(release.glob('*/contempt/*.png'))[1:]: path.unlink()
    (release/'augmented.csv').unlink()
    assert_ok(fer_nb('prepare', '--source', release, '--noise', '0', home=home))
    assert_one_line(here('train', '--split', 'stratified', home=home), 'class contempt has 1 image:', 'use the official split')
    assert here('train', '--epochs', '1', home=home).code == 0
    assert (home/'models/baseline/model.keras').exists()


def test_votes_that_are_all_zero_leave_the_folders_label(fer_nb, here, home, release):
    change_votes(release, lambda table: table.assign(**dict.fromkeys(table.columns[2:], 0)))
    assert_ok(fer_nb('prepare', '--source', release, home=home))
    assert (pd.read_csv(home/'data/raw/dataset_cleaned.csv').filter(like='votes_').fillna(0) == 0).all(axis=None)
    assert here('train', '--epochs', '1', home=home).code == 0
    out = assert_ok(here('evaluate', home=home)).out
    assert 'P1, arg-max' in out and 'Left out: P2 test' in out


def with_card(change):
    "A way to spoil a model: change its card"
    def spoil(folder):
        card = json.loads((folder/'card.json').read_text(encoding='utf-8'))
        (folder/'card.json').write_text(json.dumps(change(card)), encoding='utf-8')
    return spoil

def cut(name): return lambda folder: (folder/name).write_bytes((folder/name).read_bytes()[:500])

MODELS = {'file cut off': (cut('model.keras'), 'model.keras is not the file'), 'file missing': (lambda o: (o/'model.keras').unlink(), 'is not there'),
          'card cut off': (cut('card.json'), 'card.json is damaged'), 'card of nothing': (with_card(lambda card: None), 'card.json'),
          'other classes': (with_card(lambda card: card | {'class_names': ['yes', 'no']}), 'names other classes: yes, no'),
          'other order': (with_card(lambda card: card | {'class_names': card['class_names'][::-1]}), 'in another order'),
          'card with the least': (with_card(lambda card: {k: card[k] for k in ('class_names', 'input_shape', 'value_range')}), 'model')}

@pytest.mark.parametrize('spoil, says', MODELS.values(), ids=MODELS)
def test_a_damaged_or_foreign_model_is_not_used_and_the_list_still_works(here, trained_home, spoil, says):
    spoil(trained_home/'models/baseline')
    before = snapshot(trained_home)
    assert_one_line(here('evaluate', home=trained_home), says)
    assert 'final' in assert_ok(here('models', home=trained_home)).out
    assert snapshot(trained_home) == before


def test_a_model_that_is_not_there_is_named_with_those_that_are(here, trained_home):
    assert_one_line(here('evaluate', 'baseline2', home=trained_home), "no model 'baseline2'", 'there are baseline')


def test_a_training_does_not_replace_another_model_unasked(here, trained_home):
    before = snapshot(trained_home)
    assert_one_line(here('train', '--epochs', '1', home=trained_home), 'models/baseline holds a model with other epochs', '--name', '--restart')
    assert snapshot(trained_home) == before


PICTURES = {'text.png': (b'I am no image', 'is no image'), 'empty.png': (b'', 'it is empty'), 'huge.png': (HUGE, 'more than 64 million pixels'),
            'cut.png': (png(300, 300)[:-30], 'is no image')}

@pytest.mark.parametrize('name', PICTURES)
def test_the_demo_refuses_what_is_no_picture_and_the_menu_goes_on(here, trained_home, tmp_path, name):
    blob, says = PICTURES[name]
    (tmp_path/name).write_bytes(blob)
    ended = here(home=trained_home, input=f'4\n{tmp_path/name}\n0\n')
    assert ended.code == 0 and ended.out.count('data preparation') == 2
    assert len(ended.err.splitlines()) == 1 and name in ended.err and says in ended.err


@pytest.mark.parametrize('setting, value', [('epochs', '0'), ('batch-size', '-1'), ('learning-rate', 'nan'), ('optimizer', 'best'), ('dropout', '2'),
                                            ('labels', 'x'), ('class-weighting', '5'), ('split', 'random'), ('seed', '-1')])
def test_a_setting_that_makes_no_sense_is_refused_and_the_model_stays(here, trained_home, setting, value):
    before = snapshot(trained_home)
    assert_one_line(here('train', f'--{setting}', value, home=trained_home), setting.replace('-', '_').removesuffix('_size'))
    assert snapshot(trained_home) == before
