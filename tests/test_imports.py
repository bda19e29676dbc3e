"What a source may look like: read as it is, or refused in one line, with nothing lost"
import logging, lzma, os, shutil, subprocess, sys, tarfile, zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import assert_ok, assert_one_line, snapshot
from PIL import Image

from fer_nb import acquisition
from fer_nb.acquisition import import_fer2013, import_release
from fer_nb.core import EMOTIONS, DataError, StorageError
from fer_nb.files import exclusive

SPELLINGS = {'surprise': 'suprise'}
FER2013 = ('angry', 'disgust', 'fear', 'happy', 'sad', 'surprise', 'neutral')
COLUMNS = ('neutral', 'happiness', 'surprise', 'sadness', 'anger', 'disgust', 'fear',
           'contempt', 'unknown', 'NF')
AS_OURS = {'happiness': 'happy', 'sadness': 'sad', 'anger': 'angry'}
NOISE = np.random.default_rng(0)


def picture(path, **options):
    "Write an image of noise in the format that its suffix or `format` says"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = NOISE.integers(0, 256, (48, 48), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels

@pytest.fixture
def small(tmp_path):
    "A release of three images a class and split, with notes beside them"
    folder = tmp_path/'small'
    for split in ('train', 'validation', 'test'):
        for emotion in EMOTIONS:
            for number in range(3):
                place = folder/split/SPELLINGS.get(emotion, emotion)
                picture(place/f'{split}{number}.png')
    (folder/'README.txt').write_text('beside the folders of the splits')
    return folder

@pytest.fixture
def raw(tmp_path): return tmp_path/'raw'

def images(folder):
    "The names of what an import brought"
    names = {path.name for path in Path(folder).iterdir()}
    return {name for name in names if not name.endswith(('.csv', '.json', '.lock'))}

def assert_refused(here, home, source, *says):
    "The command ends in one line, and the earlier import is as it was"
    before = snapshot(home)
    assert before
    assert_one_line(here('prepare', '--source', source, home=home), *says)
    assert snapshot(home) == before

def members(folder):
    "Relative path -> content of the files below a folder"
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob('*')) if path.is_file()}

def zipped(path, contents, spell=str, **options):
    with zipfile.ZipFile(path, 'w', **options) as archive:
        for name, blob in contents.items():
            info = zipfile.ZipInfo(spell(name))
            info.compress_type = options.get('compression', zipfile.ZIP_STORED)
            archive.writestr(info, blob)
    return path


# Names that fall on one another

CLASHES = {
    'two spellings of a class': ('train/happy/a.png', 'train/happiness/a.png'),
    'two spellings of a split': ('valid/sad/a.png', 'validation/sad/a.png'),
    'upper and lower case': ('train/fear/a.png', 'train/fear/A.png'),
    'two ways to write ä': ('train/fear/\u00e4.png', 'train/fear/a\u0308.png'),
    'a name like a renamed one':
        ('test/sad/train_a.png', 'train/sad/a.png', 'test/sad/a.png'),
}

@pytest.mark.parametrize('paths', CLASHES.values(), ids=CLASHES)
def test_images_that_would_get_one_name_are_refused(here, prepared_home, small, paths):
    for path in paths: picture(small/path)
    assert_refused(here, prepared_home, small, paths[0], paths[1], 'rename one of them')


def test_names_that_differ_by_split_get_the_split_and_all_are_imported(small, raw):
    for split in ('train', 'test'): picture(small/split/'sad/same.png')
    table = import_release(small, raw)
    assert {'sad_train_same.png', 'sad_test_same.png'} <= set(table.filename)
    assert table.filename.is_unique and images(raw) == set(table.filename)


def test_a_zip_that_holds_a_path_twice_is_refused(here, prepared_home, small, tmp_path):
    contents = members(small)
    contents['train\\sad\\train0.png'] = contents['train/sad/train1.png']
    archive = zipped(tmp_path/'twice.zip', contents)
    assert_refused(here, prepared_home, archive, 'train/sad/train0.png twice')


def test_a_name_of_255_bytes_is_imported_under_a_shorter_one(small, raw):
    name = 'ü'*125 + '.png'
    pixels = picture(small/'train/fear'/name)
    found = [name for name in import_release(small, raw).filename if 'ü' in name]
    assert len(found) == 1
    assert found[0].startswith('fear_ü') and found[0].endswith('.png')
    assert (np.asarray(Image.open(raw/found[0])) == pixels).all()


