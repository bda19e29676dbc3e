"Facial expression recognition: `fer_nb.Recognizer`, and what else a user needs first"
__version__ = "0.1.0"

import importlib

_MODULES = {  # name -> its module, which is loaded when the name is first used
    'Recognizer': 'inference', 'Recognition': 'inference', 'Face': 'detection',
    'annotate': 'inference', 'predict': 'prediction', 'evaluate': 'evaluation',
    'preprocess': 'preprocessing', 'EMOTIONS': 'core', 'FerNbError': 'core',
}
__all__ = [*_MODULES]


def __getattr__(name):
    if name not in _MODULES: raise AttributeError(f"module 'fer_nb' has no attribute {name!r}")
    value = getattr(importlib.import_module(f'.{_MODULES[name]}', __name__), name)
    globals()[name] = value
    return value


def __dir__(): return sorted({*globals(), *_MODULES})
