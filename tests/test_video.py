"Films of every kind: read with their true times, told apart from damage, and written"
import errno, logging, os, socket, subprocess, sys, threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import fer_nb.video
from fer_nb.core import ImageError, StorageError
from fer_nb.video import Film, FilmWriter

CASES = Path(__file__).resolve().parents[2]/'shared'/'cases'
STEADY = np.arange(60)/30  # seconds: two seconds at 30 frames a second
MILLISECOND = .001


def draw(position, height=120, width=160):
    "A red corner at the top left, a bright square that moves, and noise below"
    image = np.full((height, width, 3), 40, 'uint8')
    image[:height//3, :width//3] = 220, 30, 30
    left = int(position*(width - 30))
    image[height//2:height//2 + 30, left:left + 30] = 240
    noise = np.random.default_rng(int(position*1000))
    image[-20:] = noise.integers(0, 256, (20, width, 3))
    return image


def add_sound(container, seconds):
    "Add a stream of silence, and return its packets"
    stream, packets = container.add_stream('aac', rate=48000), []
    for start in range(0, int(seconds*48000), 1024):
        silence = np.zeros((2, 1024), 'float32')
        frame = av.AudioFrame.from_ndarray(silence, 'fltp', 'stereo')
        frame.sample_rate, frame.pts = 48000, start
        frame.time_base = Fraction(1, 48000)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def make_film(
    path, times, codec='libx264', ticks=90000, rate=30, rotation=0, flip=False, sound=0,
    lasts=None, b_frames=2, size=(120, 160), **options,
):
    "Write a film with a time stamp for each frame, and return its path"
    height, width = size
    with av.open(f'file:{path}', 'w', **options) as container:
        pixels = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
        stream = container.add_stream(
            codec, rate=rate, width=width, height=height, pix_fmt=pixels)
        stream.codec_context.time_base = stream.time_base = Fraction(1, ticks)
        stream.codec_context.gop_size = 10
        stream.codec_context.max_b_frames = b_frames
        if rotation or flip: stream.set_display_rotation(rotation, hflip=flip)
        packets = add_sound(container, sound) if sound else []
        for i, seconds in enumerate(times):
            image = draw(i/len(times), height, width)
            frame = av.VideoFrame.from_ndarray(image, 'rgb24')
            frame.pts, frame.time_base = round(seconds*ticks), Fraction(1, ticks)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        if lasts: packets[-1].duration = round(lasts*ticks)  # without B-frames
        container.mux(packets)
    return path


def times(film): return [frame.seconds for frame in film]


def assert_times(film, expected):
    "Every frame at its time to within a millisecond, and nothing wrong with the film"
    found = times(film)
    assert len(found) == len(expected)
    assert np.abs(np.subtract(found, expected)).max() <= MILLISECOND, found[:9]
    assert film.problem is None


def cut(path, part=.5):
    "The first part of a file"
    content = path.read_bytes()
    path.write_bytes(content[:int(part*len(content))])
    return path


def spoil(path, numbers):
    "Zero the packets of some frames, all but their beginnings; of a stream, 188 bytes"
    with av.open(str(path)) as container:
        packets = [(o.pos, o.size) for o in container.demux(video=0) if o.size]
    content = bytearray(path.read_bytes())
    for number in numbers:
        start, size = packets[number]
        if path.suffix == '.ts': start, size = start + 3*188, 188 + 12
        content[start + 12:start + size] = bytes(size - 12)
    path.write_bytes(content)


def red_corner(image):
    "Where the red patch is: (bottom, right)"
    red = (image[..., 0] > 150) & (image[..., 1] < 90) & (image[..., 2] < 90)
    rows, columns = np.nonzero(red)
    return rows.mean() > image.shape[0]/2, columns.mean() > image.shape[1]/2


# Times


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv', 'a.mov'])
def test_slow_motion(tmp_path, name):
    film = Film(make_film(tmp_path/name, np.arange(240)/240, rate=240))
    assert film.seconds == pytest.approx(1, abs=.01)
    assert float(film.rate) == pytest.approx(240, rel=.01)
    assert_times(film, np.arange(240)/240)


def test_slow_motion_of_a_telephone():
    path = CASES/'slow_motion'/'slowmo240.mp4'
    if not path.exists(): pytest.skip('the film is not beside this repository')
    assert_times(Film(path), np.arange(239)/240)


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv', 'a.avi'])
def test_time_lapse(tmp_path, name):
    every_ten_seconds = np.arange(6)*10
    avi = dict(codec='mpeg4', rate=1, ticks=1, b_frames=0)
    options = avi if name == 'a.avi' else {}
    path = make_film(tmp_path/name, every_ten_seconds, **options)
    assert_times(Film(path), every_ten_seconds)


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv'])
def test_variable_rate(tmp_path, name):
    gaps = np.random.default_rng(0).uniform(.01, .4, 60)
    varying = np.cumsum(gaps) - gaps[0]
    assert_times(Film(make_film(tmp_path/name, varying)), varying)


@pytest.mark.parametrize('start', [1.4, 3*3600])
def test_transport_stream_that_does_not_begin_at_zero(tmp_path, start):
    film = Film(make_film(tmp_path/'a.ts', STEADY + start, format='mpegts'))
    assert film.seconds == pytest.approx(2, abs=.05)
    assert_times(film, STEADY)


def test_camcorder():
    path = CASES/'suffixes'/'00001.MTS'
    if not path.exists(): pytest.skip('the film is not beside this repository')
    assert_times(Film(path), np.arange(5)/10)


def test_clock_that_restarts(tmp_path):
    one = make_film(tmp_path/'a.ts', STEADY + 50, format='mpegts').read_bytes()
    two = make_film(tmp_path/'b.ts', STEADY + 1, format='mpegts').read_bytes()
    found = times(Film(one + two))
    assert len(found) >= 118 and np.diff(found).min() > 0 and found[-1] < 5


def test_frames_without_time_stamps(tmp_path):
    film = Film(make_film(tmp_path/'a.h264', STEADY, format='h264'))
    assert_times(film, np.arange(60)/float(film.rate))


@pytest.mark.parametrize('name, codec', [
    ('a.mp4', 'libx264'), ('a.ts', 'libx264'), ('a.mpg', 'mpeg2video'),
    ('a.avi', 'mpeg4'), ('a.avi', 'libx264')])
def test_b_frames_in_the_order_of_presentation(tmp_path, name, codec):
    ticks = 30 if codec != 'libx264' or name == 'a.avi' else 90000
    path = make_film(tmp_path/name, STEADY, codec=codec, ticks=ticks)
    film, squares = Film(path), []
    found = []
    for frame in film:
        bright = np.nonzero(frame.image[60:90].mean(axis=(0, 2)) > 120)[0]
        squares.append(bright.mean())
        found.append(frame.seconds)
    assert np.diff(squares).min() > -1  # the square never moves back
    assert np.abs(found - STEADY).max() <= MILLISECOND and film.problem is None


@pytest.mark.parametrize('name, options', [
    ('a.mov', {}), ('a.webm', dict(codec='libvpx', ticks=1000)),
    ('a.webm', dict(codec='libvpx-vp9', ticks=1000)), ('a.mkv', dict(codec='libx265')),
    ('a.mp4', dict(codec='libsvtav1')),
    ('a.avi', dict(codec='mjpeg', ticks=30, b_frames=0)),
    ('a.wmv', dict(codec='wmv2', ticks=30, b_frames=0)),
    ('a.flv', dict(codec='flv1', ticks=1000, b_frames=0)),
    ('a.3gp', dict(codec='mpeg4', ticks=30)),
    ('a.m1v', dict(codec='mpeg1video', ticks=30))])
def test_usual_formats(tmp_path, name, options):
    film = Film(make_film(tmp_path/name, STEADY, **options))
    frames = list(film)
    assert len(frames) == 60 and frames[0].image.shape == (120, 160, 3)
    assert frames[0].image.dtype == np.uint8 and red_corner(frames[0].image) == (0, 0)
    assert film.problem is None
    stamped = name != 'a.m1v'  # which has a rate only
    assert frames[-1].seconds == pytest.approx(59/30, abs=.021 if stamped else 1)


def test_av1_of_a_telephone():
    path = CASES/'unsupported_codec'/'av1.mp4'
    if not path.exists(): pytest.skip('the film is not beside this repository')
    assert_times(Film(path), np.arange(10)/10)


def test_one_frame(tmp_path):
    film = Film(make_film(tmp_path/'a.mp4', [0]))
    assert_times(film, [0])
    assert film.frames == 1


# Which way is up


@pytest.mark.parametrize('degrees, flip, corner', [
    (0, False, (0, 0)), (-90, False, (0, 1)), (180, False, (1, 1)), (90, False, (1, 0)),
    (0, True, (0, 1)), (180, True, (1, 0))])
def test_rotation(tmp_path, degrees, flip, corner):
    path = make_film(tmp_path/'a.mp4', [0, .1], rotation=degrees, flip=flip)
    image = next(iter(Film(path))).image
    assert red_corner(image) == corner
    assert image.shape == ((120, 160, 3) if degrees in (0, 180) else (160, 120, 3))
    assert image.flags.c_contiguous


# No false alarm


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv', 'a.ts'])
@pytest.mark.parametrize('sound', [1.5, 2.1, 5])
def test_sound_of_another_length(tmp_path, name, sound):
    path = make_film(tmp_path/name, STEADY, sound=sound)
    film = Film(path)
    assert len(times(film)) == 60 and film.problem is None


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv'])
def test_long_last_frame(tmp_path, name):
    film = Film(make_film(tmp_path/name, STEADY, lasts=10, b_frames=0))
    assert film.seconds == pytest.approx(59/30 + 10, abs=.01)
    assert_times(film, STEADY)


def test_fragments(tmp_path):
    options = {'movflags': 'frag_keyframe+empty_moov'}
    path = make_film(tmp_path/'a.mp4', STEADY, container_options=options)
    assert_times(Film(path), STEADY)
    film = Film(cut(path, .7))
    assert 30 < len(times(film)) < 55 and 'breaks off after 1.' in film.problem


@pytest.mark.parametrize('codec', ['libvpx', 'mpeg2video'])
def test_recording_of_a_browser_that_does_not_say_its_length(tmp_path, codec):
    options = dict(codec=codec, ticks=1000 if codec == 'libvpx' else 30)
    path = tmp_path/'a.mkv'
    make_film(path, STEADY, container_options={'live': '1'}, **options)
    film = Film(path)
    assert film.seconds is None and film.frames is None
    assert_times(film, STEADY)


@pytest.mark.parametrize('name, lost', [('a.mkv', 20), ('fast.mp4', 4)])
def test_bytes_missing_after_the_last_frame(tmp_path, name, lost):
    path = tmp_path/name
    make_film(path, STEADY)
    content = path.read_bytes()
    if name == 'fast.mp4': content = content + b'\0\0\0\x08free'
    assert_times(Film(content[:-lost]), STEADY)


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv'])
def test_pictures_that_begin_after_the_sound(tmp_path, name):
    film = Film(make_film(tmp_path/name, STEADY + .5, sound=2.5))
    assert film.seconds == pytest.approx(2.5, abs=.05)
    assert_times(film, STEADY + .5)


def test_telephone_film_shortened_by_its_edit_list(tmp_path):
    content = bytearray(make_film(tmp_path/'a.mp4', STEADY, b_frames=0).read_bytes())
    place = content.index(b'elst') + 12  # after the box's name, version and count
    content[place:place + 4] = (1000).to_bytes(4)  # milliseconds that are shown
    content[place + 4:place + 8] = (45000).to_bytes(4)  # from half a second on
    film = Film(bytes(content))
    assert film.seconds == pytest.approx(1, abs=MILLISECOND)
    assert_times(film, STEADY[:30])


def test_resolution_that_changes(tmp_path):
    one = make_film(tmp_path/'a.ts', STEADY).read_bytes()
    two = make_film(tmp_path/'b.ts', STEADY + 2, size=(240, 320)).read_bytes()
    frames = list(Film(one + two))
    assert {frame.image.shape for frame in frames} == {(120, 160, 3), (240, 320, 3)}
    with FilmWriter(tmp_path/'c.mp4') as writer:
        for frame in frames: writer.write(frame.image, frame.seconds)
    copy = [frame.image.shape for frame in Film(tmp_path/'c.mp4')]
    assert copy == [(120, 160, 3)]*len(frames)


def test_recording_that_begins_between_key_frames(tmp_path):
    content = make_film(tmp_path/'a.ts', STEADY).read_bytes()
    film = Film(content[188*20:])
    assert 30 < len(times(film)) < 60 and film.problem is None


# Damage


@pytest.mark.parametrize('name, options', [
    ('a.mp4', dict(container_options={'movflags': 'faststart'})), ('a.mkv', {}),
    ('a.webm', dict(codec='libvpx', ticks=1000)),
    ('a.avi', dict(codec='mpeg4', ticks=30, b_frames=0)),
    ('a.avi', dict(codec='mjpeg', ticks=30, b_frames=0)),
    ('a.flv', dict(codec='flv1', ticks=1000, b_frames=0))])
def test_truncated(tmp_path, name, options):
    film = Film(cut(make_film(tmp_path/name, STEADY, **options)))
    found = times(film)
    assert 10 < len(found) < 50
    assert np.abs(np.subtract(found, STEADY[:len(found)])).max() <= .004
    read = f'{film.until:.1f}'
    ends = f'breaks off: {read} of 2.0 seconds can be read'
    assert film.problem == f'{tmp_path/name} {ends}'


def test_truncated_between_two_packets(tmp_path):
    path = make_film(tmp_path/'a.mp4', STEADY, b_frames=0,
                     container_options={'movflags': 'faststart'})
    with av.open(str(path)) as container:
        ends = [packet.pos + packet.size for packet in container.demux() if packet.size]
    film = Film(path.read_bytes()[:ends[29]])
    assert len(times(film)) == 30 and 'breaks off: 1.0 of 2.0 seconds' in film.problem


def test_truncated_slow_motion(tmp_path):
    path = make_film(tmp_path/'a.mp4', np.arange(240)/240,
                     container_options={'movflags': 'faststart'})
    film = Film(cut(path, .9))
    assert len(times(film)) > 180 and 'breaks off: 0.' in film.problem


@pytest.mark.parametrize('part', [.01, .5, .98])
def test_truncated_before_its_index(tmp_path, part):
    path = cut(make_film(tmp_path/'a.mp4', STEADY), part)
    with pytest.raises(ImageError, match='a.mp4 breaks off too early'): Film(path)


@pytest.mark.parametrize('name', ['a.mkv', 'a.avi'])
def test_truncated_header(tmp_path, name):
    path = make_film(tmp_path/name, STEADY, codec='mpeg4', ticks=30)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ImageError, match='breaks off too early'): Film(path)


@pytest.mark.parametrize('places', [1, 2])
@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv', 'a.ts'])
def test_damage_in_the_middle(tmp_path, name, places):
    path = make_film(tmp_path/name, np.arange(120)/30, b_frames=0)
    spoil(path, (35, 95)[:places])
    film = Film(path)
    found = times(film)
    assert 100 < len(found) < 120
    assert set(np.round(found, 3)) <= set(np.round(np.arange(120)/30, 3))
    expected = ['1 damaged stretch of', '2 damaged stretches of'][places - 1]
    assert film.problem.startswith(f'{expected} {path} w')


def test_damage_at_the_end(tmp_path):
    path = make_film(tmp_path/'a.mkv', STEADY, b_frames=0)
    spoil(path, [59])
    film = Film(path)
    assert len(times(film)) == 59 and '1 damaged stretch' in film.problem


def test_no_frame_can_be_read(tmp_path):
    path = make_film(tmp_path/'a.mkv', STEADY[:9], b_frames=0)
    spoil(path, range(9))
    film = Film(path)
    assert times(film) == [] and film.problem == f'no frame of {path} can be read'


# What is no film


def missing(folder): return folder/'missing.mp4', 'No such file'
def directory(folder): return folder, 'Is a directory'
def zero_byte_name(folder): return folder/'a\0b.mp4', 'null'

def empty(folder):
    (folder/'a.mp4').touch()
    return folder/'a.mp4', 'is empty'

def text(folder):
    (folder/'a.mp4').write_text('Dear Sir or Madam,\n'*99)
    return folder/'a.mp4', 'is no film that can be read'

def text_art(folder):
    (folder/'a.ans').write_text('\x1b[31mhello\n'*99)
    return folder/'a.ans', 'is no film'

def subtitles(folder):
    (folder/'a.srt').write_text('1\n00:00:00,000 --> 00:00:01,000\nhello\n\n'*9)
    return folder/'a.srt', 'is no film'

def script(folder):
    make_film(folder/'b.mp4', STEADY[:3])
    (folder/'a.mp4').write_text('ffconcat version 1.0\nfile b.mp4\n')
    return folder/'a.mp4', 'is no film'

def picture(folder):
    from PIL import Image
    Image.fromarray(draw(0)).save(folder/'a.jpg')
    return folder/'a.jpg', 'is no film'

def sequence(folder):
    from PIL import Image
    for i in range(3): Image.fromarray(draw(0)).save(folder/f'a{i}.jpg')
    return folder/'a%d.jpg', 'No such file'

def sound_only(folder):
    with av.open(str(folder/'a.mp4'), 'w') as container:
        container.mux(add_sound(container, 1))
    return folder/'a.mp4', 'holds no moving pictures'

def unknown_codec(name, old, new, **options):
    def make(folder):
        path = make_film(folder/name, STEADY[:9], **options)
        path.write_bytes(path.read_bytes().replace(old, new))
        return path, f"is in {new.decode()}, which can't be decoded here: convert it to"
    return make

@pytest.mark.parametrize('make', [
    missing, directory, zero_byte_name, empty, text, text_art, subtitles, script,
    picture, sequence, sound_only, unknown_codec('a.mp4', b'avc1', b'evc1'),
    unknown_codec('a.mkv', b'V_MPEG4/ISO/AVC', b'V_MPEG9/ISO/XYZ'),
    unknown_codec('a.avi', b'FMP4', b'XXYY', codec='mpeg4', ticks=30)])
def test_no_film(tmp_path, make, capfd):
    path, message = make(tmp_path)
    with pytest.raises(ImageError, match=message) as raised: Film(path)
    assert str(path) in str(raised.value) and '\n' not in str(raised.value)
    assert capfd.readouterr() == ('', '')


def test_file_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(*args): raise PermissionError(errno.EACCES, 'Permission denied')
    monkeypatch.setattr(fer_nb.video, 'open', refuse, raising=False)
    with pytest.raises(ImageError, match="can't read .*a.mp4: Permission denied"):
        Film(tmp_path/'a.mp4')


def test_cover_picture_is_no_film(tmp_path):
    path = tmp_path/'a.mp4'
    with av.open(str(path), 'w') as container:
        cover = container.add_stream(
            'png', rate=25, width=64, height=64, pix_fmt='rgb24')
        cover.disposition = av.stream.Disposition.attached_pic
        sound = add_sound(container, 1)
        picture = av.VideoFrame.from_ndarray(draw(0, 64, 64), 'rgb24')
        container.mux(cover.encode(picture) + cover.encode(None) + sound)
    with pytest.raises(ImageError, match='no moving pictures'): Film(path)


# Names and contents that would say something to FFmpeg


@pytest.mark.parametrize('name', [
    'a:b.mp4', 'http:x.mp4', 'concat:a|b.mp4', 'pipe:0', '%03d.mp4', '$HOME ~ [1].mp4',
    '~', '-', 'new\nline.mp4', 'a.m3u8', 'a.txt', 'a'*251 + '.mp4',
    os.fsdecode(b'\xff\xfe.mp4')])
def test_names(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = make_film(tmp_path/'film.mp4', STEADY[:3]).read_bytes()
    for path in (Path(name), name, tmp_path/name):
        try: Path(path).write_bytes(content)
        except OSError: return  # a file system without such names, as macOS has
        assert_times(Film(path), STEADY[:3])


@pytest.mark.parametrize('kind', ['a.m3u8', 'a.mp4', 'a.sdp', 'a.mpd'])
def test_playlists_open_no_socket(tmp_path, kind):
    with socket.create_server(('127.0.0.1', 0)) as server:
        server.settimeout(.2)
        address = f'127.0.0.1:{server.getsockname()[1]}'
        content = {
            'a.sdp': f'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n'
                     f'm=video {server.getsockname()[1]} RTP/AVP 96\n',
            'a.mpd': '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011">'
                     f'<BaseURL>http://{address}/</BaseURL></MPD>',
        }.get(kind, '#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n'
                    f'http://{address}/a.ts\n#EXT-X-ENDLIST\n')
        (tmp_path/kind).write_text(content)
        for source in (tmp_path/kind, content.encode()):
            with pytest.raises(ImageError, match='is no film'): Film(source)
        with pytest.raises(TimeoutError): server.accept()


def test_title_that_is_not_unicode(tmp_path):
    path = tmp_path/'a.mkv'
    with av.open(str(path), 'w') as container:
        container.metadata['title'] = 'XXXX'
        stream = container.add_stream('mpeg4', rate=10, width=64, height=64)
        pictures = [av.VideoFrame(64, 64, 'yuv420p') for _ in range(3)]
        for picture in pictures: container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace(b'XXXX', b'X\xe9\xfcX'))
    assert len(times(Film(path))) == 3


# Pipes, descriptors, and the rest of the process


def test_bytes(tmp_path):
    content = make_film(tmp_path/'a.mp4', STEADY).read_bytes()
    assert_times(Film(content, name='standard input'), STEADY)
    with pytest.raises(ImageError, match='^standard input is no film'):
        Film(b'hello', name='standard input')


def test_pipe(tmp_path):
    content = make_film(tmp_path/'a.mp4', STEADY).read_bytes()
    os.mkfifo(tmp_path/'pipe')
    threading.Thread(target=(tmp_path/'pipe').write_bytes, args=[content]).start()
    assert_times(Film(tmp_path/'pipe'), STEADY)


def test_descriptors(tmp_path):
    whole = make_film(tmp_path/'a.mp4', STEADY)
    for name in ('letter.mp4', 'empty.mp4'): (tmp_path/name).write_text(name[:6])
    (tmp_path/'x').mkdir()
    sound_only(tmp_path/'x')
    before = set(os.listdir('/dev/fd'))
    for _ in range(5):
        list(Film(whole))
        with Film(whole) as film: next(iter(film))
        for path in (tmp_path/'letter.mp4', tmp_path/'x'/'a.mp4'):
            with pytest.raises(ImageError): Film(path)
        with FilmWriter(tmp_path/'b.mp4') as writer: writer.write(draw(0), 0)
        with pytest.raises(KeyError), FilmWriter(tmp_path/'c.mp4') as writer:
            writer.write(draw(0), 0)
            raise KeyError
    assert len(set(os.listdir('/dev/fd'))) == len(before)


def test_film_is_read_once(tmp_path):
    film = Film(make_film(tmp_path/'a.mp4', STEADY))
    assert_times(film, STEADY)
    with pytest.raises(ValueError, match='is closed'): times(film)


def test_nothing_is_printed_or_changed(tmp_path, capfd):
    environment, level = dict(os.environ), av.logging.get_level()
    handlers = list(logging.getLogger().handlers)
    path = make_film(tmp_path/'a.ts', STEADY)
    content = bytearray(path.read_bytes())
    content[len(content)//2:len(content)//2 + 2000] = bytes(2000)
    film = Film(bytes(content))
    assert len(times(film)) < 60 and film.problem
    with FilmWriter(tmp_path/'b.mp4') as writer: writer.write(draw(0), 0)
    assert capfd.readouterr() == ('', '')
    assert (dict(os.environ), av.logging.get_level()) == (environment, level)
    assert logging.getLogger().handlers == handlers


def test_av_is_needed_only_for_films(tmp_path):
    code = ('import sys; sys.modules["av"] = None\n'
            'from fer_nb.video import Film, FilmWriter\n'
            'try: Film("a.mp4")\n'
            'except ModuleNotFoundError as e: print(e.name)\n'
            'try: FilmWriter("a.mp4").__enter__()\n'
            'except ModuleNotFoundError as e: print(e.name)\n')
    ended = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                           cwd=tmp_path, check=True)
    assert ended.stdout.split() == ['av', 'av']


# Writing


def write_film(path, seconds, until=None, **size):
    with FilmWriter(path) as writer:
        for i, o in enumerate(seconds): writer.write(draw(i/len(seconds), **size), o)
        writer.until = until
    return path


@pytest.mark.parametrize('seconds', [
    np.arange(240)/240, np.arange(6)*10., np.cumsum([0, .1, .02, .5, 1/3, .001]), [0.],
    np.arange(50)*1001/30000])
def test_written_times(tmp_path, seconds):
    film = Film(write_film(tmp_path/'a.mp4', seconds))
    lasts = seconds[-1] - seconds[-2] if len(seconds) > 1 else 1/25
    assert film.seconds == pytest.approx(seconds[-1] + lasts, abs=MILLISECOND)
    assert_times(film, seconds)
    assert film.until == pytest.approx(film.seconds, abs=MILLISECOND)


@pytest.mark.parametrize('until', [3, 30])
def test_written_end(tmp_path, until):
    film = Film(write_film(tmp_path/'a.mp4', [0, 1, 2], until))
    assert film.seconds == pytest.approx(until, abs=MILLISECOND)
    assert_times(film, [0, 1, 2])


def test_copy_of_a_film_that_begins_late(tmp_path):
    film = Film(write_film(tmp_path/'a.mp4', [.5, 1, 2]))  # the first is shown from 0
    assert_times(film, [0, 1, 2])


def test_written_codec_plays_everywhere(tmp_path):
    with av.open(str(write_film(tmp_path/'a.mp4', STEADY))) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == 'h264' and stream.format.name == 'yuv420p'
        packets = [packet for packet in container.demux() if packet.size]
    assert all(packet.dts == packet.pts for packet in packets)
    assert (tmp_path/'a.mp4').read_bytes()[4:8] == b'ftyp'


@pytest.mark.parametrize('height, width', [(135, 241), (120, 161), (2, 2), (1, 1)])
def test_odd_sizes(tmp_path, height, width):
    image = np.full((height, width, 3), 200, 'uint8')
    with FilmWriter(tmp_path/'a.mp4') as writer:
        for seconds in (0, 1): writer.write(image, seconds)
    found = next(iter(Film(tmp_path/'a.mp4'))).image
    assert found.shape == (height + height%2, width + width%2, 3)
    assert np.abs(found.astype(int) - 200).max() < 8


def test_colours(tmp_path):
    image = next(iter(Film(write_film(tmp_path/'a.mp4', [0, 1])))).image
    assert np.abs(image[5:30, 5:40].mean(axis=(0, 1)) - (220, 30, 30)).max() < 4


def test_size_that_changes(tmp_path):
    with FilmWriter(tmp_path/'a.mp4') as writer:
        writer.write(draw(0, 120, 160), 0)
        writer.write(draw(0, 240, 321), 1)
        writer.write(np.ascontiguousarray(draw(0)[::2, ::2]), 2)
    images = [frame.image for frame in Film(tmp_path/'a.mp4')]
    assert [image.shape for image in images] == [(120, 160, 3)]*3
    assert all(red_corner(image) == (0, 0) for image in images)


def test_time_that_stands_still(tmp_path):
    with pytest.raises(ValueError, match='1 s'), FilmWriter(tmp_path/'a.mp4') as writer:
        for seconds in (0, 1, 1): writer.write(draw(0), seconds)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt, SystemExit])
