"A network that learned with Keras's JAX backend is one for TensorFlow, too"
import subprocess, sys

import numpy as np

from conftest import environment

TRAIN = '''
import numpy as np
from fer_nb.models import load_model
from fer_nb.training import TrainingConfig, train, training_data
small = dict(model=dict(widths=(8, 16, 16), dense=32), optimizer='muon', schedule='cosine', epochs=20, batch_size=32)
train(TrainingConfig(**small), 'teacher')
history = train(TrainingConfig(**small, degrade=.3, teachers=('teacher',)), 'student')
assert history.loss.iloc[-1] < .9 * history.loss.iloc[0] and history.images_per_second.min() > 0 and history.waiting.between(0, 1).all(), history
images = training_data(TrainingConfig()).validation_images[..., None].astype('float32') / 255
np.save('answers.npy', load_model('student')[0].predict(images))
'''


def test_a_teacher_and_its_student_learn_with_jax_and_answer_with_tensorflow(prepared_home, tmp_path, monkeypatch):
    jax = {'KERAS_BACKEND': 'jax', 'JAX_PLATFORMS': 'cpu'}
    trained = subprocess.run([sys.executable, '-c', TRAIN], cwd=tmp_path, env=environment(prepared_home, jax), capture_output=True, text=True)
    assert trained.returncode == 0, trained.stderr
    monkeypatch.setenv('FER_NB_HOME', str(prepared_home))
    from fer_nb.models import load_model
    from fer_nb.training import TrainingConfig, training_data
    (network, card), data = load_model('student'), training_data(TrainingConfig())
    answers = network.predict(data.validation_images[..., None].astype('float32') / 255, verbose=0)
    np.testing.assert_allclose(answers, np.load(tmp_path/'answers.npy'), atol=1e-4)
    assert (card['training']['backend'], card['training']['teachers']) == ('jax', ['teacher'])
