"The dashboard in a real browser, with a camera that shows NASA's photograph of Eileen Collins"
import io, json, os, shutil, signal, socket, subprocess, sys, tempfile, time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import psutil, pytest, requests
from PIL import Image

from conftest import assert_one_line

CHECKOUT = Path(__file__).resolve().parent.parent
SAMPLES = CHECKOUT/'fer_nb'/'static'/'samples'
DETECTOR = CHECKOUT.parent/'shared'/'data'/'face_detection_yunet_2023mar.onnx'
PATIENCE = 60_000                                       # milliseconds


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

@contextmanager
def running(command, port, env):
    "A server in a process of its own, until the block ends"
    log = tempfile.TemporaryFile('w+')
    server = subprocess.Popen(command, stdout=log, stderr=log, env=env, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    try:
        deadline = time.monotonic() + 120
        while True:
            assert server.poll() is None and time.monotonic() < deadline, log.seek(0) or log.read()
            with socket.socket() as s:
                if s.connect_ex(('127.0.0.1', port)) == 0: break
            time.sleep(.1)
        yield f'http://127.0.0.1:{port}/'
    finally:
        server.send_signal(signal.SIGINT)
        try: server.wait(30)
        except subprocess.TimeoutExpired: server.kill()

@pytest.fixture(scope='module')
def env(tmp_path_factory):
    "A home of its own, with the detector where a copy is at hand"
    home = tmp_path_factory.mktemp('dashboard')/'home'
    (home/'data').mkdir(parents=True)
    if DETECTOR.exists(): shutil.copy(DETECTOR, home/'data')
    return os.environ | {'FER_NB_HOME': str(home)}

@pytest.fixture(scope='module')
def address(env):
    "A dashboard for two visitors, whose kernels end four seconds after they have left"
    port = free_port()
    code = f'from fer_nb.serving import serve; serve(port={port}, visitors=2, absence=4, open_browser=False)'
    with running([sys.executable, '-c', code], port, env) as address: yield address


class Visitor:
    "A page of the dashboard and what can be done there"
    def __init__(self, browser, address, camera=True, script='', **options):
        self.context = browser.new_context(permissions=['camera'] if camera else [], **{'viewport': {'width': 1280, 'height': 1500}} | options)
        if script: self.context.add_init_script(script)
        self.page, self.requests, self.errors, self.frames = self.context.new_page(), [], [], []
        self.page.on('request', lambda o: self.requests.append(o.url))
        self.page.on('pageerror', lambda o: self.errors.append(str(o)))
        self.page.on('websocket', self._listen)
        for attempt in range(60):                       # until a former visitor's place is free
            if self.page.goto(address).status == 200: break
            time.sleep(1)
        self.page.wait_for_selector('.fer-webcam', timeout=PATIENCE)

    def _listen(self, socket):
        socket.on('framesent', lambda data: self.frames.append('live') if isinstance(data, bytes) and b'"origin":"live"' in data else None)
        socket.on('framereceived', lambda data: self.frames.append('answer') if isinstance(data, bytes) and b'"answer"' in data else None)

    def press(self, name): self.page.get_by_role('button', name=name, exact=True).click(timeout=PATIENCE)

    def sees(self, text, where='.fer-dashboard'): self.page.locator(where, has_text=text).first.wait_for(timeout=PATIENCE)

    def picture(self): return self.page.locator('.fer-picture').get_attribute('alt')

    def shown(self, name):
        "Wait for a picture of this name, and return what was found in it"
        self.page.wait_for_function('name => document.querySelector(".fer-picture")?.alt.startsWith(name)', arg=name, timeout=PATIENCE)
        return self.picture()

    def upload(self, path):
        self.page.locator('.fer-webcam input[type=file]').set_input_files(path)

    def save(self, name):
        "The content of a download"
        with self.page.expect_download(timeout=PATIENCE) as waiting: self.press(name)
        return Path(waiting.value.path()).read_bytes()

    def marked(self): return np.asarray(Image.open(io.BytesIO(self.save('Marked picture (PNG)'))).convert('RGB'), int)

    def leave(self):
        self.context.close()
        assert not self.errors, self.errors
        strange = [o for o in self.requests if not o.startswith(('http://127.0.0.1:', 'data:', 'blob:'))]
        assert not strange, strange

@pytest.fixture(scope='module')
def visitor(browser, address):
    visitor = Visitor(browser, address)
    yield visitor
    visitor.leave()


@pytest.fixture(scope='module')
def astronaut(): return Image.open(SAMPLES/'astronaut.jpg').convert('RGB')

def make_pictures(folder, astronaut):
    "The same photograph in the forms that people have"
    astronaut.save(folder/'plain.jpg', quality=95)
    clear = astronaut.convert('RGBA')
    clear.putalpha(Image.fromarray(np.where(np.mgrid[:clear.height, :clear.width][1] < clear.width//8, 0, 255).astype('uint8')))
    clear.save(folder/'alpha.png')
    Image.fromarray((np.asarray(astronaut.convert('L')).astype('uint16')*257)).save(folder/'deep.png')
    exif = Image.Exif()
    exif[0x0112] = 6                                    # turn by 90° clockwise to see it upright
    astronaut.resize((400, 480)).rotate(90, expand=True).save(folder/'turned.jpg', exif=exif)
    noise = np.random.default_rng(0).integers(0, 256, (3750, 3750, 3), dtype='uint8')
    large = Image.fromarray(noise)
    large.paste(astronaut.resize((2400, 2400)), (600, 600))
    large.save(folder/'large.bmp')
    (folder/'notes.png').write_text('not a picture at all')
    return folder

@pytest.fixture(scope='module')
def pictures(astronaut, tmp_path_factory): return make_pictures(tmp_path_factory.mktemp('pictures'), astronaut)


def test_a_snapshot_of_the_camera_is_happy_with_both_models_and_the_heat_lies_on_the_face(visitor):
    visitor.press('Start camera')
    visitor.page.wait_for_selector('.fer-video:not([hidden])', timeout=PATIENCE)
    visitor.press('Take a picture')
    assert 'face 1 happy' in visitor.shown('camera')
    visitor.sees('camera, face 1 happy', '[role=status]')              # said aloud to those who see nothing
    for model in ('baseline', 'final'):
        visitor.page.get_by_label('Model').select_option(model)
        visitor.sees(f'Model {model}:')
        visitor.sees('happy', '.fer-answer')
        with_heat = visitor.marked()
        visitor.page.get_by_label('Show heat maps').uncheck()
        bare = visitor.marked()
        visitor.page.get_by_label('Show heat maps').check()
        y, x = np.nonzero(abs(with_heat - bare).max(axis=2) > 8)
        assert len(x) > 200
        assert 230 <= x.min() and x.max() <= 350 and 55 <= y.min() and y.max() <= 172, (model, x.min(), x.max(), y.min(), y.max())    # where her face is


def test_another_emotion_has_another_heat_map(visitor):
    answer = visitor.marked()
    visitor.page.get_by_label('Heat map of').select_option('sad')
    sad = visitor.marked()
    visitor.page.get_by_label('Heat map of').select_option('happy')
    happy = visitor.marked()
    assert (sad != answer).any() and (happy == answer).all()


def test_two_clicks_start_one_camera_that_can_be_stopped(visitor):
    visitor.press('Stop camera')
    visitor.page.evaluate("""() => { window.streams = []
      const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices)
      navigator.mediaDevices.getUserMedia = async options => { const stream = await ask(options); streams.push(stream); return stream }
      const button = [...document.querySelectorAll('.fer-webcam button')].find(o => o.textContent == 'Start camera')
      button.click(); button.click() }""")
    visitor.page.wait_for_selector('.fer-video:not([hidden])', timeout=PATIENCE)
    visitor.press('Stop camera')
    assert visitor.page.evaluate("() => streams.map(o => o.getTracks()[0].readyState)") == ['ended']
    visitor.press('Start camera')
    visitor.page.wait_for_selector('.fer-video:not([hidden])', timeout=PATIENCE)


def test_live_sends_a_picture_only_when_the_last_was_answered(visitor):
    visitor.page.locator('.fer-interval input').fill('0.2')
    visitor.frames.clear()
    visitor.page.get_by_role('checkbox', name='Live').check()
    visitor.page.wait_for_function('() => /over ([5-9]|..+) pictures/.test(document.querySelector(".fer-live .fer-chart")?.ariaLabel ?? "")', timeout=PATIENCE)
    visitor.page.get_by_role('checkbox', name='Live').uncheck()
    visitor.page.wait_for_timeout(1000)
    seen = list(visitor.frames)
    visitor.page.wait_for_timeout(1000)
    assert visitor.frames == seen                       # it has stopped
    assert len(seen) >= 10 and seen == ['live', 'answer']*(len(seen)//2)
    assert visitor.page.locator('.fer-live .scatterlayer path').count() >= 8
    visitor.press('Stop camera')


@pytest.mark.parametrize('name', ['plain.jpg', 'alpha.png', 'deep.png', 'turned.jpg', 'large.bmp'])
def test_an_uploaded_picture_is_read(visitor, pictures, name):
    if name == 'large.bmp': assert (pictures/name).stat().st_size > 40e6
    visitor.upload(pictures/name)
    assert 'face 1 happy' in visitor.shown(name)
    height, width = visitor.marked().shape[:2]
    expected = {'turned.jpg': (480, 400), 'large.bmp': (1280, 1280)}.get(name)
    assert max(height, width) <= 1280 and (expected is None or (height, width) == expected)


def test_a_text_that_is_called_a_picture_is_refused_and_the_last_picture_stays(visitor, pictures):
    before = visitor.picture()
    visitor.upload(pictures/'notes.png')
    visitor.sees('notes.png: the image is no image that can be read', '.fer-problem')
    assert visitor.picture() == before
    visitor.page.locator('.fer-webcam input[type=file]').set_input_files([pictures/'notes.png', pictures/'plain.jpg'])
    visitor.shown('plain.jpg')
    visitor.sees('notes.png: the image is no image', '.fer-problem')                  # said after the other, too


def test_a_picture_can_be_dropped(visitor):
    visitor.page.evaluate('''async () => {
      const canvas = Object.assign(document.createElement('canvas'), {width: 100, height: 80})
      canvas.getContext('2d').fillRect(0, 0, 100, 80)
      const blob = await new Promise(done => canvas.toBlob(done))
      const dataTransfer = new DataTransfer()
      dataTransfer.items.add(new File([blob], 'dropped.png', {type: 'image/png'}))
      document.querySelector('.fer-stage').dispatchEvent(new DragEvent('drop', {dataTransfer, bubbles: true}))
    }''')
    assert visitor.shown('dropped.png') == 'dropped.png: no face found'
    visitor.sees('No face found', '.fer-answer')
    visitor.page.get_by_label('Take the whole picture').check()
    visitor.sees('No face was found, so the whole picture was taken for one')
    visitor.page.get_by_label('Take the whole picture').uncheck()


def test_faces_are_chosen_with_the_keyboard_alone(visitor):
    visitor.page.get_by_role('button', name='two faces').focus()
    visitor.page.keyboard.press('Enter')
    assert '1 happy' in visitor.shown('two faces') and '2 happy' in visitor.picture()
    visitor.page.get_by_role('button', name='2', exact=True).focus()
    visitor.page.keyboard.press('Enter')
    visitor.page.wait_for_function('() => document.querySelector(".fer-side .fer-chart")?.ariaLabel?.startsWith("Probabilities of face 2")', timeout=PATIENCE)
    assert visitor.page.locator('.fer-side .barlayer path').count() == 8


def test_the_table_can_be_taken_along(visitor):
    table = pd.read_csv(io.BytesIO(visitor.save('Table (CSV)')))
    assert {'camera', 'plain.jpg', 'two faces'} <= set(table.source) and table.time.notna().sum() >= 5
    assert {'baseline', 'final'} == set(table[table.source == 'camera'].model)        # both looked at it
    emotions = table.columns[-8:]
    assert np.allclose(table[emotions].sum(axis=1), 1, atol=1e-4)
    visitor.sees('more are in the table')


def test_the_page_names_what_it_shows_and_its_limits(visitor):
    unnamed = visitor.page.evaluate('''() => [...document.querySelectorAll('.fer-dashboard button, .fer-dashboard select, .fer-dashboard input:not([hidden])')]
      .filter(o => !o.textContent.trim() && !o.ariaLabel && !o.labels?.length).map(o => o.outerHTML)''')
    assert unnamed == []
    visitor.page.get_by_text('The model and its limits').click()
    visitor.sees('Decisions about people')
    visitor.sees('are stored nowhere', '.fer-privacy')


def test_two_visitors_at_once_and_a_third_when_one_has_left(visitor, browser, address):
    other = Visitor(browser, address, color_scheme='dark', viewport={'width': 390, 'height': 844})
    other.press('cat')
    assert other.shown('cat') == 'cat: no face found'
    other.sees('cat: no face found', '[role=status]')
    other.page.wait_for_function('() => document.querySelector(".fer-side").getBoundingClientRect().top < 100', timeout=PATIENCE)        # brought into view
    visitor.press('astronaut')
    assert 'face 1 happy' in visitor.shown('astronaut')
    assert other.picture() == 'cat: no face found'      # not hers
    wide = other.page.evaluate('() => [...document.querySelectorAll(".fer-dashboard *")].filter(o => o.getBoundingClientRect().right > innerWidth + 1 && !o.closest(".fer-scroll")).map(o => o.outerHTML.slice(0, 99))')
    assert wide == [] and other.page.evaluate('() => [...document.querySelectorAll(".fer-scroll")].every(o => o.getBoundingClientRect().right <= innerWidth)')        # nothing to scroll sideways on a phone
    dark = other.page.evaluate('() => getComputedStyle(document.querySelector(".fer-card")).backgroundColor')
    assert max(json.loads(dark.replace('rgb(', '[').replace(')', ']'))) < 64
    context = browser.new_context()
    late = context.new_page()
    assert late.goto(address).status == 503
    assert 'All places are taken' in late.inner_text('body')
    other.leave()
    for attempt in range(30):
        if late.goto(address).status == 200: break
        time.sleep(1)
    late.wait_for_selector('.fer-webcam', timeout=PATIENCE)
    late.reload()                                       # gives the place back at once, and takes it again
    late.wait_for_selector('.fer-webcam', timeout=PATIENCE)
    context.close()


REJECT = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', '%s') }"

@pytest.mark.parametrize('allowed, script, said', [
    (False, '', 'The camera is blocked. Allow it in the browser'),
    (True, REJECT % 'NotFoundError', 'No camera was found'),
    (True, REJECT % 'NotReadableError', 'Another program uses the camera'),
    (True, "Object.defineProperty(navigator, 'mediaDevices', {value: undefined})", 'works on secure pages only')])
def test_without_a_camera_the_page_says_why(browser, address, allowed, script, said):
    visitor = Visitor(browser, address, allowed, script)
    visitor.press('Start camera')
    visitor.sees(said, '.fer-problem')
    visitor.press('astronaut')                          # and everything else works
    assert 'face 1 happy' in visitor.shown('astronaut')
    visitor.leave()


def kernels(port):
    "Of the server with this port: another one, for other tests, may start some at any time"
    server = next(o for o in psutil.Process().children() if str(port) in o.cmdline())
    return {o for o in server.children(recursive=True) if o.status() != 'zombie' and 'ipykernel_launcher' in ' '.join(o.cmdline())}

def test_the_command_serves_until_it_is_interrupted(env, fer_nb):
    port = free_port()
    command = [Path(sys.executable).with_name('fer_nb'), 'dashboard', '--no-browser', '--port', str(port)]
    with running(command, port, env) as address:
        page = requests.get(address).text
        assert 'fer_nb.widgets' not in page and 'dashboard.png' not in page        # neither code nor what the book's page has
        assert_one_line(fer_nb('dashboard', '--no-browser', '--port', port, home=env['FER_NB_HOME']), 'give another --port')
        ours = kernels(port)
        assert ours
    assert psutil.wait_procs(ours, timeout=10)[1] == []                # none is left behind


def test_the_same_notebook_works_in_jupyterlab(browser, env, tmp_path):
    shutil.copy(CHECKOUT/'nbs'/'12_dashboard.ipynb', tmp_path)
    port = free_port()
    lab = [sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root', f'--port={port}', '--IdentityProvider.token=', f'--ServerApp.root_dir={tmp_path}',
           '--LabApp.news_url=None', '--ServerApp.port_retries=0']
    with running(lab, port, env) as address:
        context = browser.new_context(viewport={'width': 1400, 'height': 1400})
        page = context.new_page()
        page.goto(f'{address}lab/tree/12_dashboard.ipynb')
        page.get_by_text('Python 3 (ipykernel) | Idle').wait_for(timeout=PATIENCE)
        page.get_by_role('menuitem', name='Run', exact=True).click(timeout=PATIENCE)
        page.get_by_role('menuitem', name='Run All Cells', exact=True).click(timeout=PATIENCE)
        try: page.get_by_role('button', name='astronaut', exact=True).click(timeout=PATIENCE)
        finally: page.screenshot(path=CHECKOUT/'build'/'lab.png')
        page.wait_for_function('() => document.querySelector(".fer-picture")?.alt.includes("face 1 happy")', timeout=PATIENCE)
        page.wait_for_function('() => [...document.querySelectorAll(".fer-side .barlayer path")].some(bar => bar.getBoundingClientRect().width > 50)', timeout=PATIENCE)
        context.close()
