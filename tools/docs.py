"The site in _docs: nbdev and Quarto make it where Quarto is installed; elsewhere smalldocs renders the same pages from the same _quarto.yml"
import ast, html, json, os, re, shutil, subprocess, sys, tempfile
from importlib import import_module
from pathlib import Path

import yaml
from execnb.nbio import mk_cell, read_nb, write_nb
from nbdev.config import get_config
from nbdev.doclinks import _lineno, _nbpath2html, nbglob
from nbdev.process import Processor
from nbdev.processors import add_links
from traitlets import traitlets
from typing_extensions import Self

traitlets.Self = Self       # its annotations name it, and show_doc evaluates them in Python 3.11.0 to 3.11.3

SOURCE = '''<details class="code-fold"{state}>
<summary>{names}</summary>

````{{#{anchor} .python}}
{code}
````

</details>'''
PLOTLY = 'application/vnd.plotly.v1+json'


class Page(Processor):
    "What nbdev leaves out of a page: the text under its title, the source of its functions, links that need no host, Plotly's figures"
    def begin(self):
        self.config, self.page = get_config(), self.nb.frontmatter_['output-file']
        order = [_nbpath2html(path).name for path in nbglob(as_path=True).sorted('name')]
        modules = import_module(f'{self.config.lib_name}._modidx').d['syms']
        self.symbols = {link: (name.split('.', 2)[2], file) for module in modules.values() for name, (link, file) in module.items()}     # page#anchor -> name, file
        self.pages = {}                                                                                     # anchor -> pages, in the order of reading
        for page, anchor in sorted((link.split('#') for link in self.symbols), key=lambda o: order.index(o[0]) if o[0] in order else len(order)):
            self.pages.setdefault(anchor, []).append(page)
        front, *cells = self.nb.cells
        for cell in cells:
            if cell.metadata.get('raw_mimetype') == 'text/markdown': cell.cell_type = 'markdown'                                         # what the site shows and Voila doesn't
            if cell.cell_type == 'markdown': cell.source = re.sub(r'^#+ (\w+)$', self.heading, cell.source, flags=re.M)
        self.nb.cells = [front, *self.introduction(), *self.arranged(cells)]
        for cell in self.nb.cells:
            if cell.cell_type == 'markdown': cell.source = self.relinked(cell.source)
        drawn_by_plotly(self.nb)

    def heading(self, match):
        "A heading whose name is a function's leaves the anchor of that name to the function"
        anchor = match[1].lower()
        return f'{match[0]} {{#on-{anchor}}}' if f'{self.page}#{anchor}' in self.symbols else match[0]

    def introduction(self):
        "What follows heading and subtitle in the notebook's first cell, which nbdev turns into front matter"
        first = next(cell for cell in read_nb(self.nb.path_).cells if cell.cell_type == 'markdown')
        cell = mk_cell(re.sub(r'\A# .*\n*(>.*(\n|$))*', '', first.source).strip(), 'markdown')
        if not cell.source: return []
        add_links(cell)
        return [cell]

    def arranged(self, cells):
        "Each exported cell as the documentation of what it defines, in its order, and its source: folded below it, open where nothing is documented"
        arranged, documented, exported = [], [], None
        for cell in [*cells, None]:
            if cell and 'has_sd' in cell: documented.insert(0, self.documented(cell, exported))     # nbdev has the last one first
            else:
                if exported: arranged += documented + source(exported, is_open=not documented)
                documented, exported = [], None
                if cell and {'export', 'exporti'} & getattr(cell, 'directives_', {}).keys(): exported = cell
                elif cell and cell.source.strip(): arranged.append(cell)
        return arranged

    def documented(self, cell, exported):
        "What `show_doc` wrote, its link to the source leading into the repository where its address is known, else to the fold below"
        text = re.sub(r'\b__main__\.|:NoneType(?==None)', '', ''.join(cell.outputs[0].data['text/markdown']))     # as `show_doc` sees them
        text = re.sub(r'^```.*?^```', lambda m: re.sub(r'\[(`.*?`)\]\(.*?\)', r'\1', m[0]), text, flags=re.M | re.S)     # no links in code
        name, file = self.symbols[f'{self.page}#{re.search(r"^### (.+)$", text, re.M)[1].lower()}']
        link = f'{self.config.git_url}/blob/{self.config.branch}/{file}#L{_lineno(name, file)}' if self.config.git_url else f'#{anchor(exported)}'
        if '@app.command' in exported.source: text = text.partition('```')[0] + usage(import_module(f'{self.config.lib_name}.cli').app, name)
        return mk_cell(re.sub(r'\[source\]\(.*?\)\{.*?\}', f'[source]({link}){{.source-link}}', text), 'markdown')

    def relinked(self, text):
        "Links to pages beside this one, a method's to its class; of several things with one name, to this page's, else to the one that is read first"
        def link(match):
            pages = self.pages.get(match[2], [match[1]])
            return f"]({self.page if self.page in pages else pages[0]}#{match[2].split('.')[0]})"
        return re.sub(rf'\]\({self.config.doc_host}{self.config.doc_baseurl}/(\w+\.html)#([\w.]+)\)', link, text)


