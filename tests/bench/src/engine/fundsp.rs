//! FunDSP 0.23: `Net`, its graph at run time, and the back end that plays it while it is edited.

use std::hint::black_box;

use ::fundsp::prelude32::{
    AudioUnit, BufferVec, Net, NodeId, Setting, U2, biquad, biquad_bank, follow, join, mul, pass,
};

use super::kernels::{Coefficients, GAIN};
use super::{FRAMES, INPUT, SAMPLE_RATE_HZ, Shape, Work, edit};

fn node(work: Work) -> Box<dyn AudioUnit> {
    let Coefficients { b0, b1, b2, a1, a2 } = Coefficients::low_pass();
    match work {
        Work::Nothing => Box::new(pass()),
        Work::Gain => Box::new(mul(GAIN)),
        Work::Biquad => Box::new(biquad(a1, a2, b0, b1, b2)),
    }
}

fn net(shape: Shape, work: Work, nodes: usize) -> (Net, Vec<NodeId>) {
    let mut net = Net::new(1, 1);
    let mut ids = Vec::with_capacity(nodes);
    for _ in 0..nodes {
        ids.push(match shape {
            Shape::Chain => net.chain(node(work)),
            Shape::Independent => {
                let id = net.push(node(work));
                net.connect_input(0, id, 0);
                id
            }
        });
    }
    net.pipe_output(*ids.last().expect("there is a node"));
    prepare(&mut net);
    (net, ids)
}

fn prepare(unit: &mut dyn AudioUnit) {
    unit.set_sample_rate(f64::from(SAMPLE_RATE_HZ));
    unit.allocate();
}

/// Plays one block and shows its last sample.
fn player(mut unit: impl AudioUnit) -> impl FnMut() -> f32 {
    let mut input = BufferVec::new(unit.inputs());
    for channel in 0..unit.inputs() {
        input.channel_f32_mut(channel).fill(INPUT);
    }
    let mut output = BufferVec::new(unit.outputs());
    move || {
        unit.process(FRAMES, &black_box(&input).buffer_ref(), &mut black_box(&mut output).buffer_mut());
        output.at_f32(0, FRAMES - 1)
    }
}

pub(super) fn graph(shape: Shape, work: Work, nodes: usize) -> impl FnMut() -> f32 {
    player(net(shape, work, nodes).0)
}

/// FunDSP glides by a filter. Its time does not depend on how far it has come.
pub(super) fn ramp() -> impl FnMut() -> f32 {
    let mut unit = follow(0.01_f32);
    prepare(&mut unit);
    player(unit)
}

/// As many filters side by side, where the user has put eight into each node.
pub(super) fn banks() -> impl FnMut() -> f32 {
    let Coefficients { b0, b1, b2, a1, a2 } = Coefficients::low_pass();
    let mut bank = biquad_bank();
    for lane in 0..8 {
        bank.set(Setting::biquad(a1, a2, b0, b1, b2).index(lane));
    }
    let mut net = Net::new(1, 1);
    for _ in 0..13 {
        let id = net.push(Box::new(bank.clone()));
        for channel in 0..8 {
            net.connect_input(0, id, channel);
        }
        net.connect_output(id, 0, 0);
    }
    prepare(&mut net);
    player(net)
}

/// The whole net is cloned, sorted, and sent to the back end, which exchanges it.
pub(super) fn edits(nodes: usize) -> (impl FnMut(edit::Request), impl FnMut() + Send) {
    let (mut net, ids) = net(Shape::Chain, Work::Nothing, nodes - 1);
    let (first, before) = (ids[0], ids[nodes - 2]);
    let last = net.push(Box::new(join::<U2>()));
    net.connect(before, 0, last, 0);
    net.pipe_output(last);
    prepare(&mut net);
    let mut block = player(net.backend());
    let control = move |request| {
        match request {
            edit::Request::Nothing => return,
            edit::Request::Add => net.connect(first, 0, last, 1),
            edit::Request::Remove => net.disconnect(last, 1),
        }
        net.commit();
    };
    (control, move || {
        black_box(block());
    })
}
