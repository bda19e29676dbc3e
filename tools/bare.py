"""Serve the dashboard and run the tests in a new minimal Debian 12

    unshare --mount --pid --fork --kill-child python3 tools/bare.py build/bare

`make bare` does this. It shows what a machine of somebody else lacks. The folder that
is named gets the system, a clone of the last commit in it, and what the two commands
printed. Root builds the system with debootstrap; pip's settings and the certificates
of this machine hold in it, too.
"""
import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

CHECKOUT = Path(__file__).resolve().parent.parent
RELEASE = 'bookworm'
PACKAGES = 'python3,python3-venv,make,git,ca-certificates'
PAGE = 'http://localhost:8866'
WIDGETS = 'application/vnd.jupyter.widget-view+json'
NETWORK = re.compile('(PIP|UV|SSL_CERT)_.*|REQUESTS_CA_BUNDLE|.*_proxy', re.IGNORECASE)
PROGRAMS = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
MINUTES_UNTIL_SERVED = 40
SECONDS_UNTIL_ENDED = 60
LAST_LINES = 25


def run(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, **options)


def said_by(*command):
    "What a command prints; nothing, where there is no such command or it fails"
    try:
        return run(*command, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ''


def check_machine():
    if os.getuid() != 0:
        sys.exit('make bare builds a system and enters it: run it as root')
    if os.getpid() != 1:
        sys.exit(f'it needs mounts and processes of its own:{__doc__.splitlines()[2]}')
    if not shutil.which('debootstrap') and shutil.which('apt-get'):
        run('apt-get', '-qq', 'update')
        run('apt-get', '-qq', 'install', '-y', 'debootstrap')
    if not shutil.which('debootstrap'):
        sys.exit('make bare needs debootstrap: install it and run make bare again')
    if is_served():
        sys.exit(f'{PAGE} answers already: end what is served there')


def mirror():
    "Where this machine's apt finds Debian 12; nothing leaves it to debootstrap"
    found = said_by('apt-get', 'indextargets', '--format', '$(REPO_URI)',
                    'Created-By: Packages', f'Codename: {RELEASE}')
    return found.split()[:1]


def build_system(system):
    "A minimal Debian that reaches the package registries as this machine does"
    run('rm', '--recursive', '--force', '--one-file-system', system)
    system.mkdir(parents=True)
    run('debootstrap', '--variant=minbase', f'--include={PACKAGES}', RELEASE, system,
        *mirror(), stdout=subprocess.DEVNULL)
    for name in ('resolv.conf', 'hosts'):
        shutil.copy(f'/etc/{name}', system/'etc'/name)
    apt = said_by('apt-config', 'dump').splitlines()
    network = [line for line in apt if re.match('Acquire::(https?|Check-)', line)]
    (system/'etc/apt/apt.conf.d/90network').write_text('\n'.join(network) + '\n')
    ours = Path('/usr/local/share/ca-certificates')
    if ours.is_dir():
        shutil.copytree(ours, system/ours.relative_to('/'), dirs_exist_ok=True)
    run('mount', '-t', 'proc', 'proc', system/'proc')
    run('mount', '--rbind', '/dev', system/'dev')
    run('mount', '--bind', '-o', 'ro', '/sys', system/'sys')
    run('chroot', system, 'update-ca-certificates', stdout=subprocess.DEVNULL)


def show(source, target):
    "Show a file or folder of this machine in the system, unchangeable"
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.mkdir() if source.is_dir() else target.touch()
    run('mount', '--bind', '-o', 'ro', source, target)


def pip_settings():
    "pip's settings on this machine, as variables of the environment"
    settings = {}
    for line in said_by(sys.executable, '-m', 'pip', 'config', 'list').splitlines():
        name, value = line.split('=', 1)
        variable = name.split('.')[-1].replace('-', '_').upper()
        settings[f'PIP_{variable}'] = ast.literal_eval(value)
    return settings


def environment(system):
    "The system's variables: how this machine reaches the package registries"
    ours = {name: value for name, value in os.environ.items()
            if NETWORK.fullmatch(name)}
    settings = pip_settings() | ours
    for word in ' '.join(settings.values()).split():
        path = Path(word.removeprefix('file://'))
        if word != str(path):
            path = path.parent                # an index's packages lie beside its pages
        if path.is_absolute() and path.exists():
            show(path, system/path.relative_to('/'))
    return settings | {'HOME': '/root', 'LANG': 'C.UTF-8', 'PATH': PROGRAMS}


def clone(system):
    "The last commit, and shared/ beside it as it is beside the checkout"
    target = system/'root/work'/CHECKOUT.name
    run('git', 'clone', '--quiet', CHECKOUT, target)
    shared = CHECKOUT.parent/'shared'
    if shared.is_dir():
        show(shared, target.parent/'shared')
    return Path('/')/target.relative_to(system)


def is_served():
    try:
        with urlopen(PAGE, timeout=60) as answer:
            return WIDGETS in answer.read().decode()
    except (URLError, OSError):
        return False


def is_served_by(server):
    "Wait for the page while `make dashboard` runs"
    deadline = time.monotonic() + 60*MINUTES_UNTIL_SERVED
    while server.poll() is None and time.monotonic() < deadline:
        if is_served():
            return True
        time.sleep(1)
    return False


def serves(make, log):
    "Whether `make dashboard` brings the page; then it is told to end"
    with log.open('w') as file:
        server = make('dashboard', stdout=file, stderr=file, start_new_session=True)
        served = is_served_by(server)
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(SECONDS_UNTIL_ENDED)
    return served


def passes(make, log):
    "Whether `make test` ends well"
    with log.open('w') as file:
        return make('test', stdout=file, stderr=file).wait() == 0


def main(folder):
    check_machine()
    system = folder.resolve()/'debian'
    print('Building Debian 12', flush=True)
    build_system(system)
    settings = environment(system)
    checkout = clone(system)

    def make(target, **options):
        command = ['chroot', system, 'make', '-C', checkout, target]
        return subprocess.Popen(command, env=settings, **options)

    succeeded = {}
    for target, check in (('dashboard', serves), ('test', passes)):
        log = folder/f'{target}.log'
        print(f'make {target}: printing to {log}', flush=True)
        succeeded[target] = check(make, log)
    for target, success in succeeded.items():
        outcome = 'succeeded' if success else 'FAILED'
        print(f'\nmake {target} {outcome}. The last lines:')
        lines = (folder/f'{target}.log').read_text(errors='replace').splitlines()
        print('\n'.join(lines[-LAST_LINES:]))
    sys.exit(not all(succeeded.values()))


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit('interrupted')
