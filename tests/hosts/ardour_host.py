"""Ardour without a window: a home with the bundle in it, scripts that drive it, and the states in its sessions."""

import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

import bundle
import preset_format
import pytest

FOLDER = pathlib.Path("/usr/lib/ardour7")
SCRIPTS = pathlib.Path(__file__).parent / "ardour"
CHUNK = re.compile(r"<chunk>([^<]*)</chunk>")

#: For tests that cannot do without it.
needed = pytest.mark.skipif(
    not (FOLDER / "luasession").is_file(),
    reason=f"there is no Ardour 7 in {FOLDER} (remedy: apt-get install ardour)",
)


def home(folder):
    """Makes a home with the bundle in it, as Ardour's own scanner indexed it; the environment of who lives there."""
    shutil.copytree(bundle.SUITE, folder / ".vst3" / "audiocloud.vst3")
    environment = {
        **os.environ,
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / ".cache"),
        "XDG_CONFIG_HOME": str(folder / ".config"),
        "LD_LIBRARY_PATH": str(FOLDER),
        "ARDOUR_DATA_PATH": "/usr/share/ardour7",
        "ARDOUR_CONFIG_PATH": "/etc/ardour7",
        "ARDOUR_DLL_PATH": str(FOLDER),
        "VAMP_PATH": str(FOLDER / "vamp"),
    }
    # Ardour makes one level of a folder.
    (folder / ".cache").mkdir()
    (folder / ".config").mkdir()
    scan = [FOLDER / "ardour-vst3-scanner", "--force", folder / ".vst3" / "audiocloud.vst3"]
    said = subprocess.run(scan, env=environment, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0 and "Found Plugin: audiocloud Receive" in said.stdout, said
    # The scanner gives its index the library's own time, and the session takes only a newer one.
    for index in (folder / ".cache" / "ardour7" / "vst").iterdir():
        os.utime(index, (time.time() + 60, time.time() + 60))
    return environment


def run(script, environment):
    """Starts a script of the folder `ardour`."""
    return subprocess.Popen(
        [FOLDER / "luasession", SCRIPTS / script],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    """What it says until its end, which is a good one."""
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


def documents(session):
    """What Send and Receive of a saved session keep in it, in this order."""
    return [_open(chunk)[3] for chunk in CHUNK.findall(session.read_text())]


def choose(session, document, **parameters):
    """Has Receive of a saved session play something else, as a click in its window would."""
    text = session.read_text()
    _send, receive = CHUNK.findall(text)
    class_id, chunks, state, _ = _open(receive)
    state["fields"]["stream"] = json.dumps(document)
    state["params"].update(parameters)
    chunks[b"Comp"] = json.dumps(state).encode()
    session.write_text(text.replace(receive, base64.b64encode(preset_format.write(class_id, chunks)).decode()))


def _open(chunk):
    class_id, chunks = preset_format.read(base64.b64decode(chunk))
    state = json.loads(chunks[b"Comp"])
    return class_id, chunks, state, json.loads(state["fields"]["stream"])
