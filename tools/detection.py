"""What the face detector finds, and what it costs: photographs as they are, mosaics of them

Photographs whose faces somebody has boxed are scored first. Then each face is cut out with
some of its surroundings, shrunk until it has a given height, and laid into a large picture
without faces: so it is known what there is to find, and how large. Two detectors stand side
by side: YuNet with one look at 640 pixels, and YuNet as it comes.
"""
import argparse, csv, json, math, time, zipfile, zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from fer_nb.inference import Face, YuNet
from fer_nb.preprocessing import read_rgb

HEIGHTS = (40, 48, 56, 64, 80, 100, 140, 200)               # of the faces in a mosaic, pixels
CANVASES = ((3840, 2160), (6000, 4000), (2000, 8000))       # widths and heights, pixels
LEAST_CANVASES = 3          # over which the faces of one height are spread
SURROUNDINGS = 3            # sides of what is cut out, in heights of its face
FOUND = .3                  # least overlap of a found face with a labelled one
ELSEWHERE = .1              # a face that overlaps less with every labelled one is false

Box = tuple[float, float, float, float]                     # x, y, width, height
Detector = Callable[[np.ndarray], list[Face]]


@dataclass
class Labelled:
    "A picture and the faces in it"
    pixels: np.ndarray                                      # uint8 (h, w, 3), RGB
    faces: list[Box] = field(default_factory=list)
    ignored: list[Box] = field(default_factory=list)        # neither missed nor false
    complete: bool = True                                   # whether all faces are boxed
    kind: str = 'mosaic'


def photographs(path: str, half: int | None = None) -> Iterator[Labelled]:
    "The archive's photographs, or those of one half of the people and places in it"
    with zipfile.ZipFile(path) as archive:
        for row in csv.DictReader(archive.read('labels.csv').decode().splitlines()):
            group = zlib.crc32(row['filename'][1:4].encode())       # one source, turned or dark
            if half is not None and group % 2 != half: continue
            boxes = [[tuple(box) for box in json.loads(row[column])]
                     for column in ('boxes_xywh', 'ignore_xywh')]
            pixels = read_rgb(archive.read(f"img/{row['filename']}"))
            yield Labelled(pixels, *boxes, row['fp_ok'] == '1', row['tag'])


def cut_out(photograph: Labelled, face: Box, height: int) -> Labelled:
    "A face and its surroundings, shrunk to `height`; the other faces there are ignored"
    x, y, width, tall = face
    scale, reach = height/tall, SURROUNDINGS*tall/2
    bottom, right = photograph.pixels.shape[:2]
    left, top = (max(0, round(o)) for o in (x + width/2 - reach, y + tall/2 - reach))
    right = min(right, round(x + width/2 + reach))
    bottom = min(bottom, round(y + tall/2 + reach))
    size = round(scale*(right - left)), round(scale*(bottom - top))
    part = np.ascontiguousarray(photograph.pixels[top:bottom, left:right])
    boxes = [inside((scale*(a - left), scale*(b - top), scale*c, scale*d), size)
             for a, b, c, d in [face, *photograph.faces, *photograph.ignored]]
    others = [box for box in boxes if min(box[2:]) > 0]
    return Labelled(cv2.resize(part, size, interpolation=cv2.INTER_AREA), boxes[:1], others)


def inside(box: Box, size: tuple[int, int]) -> Box:
    "The part of a box that lies in a picture"
    x, y = (min(max(o, 0), most) for o, most in zip(box[:2], size))
    x2, y2 = (min(o + length, most) for o, length, most in zip(box[:2], box[2:], size))
    return x, y, x2 - x, y2 - y


def background(empty: list[np.ndarray], width: int, height: int, rng) -> np.ndarray:
    "Photographs without faces, in rows"
    rows, reached = [], 0
    while reached < height:
        row, tall = [], int(rng.integers(300, 900))
        while sum(photo.shape[1] for photo in row) < width:
            photo = empty[rng.integers(len(empty))]
            size = round(photo.shape[1]*tall/photo.shape[0]), tall
            row.append(cv2.resize(photo, size, interpolation=cv2.INTER_AREA))
        rows.append(np.hstack(row)[:, :width])
        reached += tall
    return np.vstack(rows)[:height]


