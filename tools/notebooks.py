"Run every notebook in order in a Jupyter kernel: on drawn faces, or on the images of SOURCE, and then keep the outputs"
import os, re, subprocess, sys, tempfile, time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbdev.config import get_config

ROOT, BIN = Path(__file__).resolve().parents[1], Path(sys.executable).parent
FLAGGED = re.compile(rf'#\|\s*({"|".join(get_config(path=ROOT).tst_flags.split())})\b')

DASHBOARD = '12_dashboard.ipynb'        # Voila runs it for each visitor: what it shows belongs to them

def _renumbered(notebook):
    "The notebook with its widgets numbered in order, which Jupyter names at random"
    text = nbformat.writes(notebook)
    for number, name in enumerate(notebook.metadata.get('widgets', {}).get('application/vnd.jupyter.widget-state+json', {}).get('state', {})):
        text = text.replace(name, f'{number:032x}')
    return nbformat.reads(text, 4)

NATIVE_LOG = re.compile(r'(INFO:|WARNING: All log messages|[IWE]\d{4} )')  # LiteRT's, TensorFlow's

def _without_native_logs(notebook):
    "The notebook without what C++ libraries say when they start"
    for cell in notebook.cells:
        if 'outputs' in cell:
            cell.outputs = [o for o in cell.outputs if o.get('name') != 'stderr' or not NATIVE_LOG.match(o.text)]
    return notebook

def execute(path, real, folder):
    "Run a notebook with `folder` as its working directory; cells that need real images, or long, run only where those are there"
    notebook = nbformat.read(path, 4)
    if not real: notebook.cells = [cell for cell in notebook.cells if cell.cell_type != 'code' or not FLAGGED.match(cell.source)]
    NotebookClient(notebook, timeout=None, coalesce_streams=True, extra_arguments=['--log-level=ERROR'], resources={'metadata': {'path': folder}}).execute()
    if not real or Path(path).name == DASHBOARD: return
    nbformat.write(_without_native_logs(_renumbered(notebook)), path)
    subprocess.run([BIN/'nbdev_clean', '--fname', Path(path).resolve()], cwd=ROOT, check=True)

def main(source, *paths):
    real = source != 'synthetic'
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'                    # what TensorFlow says of the processor belongs in no output
    with tempfile.TemporaryDirectory() as folder:
        if real: subprocess.run([BIN/'fer_nb', 'prepare', '--source', source], check=True)
        else: os.environ['FER_NB_HOME'] = folder
        for path in paths or sorted((ROOT/'nbs').glob('*.ipynb')):
            start = time.perf_counter()
            try: execute(path, real, folder)
            except CellExecutionError as e: sys.exit(f'{path}: {e}')
            print(f'{Path(path).name:24} {time.perf_counter() - start:6.1f} s', flush=True)

if __name__ == '__main__': main(*sys.argv[1:])
