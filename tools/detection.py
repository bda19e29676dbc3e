"""What the face detector finds, and what it costs

Photographs with boxed faces are scored as they are. Then each face is cut out, shrunk to
a given height, and laid into a large picture without faces.
"""
import argparse, csv, json, math, time, zipfile, zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from fer_nb.detection import MIN_FACE, YuNet
from fer_nb.preprocessing import read_rgb

HEIGHTS = (40, 48, 56, 64, 80, 100, 140, 200)           # of a mosaic's faces, pixels
CANVASES = ((3840, 2160), (6000, 4000), (2000, 8000))   # widths and heights, pixels
LEAST_CANVASES = 3      # over which the faces of one height are spread
SURROUNDINGS = 3        # sides of what is cut out, in heights of its face
FOUND = .3              # overlap of a found face with a labelled one, at least
ELSEWHERE = .1          # a face that overlaps less with every labelled one is false

Box = tuple[float, float, float, float]                 # x, y, width, height

@dataclass
class Labelled:
    "A picture and the faces in it"
    pixels: np.ndarray                                  # uint8 (h, w, 3), RGB
    faces: list[Box] = field(default_factory=list)
    ignored: list[Box] = field(default_factory=list)    # neither missed nor false
    complete: bool = True                               # whether all faces are boxed
    kind: str = 'mosaic'

def photographs(path: str, half: int | None = None) -> Iterator[Labelled]:
    "Read the archive's photographs, or those that stem from one half of the sources"
    with zipfile.ZipFile(path) as archive:
        for row in csv.DictReader(archive.read('labels.csv').decode().splitlines()):
            source = row['filename'][1:4]               # of turned copies, too
            if half not in (None, zlib.crc32(source.encode()) % 2): continue
            pixels = read_rgb(archive.read(f"img/{row['filename']}"))
            faces, ignored = ([tuple(box) for box in json.loads(row[column])]
                              for column in ('boxes_xywh', 'ignore_xywh'))
            yield Labelled(pixels, faces, ignored, row['fp_ok'] == '1', row['tag'])

def cut_out(photo: Labelled, face: Box, height: int) -> Labelled:
    "Cut out a face and its surroundings, shrunk; other faces there are ignored"
    scale, reach = height/face[3], SURROUNDINGS*face[3]/2
    middle = np.array(face[:2]) + np.array(face[2:])/2
    left, top = np.maximum(np.rint(middle - reach), 0).astype(int)
    right, bottom = np.rint(middle + reach).astype(int)
    part = photo.pixels[top:bottom, left:right]
    size = np.rint(scale*np.array(part.shape[1::-1])).astype(int)
    boxes = []
    for x, y, width, tall in [face, *photo.faces, *photo.ignored]:
        corners = np.array([[x, y], [x + width, y + tall]]) - [left, top]
        start, end = np.clip(scale*corners, 0, size)
        if (end > start).all(): boxes.append((*start, *(end - start)))
    part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return Labelled(part, boxes[:1], boxes)

def background(empty: list[np.ndarray], width: int, height: int, rng) -> np.ndarray:
    "Lay photographs without faces in rows"
    rows = []
    while sum(len(row) for row in rows) < height:
        row, tall = [], int(rng.integers(300, 900))
        while sum(photo.shape[1] for photo in row) < width:
            photo = empty[rng.integers(len(empty))]
            size = round(photo.shape[1]*tall/photo.shape[0]), tall
            row.append(cv2.resize(photo, size, interpolation=cv2.INTER_AREA))
        rows.append(np.hstack(row)[:, :width])
    return np.vstack(rows)[:height]

def mosaics(photos: list[Labelled], width: int, height: int, tall: int):
    "Yield large pictures in which each face of `tall` pixels or more stands once"
    rng = np.random.default_rng(tall)
    whole = [photo for photo in photos if photo.kind == 'base' and photo.complete]
    people = [(photo, face) for photo in whole
              for face in photo.faces if face[3] >= tall]
    empty = [photo.pixels for photo in photos if photo.kind == 'neg']
    side = SURROUNDINGS*tall + 2
    cells = np.array([(x, y) for y in range(0, height - side, side)
                      for x in range(0, width - side, side)])
    each = min(len(cells), math.ceil(len(people)/LEAST_CANVASES))
    order = rng.permutation(len(people))
    for first in range(0, len(people), each):
        scene = Labelled(background(empty, width, height, rng))
        for person, corner in zip(order[first:first + each], rng.permutation(cells)):
            piece = cut_out(*people[person], tall)
            free = side - np.array(piece.pixels.shape[1::-1])
            lay(piece, scene, corner + rng.integers(free + 1))
        yield scene

def lay(piece: Labelled, scene: Labelled, corner: np.ndarray) -> None:
    "Put a piece into a scene"
    (x, y), (tall, wide) = corner.tolist(), piece.pixels.shape[:2]
    scene.pixels[y:y + tall, x:x + wide] = piece.pixels
    scene.faces += [(a + x, b + y, c, d) for a, b, c, d in piece.faces]
    scene.ignored += [(a + x, b + y, c, d) for a, b, c, d in piece.ignored]

def overlap(a: Box, b: Box) -> float:
    "Intersection over union, 0–1"
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0)*max(height, 0)
    return shared/(a[2]*a[3] + b[2]*b[3] - shared)

def lies_at(boxes: list[Box], place: Box, least: float) -> bool:
    return any(overlap(box, place) >= least for box in boxes)

def scored(detector: YuNet, pictures: list[Labelled]) -> str:
    "Faces found in %, false faces a picture, milliseconds a picture"
    faces, found, false, seconds = 0, 0, 0, 0
    for picture in pictures:
        start = time.perf_counter()
        boxes = [face.box for face in detector(picture.pixels)]
        seconds += time.perf_counter() - start
        faces += len(picture.faces)
        found += sum(lies_at(boxes, face, FOUND) for face in picture.faces)
        if not picture.complete: continue
        known = picture.faces + picture.ignored
        false += sum(not lies_at(known, box, ELSEWHERE) for box in boxes)
    counted = sum(picture.complete for picture in pictures)
    share = found/faces if faces else math.nan
    rate = false/counted if counted else math.nan
    return f'{share:7.1%}{rate:7.2f}{1e3*seconds/len(pictures):7.0f}'

def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('archive', help='faces.zip: img/, and labels.csv with boxes')
    parser.add_argument('--half', type=int, choices=(0, 1), help='of the photographs')
    parser.add_argument('--min-face', type=float, default=MIN_FACE, help='in pixels')
    args = parser.parse_args()
    photos = list(photographs(args.archive, args.half))
    least = {'one look': math.inf, 'all scales': args.min_face}
    detectors = {name: YuNet(min_face=height) for name, height in least.items()}
    def show(title: str, pictures: list[Labelled]) -> None:
        scores = ' |'.join(scored(look, pictures) for look in detectors.values())
        faces = sum(len(picture.faces) for picture in pictures)
        print(f'{title:20}{len(pictures):6}{faces:7} |{scores}', flush=True)
    print(' '*34 + ''.join(f'|{name:^22}' for name in detectors))
    print(f"{'':18}pictures  faces " + '|  found  false     ms '*len(detectors))
    for kind in sorted({photo.kind for photo in photos}):
        show(kind, [photo for photo in photos if photo.kind == kind])
    show('all photographs', photos)
    for size in CANVASES:
        for tall in HEIGHTS:
            pictures = list(mosaics(photos, *size, tall))
            show(f'{size[0]} × {size[1]}, {tall} px', pictures)

if __name__ == '__main__': main()
