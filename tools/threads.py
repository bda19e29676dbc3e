"""One recogniser in several threads: are the predictions right, and how many are there?

First many threads recognise photographs of one, two and three faces at once, and each
result is compared with that of a single thread. Then photographs a second are counted in
one, two and four threads, each number in turn, several times.
"""
import argparse, collections, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import fer_nb
from fer_nb.preprocessing import read_rgb

SAMPLE = Path(fer_nb.__file__).parent/'static'/'samples'/'astronaut.jpg'
THREADS = (1, 2, 4)
ROUNDS, PHOTOGRAPHS = 5, 120  # of each number of threads

def seen(recognizer: fer_nb.Recognizer, image: np.ndarray) -> list:
    "What there is to compare of an image's faces"
    return [(one.label, one.face.box, one.probabilities.tolist())
            for one in recognizer.recognize(image)]

def compare(recognizer: fer_nb.Recognizer, calls: int) -> collections.Counter:
    "Count right, wrong and failed calls of eight threads"
    face = read_rgb(SAMPLE)[:300, 60:360]
    images = [np.hstack([face]*times) for times in (1, 2, 3)]
    expected = [seen(recognizer, image) for image in images]
    def outcome(call: int) -> str:
        try: found = seen(recognizer, images[call % 3])
        except Exception as e: return type(e).__name__
        return 'right' if found == expected[call % 3] else 'wrong'
    with ThreadPoolExecutor(8) as pool:
        return collections.Counter(pool.map(outcome, range(calls)))

def throughput(recognizer: fer_nb.Recognizer, threads: int) -> float:
    "Photographs a second"
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(recognizer.recognize, [SAMPLE]*threads))
        start = time.perf_counter()
        list(pool.map(recognizer.recognize, [SAMPLE]*PHOTOGRAPHS))
        return PHOTOGRAPHS/(time.perf_counter() - start)

def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--calls', type=int, default=10_000)
    recognizer = fer_nb.Recognizer.from_pretrained('final')
    counts = compare(recognizer, parser.parse_args().calls)
    print('calls of eight threads:', ', '.join(f'{n:,} {what}' for what, n in counts.items()))
    rounds = [[throughput(recognizer, threads) for threads in THREADS] for _ in range(ROUNDS)]
    medians = np.median(rounds, axis=0)
    ratios = np.median(np.array(rounds)/np.array(rounds)[:, :1], axis=0)
    for threads, speed, ratio in zip(THREADS, medians, ratios):
        print(f'{threads} threads: {speed:6.1f} photographs a second, {ratio:.2f} times one thread')

if __name__ == '__main__': main()
