//! The operations of a schedule, one after the other.

use audiocloud_dsp::biquad::{State, lanes};
use audiocloud_dsp::ramp::Ramp;
use audiocloud_rt::{host_time, log};

use super::{Ports, Renderer};
use crate::bypass::Turn;
use crate::edit::{Filters, Tables};
use crate::event::{Body, Event};
use crate::node::{Block, Buffer, GRID, Moment, Processor, Shed};
use crate::schedule::{Fade, LANES_MAX, Mono, Op, SILENCE, Span};
use crate::slot::{Filter, Player, Range, Slot, set};

/// Blocks for which nodes without state are looked at one by one, after one of them made something that is not a number.
const NAMING_BLOCKS: u32 = 16;

/// A gain for one block.
enum Gain {
    Constant(f32),
    Moving,
}

impl Renderer {
    /// Runs the schedule for `length` frames, which are those from `done` on in the host's block.
    pub(super) fn run(&mut self, moment: &Moment<'_>, length: usize, done: usize, ports: &mut dyn Ports) {
        let length = length.min(GRID);
        // Taken out, so that its tables can be read while all else changes; put back below. Nothing is allocated.
        let schedule = std::mem::take(&mut self.schedule);
        for op in &schedule.ops {
            match *op {
                Op::Process { slot, inputs, outputs } => {
                    let inputs = &schedule.buffers[inputs.range()];
                    let outputs = &schedule.buffers[outputs.range()];
                    self.run_processor(moment, slot, inputs, outputs, length);
                }
                Op::ProcessMonos { nodes } => {
                    self.run_monos(moment, &schedule.monos[nodes.range()], length);
                }
                Op::Read { bus, channel, to } => {
                    let samples = &mut self.tables.pool[to as usize][..length];
                    ports.read(usize::from(bus), usize::from(channel), done, samples);
                    if !is_finite(samples) {
                        samples.fill(0.0);
                        self.fault(moment, schedule.input_slot, false);
                    }
                }
                Op::Write { bus, channel, from } => {
                    let samples = &self.tables.pool[from as usize][..length];
                    ports.write(usize::from(bus), usize::from(channel), done, samples);
                }
                Op::Copy { from, to } => {
                    // Never the same: the compiler copies into a buffer that it took from the free ones.
                    if let Ok([from, to]) = self.tables.pool.get_disjoint_mut([from as usize, to as usize]) {
                        to[..length].copy_from_slice(&from[..length]);
                    }
                }
                Op::Scale { buffer, gains } => {
                    let Tables { slots, pool, .. } = &mut self.tables;
                    let mut values = [0.0; GRID];
                    let gain = gain(slots, &schedule.slots[gains.range()], &mut values[..length]);
                    let samples = &mut pool[buffer as usize][..length];
                    match gain {
                        Gain::Constant(1.0) => {}
                        Gain::Constant(gain) => samples.iter_mut().for_each(|sample| *sample *= gain),
                        Gain::Moving => multiply(samples, &values[..length]),
                    }
                }
                Op::Mix { to, terms, onto } => self.mix(&schedule, to, terms, onto, length),
                Op::Bank { lanes } => self.run_bank(moment, &schedule.lanes[lanes.range()], length),
                Op::Series { slots, channel, buffer } => {
                    self.run_series(moment, &schedule.slots[slots.range()], channel, buffer, length);
                }
                Op::Check { buffer, slot } => {
                    let samples = &mut self.tables.pool[buffer as usize][..length];
                    if !is_finite(samples) {
                        samples.fill(0.0);
                        self.fault(moment, slot, true);
                        self.naming = NAMING_BLOCKS;
                    }
                }
                Op::Remember { line, channel, from } => {
                    let Tables { lines, pool, .. } = &mut self.tables;
                    if let Some(ring) =
                        lines.get_mut(line as usize).and_then(|line| line.get_mut(channel as usize))
                    {
                        ring.write(&pool[from as usize][..length]);
                    }
                }
                Op::Recall { line, channel, delay, to, behind } => {
                    let Tables { lines, pool, .. } = &mut self.tables;
                    let samples = &mut pool[to as usize][..length];
                    let back = delay as usize + if behind { length } else { 0 };
                    match lines.get(line as usize).and_then(|line| line.get(channel as usize)) {
                        Some(ring) => ring.read_back(back, samples),
                        None => samples.fill(0.0),
                    }
                }
                Op::Deliver { slot, routes } => {
                    self.deliver(moment, &schedule.routes[routes.range()], slot, length);
                }
                Op::Stamp { group } => self.deadlines.stamp(group),
            }
        }
        self.schedule = schedule;
    }

