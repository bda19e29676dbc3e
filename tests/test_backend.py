"A network that learned with Keras's JAX backend is one for TensorFlow, too"
import subprocess, sys

import numpy as np
import pytest

from conftest import TRAIN, assert_ok, assert_one_line, environment

JAX = {'KERAS_BACKEND': 'jax', 'JAX_PLATFORMS': 'cpu'}
SCRIPT = '''
import numpy as np
from fer_nb.models import keras, load_model
from fer_nb.training import TrainingConfig, train, training_data
class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations > 40: raise KeyboardInterrupt
small = dict(model=dict(widths=(8, 16, 16), dense=32), optimizer='muon', schedule='cosine', epochs=20, batch_size=32)
train(TrainingConfig(**small), 'teacher')
taught = TrainingConfig(**small, degrade=.3, teachers=('teacher',))
def begin(name):
    try: train(taught, name, callbacks=[Stop()])
    except KeyboardInterrupt: return
    raise AssertionError(f'nothing stopped {name}')
for name in ('stopped', 'begun'): begin(name)
history, again = train(taught, 'student'), train(taught, 'stopped')
assert history.loss.iloc[-1] < .9 * history.loss.iloc[0] and history.images_per_second.min() > 0 and history.waiting.between(0, 1).all(), history
assert history[['loss', 'val_loss']].equals(again[['loss', 'val_loss']]), (history, again)
images = training_data(TrainingConfig()).validation_images[..., None].astype('float32') / 255
np.save('answers.npy', load_model('student')[0].predict(images))
'''


@pytest.fixture
def taught(prepared_home, tmp_path, monkeypatch):
    "A home in which JAX trained a teacher and its student, and began another student"
    trained = subprocess.run([sys.executable, '-c', SCRIPT], cwd=tmp_path, env=environment(prepared_home, JAX), capture_output=True, text=True)
    assert trained.returncode == 0, trained.stderr
    monkeypatch.setenv('FER_NB_HOME', str(prepared_home))
    return prepared_home

def test_a_teacher_and_its_student_learn_with_jax_and_answer_with_tensorflow(taught, tmp_path, fer_nb):
    from fer_nb.core import ModelError
    from fer_nb.models import load_model
    from fer_nb.training import TrainingConfig, train, training_data
    (network, card), data = load_model('student'), training_data(TrainingConfig())
    answers = network.predict(data.validation_images[..., None].astype('float32') / 255, verbose=0)
    np.testing.assert_allclose(answers, np.load(tmp_path/'answers.npy'), atol=1e-4)
    assert (card['training']['backend'], card['training']['teachers']) == ('jax', ['teacher'])
    settings = {key: value for key, value in card['training'].items() if key in TrainingConfig.__dataclass_fields__}
    with pytest.raises(ModelError, match='holds an unfinished training with other backend'):
        train(TrainingConfig(**settings | dict(teachers=('teacher',), model=dict(widths=(8, 16, 16), dense=32))), 'begun')
    assert_ok(fer_nb(*TRAIN, home=taught, env=JAX))
    assert_one_line(fer_nb('export', 'student', home=taught, env=JAX), 'export needs TensorFlow', 'unset KERAS_BACKEND')
