"""Short trainings, one change of `final`'s recipe at a time, on the images of `data/raw`: `python tools/trials.py SEED ...`
writes models/trials.csv, which the training notebook shows. Killed, the same call goes on. Two seeds side by side, a core each:
`taskset -c 0 python tools/trials.py 42 & taskset -c 1 python tools/trials.py 43`."""
import os, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
os.environ['FER_NB_HOME'] = str(ROOT/'build'/'trials')      # what is trained here is no model of the project

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from fer_nb.cleaning import load_images, read_dataset
from fer_nb.core import models_dir, read_json, write_json, write_table
from fer_nb.evaluation import predict, protocol
from fer_nb.models import load_model
from fer_nb.preprocessing import make_split, soft_labels
from fer_nb.training import RECIPES, TrainingConfig, train

NARROW = (16, 32, 64, 128)                                  # half of `final`'s widths
BASE = RECIPES['final'] | dict(epochs=8, model=dict(widths=NARROW))

def network(**changes): return dict(model=dict(widths=NARROW) | changes)
def augmentation(**changes): return dict(augmentation=BASE['augmentation'] | changes)

TRIALS = {'nothing': {},
          'Adam, learning rate 2e-3': dict(optimizer='adam', learning_rate=2e-3),
          'SGD, learning rate 5e-2, decay 2e-2': dict(optimizer='sgd', learning_rate=5e-2, weight_decay=2e-2),
          'learning rate 5e-3': dict(learning_rate=5e-3),
          'learning rate 2e-2': dict(learning_rate=2e-2),
          'learning rate by plateau': dict(schedule='plateau'),
          'no decay': dict(weight_decay=0.),
          'L2 of 1e-4 in place of decay': dict(weight_decay=0.) | network(l2=1e-4),
          'batches of 64': dict(batch_size=64),
          'batches of 256': dict(batch_size=256),
          'one-hot labels': dict(labels='hard'),
          'rare classes count more': dict(class_weighted=True),
          'half of each label from `final`': dict(teachers=('final',), teaching=.5),
          'no augmentation': dict(augmentation=None),
          'narrower augmentation, that of `unmixed`': dict(augmentation=RECIPES['unmixed']['augmentation']),
          'not mirrored': augmentation(flip=False),
          'nothing erased': augmentation(erase=0.),
          'no mixup': dict(mixup=0.),
          'mixup 1': dict(mixup=1.),
          'no dropout': network(dropout=0.),
          'faces not standardised': network(standardised=False),
          'last feature map flattened': network(averaged=False),
          '2 + 2 + 2 + 2 convolutions': network(convolutions=(2, 2, 2, 2)),
          'widths of 24-48-96-192': dict(model=dict(widths=(24, 48, 96, 192)))}

def figures(name, validation, images):
    "What a trained network reaches on the validation images: shares 0–1, and the log loss against the votes in nats"
    model, card = load_model(name)
    probabilities = predict(model, images)
    kept, winners = protocol(validation, 'P2')
    answers = probabilities.argmax(axis=1)
    return dict(P1=np.mean(answers == validation.label_id), P2=np.mean((answers == winners)[kept]),
                macro_f1=f1_score(winners[kept], answers[kept], average='macro'),
                log_loss=-np.mean((soft_labels(validation) * np.log(probabilities + 1e-12)).sum(axis=1)), minutes=card['training']['seconds'] / 60)

def main(*seeds):
    raw = ROOT/'data'/'raw'
    df = make_split(read_dataset(raw), 'official', 42)
    validation = df[df.split == 'validation']
    images = load_images(raw, validation.filename)
    for seed in seeds:
        for change, settings in TRIALS.items():
            name = re.sub(r'\W+', '-', f'{change} {seed}').strip('-')
            done = models_dir()/name/'figures.json'
            if done.exists(): continue
            train(TrainingConfig(**BASE | settings | dict(seed=int(seed))), name, raw)
            write_json(dict(change=change, seed=int(seed)) | {k: round(float(v), 4) for k, v in figures(name, validation, images).items()}, done)
            print(read_json(done), flush=True)
    table = pd.DataFrame([read_json(o) for o in models_dir().glob('*/figures.json')])
    order = table.change.map({change: i for i, change in enumerate(TRIALS)})
    write_table(table.assign(order=order).dropna().sort_values(['order', 'seed']).drop(columns='order'), ROOT/'models'/'trials.csv')

if __name__ == '__main__': main(*sys.argv[1:])