def test_a_name_that_is_no_text_is_refused(here, prepared_home, small):
    odd = os.fsencode(small/'train/sad') + b'/\xff.png'
    shutil.copy(small/'train/sad/train0.png', odd)
    assert_refused(here, prepared_home, small, 'train/sad', "can't be the name")


# What can't be read, and what is no image

def test_a_locked_class_folder_is_named(here, prepared_home, small, monkeypatch):
    scandir = os.scandir
    def refuse(path):
        if Path(path).name == 'happy': raise PermissionError(13, 'Permission denied')
        return scandir(path)
    monkeypatch.setattr(os, 'scandir', refuse)
    assert_refused(here, prepared_home, small, str(small/'test/happy'),
                   'Permission denied', 'and 2 more')


def test_a_locked_image_is_named(here, prepared_home, small, monkeypatch):
    def access(path, mode): return Path(path).name != 'train1.png'
    monkeypatch.setattr(os, 'access', access)
    assert_refused(here, prepared_home, small, str(small/'train/angry/train1.png'))


def test_a_link_to_nothing_is_named(here, prepared_home, small):
    (small/'train/contempt').rename(small/'elsewhere')
    (small/'train/contempt').symlink_to(small/'moved')
    assert_refused(here, prepared_home, small, str(small/'train/contempt'), 'is a link')


def test_a_linked_class_folder_and_a_loop_are_followed(small, raw, tmp_path):
    whole = set(import_release(small, raw).filename)
    (small/'train/contempt').rename(tmp_path/'contempt')
    (small/'train/contempt').symlink_to(tmp_path/'contempt')
    (small/'loop').symlink_to(small)
    assert set(import_release(small, tmp_path/'linked').filename) == whole


FORMATS = {'a.gif': 'GIF', 'a.webp': 'WEBP', 'a.tif': 'TIFF', 'a.ppm': 'PPM',
           'a.jfif': 'JPEG', 'a.PNG': 'PNG', 'without': 'PNG', 'wrong.txt': 'BMP'}

@pytest.mark.parametrize('name, format', FORMATS.items(), ids=FORMATS)
def test_what_an_image_is_its_content_decides(here, small, home, name, format):
    options = {'lossless': True} if format == 'WEBP' else {}
    pixels = picture(small/'train/fear'/name, format=format, **options)
    assert_ok(here('prepare', '--source', small, '--noise', 0, home=home))
    clean = pd.read_csv(home/'data/raw/dataset_cleaned.csv')
    assert f'fear_{name}' in set(clean.filename)
    blob = np.fromfile(home/f'data/raw/fear_{name}', np.uint8)
    apart = np.abs(cv2.imdecode(blob, cv2.IMREAD_GRAYSCALE).astype(int) - pixels)
    assert apart.max() == 0 or format == 'JPEG'


def test_what_is_no_image_is_passed_over_and_said(small, raw, caplog):
    whole = set(import_release(small, raw).filename)
    assert not caplog.records
    for name in ('Thumbs.db', 'desktop.ini', 'notes.txt', 'torn.gif'):
        (small/'train/happy'/name).write_text('no image')
    (small/'train/happy/.DS_Store').write_text('hidden')
    picture(small/'overview.png')
    with caplog.at_level(logging.INFO, 'fer_nb'): table = import_release(small, raw)
    assert set(table.filename) == whole and images(raw) == whole
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith('small: 5 files were passed over')
    assert 'overview.png, train/happy/Thumbs.db, train/happy/desktop.ini, …' in said


def test_what_is_passed_over_is_printed_and_does_not_stop(fer_nb, small, home):
    (small/'train/happy/notes.txt').write_text('no image')
    ended = assert_ok(fer_nb('prepare', '--source', small, home=home))
    said = '1 file was passed over, no image or in no class folder: train/happy/notes.txt'
    assert f'small: {said}' in ended.out.splitlines()


def test_images_below_a_class_folder_are_refused(here, prepared_home, small):
    picture(small/'train/happy/more/a.png')
    assert_refused(here, prepared_home, small, 'train/happy/more/a.png', 'move it up')


# Archives of every tool

METHODS = {'stored': zipfile.ZIP_STORED, 'deflate': zipfile.ZIP_DEFLATED,
           'bzip2': zipfile.ZIP_BZIP2, 'lzma': zipfile.ZIP_LZMA}

