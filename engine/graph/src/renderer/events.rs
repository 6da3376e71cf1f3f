//! Events on their way: from the host and the control thread to nodes, from node to node, and out again.

use audiocloud_rt::callback::Callback;
use audiocloud_rt::log;

use super::{Address, HostEvent, Ports, Renderer, Target};
use crate::edit::Tables;
use crate::event::{Body, Event};
use crate::inbox::Pending;
use crate::node::Moment;
use crate::schedule::Route;
use crate::slot::Player;

impl Renderer {
    /// What the control thread wanted since the last callback.
    pub(super) fn obey(&mut self, callback: &Callback<'_>) {
        while let Some(commands) = self.held.take().or_else(|| self.commands.take()) {
            if commands.edit > self.status.edit {
                self.held = Some(commands);
                return;
            }
            for (address, body) in &commands.list {
                if self.is_there(*address) {
                    self.tell(address.slot, body);
                } else {
                    self.lose(callback, address.key);
                }
            }
            self.commands.send_home(commands);
        }
    }

    fn is_there(&self, address: Address) -> bool {
        let slot = self.tables.slots.get(address.slot as usize);
        slot.is_some_and(|slot| slot.key == address.key && !matches!(slot.player, Player::Nobody))
    }

    /// Keeps what the host tells until it happens.
    pub(super) fn receive(&mut self, callback: &Callback<'_>, event: &HostEvent, frames: usize) {
        let last = u32::try_from(frames.saturating_sub(1)).unwrap_or(u32::MAX);
        let at = self.position + u64::from(event.offset.min(last));
        if !self.arriving.push(Pending { due: at, given: at, to: event.target, body: event.body }) {
            match event.target {
                Target::Node(address) if self.is_there(address) => self.refuse(callback, address.slot, 1),
                Target::Node(address) => self.lose(callback, address.key),
                Target::Input => {
                    for index in self.schedule.input_routes.range() {
                        self.refuse(callback, self.schedule.routes[index].slot, 1);
                    }
                }
            }
        }
    }

    /// An event waits until the audio that it belongs to is where it goes.
    pub(super) fn schedule_event(&mut self, callback: &Callback<'_>, event: &Pending<Target>) {
        let Pending { due: given, to, body, .. } = *event;
        match to {
            Target::Node(address) if !self.is_there(address) => self.lose(callback, address.key),
            Target::Node(Address { slot, .. }) => {
                let arrival = self.schedule.arrivals.get(slot as usize).copied().unwrap_or(0);
                if !self.inbox.push(Pending { due: given + u64::from(arrival), given, to: slot, body }) {
                    self.refuse(callback, slot, 1);
                }
            }
            Target::Input => {
                for index in self.schedule.input_routes.range() {
                    let Route { slot, delay } = self.schedule.routes[index];
                    if !self.inbox.push(Pending { due: given + u64::from(delay), given, to: slot, body }) {
                        self.refuse(callback, slot, 1);
                    }
                }
            }
        }
    }

    /// An event for a node that is gone.
    fn lose(&mut self, callback: &Callback<'_>, key: u64) {
        self.status.events_refused += 1;
        if self.status.events_refused.is_power_of_two() {
            self.note(callback, log::What::EventsRefused, key, self.status.events_refused);
        }
    }

    /// There was no room for a node's events. It is named whenever their count has doubled.
    pub(super) fn refuse(&mut self, callback: &Callback<'_>, index: u32, count: u64) {
        let Some(slot) = self.tables.slots.get_mut(index as usize).filter(|_| count > 0) else { return };
        let before = slot.refused;
        slot.refused += count;
        let (key, refused) = (slot.key, slot.refused);
        self.status.events_refused += count;
        if refused.leading_zeros() < before.leading_zeros() {
            self.note(callback, log::What::EventsRefused, key, refused);
        }
    }

    pub(super) fn tell(&mut self, index: u32, body: &Body) {
        let Tables { slots, moving, .. } = &mut self.tables;
        let begins = slots.get_mut(index as usize).is_some_and(|slot| slot.hear(body));
        // There is room for every slot, and each is in it once.
        if begins && moving.len() < moving.capacity() {
            moving.push(index);
        }
    }

    /// What came to the graph's event output.
    pub(super) fn deliver_output(&mut self, callback: &Callback<'_>, done: usize, ports: &mut dyn Ports) {
        let output = self.tables.slots.get_mut(self.output_slot as usize);
        let Some(voices) = output.and_then(|slot| slot.voices.as_mut()) else { return };
        for event in voices.given.as_slice() {
            ports.event(done + event.offset as usize, &event.body);
        }
        voices.given.clear();
        let refused = voices.given.take_refused();
        self.refuse(callback, self.output_slot, refused);
    }

    /// A node's events go to whom they are for: now, or when the audio is there too.
    pub(super) fn deliver(&mut self, moment: &Moment<'_>, routes: &[Route], index: u32, length: usize) {
        let slots = &mut self.tables.slots;
        let Some(mut voices) = slots.get_mut(index as usize).and_then(|slot| slot.voices.take()) else {
            return;
        };
        let refused = voices.taken.take_refused();
        for route in routes {
            let mut refused = 0;
            for event in voices.taken.as_slice() {
                let offset = event.offset.saturating_add(route.delay);
                // Behind this block, or in it: the target is yet to play it.
                if offset as usize >= length {
                    let given = moment.position + u64::from(event.offset);
                    let due = given + u64::from(route.delay);
                    let pending = Pending { due, given, to: route.slot, body: event.body };
                    refused += u64::from(!self.inbox.push(pending));
                } else if let Some(slot) = self.tables.slots.get_mut(route.slot as usize)
                    && let Some(voices) = &mut slot.voices
                {
                    // Full lists count by themselves, until they are played.
                    voices.given.push_aged(Event { offset, ..*event }, route.delay);
                }
            }
            self.refuse(moment.callback, route.slot, refused);
        }
        voices.taken.clear();
        if let Some(slot) = self.tables.slots.get_mut(index as usize) {
            slot.voices = Some(voices);
        }
        self.refuse(moment.callback, index, refused);
    }
}
