"""Projects of a session in Ardour without a window: two members, each with a Send and a Receive in a project of their
own, save them, close Ardour, and open them again. Nobody touches anything: sound must come by itself, from the other.

Both are found by a meeting point, as across the internet. The noise of the dummy backend goes into Send on the track
There; Receive is on the track Here, which has no other input.
"""

import json
import os
import pathlib
import queue
import subprocess
import tempfile
import threading
import time

import ardour_host
import bundle
import pytest

#: From the start of Ardour's process until its own meter shows the other's sound.
AGAIN_S = 5
PATIENCE_S = 60


class Ardour:
    """One that runs a script, and when it said what."""

    def __init__(self, script, environment):
        self._began = time.monotonic()
        self._process = ardour_host.run(script, environment)
        self._lines = queue.Queue()
        self._said = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self._lines.put((self.so_far(), line.strip()))
        self._lines.put((self.so_far(), None))

    def wait(self, words):
        """Seconds from its start until it said so."""
        while True:
            after_s, line = self._lines.get(timeout=PATIENCE_S)
            assert line is not None, "\n".join(self._said)
            self._said.append(line)
            if line == words:
                return after_s

    def so_far(self):
        """Seconds since its start."""
        return time.monotonic() - self._began

    def end(self, words):
        """Has it save and close its project."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.wait(words)
        self._process.stdin.close()
        assert self._process.wait(PATIENCE_S) == 0, "\n".join(self._said)
        self._reader.join()

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._reader.join()


class Person:
    """Somebody with folders, keys and a project of their own."""

    def __init__(self, folder, name, home):
        self.folder, self.name = folder / name, name
        self.project = self.folder / "project"
        self._ardours = []
        config, runtime = self.folder / "config", self.folder / "runtime"
        config.mkdir(parents=True)
        runtime.mkdir()
        (config / "config.toml").write_text(f'name = "{name}"\nbind = "127.0.0.1:0"\nmdns = false\n')
        folders = {"AUDIOCLOUD_CONFIG_DIR": str(config), "AUDIOCLOUD_RUNTIME_DIR": str(runtime)}
        self.environment = {**os.environ, **folders}
        self._of_ardour = {**home, **folders, "SESSION": str(self.project), "HOLD": "1"}

    def ask(self, *arguments):
        command = [bundle.PROGRAM, *arguments, "--json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done
        return json.loads(done.stdout)

    def all(self, kind):
        """All publications, or subscriptions, of this person's processes."""
        return [entry for runtime in self.ask("status")["runtimes"] for entry in runtime[kind]]

    def ardour(self, script):
        ardour = Ardour(script, self._of_ardour)
        self._ardours.append(ardour)
        return ardour

    def document(self, at):
        return ardour_host.documents(self.project / "first.ardour")[at]

    def plays(self):
        """Whose streams sound here."""
        live = [entry for entry in self.all("subscriptions") if entry["link"].lower() == "live"]
        return [entry["publisher"] for entry in live if entry["report"]["state"].lower() == "playing"]

    def leave(self):
        for ardour in self._ardours:
            ardour.kill()


@pytest.fixture
def place():
    """A folder with a short name: control sockets are in it, and theirs hold a hundred bytes."""
    with tempfile.TemporaryDirectory() as folder:
        yield pathlib.Path(folder)


@pytest.fixture
def meeting(place):
    """A meeting point, as `audiocloud session create` takes it."""
    node = Person(place, "node", {})
    command = [bundle.PROGRAM, "node", "--rendezvous", "--relay", "--bind", "127.0.0.1:0", "--json"]
    process = subprocess.Popen(command, env=node.environment, stdout=subprocess.PIPE, text=True)
    said = ""
    while not said.endswith("\n}\n"):
        said += process.stdout.readline()
        assert process.poll() is None, said
    yield json.loads(said)["meeting"][0]
    process.terminate()
    assert process.wait(PATIENCE_S) == 0


@pytest.fixture
def people(place):
    home = ardour_host.home(place / "home")
    people = [Person(place, name, home) for name in ("Anna", "Ben")]
    yield people
    for person in people:
        person.leave()


def wait(wanted, what):
    """What is true of `wanted()` at last."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := wanted()):
        assert time.monotonic() < deadline, f"never {what}"
        time.sleep(0.05)
    return found


def saved(people, session):
    """Each makes a project; Ben's Receive then plays the whole session, and Anna's the one stream of Ben's."""
    streams = {}
    for person in people:
        made = person.ardour("make.lua")
        made.wait("holding")

        def published():
            return [entry for entry in person.all("publications") if entry["session"] == session["session"]]

        # A new Send joins the current session by itself.
        streams[person.name] = wait(published, "in the session")[0]["stream"]
        made.end("made")
    anna, ben = people
    kept = {"id": session["session"], "name": session["name"], "ask": "Anna"}
    one = {"publisher": ben.ask("identity")["device"], "stream": streams["Ben"], "name": "There"}
    receives = {anna: one, ben: {"play": "session"}}
    for person, plays in receives.items():
        ardour_host.choose(person.project / "first.ardour", {"schema": 3, "session": kept, **plays})


def opened(people):
    """Opens these projects again, all at once; in how many seconds each sounded."""
    ardours = [person.ardour("open.lua") for person in people]
    loaded = [ardour.wait("open") for ardour in ardours]
    sounded = [ardour.wait("sounds") for ardour in ardours]
    for person, open_s, sound_s in zip(people, loaded, sounded, strict=True):
        print(f"{person.name}: open after {open_s:.2f} s, sounds after {sound_s:.2f} s")
    return ardours, sounded


def check(people):
    """Each plays the other, and nothing else."""
    devices = [person.ask("identity")["device"] for person in people]
    for person, other in zip(people, reversed(devices), strict=True):
        wait(lambda: person.plays() == [other], f"{person.name} plays {other} alone")
        assert len(person.all("subscriptions")) == 1


@ardour_host.needed
def test_a_project_of_a_session_that_is_opened_again_is_connected_by_itself(people, meeting):
    anna, ben = people
    session = anna.ask("session", "create", "Friday jam", "--meeting", meeting)
    ben.ask("session", "join", anna.ask("session", "invite")["link"])
    saved(people, session)

    # As Ardour itself saves them, when all of it has been heard.
    ardours, _ = opened(people)
    check(people)
    for ardour in ardours:
        ardour.end("closed")
    assert anna.document(1)["stream"] == ben.document(0)["stream"]
    assert {person.document(at)["session"]["id"] for person in people for at in (0, 1)} == {session["session"]}

    # Nothing runs any more, and both are opened again.
    assert not any(person.ask("status")["runtimes"] for person in people)
    ardours, sounded = opened(people)
    check(people)
    assert max(sounded) < AGAIN_S
    for ardour in ardours:
        ardour.end("closed")

    # Ben is first, and hears nothing until Anna is there.
    waiting = ben.ardour("open.lua")
    waiting.wait("quiet")
    alone_s = waiting.so_far()
    ardours, sounded = opened([anna])
    sounded.append(waiting.wait("sounds") - alone_s)
    print(f"Ben hears Anna {sounded[1]:.2f} s after she opens her project")
    check(people)
    assert max(sounded) < AGAIN_S
    for ardour in (waiting, *ardours):
        ardour.end("closed")
