"""Remote FX in pedalboard, which renders offline, and in DawDreamer, which does not say so: a bounce through a node is the
bits that *Run here* gives."""

import time

import bundle
import dawdreamer
import numpy
import pedalboard
import plugin_state
import remote_fx

RATE = 48_000
BLOCK = 512
NAME = "audiocloud Remote FX"


def noise(frames=2 * RATE):
    samples = numpy.random.default_rng(9).integers(-(2**21), 2**21, (2, frames))
    return (samples / 2**23).astype(numpy.float32)


def with_chain(state, *kinds):
    """A host's state with a chain of these effects in it, as in a project."""
    document = plugin_state.read(state)
    document["fields"]["chain"] = remote_fx.kept(*kinds)
    return plugin_state.write(state, document)


def check(here, there, source):
    assert here.shape == there.shape
    assert numpy.any(numpy.abs(here) > 0.01) and not numpy.array_equal(here, source)
    different = numpy.flatnonzero(numpy.any(here != there, axis=0))
    assert different.size == 0, f"{different.size} frames, from {different[:1]} on: {bundle.status()}"


def load(*kinds, here):
    plug_in = pedalboard.load_plugin(str(bundle.SUITE), plugin_name=NAME)
    plug_in.raw_state = with_chain(plug_in.raw_state, *kinds)
    plug_in.run_here = here
    return plug_in


def test_pedalboard_bounces_through_a_node_bit_for_bit(node):
    source = noise()
    here, there = (load(*remote_fx.STRIP, here=here)(source, RATE, buffer_size=BLOCK) for here in (True, False))
    check(here, there, source)


def test_without_a_node_a_render_waits_for_seconds_and_is_dry():
    source, plug_in = noise(), load(*remote_fx.STRIP, here=False)
    began = time.monotonic()
    played = plug_in(source, RATE, buffer_size=BLOCK)
    took = time.monotonic() - began
    print(f"rendered after {took:.1f} s")
    assert numpy.array_equal(played[:, RATE // 10 : source.shape[1]], source[:, RATE // 10 : played.shape[1]])
    assert took < 16


def test_pedalboard_makes_up_for_the_latency():
    source = noise()
    played = load(here=True)(source, RATE, buffer_size=BLOCK)
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


def test_dawdreamer_bounces_through_a_node_bit_for_bit(node, tmp_path):
    source, state = noise(), tmp_path / "state"
    engine = dawdreamer.RenderEngine(RATE, BLOCK)
    plug_in = engine.make_plugin_processor("plug-in", str(bundle.SINGLE[NAME]))
    plug_in.save_state(str(state))
    state.write_bytes(with_chain(state.read_bytes(), *remote_fx.STRIP))
    here, there = (render(here, source, str(state)) for here in (True, False))
    check(here, there, source)
