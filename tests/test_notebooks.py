"`make notebooks`: what runs, where, and what is kept"
import os, re, subprocess, sys
from pathlib import Path

import nbformat, pytest
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).parents[1]
CELLS = ["from fer_nb.core import home, raw_dir, read_table", "home().mkdir(exist_ok=True)\n(home()/'here').touch()\nprint('ordinary')",
         "#| data\nprint(len(read_table(raw_dir()/'dataset.csv')), 'images')", "#| slow\nprint('slow')"]

def write(path, sources):
    nbformat.write(new_notebook(cells=[new_code_cell(o, id=f'cell{i}') for i, o in enumerate(sources)],
                                metadata={'kernelspec': {'name': 'python3', 'display_name': 'python3', 'language': 'python'}}), path)
    return path

@pytest.fixture
def notebook(tmp_path): return write(tmp_path/'told.ipynb', CELLS)

@pytest.fixture
def run(elsewhere, home):
    "run(source, notebook): what `make notebooks` runs, in a folder that has nothing to do with it"
    def run(source, notebook):
        return subprocess.run([sys.executable, ROOT/'tools'/'notebooks.py', source, notebook], cwd=elsewhere, env=os.environ | {'FER_NB_HOME': str(home)}, text=True, capture_output=True)
    return run

def test_on_drawn_faces_nothing_is_kept_and_the_readers_home_is_left_alone(run, notebook, home):
    before = notebook.read_bytes()
    ended = run('synthetic', notebook)
    assert ended.returncode == 0 and ended.stdout.startswith('told.ipynb'), ended
    assert notebook.read_bytes() == before and not home.exists()

def test_with_a_source_every_cell_runs_and_its_clean_output_is_kept(run, notebook, drawn):
    ended = run(drawn, notebook)
    assert ended.returncode == 0, ended
    cells, rows = nbformat.read(notebook, 4).cells, len(list(drawn.rglob('*.png')))
    assert [''.join(o.text for o in cell.outputs) for cell in cells] == ['', 'ordinary\n', f'{rows} images\n', 'slow\n']
    assert all(cell.metadata == {} and cell.execution_count is None for cell in cells)

def test_a_failing_cell_stops_the_run_and_keeps_the_notebook(run, tmp_path):
    notebook = write(tmp_path/'broken.ipynb', ["1/0"])
    before = notebook.read_bytes()
    ended = run('synthetic', notebook)
    assert ended.returncode == 1 and 'broken.ipynb' in ended.stderr and 'ZeroDivisionError' in ended.stderr
    assert notebook.read_bytes() == before


def test_notebooks_stay_small():
    assert [path.name for path in (ROOT/'nbs').glob('*.ipynb') if path.stat().st_size > 1.5e6] == []

def test_no_output_holds_a_path_of_the_machine_that_it_was_made_on():
    for path in sorted((ROOT/'nbs').glob('*.ipynb')):
        outputs = ' '.join(str(cell.get('outputs', '')) for cell in nbformat.read(path, 4).cells)
        assert not (found := re.findall(r"(?:/home|/root|/Users)/\w+|" + re.escape(str(ROOT)), outputs)), f'{path.name}: {found}'