    /// What [`Self::run_processor`] comes to where there are neither events nor a bypass. A function of its own, so
    /// that what it needs for each of many small nodes stays in registers.
    #[inline(never)]
    fn run_monos(&mut self, moment: &Moment<'_>, nodes: &[Mono], length: usize) {
        let one_by_one = self.naming > 0 || self.deadlines.is_probing();
        let to = u32::try_from(length).unwrap_or(0);
        for Mono { slot: index, input, output, check } in nodes {
            let inputs = std::slice::from_ref(input);
            if one_by_one {
                self.run_processor(moment, *index, inputs, std::slice::from_ref(output), length);
                continue;
            }
            let Tables { slots, pool, spare, .. } = &mut self.tables;
            let Some(slot) = slots.get_mut(*index as usize) else { continue };
            let Player::Processor(processor) = &mut slot.player else { continue };
            let Some(own) = spare.first_mut() else { continue };
            std::mem::swap(own, &mut pool[*output as usize]);
            let (parameters, given) = (&slot.parameters, &mut self.nowhere);
            let outputs = std::slice::from_mut(own);
            let mut block =
                Block { moment, pool, inputs, outputs, parameters, events: &[], given, from: 0, to };
            processor.process(&mut block);
            let is_fault = *check && silence_faults(std::slice::from_mut(own), length);
            std::mem::swap(own, &mut pool[*output as usize]);
            if is_fault {
                self.fault(moment, *index, true);
            }
        }
    }

