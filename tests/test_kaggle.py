"The download from Kaggle, from a server on this machine that answers as Kaggle does"
import base64, hashlib, json, random, threading, zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import assert_ok, assert_one_line, snapshot

from fer_nb.acquisition import import_release

VERSION = 3
CHUNK = 2**20  # bytes; kagglehub writes so many at once
SABOTAGE = '''
import time
from kagglesdk import kaggle_env
kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.LOCAL] = {endpoint!r}
def slept(seconds):
    with open({pauses!r}, 'a') as f: f.write(f'{{seconds}} ')
time.sleep = slept
'''


@dataclass
class Fault:
    "What goes wrong with one request"
    status: int = 0  # this status in place of the answer
    headers: dict = field(default_factory=dict)  # sent with it
    length: int | None = None  # the connection breaks after so many bytes
    digest: str = ''  # another checksum than the content's
    content: bytes | None = None  # another content than the archive's


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args): pass

    def answer(self, status, headers, content=b'', length=None):
        self.send_response(status)
        for name, value in headers.items(): self.send_header(name, value)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        try: self.wfile.write(content[:length])
        except ConnectionError: pass  # kagglehub does not read all
        if length is not None: self.close_connection = True

    def next_fault(self, what):
        "Note the request, and take the fault that is planned for it"
        self.server.asked.append((what, self.headers.get('Range')))
        faults = self.server.faults.get(what, [])
        return faults.pop(0) if faults else Fault()

    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        what = self.path.rpartition('/')[2]
        fault = self.next_fault(what)
        if fault.status: return self.answer(fault.status, fault.headers)
        if what == 'GetDataset':
            content = json.dumps({'currentVersionNumber': VERSION}).encode()
            return self.answer(200, {'Content-Type': 'application/json'}, content)
        assert what == 'DownloadDataset', self.path
        self.answer(302, {'Location': f'{self.server.url}/archive.zip'})

    def do_GET(self):
        fault = self.next_fault('archive')
        if fault.status: return self.answer(fault.status, fault.headers)
        content = self.server.archive if fault.content is None else fault.content
        digest = base64.b64encode(hashlib.md5(content).digest()).decode()
        headers = {'Content-Type': 'application/zip', 'Accept-Ranges': 'bytes'}
        if fault.digest != 'none':
            headers['x-goog-hash'] = f'crc32c=AAAAAA==,md5={fault.digest or digest}'
        start = 0
        if asked := self.headers.get('Range'):
            start = int(asked.removeprefix('bytes=').removesuffix('-'))
            end = len(content)
            headers['Content-Range'] = f'bytes {start}-{end - 1}/{end}'
        status = 206 if asked else 200
        self.answer(status, headers, content[start:], fault.length)


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address): pass  # a client that went away


@dataclass
class Run:
    "The server, and the command that is sent to it"
    server: Server
    env: dict
    prepare: object  # runs the command in a home
    cache: object  # kagglehub's folder for the data set
    pauses_file: object

    @property
    def asked(self): return self.server.asked

    @property
    def archive_ranges(self):
        return [part for what, part in self.asked if what == 'archive']

    @property
    def pauses(self):
        if not self.pauses_file.exists(): return []
        return [float(seconds) for seconds in self.pauses_file.read_text().split()]

    def plan(self, what, *faults): self.server.faults[what] = list(faults)


@pytest.fixture(scope='module')
def archive(drawn, tmp_path_factory):
    "A zip of the release with two images a class and split"
    path = tmp_path_factory.mktemp('kaggle')/'archive.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as packed:
        for folder in sorted(drawn.glob('*/*')):
            for image in sorted(folder.glob('fer*.png'))[:2]:
                packed.write(image, image.relative_to(drawn))
        packed.writestr('beside.bin', random.Random(0).randbytes(4*CHUNK))
    return path

@pytest.fixture(scope='module')
def expected(archive, tmp_path_factory):
    "What an import of that zip brings"
    return imported(import_into(archive, tmp_path_factory.mktemp('expected')/'raw'))

def import_into(archive, raw):
    import_release(archive, raw)
    return raw

def imported(raw):
    found = {path.name: path.read_bytes() for path in raw.glob('*.png')}
    assert len(found) > 40
    return found | {'dataset.csv': (raw/'dataset.csv').read_bytes()}


@pytest.fixture
def kaggle(archive, fer_nb, sabotage, tmp_path):
    "A server with the zip, and a way to send the command to it"
    server = Server(('127.0.0.1', 0), Handler)
    server.archive, server.asked, server.faults = archive.read_bytes(), [], {}
    server.url = f'http://127.0.0.1:{server.server_port}'
    thread = threading.Thread(target=server.serve_forever, args=(.01,))
    thread.start()
    pauses, cache = tmp_path/'pauses', tmp_path/'cache'
    env = sabotage(SABOTAGE.format(endpoint=server.url, pauses=str(pauses))) | {
        'KAGGLE_API_ENVIRONMENT': 'LOCALHOST', 'KAGGLEHUB_CACHE': str(cache),
        'KAGGLE_CONFIG_DIR': str(tmp_path), 'NO_PROXY': '*', 'no_proxy': '*'}

    def prepare(home):
        return fer_nb('prepare', '--source', 'kaggle', '--votes', 'none', '--noise', 0,
                      home=home, env=env)
    yield Run(server, env, prepare, cache/'datasets/arnabkumarroy02/ferplus', pauses)
    server.shutdown()
    thread.join()
    server.server_close()