def anchor(cell): return f'source-{cell.id}'

def source(cell, is_open):
    "An exported cell's code in a fold that says what it defines; nothing where it only imports"
    names = [name for o in ast.parse(cell.source).body for name in ([o.name] if hasattr(o, 'name') else [t.id for t in getattr(o, 'targets', []) if hasattr(t, 'id')])]
    if not names: return []
    return [mk_cell(SOURCE.format(state=' open' if is_open else '', names='Source of ' + ', '.join(names), anchor=anchor(cell), code=cell.source), 'markdown')]

def usage(app, command):
    "A command's usage and options as Typer documents them: its Python signature says nothing to whoever types it"
    import typer
    from typer.cli import get_docs_for_click
    group = typer.main.get_command(app)
    text = get_docs_for_click(obj=group.commands[command], ctx=typer.Context(group), name=command, call_prefix=app.info.name)
    return re.sub(r'\A#.*\n+', '', text).replace('**Usage**:\n\n', '')

def option(cell, name):
    "The value of a cell's option, such as `fig-cap`"
    found = re.search(rf'^#\|\s*{name}:\s*(.+)$', cell.source, re.M)
    return found and yaml.safe_load(found[1])

def drawn_by_plotly(nb):
    "Plotly's figures as HTML that needs no Jupyter; the first one on a page brings the library"
    import plotly.io as pio
    library = 'cdn'
    for cell, output in [(cell, output) for cell in nb.cells for output in cell.get('outputs', []) if PLOTLY in output.get('data', {})]:
        figure = pio.from_json(json.dumps(output.data[PLOTLY]), skip_invalid=True)
        alt = html.escape(option(cell, 'fig-alt') or option(cell, 'fig-cap') or '')
        output.data = {'text/html': f'<div role="img" aria-label="{alt}">{pio.to_html(figure, include_plotlyjs=library, full_html=False)}</div>'}
        library = False


def plain(text):
    "Names of notebooks without their numbers, as nbdev names the pages"
    return re.sub(r'\b\d+[a-zA-Z0-9]*_(\w+\.ipynb)', r'\1', text)

def prepared(nb):
    "A page for smalldocs: links as it names pages, cells that fold, figures numbered as Quarto numbers them"
    labels = [label for cell in nb.cells if cell.cell_type == 'code' and (label := option(cell, 'label') or '').startswith('fig-')]
    number = lambda label: f'Figure {labels.index(label) + 1}'
    for cell in nb.cells:
        if cell.cell_type == 'markdown':
            cell.source = re.sub(r'\]\([^)]*\.ipynb', lambda m: plain(m[0]), cell.source)
            cell.source = re.sub(r'@(fig-[\w-]+)', lambda m: f'[{number(m[1])}](#{m[1]})' if m[1] in labels else m[0], cell.source)
        elif cell.cell_type == 'code':
            if (label := option(cell, 'label')) in labels: captioned(cell, f"{number(label)}: {option(cell, 'fig-cap') or ''}")
            if 'code-fold:' not in cell.source: cell.source = f'#| code-fold: show\n{cell.source}'
    return nb

