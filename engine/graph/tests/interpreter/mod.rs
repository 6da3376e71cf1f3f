//! A slow, obvious interpreter of graphs and of their edits. It shares no line with the compiler or the renderer: it
//! keeps all that every port ever gave, so that a delay is an index, and sums the connections one by one.

mod author;
mod device;
mod dice;
mod score;
mod session;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use audiocloud_dsp::ramp::Curve;
use audiocloud_graph::event::Body;
use audiocloud_graph::node::{GRID, Smoothing};

pub(crate) use author::note;
pub(crate) use device::Device;
pub(crate) use dice::Dice;
pub(crate) use score::Document;
pub(crate) use session::{Limits, Session};

use device::{Glide, Machine};
use score::{
    Fade, Incarnation, Kind, Line, Part, PortOf, Score, Wire, entering, leaving, swapped, to_grid, union,
    warm_up,
};
use session::{Act, To};

/// A score that plays for some time, and then the next one does.
#[derive(Clone, Debug, Default)]
struct Scene {
    score: Score,
    order: Vec<Incarnation>,
    begin: usize,
    warm_up: usize,
    /// 0 for the last one, which lasts.
    fade: usize,
}

impl Scene {
    fn new(score: Score, warm_up: usize, fade: usize) -> Self {
        let order = score.order().expect("no loop");
        Self { score, order, begin: 0, warm_up, fade }
    }

    fn gain(&self, fade: Fade, at: usize) -> f64 {
        if fade == Fade::Steady {
            return 1.0;
        }
        let progress = match at.checked_sub(self.begin + self.warm_up) {
            Some(frame) => (frame as f64 / self.fade as f64).min(1.0),
            None => 0.0,
        };
        let rising = 0.5 - 0.5 * (std::f64::consts::PI * progress).cos();
        if fade == Fade::In { rising } else { 1.0 - rising }
    }
}

/// Something that will happen to a node.
#[derive(Clone, Copy, Debug)]
struct Pending {
    due: usize,
    /// Of what happens at one frame, the control thread's commands come first.
    rank: u8,
    body: Body,
}

/// A node that plays.
#[derive(Debug)]
struct Player {
    device: Device,
    machine: Machine,
    glides: Vec<Glide>,
    pending: Vec<Pending>,
    /// What each port's channels gave, from `born` on.
    past: Vec<Vec<Vec<f64>>>,
    born: usize,
}

impl Player {
    fn new(part: &Part, born: usize) -> Self {
        let outputs = part.device.layout().outputs;
        Self {
            device: part.device.clone(),
            machine: Machine::new(&part.device),
            glides: part.values.iter().map(|value| Glide::rest(*value)).collect(),
            pending: Vec::new(),
            past: outputs.iter().map(|channels| vec![Vec::new(); usize::from(*channels)]).collect(),
            born,
        }
    }

    fn push(&mut self, due: usize, rank: u8, body: Body) {
        let at = self.pending.partition_point(|other| (other.due, other.rank) <= (due, rank));
        self.pending.insert(at, Pending { due, rank, body });
    }

    /// The parameters' values at each frame of a block, in the order of time; and once before anything happens.
    fn parameters(&mut self, from: usize) -> Vec<Vec<f64>> {
        let ranges = if self.glides.is_empty() { Vec::new() } else { self.device.parameters() };
        let all = |glides: &[Glide], at| glides.iter().map(|glide| glide.value(at)).collect::<Vec<_>>();
        let mut values = vec![all(&self.glides, from)];
        for at in from..from + GRID {
            for Pending { body, .. } in self.pending.iter().filter(|pending| pending.due == at) {
                let Body::Parameter { id, value, ramp_frames, curve } = *body else { continue };
                let Some(index) = ranges.iter().position(|range| range.id == id) else { continue };
                let value = value.clamp(ranges[index].range.0, ranges[index].range.1);
                let (frames, curve) = match (ramp_frames, ranges[index].smoothing) {
                    (Some(frames), _) => (frames, curve),
                    (None, Smoothing::None) => (0, Curve::Linear),
                    (None, Smoothing::Glide { ms, curve }) => (frames_of(ms), curve),
                };
                self.glides[index].set_out(at, value, frames, curve);
            }
            values.push(all(&self.glides, at));
        }
        values
    }

    /// What is heard at a frame, and what was to be heard before the node began to play.
    fn heard(&mut self, at: usize) -> Vec<Body> {
        let due = self.pending.iter().take_while(|pending| pending.due <= at).count();
        let due = self.pending.drain(..due).map(|pending| pending.body);
        due.filter(|body| !matches!(body, Body::Parameter { .. })).collect()
    }
}

