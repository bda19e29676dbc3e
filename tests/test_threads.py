"One recogniser in many threads, in other processes, after a fork, and in asyncio"
import ast, asyncio, collections, copy, json, multiprocessing, os, pickle, shutil, subprocess, sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from conftest import CHECKOUT
from test_dashboard import DETECTOR, SAMPLES

CALLS = 300


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp('threads')/'home'
    (home/'data').mkdir(parents=True)
    if DETECTOR.exists(): shutil.copy(DETECTOR, home/'data')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('FER_NB_HOME', str(home))
        yield home

@pytest.fixture(scope='module')
def recognizer(home):
    from fer_nb import Recognizer
    return Recognizer.from_pretrained('final')

def side_by_side(times, side):
    "The astronaut, so many times"
    astronaut = Image.open(SAMPLES/'astronaut.jpg').convert('RGB').resize((side, side))
    return np.hstack([np.asarray(astronaut)]*times)

PHOTOGRAPHS = [side_by_side(1, 512), side_by_side(2, 300), side_by_side(3, 400),
               side_by_side(1, 900)]

def seen(recognizer, image):
    "What a recogniser says of an image, to compare"
    found = [(one.label, np.round(one.face.box).tolist(), one.probabilities.round(4).tolist())
             for one in recognizer.recognize(image)]
    return sorted(found, key=str)


def test_threads_that_share_a_recogniser_get_what_one_thread_gets(recognizer):
    expected = [seen(recognizer, image) for image in PHOTOGRAPHS]
    assert [len(found) for found in expected] == [1, 2, 3, 1]
    def check(call): return seen(recognizer, PHOTOGRAPHS[call%4]) == expected[call%4]
    with ThreadPoolExecutor(4) as pool:
        outcomes = collections.Counter(pool.map(check, range(CALLS)))
    assert outcomes == {True: CALLS}


def test_threads_with_a_recogniser_each_get_what_one_thread_gets(recognizer):
    from fer_nb import Recognizer
    expected = [seen(recognizer, image) for image in PHOTOGRAPHS]
    def check(start):
        own = Recognizer.from_pretrained('final')
        return all(seen(own, PHOTOGRAPHS[(start + i)%4]) == expected[(start + i)%4]
                   for i in range(20))
    with ThreadPoolExecutor(4) as pool: assert all(pool.map(check, range(4)))


def test_batches_of_different_sizes_never_get_another_face_s_probabilities(recognizer):
    from fer_nb.acquisition import sample_face
    from fer_nb.core import EMOTIONS
    rng = np.random.default_rng(0)
    faces = [sample_face(EMOTIONS[i%8], rng)[0] for i in range(24)]
    expected = [recognizer.recognize(face)[0].probabilities for face in faces]
    def check(call):
        chosen = [(call + i)%24 for i in range(1 + call%7)]
        found = recognizer.recognize_batch([faces[i] for i in chosen])
        return all(np.allclose(one.probabilities, expected[i], atol=1e-3)
                   for (one,), i in zip(found, chosen))
    with ThreadPoolExecutor(8) as pool:
        outcomes = collections.Counter(pool.map(check, range(CALLS)))
    assert outcomes == {True: CALLS}


def test_a_mixture_of_good_and_bad_images_disturbs_nobody(recognizer):
    from fer_nb.core import ImageError
    expected = seen(recognizer, PHOTOGRAPHS[1])
    def check(call):
        if call%3: return seen(recognizer, PHOTOGRAPHS[1]) == expected
        try: recognizer.recognize(b'no image')
        except ImageError: return True
    with ThreadPoolExecutor(4) as pool: assert all(pool.map(check, range(60)))


def test_asyncio_may_use_one_in_threads(recognizer):
    expected = [seen(recognizer, image) for image in PHOTOGRAPHS]
    async def all_of_them():
        calls = [asyncio.to_thread(seen, recognizer, image) for image in PHOTOGRAPHS*5]
        return await asyncio.gather(*calls)
    with ThreadPoolExecutor(1) as pool:  # where no other loop runs
        assert pool.submit(asyncio.run, all_of_them()).result() == expected*5


# Processes

@pytest.mark.parametrize('used', [False, True], ids=['fresh', 'used'])
def test_a_recogniser_can_be_copied_and_pickled(recognizer, used):
    from fer_nb import Recognizer
    original = recognizer if used else Recognizer.from_pretrained('final')
    if used: original.recognize(PHOTOGRAPHS[0])
    expected = seen(recognizer, PHOTOGRAPHS[2])
    for other in (pickle.loads(pickle.dumps(original)), copy.deepcopy(original)):
        assert seen(other, PHOTOGRAPHS[2]) == expected


def test_a_pickle_works_where_neither_model_nor_detector_is(recognizer, tmp_path):
    (tmp_path/'recognizer').write_bytes(pickle.dumps(recognizer))
    code = ("import pickle, sys, fer_nb.core\n"
            "fer_nb.core._SHIPPED = fer_nb.core.Path('/nowhere')\n"
            "recognizer = pickle.load(open(sys.argv[1], 'rb'))\n"
            "print(recognizer.recognize(sys.argv[2])[0].label)")
    command = [sys.executable, '-c', code, tmp_path/'recognizer', SAMPLES/'astronaut.jpg']
    ended = subprocess.run(command, env=os.environ | {'FER_NB_HOME': str(tmp_path)},
                           capture_output=True, text=True)
    assert ended.stdout == 'happy\n', ended.stderr


