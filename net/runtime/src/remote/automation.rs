//! What automation said last, for a node that opens the chain after it was said.

use std::collections::BTreeMap;

use audiocloud_rt::block_ring::Epoch;
use audiocloud_rt::chain_event::{ChainBody, ChainEvent};
use audiocloud_units::MediaTime;

/// Values that are remembered. A plug-in has 64 slots, and windows move what has none.
const VALUES_MAX: usize = 512;

/// What is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Parameter(u32, u32),
    Bypass(u32),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Automation {
    /// As the event that sets it at once.
    values: BTreeMap<What, Value>,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Number(f32),
    Switch(bool),
}

impl Automation {
    pub(crate) fn hear(&mut self, body: &ChainBody) {
        let (what, value) = match *body {
            ChainBody::Parameter { effect, parameter, value, .. } => {
                (What::Parameter(effect, parameter), Value::Number(value))
            }
            ChainBody::Bypass { effect, on } => (What::Bypass(effect), Value::Switch(on)),
            ChainBody::Voice(_) | ChainBody::Transport { .. } => return,
        };
        if self.values.len() < VALUES_MAX || self.values.contains_key(&what) {
            self.values.insert(what, value);
        }
    }

    /// Puts all of it in front of `events`, at once at this frame.
    pub(crate) fn tell(&self, epoch: Epoch, time: MediaTime, events: &mut Vec<ChainEvent>) {
        let body = |(what, value): (&What, &Value)| match (*what, *value) {
            (What::Parameter(effect, parameter), Value::Number(value)) => {
                Some(ChainBody::Parameter { effect, parameter, value, ramp_frames: Some(0) })
            }
            (What::Bypass(effect), Value::Switch(on)) => Some(ChainBody::Bypass { effect, on }),
            _ => None,
        };
        let told = self.values.iter().filter_map(body).map(|body| ChainEvent { epoch, time, body });
        events.splice(0..0, told.collect::<Vec<_>>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_each_is_told_first_and_at_once() {
        let mut automation = Automation::default();
        let set =
            |parameter, value, ramp_frames| ChainBody::Parameter { effect: 1, parameter, value, ramp_frames };
        automation.hear(&set(4, 0.5, None));
        automation.hear(&set(4, 0.75, Some(480)));
        automation.hear(&ChainBody::Bypass { effect: 1, on: true });
        automation.hear(&ChainBody::Bypass { effect: 1, on: false });
        let (epoch, time) = (Epoch(3), MediaTime::new(640));
        let later = ChainEvent { epoch, time: MediaTime::new(700), body: set(4, 0.1, None) };
        let mut events = vec![later];
        automation.tell(epoch, time, &mut events);
        let bodies: Vec<ChainBody> = events.iter().map(|event| event.body).collect();
        let off = ChainBody::Bypass { effect: 1, on: false };
        assert_eq!(bodies, [set(4, 0.75, Some(0)), off, later.body]);
        assert_eq!((events[0].time, events[2].time), (time, later.time));
    }

    #[test]
    fn it_is_bounded() {
        let mut automation = Automation::default();
        for parameter in 0..10_000 {
            automation.hear(&ChainBody::Parameter { effect: 1, parameter, value: 0.0, ramp_frames: None });
        }
        assert_eq!(automation.values.len(), VALUES_MAX);
    }
}