    #[inline(never)]
    fn run_processor(
        &mut self,
        moment: &Moment<'_>,
        index: u32,
        inputs: &[u32],
        outputs: &[u32],
        length: usize,
    ) {
        let meters_off = self.status.meters_off;
        let Tables { slots, moving, pool, spare, costs, .. } = &mut self.tables;
        let Some(slot) = slots.get_mut(index as usize) else { return };
        let Player::Processor(processor) = &mut slot.player else { return };
        // What is written is moved out of the pool for as long, so that all else in it can be read.
        let own = &mut spare[..outputs.len()];
        swap(own, pool, outputs);
        let began = self.deadlines.is_probing().then(host_time::now);
        let (given, events) = match &mut slot.voices {
            Some(voices) => {
                // What nobody listened to is not kept for who listens later.
                voices.taken.clear();
                voices.taken.take_refused();
                (&mut voices.taken, voices.given.as_slice())
            }
            None => (&mut self.nowhere, &[][..]),
        };
        let is_off = meters_off && slot.shed == Shed::Meter;
        let mut rests = is_off;
        if let Some(bypass) = &mut slot.bypass {
            if moment.position.is_multiple_of(GRID as u64) && !is_off {
                match bypass.at_grid() {
                    Turn::None => {}
                    // Nobody else would let go of the notes that it gave.
                    Turn::Rests => {
                        given.push(Event { offset: 0, body: Body::all_notes_off() });
                    }
                    Turn::Begins => processor.reset(),
                }
            }
            for event in events {
                if let Body::Bypass(bypassed) = event.body {
                    bypass.set_by_user(bypassed);
                }
            }
            if is_off {
                bypass.pass(own, length);
            } else {
                rests = !bypass.is_out_of_the_way() && !bypass.keep(own, length);
            }
        }
        let to = u32::try_from(length).unwrap_or(0);
        if events.iter().all(|event| event.offset == 0 && !event.body.is_setting()) {
            if !rests {
                let (outputs, parameters) = (&mut *own, &slot.parameters);
                processor.process(&mut Block {
                    moment,
                    pool,
                    inputs,
                    outputs,
                    parameters,
                    events,
                    given,
                    from: 0,
                    to,
                });
            }
        } else {
            let block =
                Block { moment, pool, inputs, outputs: own, parameters: &[], events, given, from: 0, to };
            let processor = if rests { None } else { Some(&mut **processor) };
            let is_set = play_between(processor, &mut slot.parameters, &slot.ranges, block);
            if is_set && !slot.moving && moving.len() < moving.capacity() {
                slot.moving = true;
                moving.push(index);
            }
            slot.ahead = slot.moving;
        }
        let is_fault = (!slot.stateless || self.naming > 0) && silence_faults(own, length);
        if let Some(bypass) = slot.bypass.as_mut().filter(|bypass| !is_off && !bypass.is_out_of_the_way()) {
            bypass.blend(own, length);
        }
        let mut refused = 0;
        if let Some(voices) = &mut slot.voices {
            voices.given.clear();
            refused = voices.given.take_refused();
        }
        swap(own, pool, outputs);
        if let (Some(began), Some(cost)) = (began, costs.get_mut(index as usize)) {
            cost.spent_ns += u64::try_from((host_time::now() - began).get()).unwrap_or(0);
        }
        if is_fault {
            if slot.stateless {
                // It may well do so again.
                self.naming = NAMING_BLOCKS;
            }
            self.fault(moment, index, true);
        }
        self.refuse(moment.callback, index, refused);
    }

    fn mix(&mut self, schedule: &super::Schedule, to: u32, terms: Span, onto: bool, length: usize) {
        let Tables { slots, pool, spare, .. } = &mut self.tables;
        std::mem::swap(&mut spare[0], &mut pool[to as usize]);
        let sum = &mut spare[0][..length];
        let mut is_first = !onto;
        for term in &schedule.terms[terms.range()] {
            let samples = &pool[term.buffer as usize][..length];
            let mut values = [0.0; GRID];
            let values = &mut values[..length];
            let mut factor = gain(slots, &schedule.slots[term.gains.range()], values);
            // Not `0.0 * sample`, which would take the sign off a negative zero in what it is added to.
            if matches!(factor, Gain::Constant(0.0)) {
                continue;
            }
            let fade = match term.fade {
                Fade::Steady => None,
                Fade::In => Some(&self.fade_in[..length]),
                Fade::Out => Some(&self.fade_out[..length]),
            };
            if let Some(fade) = fade {
                if let Gain::Constant(constant) = factor {
                    values.fill(constant);
                }
                multiply(values, fade);
                factor = Gain::Moving;
            }
            match (factor, is_first) {
                (Gain::Constant(1.0), true) => sum.copy_from_slice(samples),
                (Gain::Constant(1.0), false) => add(sum, samples),
                (Gain::Constant(gain), true) => {
                    sum.iter_mut().zip(samples).for_each(|(sum, sample)| *sum = gain * sample);
                }
                (Gain::Constant(gain), false) => {
                    sum.iter_mut().zip(samples).for_each(|(sum, sample)| *sum += gain * sample);
                }
                (Gain::Moving, true) => {
                    for ((sum, sample), gain) in sum.iter_mut().zip(samples).zip(&*values) {
                        *sum = gain * sample;
                    }
                }
                (Gain::Moving, false) => {
                    for ((sum, sample), gain) in sum.iter_mut().zip(samples).zip(&*values) {
                        *sum += gain * sample;
                    }
                }
            }
            is_first = false;
        }
        if is_first {
            sum.fill(0.0);
        }
        std::mem::swap(&mut spare[0], &mut pool[to as usize]);
    }