@pytest.mark.parametrize('way', ['fork', 'spawn', 'forkserver'])
def test_worker_processes_get_what_one_thread_gets(recognizer, way):
    expected = seen(recognizer, PHOTOGRAPHS[2])
    context = multiprocessing.get_context(way)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        answers = pool.map(seen, [recognizer]*4, [PHOTOGRAPHS[2]]*4, timeout=120)
        assert list(answers) == [expected]*4


def test_a_fork_amid_busy_threads_works(recognizer, home):
    code = '''
import json, os, sys, threading, time
from fer_nb import Recognizer
recognizer, image = Recognizer.from_pretrained('final'), sys.argv[1]
expected, stop = [one.label for one in recognizer.recognize(image)], threading.Event()
def work():
    while not stop.is_set(): recognizer.recognize(image)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
codes = []
for number in range(10):
    time.sleep(.013*(number%5))
    child = os.fork()
    if not child:
        found = [one.label for one in recognizer.recognize(image)]
        os._exit(0 if found == expected else 1)
    codes.append(os.waitpid(child, 0)[1])
stop.set()
for thread in threads: thread.join()
print(json.dumps(codes))
'''
    ended = subprocess.run([sys.executable, '-W', 'ignore', '-c', code, SAMPLES/'astronaut.jpg'],
                           capture_output=True, text=True, timeout=120,
                           env=os.environ | {'FER_NB_HOME': str(home)})
    assert json.loads(ended.stdout) == [0]*10, ended.stderr


# No side effects

def test_using_the_library_changes_nothing_in_the_process(home):
    code = '''
import os, sys, signal, warnings, logging
import cv2
def state():
    return dict(streams=[os.readlink(f'/proc/self/fd/{n}') for n in range(3)],
                environment=dict(os.environ), threads=cv2.getNumThreads(),
                optimized=cv2.useOptimized(), log=cv2.utils.logging.getLogLevel(),
                filters=list(warnings.filters), handlers=list(logging.getLogger().handlers),
                signals=[signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
                folder=os.getcwd())
before = state()
import fer_nb
from fer_nb import Recognizer, annotate, predict
recognizer = Recognizer.from_pretrained('final')
annotate(sys.argv[1], recognizer.recognize(sys.argv[1]))
predict([sys.argv[1]])
after = state()
assert before == after, {key: (before[key], after[key]) for key in before if before[key] != after[key]}
print('the same', file=sys.stderr)
'''
    ended = subprocess.run([sys.executable, '-c', code, SAMPLES/'astronaut.jpg'], text=True,
                           capture_output=True, env=os.environ | {'FER_NB_HOME': str(home)})
    assert ended.stderr.splitlines()[-1] == 'the same', ended.stderr
    assert ended.stdout == ''


def calls_in(path):
    "The functions that a module calls, by line, but for what it prints into a file"
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if not isinstance(node, ast.Call): continue
        into_a_file = any(word.arg == 'file' for word in node.keywords)
        name = getattr(node.func, 'id', getattr(node.func, 'attr', ''))
        if not into_a_file: yield f'{path.name}:{node.lineno}', name

def test_library_code_neither_prints_nor_redirects_nor_sets_anything_for_all():
    forbidden = {'print', 'dup2', 'setNumThreads', 'setUseOptimized', 'setLogLevel',
                 'filterwarnings', 'basicConfig', 'redirect_stderr', 'redirect_stdout'}
    modules = set((CHECKOUT/'fer_nb').glob('*.py')) - {CHECKOUT/'fer_nb'/'cli.py'}
    assert [call for path in sorted(modules) for call in calls_in(path)
            if call[1] in forbidden] == []


def test_the_package_is_imported_in_an_instant():
    code = ("import sys, fer_nb; loaded = set(sys.modules); "
            "print(sorted({'numpy', 'cv2', 'fer_nb.core'} & loaded), 'Recognizer' in dir(fer_nb))")
    ended = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert ended.stdout == '[] True\n'

def test_a_first_prediction_loads_nothing_that_it_doesn_t_need(home):
    heavy = {'pandas', 'scipy', 'sklearn', 'matplotlib', 'tensorflow', 'keras', 'requests',
             'tqdm', 'av', 'IPython'}
    code = (f"import sys, fer_nb; found = fer_nb.Recognizer.from_pretrained('final')."
            f"recognize(sys.argv[1]); print(found[0].label, sorted({heavy} & set(sys.modules)))")
    ended = subprocess.run([sys.executable, '-c', code, SAMPLES/'astronaut.jpg'], text=True,
                           capture_output=True, env=os.environ | {'FER_NB_HOME': str(home)})
    assert ended.stdout == 'happy []\n', ended.stderr

def test_help_and_import_star_need_nothing_that_is_missing():
    code = ("import sys\nfor name in ('pandas', 'seaborn', 'scipy'): sys.modules[name] = None\n"
            "from fer_nb import *\nimport fer_nb, inspect\ninspect.getmembers(fer_nb)\n"
            "try: fer_nb.evaluate\nexcept ModuleNotFoundError as e: print(e)")
    ended = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert "pip install 'fer_nb[train]'" in ended.stdout, ended.stderr


def test_unknown_names_of_the_package_are_errors_of_the_usual_kind():
    import fer_nb
    with pytest.raises(AttributeError, match='nothing_like_that'): fer_nb.nothing_like_that
    for name in fer_nb.__all__: assert getattr(fer_nb, name)
