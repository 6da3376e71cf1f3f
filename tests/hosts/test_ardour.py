"""Ardour without a window: Send and Receive on two tracks of one session, rolled on the dummy backend.

The dummy backend's noise goes into the track There, through Send; Receive on the track Here plays the stream; the
track Tape records both. What came out of Here must be what came out of There, later.
"""

import base64
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import threading
import time

import bundle
import numpy
import preset_format
import pytest

ARDOUR = pathlib.Path("/usr/lib/ardour7")
SCRIPTS = pathlib.Path(__file__).parent / "ardour"
SECONDS = 6
CHUNK = re.compile(r"<chunk>([^<]*)</chunk>")


@pytest.fixture
def home(tmp_path):
    """A home with the bundle in it, as Ardour's own scanner indexed it."""
    home = tmp_path / "home"
    shutil.copytree(bundle.SUITE, home / ".vst3" / "audiocloud.vst3")
    environment = {
        **os.environ,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "LD_LIBRARY_PATH": str(ARDOUR),
        "ARDOUR_DATA_PATH": "/usr/share/ardour7",
        "ARDOUR_CONFIG_PATH": "/etc/ardour7",
        "ARDOUR_DLL_PATH": str(ARDOUR),
        "VAMP_PATH": str(ARDOUR / "vamp"),
        "SESSION": str(tmp_path / "session"),
        "SECONDS": str(SECONDS),
    }
    # Ardour makes one level of a folder.
    (home / ".cache").mkdir()
    (home / ".config").mkdir()
    scan = [ARDOUR / "ardour-vst3-scanner", "--force", home / ".vst3" / "audiocloud.vst3"]
    said = subprocess.run(scan, env=environment, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0 and "Found Plugin: audiocloud Receive" in said.stdout, said
    # The scanner gives its index the library's own time, and the session takes only a newer one.
    for index in (home / ".cache" / "ardour7" / "vst").iterdir():
        os.utime(index, (time.time() + 60, time.time() + 60))
    return environment


def run(script, environment):
    return subprocess.Popen(
        [ARDOUR / "luasession", SCRIPTS / script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


def fields(chunk):
    class_id, chunks = preset_format.read(base64.b64decode(chunk))
    state = json.loads(chunks[b"Comp"])
    return class_id, chunks, state, json.loads(state["fields"]["stream"])


def connect(session):
    """Tells Receive in the saved session which stream to play: the one of Send in the same session."""
    identity = subprocess.run([bundle.PROGRAM, "identity", "--json"], check=True, capture_output=True)
    publisher = json.loads(identity.stdout)["device"]
    text = session.read_text()
    send, receive = CHUNK.findall(text)
    stream = fields(send)[3]["stream"]
    class_id, chunks, state, _ = fields(receive)
    link = {"schema": 1, "publisher": publisher, "stream": stream, "name": "There"}
    state["fields"]["stream"] = json.dumps(link)
    # A wait that is fixed: every frame is compared.
    state["params"]["playout"] = {"string": "fixed"}
    chunks[b"Comp"] = json.dumps(state).encode()
    session.write_text(text.replace(receive, base64.b64encode(preset_format.write(class_id, chunks)).decode()))
    return stream


def recorded(session):
    """The tape's four tracks, in the order of its inputs: There left and right, Here left and right."""
    files = list((session / "interchange" / "session" / "audiofiles").glob("Take1_Tape-*.wav"))
    files.sort(key=lambda path: int(path.stem.rsplit("%", 1)[1]))
    assert len(files) == 4, files
    return [samples(path.read_bytes()) for path in files]


def samples(data):
    at = data.index(b"data")
    (size,) = struct.unpack_from("<I", data, at + 4)
    return numpy.frombuffer(data, "<f4", size // 4, at + 8)


def test_what_send_publishes_on_one_track_receive_plays_on_another(home, tmp_path):
    session = tmp_path / "session"
    assert "made" in finish(run("make.lua", home))
    stream = connect(session / "first.ardour")

    rolling = run("roll.lua", home)
    heard = []

    def listen():
        for line in rolling.stdout:
            heard.append(line)

    listener = threading.Thread(target=listen)
    listener.start()
    deadline = time.monotonic() + 60
    while not any("rolling" in line for line in heard):
        assert time.monotonic() < deadline and listener.is_alive(), "".join(heard)
        time.sleep(0.1)
    # Halfway through the recording, from outside.
    time.sleep(SECONDS / 2)
    runtimes = bundle.status()
    listener.join(120)
    assert rolling.wait(30) == 0, "".join(heard)

    subscriptions = [entry for runtime in runtimes for entry in runtime["subscriptions"]]
    assert [entry["stream"] for entry in subscriptions] == [stream], runtimes
    assert subscriptions[0]["link"].lower() == "live", subscriptions

    there, _, here, here_right = recorded(session)
    assert numpy.any(there), "the dummy backend makes no noise"
    assert numpy.any(here), f"nothing came out of Receive: {subscriptions}"
    # Both tracks were recorded at once: the copy is later by the playout delay and the blocks in between.
    frames = min(len(there), len(here))
    window = there[frames // 2 : frames // 2 + 64]
    latest = frames // 2 + 48_000 // 2
    places = [at for at in range(frames // 2, latest) if numpy.array_equal(here[at : at + 64], window)]
    assert places, "what came out is not what went in"
    late = places[0] - frames // 2
    exact = here[late:frames] == there[: frames - late]
    # The first moments may be the stream fading in.
    assert exact[48_000:].all(), f"{numpy.count_nonzero(~exact)} of {len(exact)} frames differ, {late} frames late"
    print(f"{late} frames late, {numpy.count_nonzero(~exact)} of {len(exact)} frames differ")
    assert numpy.any(here_right)
