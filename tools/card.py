"The picture that a link to the site shows, nbs/social.png: a drawn face for each emotion, in its colour"
from pathlib import Path

import matplotlib.pyplot as plt

from fer_nb.acquisition import sample_face
from fer_nb.core import EMOTION_COLORS, set_seed

fig, rng = plt.figure(figsize=(12, 6.3), dpi=100, facecolor='#26456E'), set_seed(7)
fig.text(.055, .83, 'fer_nb', color='white', size=62, weight='bold', va='center')
fig.text(.057, .66, 'Facial expression recognition, told in tested notebooks', color='white', size=25, va='center')
for i, (emotion, color) in enumerate(EMOTION_COLORS.items()):
    ax = fig.add_axes((.055 + .1127*i, .23, .1, .1*12/6.3))
    ax.imshow(sample_face(emotion, rng)[0], cmap='gray', vmin=0, vmax=255)
    ax.set_xticks([]), ax.set_yticks([])
    plt.setp(ax.spines.values(), color=color, linewidth=7)
    ax.set_xlabel(emotion, color='white', size=15, labelpad=12)
fig.savefig(Path(__file__).parents[1]/'nbs'/'social.png')