@pytest.mark.parametrize('method', METHODS.values(), ids=METHODS)
def test_a_zip_of_any_method_is_read_as_the_folder(small, raw, tmp_path, method):
    archive = zipped(tmp_path/'small.zip', members(small), compression=method)
    import_release(archive, raw)
    import_release(small, tmp_path/'folder')
    assert snapshot_of_images(raw) == snapshot_of_images(tmp_path/'folder')

def snapshot_of_images(folder):
    "The images and tables of an import, without the name of its source"
    found = snapshot(folder)
    assert len(found) > 72
    return {name: digest for name, digest in found.items() if name != 'source.json'}


def backslashes(path): return path.replace('/', '\\')
def with_a_top_folder(path): return f'FERPlus release/{path}'
def with_a_dot(path): return f'./{path}'

@pytest.mark.parametrize('spell', [backslashes, with_a_top_folder, with_a_dot])
def test_a_zip_is_read_whatever_its_paths_look_like(small, raw, tmp_path, spell):
    archive = zipped(tmp_path/'small.zip', members(small), spell)
    table = import_release(archive, raw)
    assert set(table.filename) == set(import_release(small, tmp_path/'folder').filename)
    assert table.split.value_counts().to_dict() == dict.fromkeys(
        ('train', 'validation', 'test'), 24)


def test_a_zip_of_macos_is_read_without_its_extras(small, raw, tmp_path, caplog):
    contents = members(small)
    extras = {f'__MACOSX/train/happy/._{Path(name).name}': b'resource fork'
              for name in contents}
    extras |= {'train/happy/._train0.png': b'x', 'train/.DS_Store': b'x', 'train/': b''}
    archive = zipped(tmp_path/'small.zip', extras | contents)
    assert len(import_release(archive, raw)) == 72 and not caplog.records


@pytest.mark.parametrize('number, name', [(9, 'Deflate64'), (93, 'Zstandard'),
                                          (97, 'method 97')])
def test_a_zip_with_another_method_is_refused(here, prepared_home, small, tmp_path,
                                              number, name):
    if number in acquisition._ZIP_READS: pytest.skip('this Python reads it')
    archive = zipped(tmp_path/'small.zip', members(small))
    blob = bytearray(archive.read_bytes())
    entry = blob.index(b'PK\x01\x02')
    blob[entry + 10] = number
    archive.write_bytes(blob)
    assert_refused(here, prepared_home, archive, name, 'pack it again')


@pytest.mark.parametrize('packed', ['', 'gz', 'bz2', 'xz'])
def test_a_tar_is_read_as_the_folder(small, raw, tmp_path, packed):
    archive = tmp_path/'no suffix'
    with tarfile.open(archive, f'w:{packed}') as tar: tar.add(small, './small')
    table = import_release(archive, raw)
    import_release(small, tmp_path/'folder')
    assert snapshot_of_images(raw) == snapshot_of_images(tmp_path/'folder')
    assert len(table) == 72


def test_a_tar_that_is_cut_off_is_refused(here, prepared_home, small, tmp_path):
    archive = tmp_path/'small.tar.gz'
    with tarfile.open(archive, 'w:gz') as tar: tar.add(small, 'small')
    for length in (20_000, 30):
        archive.write_bytes(archive.read_bytes()[:length])
        assert_refused(here, prepared_home, archive, 'small.tar.gz', 'truncated',
                       'download it again')


def hostile_tar(path, name='train/happy/a.png', **attributes):
    with tarfile.open(path, 'w') as tar:
        info = tarfile.TarInfo(name)
        for key, value in attributes.items(): setattr(info, key, value)
        tar.addfile(info)
    return path

HOSTILE = {
    'climbing': (dict(name='../../evil.png'), 'outside the folder'),
    'absolute': (dict(name='/etc/evil.png'), 'outside the folder'),
    'climbing by backslashes': (dict(name='..\\..\\evil.png'), 'outside the folder'),
    'a drive': (dict(name='C:\\evil.png'), 'outside the folder'),
    'a link': (dict(type=tarfile.SYMTYPE, linkname='/etc/passwd'), 'is a link'),
    'a hard link': (dict(type=tarfile.LNKTYPE, linkname='/etc/passwd'), 'is a link'),
    'a device': (dict(type=tarfile.CHRTYPE), 'is a device'),
    'a pipe': (dict(type=tarfile.FIFOTYPE), 'is a device'),
}