/// What a session sounds like.
#[derive(Debug, Default)]
pub(crate) struct Sound {
    /// By bus, channel and frame.
    pub outputs: Vec<Vec<Vec<f64>>>,
    /// What came to the graph's event output, in no order within a frame.
    pub events: Vec<(usize, Body)>,
    /// Whether each commit found room.
    pub accepted: Vec<bool>,
    /// The loudest sample that came into any port.
    pub peak: f64,
    /// The latency of the last commit.
    pub latency: usize,
    /// How many edits were crossfaded, and how many of them in two stages.
    pub crossfades: usize,
    pub in_two_stages: usize,
    /// The first frames of blocks in which one was.
    pub crossfaded: BTreeSet<usize>,
}

/// Plays a session.
pub(crate) struct Interpreter<'s> {
    session: &'s Session,
    players: BTreeMap<Incarnation, Player>,
    /// What was committed last, and what is to be played next.
    committed: Document,
    waiting: VecDeque<Document>,
    /// The present scene and those that follow; the last one lasts.
    scenes: VecDeque<Scene>,
    /// Commands that wait for their node.
    held: VecDeque<(Incarnation, Body)>,
    sound: Sound,
}

/// Edits under way at once.
const EDITS: usize = 4;

impl<'s> Interpreter<'s> {
    pub(crate) fn new(session: &'s Session) -> Self {
        let outputs = session.outputs.iter().map(|width| vec![Vec::new(); usize::from(*width)]).collect();
        Self {
            session,
            players: BTreeMap::new(),
            committed: session.start.clone(),
            waiting: VecDeque::from([session.start.clone()]),
            scenes: VecDeque::from([Scene::default()]),
            held: VecDeque::new(),
            sound: Sound { outputs, ..Sound::default() },
        }
    }

    pub(crate) fn play(mut self) -> Sound {
        let session = self.session;
        let mut acts = session.acts.iter().peekable();
        for from in (0..session.frames).step_by(GRID) {
            // At one frame the control thread comes first, then the grid point, then the host's events.
            for at in from..from + GRID {
                let mut next = |is_mine: fn(&Act) -> bool| {
                    acts.next_if(|(frame, act)| *frame == at && is_mine(act)).map(|(_, act)| act)
                };
                while let Some(act) = next(|act| !matches!(act, Act::Event { .. })) {
                    self.control(at, act);
                }
                if at == from {
                    self.grid_point(at);
                }
                while let Some(Act::Event { to, body }) = next(|act| matches!(act, Act::Event { .. })) {
                    self.event(at, *to, *body);
                }
            }
            self.block(from);
        }
        self.sound.events.retain(|(at, _)| *at < session.frames);
        let arrivals = self.committed.arrivals();
        self.sound.latency = arrivals[&session.output];
        self.sound
    }

    fn control(&mut self, at: usize, act: &Act) {
        match act {
            Act::Commit { document, .. } => {
                let is_room = self.waiting.len() + usize::from(self.scenes.len() > 1) < EDITS;
                self.sound.accepted.push(is_room);
                if is_room {
                    self.waiting.push_back(document.clone());
                    self.committed = document.clone();
                }
            }
            Act::Set { node, id, value } => {
                if let Some(part) = self.committed.parts.get(node) {
                    self.held.push_back((part.incarnation, Body::parameter(*id, *value)));
                    self.command(at);
                }
            }
            Act::Event { .. } => {}
        }
    }

    /// A command waits for the edit that brings its node, and the commands behind it with it.
    fn command(&mut self, at: usize) {
        while let Some((unit, body)) = self.held.front().copied() {
            match self.players.get_mut(&unit) {
                Some(player) => player.push(at, 0, body),
                None if !self.waiting.is_empty() => return,
                None => {}
            }
            self.held.pop_front();
        }
    }

    fn event(&mut self, at: usize, to: To, body: Body) {
        let arrivals = &self.scenes[0].score.arrivals;
        let targets: Vec<(Incarnation, usize)> = match to {
            To::Node(node) => {
                let unit = self.committed.parts.get(&node).map(|part| part.incarnation);
                unit.map(|unit| (unit, arrivals.get(&unit).copied().unwrap_or(0))).into_iter().collect()
            }
            To::Input => {
                let input = self.committed.parts[&self.session.input].incarnation;
                let wires = self.scenes[0].score.wires.iter();
                let events = wires.filter(|wire| wire.kind == Kind::Events && wire.from.0 == input);
                events.map(|wire| (wire.to.0, wire.delay)).collect()
            }
        };
        for (unit, delay) in targets {
            if let Some(player) = self.players.get_mut(&unit) {
                player.push(at + delay, 1, body);
            }
        }
    }

