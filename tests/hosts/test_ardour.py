"""Ardour without a window: Send and Receive on two tracks of one session, rolled on the dummy backend.

The dummy backend's noise goes into the track There, through Send; Receive on the track Here plays the stream; the
track Tape records both. What came out of Here must be what came out of There, later.
"""

import json
import subprocess
import threading
import time

import ardour_host
import bundle
import numpy
import pytest

SECONDS = 6


@pytest.fixture
def home(tmp_path):
    environment = ardour_host.home(tmp_path / "home")
    return {**environment, "SESSION": str(tmp_path / "session"), "SECONDS": str(SECONDS)}


def connect(session):
    """Tells Receive in the saved session which stream to play: the one of Send in the same session."""
    identity = subprocess.run([bundle.PROGRAM, "identity", "--json"], check=True, capture_output=True)
    publisher = json.loads(identity.stdout)["device"]
    stream = ardour_host.documents(session)[0]["stream"]
    link = {"schema": 1, "publisher": publisher, "stream": stream, "name": "There"}
    # A wait that is fixed: every frame is compared.
    ardour_host.choose(session, link, playout={"string": "fixed"})
    return stream


def recorded(session):
    """The tape's four tracks, in the order of its inputs: There left and right, Here left and right."""
    files = list((session / "interchange" / "session" / "audiofiles").glob("Take1_Tape-*.wav"))
    files.sort(key=lambda path: int(path.stem.rsplit("%", 1)[1]))
    assert len(files) == 4, files
    return [ardour_host.samples(path)[0] for path in files]


@ardour_host.needed
def test_what_send_publishes_on_one_track_receive_plays_on_another(home, tmp_path):
    session = tmp_path / "session"
    assert "made" in ardour_host.finish(ardour_host.run("make.lua", home))
    stream = connect(session / "first.ardour")

    rolling = ardour_host.run("roll.lua", home)
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