WHOLE = [('GetDataset', None), ('DownloadDataset', None), ('archive', None)]

def assert_nothing_is_lost(kaggle, home, *says):
    "The command ends in one line and leaves the earlier import as it was"
    before = snapshot(home)
    assert before
    ended = kaggle.prepare(home)
    assert_one_line(ended, "can't download arnabkumarroy02/ferplus", *says)
    assert snapshot(home) == before
    return ended


def test_the_release_is_downloaded_imported_and_kept(kaggle, home, expected):
    ended = assert_ok(kaggle.prepare(home))
    assert imported(home/'data/raw') == expected
    assert f'{len(expected) - 1} images in {home}' in ended.out
    assert kaggle.asked == WHOLE and kaggle.pauses == []
    assert {path.name for path in kaggle.cache.iterdir()} == {'3.complete', 'versions'}
    assert_ok(kaggle.prepare(home))
    assert kaggle.asked == WHOLE + WHOLE[:1]


def test_a_connection_that_breaks_is_resumed(kaggle, home, expected):
    breaks = CHUNK + 5000
    kaggle.plan('archive', Fault(length=breaks), Fault(), Fault(length=breaks))
    ended = assert_ok(kaggle.prepare(home))
    # to resume, kagglehub asks for the whole and then for what is missing
    assert kaggle.archive_ranges == [None, None, f'bytes={CHUNK}-',
                                     None, f'bytes={2*CHUNK}-']
    assert imported(home/'data/raw') == expected and kaggle.pauses == [2, 4]
    assert f'Resuming download from {CHUNK} bytes' in ended.out


def test_a_server_that_is_busy_is_waited_for(kaggle, home, expected):
    kaggle.plan('GetDataset', Fault(429), Fault(429, {'Retry-After': '30'}))
    kaggle.plan('archive', Fault(503, {'Retry-After': '1'}))
    assert_ok(kaggle.prepare(home))
    assert kaggle.pauses == [2, 30, 8]
    assert [what for what, _ in kaggle.asked] == [
        'GetDataset', 'GetDataset', *['GetDataset', 'DownloadDataset', 'archive']*2]
    assert imported(home/'data/raw') == expected


@pytest.mark.parametrize('status', [403, 404])
def test_a_refusal_is_final(kaggle, prepared_home, status):
    kaggle.plan('GetDataset', Fault(status), Fault(status))
    assert_nothing_is_lost(kaggle, prepared_home, f'KaggleApiHTTPError {status}',
                           'give its path as the source')
    assert kaggle.asked == WHOLE[:1] and kaggle.pauses == []


def test_a_checksum_that_differs_is_said_and_the_next_run_works(kaggle, prepared_home,
                                                                expected):
    kaggle.plan('archive', *[Fault(digest='1B2M2Y8AsgTpgAmY7PhCfg==')]*5)
    assert_nothing_is_lost(kaggle, prepared_home, 'changed on the way', 'checksum')
    assert kaggle.archive_ranges == [None]*5
    assert_ok(kaggle.prepare(prepared_home))
    assert kaggle.archive_ranges == [None]*6
    assert imported(prepared_home/'data/raw') == expected


def test_an_archive_that_does_not_unpack_is_said_and_not_kept(kaggle, prepared_home,
                                                              expected):
    whole = kaggle.server.archive
    damaged = bytearray(whole)
    damaged[len(whole)//2] ^= 255
    spoilt = [whole[:-500], b'<html>Please log in</html>', whole[:CHUNK], b'',
              bytes(damaged)]
    faults = [Fault(content=content, digest='none') for content in spoilt]
    kaggle.plan('archive', *faults)
    assert_nothing_is_lost(kaggle, prepared_home, 'what came is damaged', 'beside.bin',
                           'run the command again')
    assert kaggle.archive_ranges == [None]*5 and list(kaggle.cache.rglob('*.*')) == []
    assert_ok(kaggle.prepare(prepared_home))
    assert imported(prepared_home/'data/raw') == expected


def test_a_resumed_download_that_is_refused_does_not_spoil_the_archive(kaggle, home,
                                                                       expected):
    no_digest = Fault(digest='none')
    kaggle.plan('archive', Fault(length=CHUNK, digest='none'), no_digest, Fault(403),
                no_digest)
    assert_ok(kaggle.prepare(home))
    assert kaggle.archive_ranges == [None, None, f'bytes={CHUNK}-', None]
    assert imported(home/'data/raw') == expected


def test_without_network_it_is_one_line(kaggle, prepared_home):
    kaggle.server.socket.close()
    assert_nothing_is_lost(kaggle, prepared_home, 'ConnectionError',
                           'goes on where it stopped')
    assert kaggle.asked == [] and kaggle.pauses == [2, 4, 8, 16]


def test_without_kagglehub_it_is_one_line(fer_nb, prepared_home, sabotage):
    env = sabotage("import sys\nsys.modules['kagglehub'] = None\n")
    before = snapshot(prepared_home)
    ended = fer_nb('prepare', '--source', 'kaggle', '--votes', 'none',
                   home=prepared_home, env=env)
    assert_one_line(ended, "pip install 'fer_nb[train]'", 'give its path as the source')
    assert snapshot(prepared_home) == before
