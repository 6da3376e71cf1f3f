"""Ardour without a window: a home with the bundle in it, scripts that drive it, and the states in its sessions."""

import base64
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import time

import bundle
import numpy
import preset_format
import pytest

FOLDER = pathlib.Path("/usr/lib/ardour7")
SCRIPTS = pathlib.Path(__file__).parent / "ardour"
CHUNK = re.compile(r"<chunk>([^<]*)</chunk>")

#: What a home's exports are: 32-bit float, at the session's rate, under the name of the range.
PRESET = "5f4c3d6a-1f0e-4a57-9d57-3c2c7d1b2e90"
PRESET_TEXT = f"""<?xml version="1.0" encoding="UTF-8"?>
<ExportPreset id="{PRESET}" name="WAV 32-bit float">
  <ExportFormat id="20b4ab09-6452-4cb3-bd66-b921cdbd2942"/>
  <ExportFilename>
    <Folder relative="1" path="export"/>
    <Field name="label" enabled="0"/>
    <Field name="session" enabled="0"/>
    <Field name="snapshot" enabled="0"/>
    <Field name="timespan" enabled="1"/>
    <Field name="revision" enabled="0"/>
    <Field name="time" enabled="0" value="T_None"/>
    <Field name="date" enabled="0" value="D_None"/>
  </ExportFilename>
</ExportPreset>
"""

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
    exports = folder / ".config" / "ardour7" / "export"
    exports.mkdir(parents=True)
    (exports / "float.preset").write_text(PRESET_TEXT)
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


def vary(session, name, fields=(), **parameters):
    """Saves a session that has one plug-in under another name, where the plug-in's state differs in this."""
    text = session.read_text()
    (chunk,) = CHUNK.findall(text)
    class_id, chunks = preset_format.read(base64.b64decode(chunk))
    state = json.loads(chunks[b"Comp"])
    state["fields"].update(fields)
    state["params"].update(parameters)
    chunks[b"Comp"] = json.dumps(state).encode()
    changed = base64.b64encode(preset_format.write(class_id, chunks)).decode()
    session.with_stem(name).write_text(text.replace(chunk, changed))


def samples(path):
    """Of a WAV file of 32-bit floats with one channel or more: a row for each channel."""
    data = path.read_bytes()
    chunk = data.index(b"fmt ")
    channels, rate, _, _, bits = struct.unpack_from("<HIIHH", data, chunk + 10)
    assert (rate, bits) == (48_000, 32), path
    at = data.index(b"data", chunk)
    (size,) = struct.unpack_from("<I", data, at + 4)
    return numpy.frombuffer(data, "<f4", size // 4, at + 8).reshape(-1, channels).T


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
