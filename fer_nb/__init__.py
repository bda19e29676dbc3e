"Facial expression recognition: `fer_nb.Recognizer`, and what else a user needs first"
__version__ = "0.1.0"

import importlib

_MODULES = {  # name -> its module, which is loaded when the name is first used
    'Recognizer': 'inference', 'Recognition': 'inference', 'Face': 'detection',
    'annotate': 'inference', 'predict': 'prediction', 'evaluate': 'evaluation',
    'preprocess': 'preprocessing', 'EMOTIONS': 'core', 'FerNbError': 'core',
}
_TRAINING = ('evaluate',)  # which an installation without the extra `train` lacks
__all__ = [name for name in _MODULES if name not in _TRAINING]


def __getattr__(name):
    if name not in _MODULES: raise AttributeError(f"module 'fer_nb' has no attribute {name!r}")
    try: module = importlib.import_module(f'.{_MODULES[name]}', __name__)
    except ModuleNotFoundError as e:
        if name not in _TRAINING: raise
        raise ModuleNotFoundError(f"fer_nb.{name} needs {e.name}: pip install 'fer_nb[train]'",
                                  name=e.name) from None
    globals()[name] = getattr(module, name)
    return globals()[name]


def __dir__(): return sorted({*globals(), *__all__})