    fn run_bank(&mut self, moment: &Moment<'_>, bank: &[crate::schedule::Lane], length: usize) {
        let Tables { slots, pool, spare, filters, .. } = &mut self.tables;
        let Filters { coefficients, states } = filters;
        let count = bank.len().min(LANES_MAX).min(coefficients.len()).min(states.len()).min(spare.len());
        let bank = &bank[..count];
        let (coefficients, states) = (&mut coefficients[..count], &mut states[..count]);
        let outputs = &mut spare[..count];
        // What is written is moved out of the pool for as long, so that all else in it can be read.
        for (((lane, output), coefficients), state) in
            bank.iter().zip(&mut *outputs).zip(&mut *coefficients).zip(&mut *states)
        {
            if let Some(filter) = filter(slots, lane.slot) {
                *coefficients = filter.coefficients;
                *state = filter.state(lane.channel).copied().unwrap_or_default();
            }
            std::mem::swap(output, &mut pool[lane.to as usize]);
        }
        let mut inputs = [None; LANES_MAX];
        for (input, lane) in inputs.iter_mut().zip(bank) {
            *input = (lane.from != lane.to).then(|| &pool[lane.from as usize][..]);
        }
        lanes::bank(coefficients, states, &inputs, outputs, 0..length);
        let mut fault = None;
        for ((lane, output), state) in bank.iter().zip(outputs).zip(states) {
            // What is not a number stays in the state for ever, so that the state tells all about the block.
            if !is_finite(&[state.s1, state.s2]) {
                output[..length].fill(0.0);
                *state = State::default();
                fault = Some(lane.slot);
            }
            if let Some(place) = filter(slots, lane.slot).and_then(|filter| filter.state(lane.channel)) {
                *place = *state;
            }
            std::mem::swap(output, &mut pool[lane.to as usize]);
        }
        if let Some(slot) = fault {
            self.fault(moment, slot, false);
        }
    }

    fn run_series(&mut self, moment: &Moment<'_>, chain: &[u32], channel: u32, buffer: u32, length: usize) {
        let Tables { slots, pool, filters, .. } = &mut self.tables;
        let Filters { coefficients, states } = filters;
        let count = chain.len().min(coefficients.len()).min(states.len());
        for (index, slot) in chain.iter().enumerate().take(count) {
            if let Some(filter) = filter(slots, *slot) {
                coefficients[index] = filter.coefficients;
                states[index] = filter.state(channel).copied().unwrap_or_default();
            }
        }
        let samples = &mut pool[buffer as usize][..length];
        lanes::series(&coefficients[..count], &mut states[..count], samples);
        // The first whose state is not a number is the one that began; all behind it heard it.
        let is_bad = |state: &State| !is_finite(&[state.s1, state.s2]);
        let bad = states[..count].iter().position(is_bad);
        if let Some(from) = bad {
            samples.fill(0.0);
            states[from..count].fill(State::default());
        }
        let fault = bad.and_then(|from| chain.get(from).copied());
        for (index, slot) in chain.iter().enumerate().take(count) {
            if let Some(place) = filter(slots, *slot).and_then(|filter| filter.state(channel)) {
                *place = states[index];
            }
        }
        if let Some(slot) = fault {
            self.fault(moment, slot, false);
        }
    }

    /// Something that is not a number came out of a slot, and was replaced by silence.
    fn fault(&mut self, moment: &Moment<'_>, index: u32, forget: bool) {
        self.status.not_finite += 1;
        let Some(slot) = self.tables.slots.get_mut(index as usize) else { return };
        slot.faults = slot.faults.saturating_add(1);
        if forget {
            slot.forget();
        }
        let (key, faults) = (slot.key, slot.faults);
        if faults.is_power_of_two() {
            self.note(moment.callback, log::What::NotFinite, key, u64::from(faults));
        }
    }
}