def captioned(cell, caption):
    "Put a caption under a cell's figure: smalldocs does it for pictures, here it is done for HTML"
    cell.source = re.sub(r'^#\|\s*fig-cap:.*$', lambda m: f'#| fig-cap: {json.dumps(caption, ensure_ascii=False)}', cell.source, flags=re.M)
    for output in cell.outputs:
        if page := ''.join(output.get('data', {}).get('text/html', '')):
            output.data['text/html'] = f'<figure class="figure">{page}<figcaption>{html.escape(caption)}</figcaption></figure>'

def finished(page, notebook):
    "A page that asks no other host for anything: MathML instead of KaTeX, the Plotly of the Python package; its link to its notebook"
    from latex2mathml.converter import convert
    mathml = lambda m: convert(html.unescape(m[2]), display='block' if m[1] == 'display' else 'inline')
    page = re.sub(r'<span class="math (inline|display)">\\[(\[](.*?)\\[)\]]</span>', mathml, page, flags=re.S)
    page = re.sub(r'<(link|script)[^>]*/katex@[^>]*>(</script>)?', '', page)
    page = re.sub(r'<script[^>]*cdn\.plot\.ly[^>]*>', '<script src="site_libs/plotly.min.js">', page)
    return page.replace(f'/nbs/{plain(notebook)}"', f'/nbs/{notebook}"')

def smalldocs(pages, notebooks, site):
    "Render what nbdev made of the notebooks with smalldocs, and say what it left out"
    from smalldocs.site import build
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for path in pages.iterdir():
            if path.name == '_quarto.yml':
                config = yaml.safe_load(plain(path.read_text(encoding='utf-8')))
                config['project']['output-dir'] = str(site)
                (folder/path.name).write_text(yaml.safe_dump(config, allow_unicode=True), encoding='utf-8')
            elif not (notebooks/path.name).exists(): continue                      # nbdev keeps pages of notebooks that are gone
            elif path.suffix == '.ipynb': write_nb(prepared(read_nb(path)), folder/plain(path.name))
            elif path.is_file(): shutil.copy(path, folder)
        built = build(folder, quiet=True)
    for theme in (site/'site_libs'/'themes').glob('*.css'): theme.write_text(re.sub(r'@import url\(https:[^)]*\);?', '', theme.read_text(encoding='utf-8')), encoding='utf-8')
    for path in notebooks.glob('*.ipynb'):
        page = site/_nbpath2html(path).name
        page.write_text(finished(page.read_text(encoding='utf-8'), path.name), encoding='utf-8')
    shutil.copy(Path(import_module('plotly').__file__).parent/'package_data'/'plotly.min.js', site/'site_libs')
    return [warning for warning in built.warnings if not re.search('execute.enabled|output-file|html-math-method', warning)]


def main():
    config = get_config()
    os.chdir(config.config_path)
    with tempfile.TemporaryDirectory() as home:                        # nbdev runs exported cells and imports
        os.environ |= {'FER_NB_HOME': home, 'PYTHONWARNINGS': 'ignore::UserWarning:nbdev.processors'}
        if shutil.which('quarto'): return subprocess.run([Path(sys.executable).with_name('nbdev_docs')]).returncode
        from nbdev.quarto import refresh_quarto_yml
        from nbdev.serve import proc_nbs
        refresh_quarto_yml()
        cache = config.config_path/'_proc'
        changed = cache.exists() and Path(__file__).stat().st_mtime > cache.stat().st_mtime
        pages = proc_nbs(force=changed)
    warnings = smalldocs(pages, config.nbs_path, config.doc_path)
    for warning in warnings: print(warning, file=sys.stderr)
    return bool(warnings)

if __name__ == '__main__': sys.exit(main())