def test_interrupted(tmp_path, error):
    path = tmp_path/'a.mp4'
    path.write_text('an earlier film')
    with pytest.raises(error), FilmWriter(path) as writer:
        for seconds in range(99): writer.write(draw(0), seconds)
        assert len(list(tmp_path.iterdir())) == 2
        raise error
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == 'an earlier film'


def test_no_frame_no_film(tmp_path):
    with FilmWriter(tmp_path/'new'/'a.mp4'): pass
    assert list((tmp_path/'new').iterdir()) == []


@pytest.mark.parametrize('name', [
    'a'*251 + '.mp4', 'ä'*125 + '.mp4', 'concat:a|b.mp4', '%03d.mp4', 'new\nline.mp4'])
def test_written_names(tmp_path, name):
    write_film(tmp_path/name, STEADY[:3])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert_times(Film(tmp_path/name), STEADY[:3])


def test_folder_that_is_a_file(tmp_path):
    (tmp_path/'file').touch()
    with pytest.raises(StorageError, match='a.mp4'):
        write_film(tmp_path/'file'/'a.mp4', [0])


def test_folder_in_the_place_of_the_film(tmp_path):
    (tmp_path/'a.mp4'/'b').mkdir(parents=True)
    with pytest.raises(StorageError, match='a.mp4'): write_film(tmp_path/'a.mp4', [0])
    assert [path.name for path in tmp_path.iterdir()] == ['a.mp4']


def test_folder_that_vanishes(tmp_path):
    with pytest.raises(StorageError, match='a.mp4'), \
            FilmWriter(tmp_path/'new'/'a.mp4') as writer:
        (tmp_path/'new').rmdir()
        writer.write(draw(0), 0)
        writer.write(draw(1), 1)


def test_image_that_can_not_be_encoded(tmp_path):
    with pytest.raises(StorageError, match='a.mp4'):
        write_film(tmp_path/'a.mp4', [0, 1], height=40, width=40_000)
    assert list(tmp_path.iterdir()) == []


def test_disk_that_is_full(tmp_path):
    code = ('import numpy as np\n'
            'import resource\n'
            'resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n'
            'from fer_nb.video import FilmWriter\n'
            'rng = np.random.default_rng(0)\n'
            'noise = rng.integers(0, 256, (240, 320, 3), dtype="uint8")\n'
            'with FilmWriter("a.mp4") as writer:\n'
            '    for i in range(200): writer.write(np.roll(noise, i, axis=0), i)\n')
    ended = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                           cwd=tmp_path)
    assert "StorageError: can't write a.mp4: File too large" in ended.stderr
    assert list(tmp_path.iterdir()) == []