/// Calls the processor, where it does not rest, once for each stretch between its events. What sets parameters takes
/// effect at the beginning of one. True where anything was set; the parameters are at the block's end in any case.
#[inline(never)]
fn play_between(
    mut processor: Option<&mut (dyn Processor + 'static)>,
    parameters: &mut [Ramp],
    ranges: &[Range],
    block: Block<'_>,
) -> bool {
    let Block { moment, pool, inputs, outputs, mut events, given, to, .. } = block;
    let mut from = 0;
    let mut is_set = false;
    while from < to {
        let (now, later) = events.split_at(events.partition_point(|event| event.offset <= from));
        let (settings, now) = now.split_at(now.partition_point(|event| event.body.is_setting()));
        for event in settings {
            is_set |= set(parameters, ranges, &event.body);
        }
        let next = later.first().map_or(to, |event| event.offset.min(to));
        if let Some(processor) = &mut processor {
            processor.process(&mut Block {
                moment,
                pool,
                inputs,
                outputs: &mut *outputs,
                parameters,
                events: now,
                given: &mut *given,
                from,
                to: next,
            });
        }
        parameters.iter_mut().for_each(|ramp| ramp.advance(next - from));
        events = later;
        from = next;
    }
    is_set
}

/// The product of fused gains: one number, or else `values` for each frame. The order of the factors is the same in
/// both, so that it makes no difference where a block is cut.
fn gain(slots: &[Slot], chain: &[u32], values: &mut [f32]) -> Gain {
    let ramp = |slot: &u32| slots.get(*slot as usize).and_then(|slot| slot.parameters.first());
    let mut product = 1.0;
    let mut is_moving = false;
    for ramp in chain.iter().filter_map(ramp) {
        is_moving |= !ramp.is_resting();
        product *= ramp.value();
    }
    if !is_moving {
        return Gain::Constant(product);
    }
    values.fill(1.0);
    let mut factors = [0.0; GRID];
    let factors = &mut factors[..values.len()];
    for ramp in chain.iter().filter_map(ramp) {
        if ramp.is_resting() {
            let value = ramp.value();
            values.iter_mut().for_each(|product| *product *= value);
        } else {
            ramp.fill(factors);
            multiply(values, factors);
        }
    }
    Gain::Moving
}

fn filter(slots: &mut [Slot], index: u32) -> Option<&mut Filter> {
    match &mut slots.get_mut(index as usize)?.player {
        Player::Filter(filter) => Some(filter),
        _ => None,
    }
}

/// Exchanges the numbered buffers of the pool for spare ones, or back.
fn swap(own: &mut [Buffer], pool: &mut [Buffer], indices: &[u32]) {
    for (own, index) in own.iter_mut().zip(indices) {
        debug_assert!(*index != SILENCE);
        std::mem::swap(own, &mut pool[*index as usize]);
    }
}

fn multiply(samples: &mut [f32], factors: &[f32]) {
    samples.iter_mut().zip(factors).for_each(|(sample, factor)| *sample *= factor);
}

fn add(sum: &mut [f32], samples: &[f32]) {
    sum.iter_mut().zip(samples).for_each(|(sum, sample)| *sum += sample);
}

/// Silences what is not a number. True where there was any.
fn silence_faults(buffers: &mut [Buffer], length: usize) -> bool {
    let mut any = false;
    for buffer in buffers.iter_mut().filter(|buffer| !is_finite(&buffer[..length])) {
        buffer[..length].fill(0.0);
        any = true;
    }
    any
}

/// Whether all samples are numbers: what is finite minus itself is a positive zero, all else is not.
#[allow(clippy::eq_op, reason = "that it differs from zero for what is not finite is the point")]
fn is_finite(samples: &[f32]) -> bool {
    samples.iter().fold(0, |bits, sample| bits | (sample - sample).to_bits()) == 0
}