def mosaics(photos: list[Labelled], size: tuple[int, int], height: int) -> Iterator[Labelled]:
    "Large pictures in which each face that is large enough stands once, at a random place"
    rng = np.random.default_rng(height)
    people = [(photo, face) for photo in photos if photo.kind == 'base' and photo.complete
              for face in photo.faces if face[3] >= height]
    empty = [photo.pixels for photo in photos if photo.kind == 'neg']
    side = SURROUNDINGS*height + 2
    cells = [(x, y) for y in range(0, size[1] - side, side) for x in range(0, size[0] - side, side)]
    each = min(len(cells), math.ceil(len(people)/LEAST_CANVASES))
    order = rng.permutation(len(people))
    for first in range(0, len(people), each):
        scene = Labelled(background(empty, *size, rng))
        for person, cell in zip(order[first:first + each], rng.permutation(len(cells))):
            lay(cut_out(*people[person], height), scene, cells[cell], side, rng)
        yield scene


def lay(piece: Labelled, scene: Labelled, corner: tuple[int, int], side: int, rng) -> None:
    "Put a piece somewhere into a cell of a scene"
    tall, wide = piece.pixels.shape[:2]
    x, y = (o + int(rng.integers(side - length + 1)) for o, length in zip(corner, (wide, tall)))
    scene.pixels[y:y + tall, x:x + wide] = piece.pixels
    scene.faces += [(a + x, b + y, c, d) for a, b, c, d in piece.faces]
    scene.ignored += [(a + x, b + y, c, d) for a, b, c, d in piece.ignored]


def overlap(a: Box, b: Box) -> float:
    "Intersection over union, 0–1"
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0)*max(height, 0)
    return shared/(a[2]*a[3] + b[2]*b[3] - shared)


def scored(detector: Detector, pictures: list[Labelled]) -> str:
    "Faces found in %, false faces a picture, milliseconds a picture"
    faces, found, false, times = 0, 0, 0, []
    for picture in pictures:
        start = time.perf_counter()
        boxes = [face.box for face in detector(picture.pixels)]
        times.append(time.perf_counter() - start)
        faces += len(picture.faces)
        found += sum(any(overlap(box, face) >= FOUND for box in boxes) for face in picture.faces)
        known = picture.faces + picture.ignored
        if picture.complete:
            false += sum(not any(overlap(box, face) >= ELSEWHERE for face in known) for box in boxes)
    share = f'{found/faces:7.1%}' if faces else '      –'
    counted = sum(picture.complete for picture in pictures)
    return f'{share}{false/counted if counted else math.nan:7.2f}{1e3*np.mean(times):7.0f}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('archive', help='faces.zip: img/, and labels.csv with boxes')
    parser.add_argument('--half', type=int, choices=(0, 1), help='of the photographs; default: all')
    args = parser.parse_args()
    photos = list(photographs(args.archive, args.half))
    detectors = {'one look': YuNet(min_face=math.inf), 'YuNet': YuNet()}

    def show(title: str, pictures: list[Labelled]) -> None:
        scores = ' |'.join(scored(detector, pictures) for detector in detectors.values())
        print(f'{title:24}{len(pictures):5}{sum(len(o.faces) for o in pictures):6} |{scores}')

    print(f"{'':35}" + ''.join(f' |{name:^21}' for name in detectors))
    print(f"{'':21}pictures faces" + ' |  found  false     ms'*len(detectors))
    for kind in sorted({photo.kind for photo in photos}):
        show(kind, [photo for photo in photos if photo.kind == kind])
    show('all photographs', photos)
    for size in CANVASES:
        for height in HEIGHTS:
            show(f'{size[0]} × {size[1]}, {height} px', list(mosaics(photos, size, height)))


if __name__ == '__main__': main()
