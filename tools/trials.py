"""Short trainings on the FERPlus images of `data/raw`, each with one change to the recipe `mixed`: `python tools/trials.py SEED ...`
adds their figures to models/trials.csv, which the experiments notebook shows. Killed, the same call goes on; trials whose settings have not
changed since are not run again (to repeat them, move the table away), and rows of other settings or data are dropped. Two seeds side by side, a core each:
`taskset -c 0 python tools/trials.py 42 & taskset -c 1 python tools/trials.py 43`; should one overwrite the other's row, the next call restores it."""
import hashlib, json, os, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
os.environ['FER_NB_HOME'] = str(ROOT/'build'/'trials')      # what is trained here is no model of the project

import numpy as np
import pandas as pd

from fer_nb.cleaning import load_images, read_dataset
from fer_nb.core import write_table
from fer_nb.evaluation import metrics, predict, protocol
from fer_nb.models import load_model
from fer_nb.preprocessing import data_fingerprint, make_split, soft_labels
from fer_nb.training import RECIPES, TrainingConfig, train

TABLE = ROOT/'models'/'trials.csv'
NARROW = (16, 32, 64, 128)                                  # half of the widths
BASE = RECIPES['mixed'] | dict(epochs=8, model=dict(widths=NARROW))

def network(**changes): return dict(model=BASE['model'] | changes)
def augmentation(**changes): return dict(augmentation=BASE['augmentation'] | changes)

# A step takes decay × learning rate off the weights: 1e-3 in that recipe, and where decay is named beside another optimizer's rate.
TRIALS = {'nothing changed': {},
          'Adam, learning rate 2e-3, decay 0.5': dict(optimizer='adam', learning_rate=2e-3, weight_decay=.5),
          'Adam, learning rate 2e-3, decay 0.1': dict(optimizer='adam', learning_rate=2e-3),
          'SGD, learning rate 5e-2, decay 2e-2': dict(optimizer='sgd', learning_rate=5e-2, weight_decay=2e-2),
          'SGD, learning rate 2e-2, decay 5e-2': dict(optimizer='sgd', learning_rate=2e-2, weight_decay=5e-2),
          'learning rate 5e-3': dict(learning_rate=5e-3),
          'learning rate 2e-2': dict(learning_rate=2e-2),
          'constant learning rate, no warm-up': dict(schedule='plateau', plateau=8),
          'no decay': dict(weight_decay=0.),
          'L2 of 1e-4 in place of decay': dict(weight_decay=0.) | network(l2=1e-4),
          'batches of 64': dict(batch_size=64),
          'batches of 256': dict(batch_size=256),
          'one-hot labels': dict(labels='hard'),
          'rare classes count more': dict(class_weighting=1.),
          'rare classes count more, square root': dict(class_weighting=.5),
          'rare classes count more, fourth root': dict(class_weighting=.25),
          'no augmentation, nothing erased': dict(augmentation=None),
          'turned, zoomed and shifted less': dict(augmentation=RECIPES['unmixed']['augmentation']),
          'not mirrored': augmentation(flip=False),
          'nothing erased': augmentation(erase=0.),
          'no mixup': dict(mixup=0.),
          'mixup 1': dict(mixup=1.),
          'no dropout': network(dropout=0.),
          'faces not standardised': network(standardised=False),
          'last feature map flattened': network(averaged=False),
          '2 + 2 + 2 + 2 convolutions': network(convolutions=(2, 2, 2, 2)),
          'half as many channels again': network(widths=(24, 48, 96, 192))}

def digest(change, fingerprint): # of the settings and the data (`data_fingerprint`)
    return hashlib.sha256(json.dumps([BASE | TRIALS[change], fingerprint], sort_keys=True).encode()).hexdigest()[:8]

def figures(name, validation, images):
    "What a trained network reaches on the validation images: shares 0–1, and the cross-entropy with the votes in nats"
    answers = predict(load_model(name)[0], images)
    kept, winners = protocol(validation, 'P2')
    p1, p2 = (metrics(*of, resamples=1) for of in ((answers, validation.label_id.to_numpy()), (answers[kept], winners[kept])))
    return dict(P1=p1['accuracy']['value'], P2=p2['accuracy']['value'], macro_f1=p2['macro_f1']['value'],
                cross_entropy=-(soft_labels(validation) * np.log(answers + 1e-12)).sum(axis=1).mean())

def measured(fingerprint):
    "The rows that are there, of these trials with these settings on these data"
    if not TABLE.exists(): return pd.DataFrame(columns=['change', 'seed', 'settings'])
    table = pd.read_csv(TABLE)
    return table[[change in TRIALS and settings == digest(change, fingerprint) for change, settings in zip(table.change, table.settings)]]

def add(row, fingerprint):
    table = pd.concat([measured(fingerprint), pd.DataFrame([row])], ignore_index=True)
    write_table(table.sort_values(['change', 'seed'], key=lambda o: o.map({change: i for i, change in enumerate(TRIALS)}) if o.name == 'change' else o), TABLE)

def main(*seeds):
    if not seeds: sys.exit('which seeds? python tools/trials.py 42 43')
    raw = ROOT/'data'/'raw'
    df = make_split(read_dataset(raw), 'official')
    fingerprint, validation = data_fingerprint(df), df[df.split == 'validation']
    images = load_images(raw, validation.filename)
    for seed in map(int, seeds):
        for change, settings in TRIALS.items():
            there, made_of = measured(fingerprint), digest(change, fingerprint)
            if ((there.change == change) & (there.seed == seed)).any(): continue
            train(TrainingConfig(**BASE | settings | dict(seed=seed)), name := f'{made_of}-{seed}', raw)
            row = dict(change=change, seed=seed, settings=made_of) | {k: round(float(v), 4) for k, v in figures(name, validation, images).items()}
            add(row, fingerprint)
            print(row, flush=True)

if __name__ == '__main__': main(*sys.argv[1:])
