"The package's build: everything it says stands in settings.ini"
from configparser import ConfigParser
from pathlib import Path
import sys

from setuptools import setup

config = ConfigParser(delimiters=['='])
config.read('settings.ini', encoding='utf-8')
settings = config['DEFAULT']


def requirements(extra):
    return settings[f'{extra}_requirements'].split()


extras = {name: requirements(name) for name in settings['extras'].split()}
everything = sorted(set().union(*extras.values()))

# A wheel brings what a checkout reads in its place:
# models/ as fer_nb/_shipped, the dashboard's notebook in fer_nb/_notebooks.
inside = {'fer_nb._shipped': 'models', 'fer_nb._notebooks': 'nbs'}
if 'editable_wheel' in sys.argv:
    inside = {}

shipped = [f'{name}/{file}' for name in ('baseline', 'final')
           for file in ('model.keras', 'serving.tflite', 'card.json')]

setup(
    name=settings['lib_name'],
    version=settings['version'],
    description=settings['description'],
    long_description=Path('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author=settings['author'],
    license='MIT',
    keywords=settings['keywords'],
    python_requires=f">={settings['min_python']}",
    install_requires=settings['requirements'].split(),
    extras_require={**extras, 'all': everything, 'dev': requirements('dev')},
    entry_points={
        'console_scripts': settings['console_scripts'].split(),
        'nbdev': ['fer_nb=fer_nb._modidx:d'],
    },
    packages=['fer_nb', *inside],
    package_dir={'': '.'} | inside,
    package_data={
        'fer_nb': ['static/**/*'],
        'fer_nb._notebooks': ['12_dashboard.ipynb'],
        'fer_nb._shipped': shipped,
    },
    zip_safe=False,
)
