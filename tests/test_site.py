"The site: every page, link, anchor and picture, nothing from another host, and what a browser makes of it"
import functools, http.server, json, os, re, subprocess, sys, threading
from pathlib import Path
from shutil import copy, copytree
from urllib.parse import unquote, urldefrag, urlsplit

import nbformat, pytest, yaml
from bs4 import BeautifulSoup
from typer.main import get_command

from fer_nb._modidx import d as index
from fer_nb.cli import app
from fer_nb.core import EMOTION_COLORS

ROOT = Path(__file__).parents[1]
NOTEBOOKS = {path.name: nbformat.read(path, 4) for path in sorted((ROOT/'nbs').glob('*.ipynb'))}
FUNCTIONS = [link for module in index['syms'].values() for name, (link, _) in module.items() if re.fullmatch(r'\w+\.\w+\.(?!_)\w+', name)]

def page_of(notebook): return re.sub(r'^\d+[a-z]?_', '', notebook).replace('.ipynb', '.html')
def words(text): return ' '.join(re.sub(r'[\W_]+', ' ', text).split())

PROBE = [nbformat.v4.new_markdown_cell('# Probe\n\n> What no notebook has to have\n\nAs @fig-bars shows, $e^{i\\pi} = -1$; [core](00_core.ipynb).'),
         nbformat.v4.new_code_cell('#| label: fig-bars\n#| fig-cap: Four bars\nfigure', outputs=[nbformat.v4.new_output('display_data', {
             'application/vnd.plotly.v1+json': {'data': [{'type': 'bar', 'y': [1, 2, 3, 4]}], 'layout': {}}, 'text/plain': 'Figure'})])]

@pytest.fixture(scope='session')
def checkout(tmp_path_factory):
    "A copy of what the site is made of, with a page more"
    folder = tmp_path_factory.mktemp('checkout')
    copytree(ROOT/'nbs', folder/'nbs')
    nbformat.write(nbformat.v4.new_notebook(cells=PROBE, metadata={'kernelspec': {'name': 'python3', 'display_name': 'python3', 'language': 'python'}}), folder/'nbs'/'99_probe.ipynb')
    for name in ('settings.ini', 'pyproject.toml', 'README.md'): copy(ROOT/name, folder)
    return folder

def make_docs(checkout, **commands):
    "Run what `make docs` runs, with stand-ins for commands; `sudo` and `curl` would mean that an installer has started"
    stand_ins = checkout/'stand-ins'
    for name, script in ({'sudo': f'echo sudo >> {checkout}/started', 'curl': f'echo curl >> {checkout}/started'} | commands).items():
        stand_ins.mkdir(exist_ok=True)
        (stand_ins/name).write_text(f'#!/bin/sh\n{script}\n')
        (stand_ins/name).chmod(0o755)
    env = os.environ | {'PATH': f'{stand_ins}:/usr/bin:/bin'}
    ended = subprocess.run([sys.executable, ROOT/'tools'/'docs.py'], cwd=checkout, env=env, text=True, capture_output=True)
    assert not (checkout/'started').exists(), (checkout/'started').read_text()
    return ended

@pytest.fixture(scope='session')
def site(checkout):
    ended = make_docs(checkout)
    assert ended.returncode == 0, ended.stderr
    return (checkout/'_docs').rename(checkout/'site')

@pytest.fixture(scope='session')
def soups(site): return {path.name: BeautifulSoup(path.read_text(encoding='utf-8'), 'html.parser') for path in sorted(site.glob('*.html'))}

