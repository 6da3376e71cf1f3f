"""Where the built things are, as `cargo xtask test` tells: bundles, and the `audiocloud` program."""

import json
import os
import pathlib
import subprocess

FOLDER = pathlib.Path(os.environ["AUDIOCLOUD_BUNDLE_DIR"])
PROGRAM = os.environ["AUDIOCLOUD_BIN"]

#: All plug-ins.
SUITE = FOLDER / "audiocloud.vst3"
#: One plug-in each, for a host that sees only a bundle's first class.
SINGLE = {
    "audiocloud Send": FOLDER / "only-send" / "audiocloud.vst3",
    "audiocloud Receive": FOLDER / "only-receive" / "audiocloud.vst3",
    "audiocloud Clock": FOLDER / "only-clock" / "audiocloud.vst3",
    "audiocloud Remote FX": FOLDER / "only-remote-fx" / "audiocloud.vst3",
}


def status():
    """What every runtime of this test's own runtime folder says of itself."""
    text = subprocess.run([PROGRAM, "status", "--json"], check=True, capture_output=True, timeout=20).stdout
    return json.loads(text)["runtimes"]


def published():
    """The ids of all streams that are published."""
    return [publication["stream"] for runtime in status() for publication in runtime["publications"]]