    fn grid_point(&mut self, at: usize) {
        let scene = &self.scenes[0];
        if self.scenes.len() > 1 && at == scene.begin + scene.warm_up + scene.fade {
            self.scenes.pop_front();
            self.scenes[0].begin = at;
            if self.scenes.len() == 1 {
                let score = &self.scenes[0].score;
                self.players.retain(|unit, _| score.has(*unit));
            }
        }
        if self.scenes.len() == 1
            && let Some(document) = self.waiting.pop_front()
        {
            self.take(at, &document);
            self.command(at);
        }
    }

    /// An edit begins to be heard.
    fn take(&mut self, at: usize, document: &Document) {
        let old = self.scenes[0].score.clone();
        let mut new = Score::of(document, |port, frames| match old.lines.get(&port) {
            Some(line) if frames <= line.capacity => *line,
            _ => Line { begin: at, capacity: frames.next_power_of_two().max(256) },
        });
        for part in document.parts.values().filter(|part| !old.has(part.incarnation)) {
            self.players.insert(part.incarnation, Player::new(part, at));
        }
        // Whoever loses a source of notes lets go of what it sent; also where the way gets shorter, so that a note may
        // have ended before it began.
        let ways: BTreeMap<_, _> = new.wires.iter().map(|wire| (wire.ends(), wire.delay)).collect();
        let lost = old.wires.iter().filter(|wire| wire.kind == Kind::Events && new.has(wire.to.0));
        let lost = lost.filter(|wire| ways.get(&wire.ends()).is_none_or(|delay| *delay < wire.delay));
        for unit in lost.map(|wire| wire.to.0).collect::<BTreeSet<_>>() {
            let player = self.players.get_mut(&unit).expect("it stays");
            // Behind all that is on its way to it.
            let due = player.pending.last().map_or(at, |pending| pending.due);
            player.push(due, 1, Body::all_notes_off());
        }
        let fade = self.session.fade_frames;
        let union = union(&old, &new);
        let line_moves = swapped(&old, &new).next().is_some();
        let mut scenes = VecDeque::new();
        if union.order().is_some() {
            if line_moves || union.wires.iter().any(|wire| wire.fade != Fade::Steady) {
                let warm_up = warm_up(&old, &new);
                scenes.push_back(Scene::new(union, warm_up, fade));
            }
        } else {
            // First what leaves fades out, then what comes fades in. New lines begin with the second; but those that
            // connections move to which are heard all the time begin at once, and are waited for.
            let moved: BTreeSet<PortOf> = swapped(&old, &new).map(|wire| wire.from).collect();
            let wait = to_grid(swapped(&old, &new).map(|wire| wire.delay).max().unwrap_or(0));
            for (_, line) in
                new.lines.iter_mut().filter(|(port, line)| line.begin == at && !moved.contains(port))
            {
                line.begin = at + wait + fade;
            }
            for wire in new.wires.iter_mut().filter(|wire| wire.line.is_some()) {
                wire.line = new.lines.get(&wire.from).copied();
            }
            scenes.push_back(Scene::new(leaving(&old, &new), wait, fade));
            let warm_up = warm_up(&old, &new);
            scenes.push_back(Scene::new(entering(&new, &old), warm_up, fade));
            self.sound.in_two_stages += 1;
        }
        self.sound.crossfades += usize::from(!scenes.is_empty());
        scenes.push_back(Scene::new(new, 0, 0));
        scenes[0].begin = at;
        self.scenes = scenes;
        if self.scenes.len() == 1 {
            let score = &self.scenes[0].score;
            self.players.retain(|unit, _| score.has(*unit));
        }
    }

    /// One stretch between grid points.
    fn block(&mut self, from: usize) {
        let scene = self.scenes.pop_front().expect("one always plays");
        if scene.fade > 0 {
            self.sound.crossfaded.insert(from);
        }
        let mut parameters: BTreeMap<Incarnation, Vec<Vec<f64>>> =
            self.players.iter_mut().map(|(unit, player)| (*unit, player.parameters(from))).collect();
        for unit in &scene.order {
            let device = self.players[unit].device.clone();
            let input = self.input(&scene, *unit, &device, from);
            let mut player = self.players.remove(unit).expect("whoever plays is there");
            let parameters = parameters.remove(unit).expect("all have some");
            self.node(&scene, *unit, &mut player, &input, &parameters, from);
            self.players.insert(*unit, player);
        }
        self.scenes.push_front(scene);
        // Those that do not play yet move their parameters all the same.
        let players = self.players.values_mut();
        players.for_each(|player| {
            let is_past = |pending: &Pending| {
                pending.due < from + GRID && matches!(pending.body, Body::Parameter { .. })
            };
            player.pending.retain(|pending| !is_past(pending));
        });
    }