@pytest.fixture(scope='session')
def address(site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


def test_every_notebook_is_a_page_with_all_its_text(soups):
    assert set(soups) == {'probe.html', 'CONTRIBUTING.html', 'CHANGELOG.html', *map(page_of, NOTEBOOKS)}
    for name, notebook in NOTEBOOKS.items():
        page = words(soups[page_of(name)].main.get_text())
        for cell in notebook.cells:
            if cell.cell_type not in ('markdown', 'raw'): continue
            for sentence in re.split(r'[.:;]\s|\n\s*\n', re.sub(r'```.*?```|\$+.*?\$+|\|[^\n]*|@fig-[\w-]+', '. ', cell.source, flags=re.S)):
                plain = words(re.sub(r'\]\(.*?\)|\{.*?\}', '', sentence))
                if '<' not in sentence: assert plain in page, f'{name}: {sentence!r}'

def test_every_table_has_all_its_text(soups):
    texts = {page_of(name): '\n'.join(cell.source for cell in notebook.cells if cell.cell_type == 'markdown') for name, notebook in NOTEBOOKS.items()}
    texts |= {f'{name}.html': (ROOT/f'{name}.md').read_text(encoding='utf-8') for name in ('CONTRIBUTING', 'CHANGELOG')}
    for name, text in texts.items():
        page = words(soups[name].main.get_text())
        for row in re.findall(r'^\|.*\|$', text, flags=re.M): assert words(re.sub(r'\]\(.*?\)', '', row)) in page, f'{name}: {row!r}'

def test_the_sidebar_lists_every_notebook_in_order():
    flat = lambda entries: [name for o in entries for name in (flat(o['contents']) if isinstance(o, dict) and 'contents' in o else [o['href'] if isinstance(o, dict) else o])]
    sidebar = yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf-8'))['website']['sidebar']['contents']
    assert [o['section'] for o in sidebar if 'section' in o] == ['Data', 'Models', 'Recognition', 'Dashboard', 'Reference']
    listed = flat(sidebar)
    assert sorted(listed) == sorted([*NOTEBOOKS, 'CONTRIBUTING.md', 'CHANGELOG.md']) and listed[0] == 'index.ipynb'
    for section in sidebar[1:]: assert flat([section]) in (sorted(flat([section])), ['10c_doctor.ipynb', '11_cli.ipynb', 'CONTRIBUTING.md', 'CHANGELOG.md']), section

def test_every_link_and_anchor_leads_somewhere(site, soups):
    ids = {name: {tag['id'] for tag in soup.find_all(id=True)} for name, soup in soups.items()}
    for name, soup in soups.items():
        for tag in soup.find_all(href=True):
            link, anchor = urldefrag(tag['href'])
            if urlsplit(link).scheme or tag['href'] in ('', '#'): continue
            path = (site/unquote(link)).resolve() if link else site/name
            assert path.is_relative_to(site) and path.exists(), f"{name} links to {tag['href']}"
            if anchor and path.suffix == '.html': assert unquote(anchor) in ids[path.name], f"{name} links to {tag['href']}"

def test_every_function_is_documented_where_nbdev_links_to_and_leads_to_its_source(soups):
    for link in FUNCTIONS:
        page, anchor = link.split('#')
        section = soups[page].find('section', id=anchor)
        assert section and section.h3.get_text().lower() == anchor, link
        source = section.find_previous('a', class_='source-link')['href']
        assert not source.startswith('#') or re.search(rf'(def|class) {anchor}\b', soups[page].find(id=source[1:]).get_text().lower()), link

def test_no_signature_shows_an_address_or_what_only_python_knows(soups):
    shown = [section.pre.get_text() for link in FUNCTIONS for page, anchor in [link.split('#')] if (section := soups[page].find('section', id=anchor)).pre]
    assert len(shown) > 100 and not [o for o in shown if re.search(r'__main__|NoneType|0x[0-9a-f]{6}', o)]

def test_every_command_is_documented_by_its_options(soups):
    for name, command in get_command(app).commands.items():
        section = soups['cli.html'].find('section', id=name)
        assert f'$ fer_nb {name}' in section.get_text(), name
        shown = {code.text.split()[0].rstrip('.') for code in section.select('li code')}
        assert {o.opts[0] for o in command.params} <= shown, name

def test_every_picture_has_a_text_alternative(soups):
    without = {name: sum(not image.get('alt') for image in soup.find_all('img')) for name, soup in soups.items()}
    assert not any(without.values()), without

def test_nothing_comes_from_another_host(site, soups):
    for name, soup in soups.items():
        for tag in soup.find_all(['script', 'link', 'img', 'iframe', 'source', 'video', 'audio']):
            link = tag.get('src') or tag.get('href') or ''
            assert not re.match(r'(https?:)?//', link), f'{name}: {link}'
    for path in site.rglob('*.css'): assert not re.search(r'(@import|url\()\s*["\']?(https?:)?//', path.read_text(encoding='utf-8')), path

def test_the_head_names_icon_card_and_both_themes(soups):
    head = soups['index.html'].head
    assert head.find('link', rel='icon')['href'].endswith('favicon.svg')
    assert head.find('meta', property='og:image')['content'].endswith('/social.png') and head.find('meta', attrs={'name': 'twitter:card'})
    assert [link['data-mode'] for link in head.find_all('link', class_='quarto-color-scheme')] == ['light', 'dark']
    stripe = re.search(r'--stripe:.*?;', (ROOT/'nbs'/'styles.css').read_text())[0]
    assert re.findall(r'#\w{6}', stripe) == list(EMOTION_COLORS.values())

def test_figures_formulas_and_folds(soups):
    probe = soups['probe.html']
    assert probe.find('a', href='#fig-bars').get_text() == 'Figure 1' and probe.find(id='fig-bars').figcaption.get_text() == 'Figure 1: Four bars'
    assert probe.find(id='fig-bars').find(role='img')['aria-label'] == 'Four bars'
    assert probe.math.find('msup') and not probe.find(string=re.compile(r'\\\(|\$'))
    assert probe.select('main details[open] > summary') and soups['core.html'].select('main details:not([open]) > summary')

@pytest.fixture(scope='session')
def visit(browser, address):
    "visit(name): the page in a browser, and whatever went wrong on the way there"
    def visit(name):
        page, wrong = browser.new_page(viewport={'width': 1280, 'height': 900}), []
        page.on('request', lambda request: request.url.startswith((address, 'data:')) or wrong.append(f'request to {request.url}'))
        page.on('response', lambda response: response.ok or wrong.append(f'{response.status} for {response.url}'))
        page.on('pageerror', lambda error: wrong.append(str(error)))
        page.goto(f'{address}/{name}')
        return page, wrong
    return visit

def test_a_browser_shows_every_page(visit, soups):
    for name in soups:
        page, wrong = visit(name)
        assert wrong == [], f'{name}: {wrong}'
        assert page.evaluate('[...document.images].filter(image => !image.naturalWidth).length') == 0, name
        for width in (1920, 1280, 390):
            page.set_viewport_size({'width': width, 'height': 900})
            assert page.evaluate('document.documentElement.scrollWidth') <= width, f'{name} is wider than a window of {width} pixels'
        page.close()

def test_search_finds_a_function(visit, address):
    page, wrong = visit('index.html')
    page.fill('#quarto-search input', 'canonical_emotion')
    page.locator('.search-result').first.click()
    page.wait_for_url(f'{address}/core.html#canonical_emotion')
    assert page.get_by_role('heading', name='canonical_emotion').is_visible() and wrong == []

def test_a_link_to_the_source_opens_its_fold(visit):
    page, _ = visit('core.html')
    link = page.locator('a.source-link').first
    fold = page.locator(f"details:has({link.get_attribute('href')})")
    assert fold.get_attribute('open') is None
    link.click()
    assert fold.get_attribute('open') is not None

def test_plotly_draws(visit):
    page, wrong = visit('probe.html')
    page.wait_for_selector('.plotly-graph-div svg.main-svg')
    assert page.locator('.plotly-graph-div .bars .point').count() == 4 and wrong == []

def test_light_becomes_dark_and_light_again(visit):
    page, _ = visit('core.html')
    background = lambda: page.evaluate('getComputedStyle(document.body).backgroundColor')
    light = background()
    page.click('.quarto-color-scheme-toggle')
    page.wait_for_function('document.documentElement.classList.contains("quarto-dark")')
    assert background() == 'rgb(19, 28, 41)'
    page.click('.quarto-color-scheme-toggle')
    page.wait_for_function('!document.documentElement.classList.contains("quarto-dark")')
    assert background() == light

def test_the_version_is_the_same_everywhere():
    version = re.search(r'^version = (.+)$', (ROOT/'settings.ini').read_text(), re.M)[1]
    assert yaml.safe_load((ROOT/'CITATION.cff').read_text(encoding='utf-8'))['version'] == version
    assert re.search(r'^## (\S+)$', (ROOT/'CHANGELOG.md').read_text(encoding='utf-8'), re.M)[1] == version

def test_quarto_gets_the_same_pages_where_it_is_installed(checkout, site):
    readme = (checkout/'README.md').read_text()
    log = checkout/'quarto.log'
    ended = make_docs(checkout, quarto=f'echo "$PWD $@" >> {log}; mkdir -p _docs; echo by Quarto > _docs/index.html')
    (checkout/'stand-ins'/'quarto').unlink()
    assert ended.returncode == 0, ended.stderr
    assert log.read_text() == f'{checkout}/_proc render --no-cache\n'
    assert (checkout/'_docs'/'index.html').read_text() == 'by Quarto\n' and (checkout/'README.md').read_text() == readme