@pytest.mark.parametrize('attributes, says', HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_tar_is_refused(here, prepared_home, tmp_path, attributes, says):
    archive = hostile_tar(tmp_path/'evil.tar', **attributes)
    assert_refused(here, prepared_home, archive, 'evil.tar', says,
                   'nothing was unpacked')


@pytest.mark.parametrize('name', ['..\\..\\evil.png', 'train\\..\\..\\evil.png',
                                  '\\evil.png', 'C:\\evil.png', 'C:evil.png'])
def test_a_zip_that_climbs_is_refused(here, prepared_home, tmp_path, name):
    archive = zipped(tmp_path/'evil.zip', {name: b'x'})
    assert_refused(here, prepared_home, archive, 'outside the folder')


def test_a_tar_that_unpacks_to_gigabytes_is_refused(here, prepared_home, tmp_path,
                                                    monkeypatch):
    monkeypatch.setattr(acquisition, 'MAX_UNPACKED', 2**20)
    archive = tmp_path/'bomb.tar.xz'
    with lzma.open(archive, 'wb') as packed:
        with tarfile.open(fileobj=packed, mode='w|') as tar:
            info = tarfile.TarInfo('train/happy/a.png')
            info.size = 2**21
            tar.addfile(info, open('/dev/zero', 'rb'))
    assert archive.stat().st_size < 10_000
    assert_refused(here, prepared_home, archive, 'bomb.tar.xz unpacks to more than')


OTHER_FILES = {
    'release.7z': (b'7z\xbc\xaf\x27\x1c', 'is a 7z archive: unpack it'),
    'release.rar': (b'Rar!\x1a\x07\x01', 'is a RAR archive: unpack it'),
    'release.tar.zst': (b'\x28\xb5\x2f\xfd', 'compressed with Zstandard: unpack it'),
    'release.gz': (b'\x1f\x8b\x08', 'compressed with gzip and no tar'),
    'seven.zip': (b'7z\xbc\xaf\x27\x1c', 'is a 7z archive: unpack it'),
    'page.zip': (b'<!DOCTYPE html>', 'is a web page and no archive'),
    'cut.zip': (b'PK\x03\x04', 'is a truncated zip: download it again'),
    'notes.zip': (b'hello', 'is no zip and no tar archive'),
}

@pytest.mark.parametrize('name', OTHER_FILES)
def test_what_a_file_is_its_first_bytes_say(here, prepared_home, tmp_path, name):
    start, says = OTHER_FILES[name]
    (tmp_path/name).write_bytes(start + b'\xaa'*2000)
    assert_refused(here, prepared_home, tmp_path/name, name, says)


def test_a_zip_of_the_original_table_says_what_to_give(here, prepared_home, tmp_path):
    archive = zipped(tmp_path/'fer.zip', {'fer2013/fer2013.csv': b'emotion,pixels'})
    assert_refused(here, prepared_home, archive, 'fer2013/fer2013.csv', 'give its path')


# The original table and its votes

def original_files(folder, rows, agreement=.65, seed=0):
    "Tables as `fer2013.csv` and `fer2013new.csv` are: labels that agree as often"
    rng = np.random.default_rng(seed)
    counts = np.array([4953, 547, 5121, 8989, 6077, 4002, 6198])
    own = rng.choice(7, rows, p=counts/counts.sum())
    voted = np.where(rng.random(rows) < agreement, own, rng.permutation(own))
    pixels = [' '.join(map(str, rng.integers(0, 256, 48*48))) for _ in range(20)]
    table = pd.DataFrame({'emotion': own, 'Usage': 'Training',
                          'pixels': [pixels[row % 20] for row in range(rows)]})
    names = [f'fer{row:07d}.png' for row in range(rows)]
    votes = pd.DataFrame({'Usage': 'Training', 'Image name': names})
    labels = np.array(FER2013)[voted]
    for column in COLUMNS: votes[column] = 10*(labels == AS_OURS.get(column, column))
    folder.mkdir(exist_ok=True)
    write_both(folder, table, votes)
    return table, votes

def write_both(folder, table, votes):
    table.to_csv(folder/'fer2013.csv', index=False)
    votes.to_csv(folder/'fer2013new.csv', index=False)


@pytest.mark.parametrize('rows', [1, 12, 40, 300, 1500])
def test_rows_that_match_their_votes_are_imported(tmp_path, raw, rows):
    _, votes = original_files(tmp_path/'fer', rows)
    fer = tmp_path/'fer'
    found = import_fer2013(fer/'fer2013.csv', fer/'fer2013new.csv', raw)
    assert len(found) == rows and images(raw) == set(found.filename)
    voted = votes[list(COLUMNS[:8])].idxmax(axis=1)
    assert found.label.tolist() == [AS_OURS.get(name, name) for name in voted]


def reversed_rows(table): return table[::-1]
def sorted_by_emotion(table): return table.sort_values('emotion')
def one_row_on(table): return table.iloc[np.roll(np.arange(len(table)), 1)]

def one_row_on_from_the_middle(table):
    middle = len(table)//2
    return pd.concat([table[:middle], one_row_on(table[middle:])])

def one_row_on_at_the_end(table):
    return pd.concat([table[:-500], one_row_on(table[-500:])])

@pytest.mark.parametrize('change', [
    reversed_rows, sorted_by_emotion, one_row_on, one_row_on_from_the_middle,
    one_row_on_at_the_end])
def test_rows_in_another_order_than_the_votes_are_refused(here, prepared_home, tmp_path,
                                                          change):
    table, votes = original_files(tmp_path/'fer', 2000)
    write_both(tmp_path/'fer', change(table), votes)
    assert_refused(here, prepared_home, tmp_path/'fer/fer2013.csv', 'fer2013.csv',
                   'fer2013new.csv', 'not in the same order')


def test_chance_does_not_refuse_rows_that_match(tmp_path):
    from fer_nb.acquisition import _check_row_order
    rng = np.random.default_rng(1)
    for _ in range(20):
        own = rng.choice(FER2013, 35_000)
        label = np.where(rng.random(35_000) < .55, own, 'neutral')
        faces = pd.DataFrame({'own_label': own, 'label': label})
        _check_row_order(faces, 'fer2013.csv', 'fer2013new.csv')


def test_a_table_without_emotions_is_refused(here, prepared_home, tmp_path):
    table, votes = original_files(tmp_path/'fer', 12)
    write_both(tmp_path/'fer', table.drop(columns='emotion'), votes)
    assert_refused(here, prepared_home, tmp_path/'fer/fer2013.csv', 'no column emotion',
                   "Kaggle's original fer2013.csv")


NAMES = {'upper and lower case': ('FER0000001.png', 'would both be called'),
         'a path': ('../../fer0000002.png', "can't be the name"),
         'a path of Windows': ('..\\fer0000002.png', "can't be the name"),
         'the same': ('fer0000001.png', 'has two rows of votes')}

@pytest.mark.parametrize('name, says', NAMES.values(), ids=NAMES)
def test_votes_with_names_that_do_not_work_are_refused(here, prepared_home, tmp_path,
                                                       name, says):
    table, votes = original_files(tmp_path/'fer', 12)
    table.loc[2] = table.loc[1]
    votes.loc[2] = votes.loc[1]
    votes.loc[2, 'Image name'] = name
    write_both(tmp_path/'fer', table, votes)
    assert_refused(here, prepared_home, tmp_path/'fer/fer2013.csv', says,
                   Path(name.replace('\\', '/')).name)


# Beside the source

def test_what_a_killed_copy_left_is_removed(small, raw):
    import_release(small, raw)
    whole = snapshot(raw)
    for name in ('.happy_train0.png.4711.part', '.0123456789ab.part'):
        (raw/name).write_bytes(b'half')
    (raw/'happy_train0.png').unlink()
    import_release(small, raw)
    assert snapshot(raw) == whole and not list(raw.glob('.*.part'))


def test_a_second_import_into_the_same_folder_is_told(here, prepared_home, small):
    with exclusive(prepared_home/'data/raw/.lock', 'the test'):
        assert_refused(here, prepared_home, small, 'another run is writing',
                       str(prepared_home/'data/raw'))
    assert_ok(here('prepare', '--source', small, home=prepared_home))


def test_a_second_drawing_of_the_same_release_is_told(tmp_path):
    sizes = dict(train=20, validation=20, test=20)
    with exclusive(tmp_path/'.drawn.lock', 'the test'):
        with pytest.raises(StorageError, match='another run is writing'):
            acquisition.make_release(tmp_path/'drawn', **sizes)
    assert acquisition.make_release(tmp_path/'drawn', **sizes).is_dir()


def test_a_folder_with_images_of_somebody_else_is_left_alone(small, raw):
    raw.mkdir()
    picture(raw/'holiday.webp')
    with pytest.raises(DataError, match='not imported from here'):
        import_release(small, raw)
    assert images(raw) == {'holiday.webp'}


def test_the_module_loads_without_kagglehub():
    code = "import sys; import fer_nb.acquisition; print('kagglehub' in sys.modules)"
    ended = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                           check=True)
    assert ended.stdout.strip() == 'False'