    /// What comes into a node: frames of all ports' channels in a row.
    fn input(&self, scene: &Scene, unit: Incarnation, device: &Device, from: usize) -> Vec<Vec<f64>> {
        let widths = match device {
            Device::Input(widths) => widths.clone(),
            _ => device.layout().inputs,
        };
        let mut input: Vec<Vec<f64>> = Vec::new();
        for (port, width) in (0_u16..).zip(widths) {
            let wires = scene.score.wires.iter();
            let wires = wires.filter(|wire| wire.to == (unit, port) && wire.kind != Kind::Events);
            let wires: Vec<&Wire> = wires.collect();
            for channel in 0..usize::from(width) {
                let mut sum = vec![0.0; GRID];
                if let Device::Input(_) = device {
                    let samples = self.session.inputs[usize::from(port)][channel].iter().skip(from);
                    sum.iter_mut().zip(samples).for_each(|(sum, sample)| *sum = f64::from(*sample));
                }
                for wire in &wires {
                    add(&mut sum, scene, wire, &self.players[&wire.from.0], channel, from);
                }
                input.push(sum);
            }
        }
        input
    }

    /// One block of one node, frame by frame.
    fn node(
        &mut self,
        scene: &Scene,
        unit: Incarnation,
        player: &mut Player,
        input: &[Vec<f64>],
        parameters: &[Vec<f64>],
        from: usize,
    ) {
        player.machine.at_grid(&parameters[0]);
        let mut output = vec![0.0; player.past.iter().map(Vec::len).sum()];
        let (mut frame, mut given) = (vec![0.0; input.len()], Vec::new());
        for (offset, parameters) in parameters[1..].iter().enumerate() {
            let at = from + offset;
            frame.iter_mut().zip(input).for_each(|(sample, channel)| *sample = channel[offset]);
            let loudest = frame.iter().fold(0.0_f64, |loudest, sample| loudest.max(sample.abs()));
            self.sound.peak = self.sound.peak.max(loudest);
            let heard = player.heard(at);
            match player.device {
                Device::Input(_) => output.copy_from_slice(&frame),
                Device::Output(_) => {
                    let channels = self.sound.outputs.iter_mut().flatten();
                    channels.zip(&frame).for_each(|(channel, sample)| channel.push(*sample));
                    self.sound.events.extend(heard.iter().map(|body| (at, *body)));
                }
                _ => player.machine.tick(at, &frame, parameters, &heard, &mut output, &mut given),
            }
            for (channel, sample) in player.past.iter_mut().flatten().zip(&output) {
                // From when it was born on, though it may have begun to play later.
                channel.resize(at - player.born, 0.0);
                channel.push(*sample);
            }
            self.give(scene, unit, at, &given);
            given.clear();
        }
    }

    /// What a node gave is heard when the audio that left with it is there too.
    fn give(&mut self, scene: &Scene, unit: Incarnation, at: usize, given: &[Body]) {
        if given.is_empty() {
            return;
        }
        let wires = scene.score.wires.iter().filter(|wire| wire.kind == Kind::Events && wire.from.0 == unit);
        for wire in wires {
            let player = self.players.get_mut(&wire.to.0).expect("its target plays");
            given.iter().for_each(|body| player.push(at + wire.delay, 1, *body));
        }
    }
}

/// Adds what a connection brings to one channel in a block.
fn add(sum: &mut [f64], scene: &Scene, wire: &Wire, source: &Player, channel: usize, from: usize) {
    let channels = &source.past[usize::from(wire.from.1)];
    // A mono source feeds every channel.
    let past = channels.get(channel).unwrap_or(&channels[0]);
    let begin = source.born.max(wire.line.map_or(0, |line| line.begin));
    for (at, sum) in (from..).zip(sum) {
        if let Some(then) = at.checked_sub(wire.delay).filter(|then| *then >= begin) {
            *sum += past[then - source.born] * scene.gain(wire.fade, at);
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a short time, and never negative"
)]
fn frames_of(ms: f32) -> u32 {
    (ms * 48.0).round() as u32
}
