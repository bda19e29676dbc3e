"What the README tells a newcomer to run, runs; what it says about the models stands in their cards"
import re, shutil, subprocess
from pathlib import Path

import pytest

from fer_nb.core import load_card

CHECKOUT = Path(__file__).resolve().parent.parent
DETECTOR = CHECKOUT.parent/'shared'/'data'/'face_detection_yunet_2023mar.onnx'
README = (CHECKOUT/'README.md').read_text(encoding='utf-8')
MORE = (CHECKOUT/'CONTRIBUTING.md').read_text(encoding='utf-8')


def blocks(language): return re.findall(rf'```{language}\n(.*?)```', README, re.DOTALL)


def test_the_python_example_recognises_a_photograph(tmp_path, monkeypatch, capsys):
    (example,) = blocks('python')
    monkeypatch.setenv('FER_NB_HOME', str(tmp_path))
    if DETECTOR.exists(): shutil.copy(DETECTOR, (tmp_path/'data').mkdir() or tmp_path/'data')
    shutil.copy(CHECKOUT/'fer_nb'/'static'/'samples'/'astronaut.jpg', tmp_path/'photograph.jpg')
    monkeypatch.chdir(tmp_path)
    code = [line for line in example.splitlines() if line and not line.startswith('#')]
    assert len(code) <= 5
    exec(example, {})
    assert re.search(r'^happy \d+% \(', capsys.readouterr().out, re.MULTILINE)


def test_every_make_target_exists():
    named = set(re.findall(r'make ([a-z-]+)', ' '.join(blocks('sh') + re.findall(r'`(make [^`]+)`', README + MORE))))
    assert {'dashboard', 'pipeline', 'test', 'docs'} <= named
    for target in sorted(named): subprocess.run(['make', '-n', target], cwd=CHECKOUT, check=True, capture_output=True)
    listed = subprocess.run(['make', 'help'], cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout
    assert named - {'help'} <= {line.split()[0] for line in listed.splitlines()}


def test_every_command_and_option_exists(here, home):
    rows = re.findall(r'^\| `fer_nb ([a-z]+)([^`]*)` \|(.*)$', README, re.MULTILINE)
    assert {'dashboard', 'predict', 'train', 'evaluate', 'export'} <= {command for command, *_ in rows}
    for command, *texts in rows:
        said = here(command, '--help', home=home)
        assert said.code == 0
        for option in re.findall(r'--[a-z-]+', ' '.join(texts)): assert re.search(re.escape(option) + r'(?![\w-])', said.out), (command, option)
    known = {name for name in re.findall(r'^│ ([a-z]+) ', here('--help', home=home).out, re.MULTILINE)}
    assert known == {command for command, *_ in rows}


@pytest.mark.parametrize('name', ['final', 'baseline'])
def test_the_figures_are_the_cards(name):
    card, _ = load_card(name)
    row = next(line for line in README.splitlines() if line.startswith(f'| **`{name}`**')).replace('*', '')
    for protocol, metric in (('P1', 'accuracy'), ('P2', 'accuracy'), ('P2', 'macro_f1')):
        value, low, high = (100*card['metrics']['test'][protocol][metric][o] for o in ('value', 'low', 'high'))
        assert f'| {value:.1f} ({low:.1f}–{high:.1f}) |' in row, (protocol, metric, row)
    assert f"| {card['parameters']/1e6:.1f} M |" in row


def test_every_notebook_is_listed():
    assert {f'nbs/{path.name}' for path in (CHECKOUT/'nbs').glob('[0-9]*.ipynb')} <= set(re.findall(r'\]\(([^)]+)\)', README))


def test_every_file_it_links_to_is_there():
    for link in re.findall(r'\]\(([^)#]+)\)', README):
        if not link.startswith('http'): assert (CHECKOUT/link).exists(), link
