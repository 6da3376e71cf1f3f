"""Remote FX in pedalboard, which renders offline, and in DawDreamer, which does not say so: a bounce through a node is the
bits that *Run here* gives."""

import json
import subprocess

import bundle
import dawdreamer
import numpy
import pedalboard
import plugin_state
import pytest

RATE = 48_000
BLOCK = 512
NAME = "audiocloud Remote FX"
CHAIN = {
    "schema": 1,
    "items": [{"effect": {"id": id, "kind": kind}} for id, kind in enumerate(["eq", "compressor", "limiter", "reverb"])],
}


def noise(frames=2 * RATE):
    samples = numpy.random.default_rng(9).integers(-(2**21), 2**21, (2, frames))
    return (samples / 2**23).astype(numpy.float32)


@pytest.fixture
def node():
    """`audiocloud node` of the same user, on this machine."""
    arguments = [bundle.PROGRAM, "node", "--json", "--metrics", "off"]
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    # It says where it is, once it is there.
    child.stdout.readline()
    yield child
    child.kill()
    child.wait()


def with_chain(plug_in, chain=CHAIN):
    """Gives a plug-in the chain, as a project would."""
    kept = plugin_state.read(plug_in.raw_state)
    document = {"schema": 4, "name": "Bounce", "session": None, "chain": chain, "slots": {}, "positions": []}
    kept["fields"]["chain"] = json.dumps(document)
    plug_in.raw_state = plugin_state.write(plug_in.raw_state, kept)
    return plug_in


def load(here):
    plug_in = with_chain(pedalboard.load_plugin(str(bundle.SUITE), plugin_name=NAME))
    plug_in.run_here = here
    return plug_in


def test_pedalboard_bounces_through_a_node_bit_for_bit(node):
    source = noise()
    here = load(here=True)(source, RATE, buffer_size=BLOCK)
    there = load(here=False)(source, RATE, buffer_size=BLOCK)
    assert here.shape == there.shape
    assert numpy.any(numpy.abs(here) > 0.01) and not numpy.array_equal(here, source)
    different = numpy.flatnonzero(numpy.any(here != there, axis=0))
    assert different.size == 0, f"{different.size} frames, from {different[:1]} on: {bundle.status()}"


def test_pedalboard_makes_up_for_the_latency():
    plug_in = with_chain(pedalboard.load_plugin(str(bundle.SUITE), plugin_name=NAME), {"schema": 1, "items": []})
    plug_in.run_here = True
    source = noise()
    played = plug_in(source, RATE, buffer_size=BLOCK)
    assert numpy.array_equal(played[:, : source.shape[1]], source[:, : played.shape[1]])


def render(here, source, state):
    """DawDreamer renders as if in real time, so the plug-in is told that it is to be exact."""
    engine = dawdreamer.RenderEngine(RATE, BLOCK)
    player = engine.make_playback_processor("player", source)
    plug_in = engine.make_plugin_processor("plug-in", str(bundle.SINGLE[NAME]))
    names = {entry["name"]: entry["index"] for entry in plug_in.get_parameters_description()}
    plug_in.load_state(state)
    plug_in.set_parameter(names["Run here"], 1.0 if here else 0.0)
    plug_in.set_parameter(names["Render"], 1.0)
    engine.load_graph([(player, []), (plug_in, ["player"])])
    engine.render(source.shape[1] / RATE)
    return engine.get_audio()[:2, : source.shape[1]]



@pytest.mark.skip(reason="two renders begin at different positions of the chain here; to be looked into")
def test_dawdreamer_bounces_through_a_node_bit_for_bit(node, tmp_path):
    source = noise()
    engine = dawdreamer.RenderEngine(RATE, BLOCK)
    plug_in = engine.make_plugin_processor("plug-in", str(bundle.SINGLE[NAME]))
    state = tmp_path / "state"
    plug_in.save_state(str(state))
    kept = state.read_bytes()
    fields = plugin_state.read(kept)
    document = {"schema": 4, "name": "Bounce", "session": None, "chain": CHAIN, "slots": {}, "positions": []}
    fields["fields"]["chain"] = json.dumps(document)
    state.write_bytes(plugin_state.write(kept, fields))
    here, there = render(True, source, str(state)), render(False, source, str(state))
    assert numpy.any(numpy.abs(here) > 0.01)
    different = numpy.flatnonzero(numpy.any(here != there, axis=0))
    assert different.size == 0, f"{different.size} frames, from {different[:1]} on: {bundle.status()}"
