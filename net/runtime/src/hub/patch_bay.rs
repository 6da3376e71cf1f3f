//! The patch bay: what plays what, shown to those who may see it and rewired by those who may.

use std::sync::Arc;

use audiocloud_membership::rights::Operation;
use audiocloud_wire::id::{DeviceId, InputId, SessionId, StreamKey};
use audiocloud_wire::message::{self, INPUTS_MAX, Inputs, Message, PLAYING_MAX, PatchRefused, Purpose, Text};

use super::{Connected, Hub};
use crate::input::{InputConfig, InputShared, InputStatus, PatchRefusal, PatchWish};
use crate::sessions::Act;
use crate::standing::{Standing, Trusted};
use crate::status::lock;

/// Refusals that are kept for who asked.
const REFUSALS_MAX: usize = 64;

impl Hub {
    pub(super) fn add_input(&mut self, input: Arc<InputShared>) {
        self.inputs.insert(input.id, input);
        self.tell_inputs();
    }

    pub(super) fn remove_input(&mut self, input: InputId) {
        self.inputs.remove(&input);
        self.tell_inputs();
    }

    /// Tells every peer what it may see of our inputs, where that has changed.
    pub(super) fn tell_inputs(&mut self) {
        let inputs: Vec<_> =
            self.inputs.values().map(|input| (input.id, input.config(), input.playing())).collect();
        let told: Vec<(u64, Inputs)> = self
            .links
            .iter()
            .map(|(&id, link)| (id, self.seen_by(link, &inputs)))
            .filter(|(id, inputs)| self.links[id].inputs_told != *inputs)
            .collect();
        for (id, inputs) in told {
            if let Some(link) = self.links.get_mut(&id) {
                link.inputs_told.clone_from(&inputs);
                link.send(Message::Inputs(inputs));
            }
        }
        self.show_inputs();
    }

    fn seen_by(&self, link: &Connected, inputs: &[(InputId, InputConfig, Vec<StreamKey>)]) -> Inputs {
        let seen = inputs.iter().filter(|(_, config, _)| link.standing.sees(config.session));
        let input = |(id, config, playing): &(InputId, InputConfig, Vec<StreamKey>)| {
            // What is played of other sessions is none of a member's business.
            let known = |key: &&StreamKey| {
                link.standing.trusted.is_some()
                    || key.publisher == link.peer.device
                    || link.standing.sees(self.session_of(key))
            };
            message::Input {
                input: *id,
                name: Text::new(&config.name),
                session: config.session,
                playing: playing.iter().filter(known).take(PLAYING_MAX).copied().collect(),
                open: config.open,
            }
        };
        let mut inputs: Vec<_> = seen.map(input).take(INPUTS_MAX).collect();
        // As many as one message holds.
        while Message::Inputs(Inputs { inputs: inputs.clone() }).to_frame().is_err() && inputs.pop().is_some()
        {
        }
        Inputs { inputs }
    }

    /// The session of a stream that is published here or was announced to us.
    fn session_of(&self, key: &StreamKey) -> Option<SessionId> {
        if key.publisher == self.hello.device
            && let Some(publisher) = self.publishers.get(&key.stream)
        {
            return publisher.shared.session;
        }
        let mut of_publisher = self.links.values().filter(|link| link.peer.device == key.publisher);
        of_publisher.find_map(|link| link.streams.get(&key.stream)).and_then(|stream| stream.session)
    }

    /// A peer says what plays there.
    pub(super) fn take_inputs(&mut self, id: u64, inputs: Inputs) {
        if let Some(link) = self.links.get_mut(&id) {
            link.inputs = inputs.inputs;
            self.show_inputs();
        }
    }

    pub(super) fn show_inputs(&self) {
        let own = self.inputs.values().map(|input| {
            let InputConfig { name, session, open, .. } = input.config();
            InputStatus {
                device: self.hello.device,
                device_name: self.shared.name.clone(),
                input: input.id,
                name,
                session,
                playing: input.playing(),
                open,
                local: true,
            }
        });
        let theirs = self.links.values().flat_map(|link| link.inputs.iter().map(|input| remote(link, input)));
        let mut all: Vec<_> = own.chain(theirs).collect();
        all.sort_by_key(|input| (!input.local, input.device, input.input));
        *lock(&self.shared.inputs) = all;
    }

    // ---- Rewiring.

    /// This user wants an input to play something.
    pub(super) fn patch(&mut self, device: DeviceId, input: InputId, stream: StreamKey, on: bool) {
        if let Some(own) = self.inputs.get(&input).filter(|_| device == self.hello.device) {
            let wish = PatchWish { stream, on, by: self.shared.name.clone() };
            if let Err(text) = self.wish(own, wish) {
                self.patch_refused(device, PatchRefused { input, stream, text: Text::new(&text) });
            }
            return;
        }
        let there = |link: &&Connected| {
            link.peer.device == device && link.inputs.iter().any(|known| known.input == input)
        };
        match self.links.values().find(there) {
            Some(link) => link.send(Message::Patch(message::Patch { input, stream, on })),
            None => {
                let text = Text::new("no such input is known; see which there are with `audiocloud patch`");
                self.patch_refused(device, PatchRefused { input, stream, text });
            }
        }
    }

    /// A peer wants that.
    pub(super) fn patch_wished(&mut self, id: u64, patch: message::Patch) {
        let Some(link) = self.links.get(&id) else { return };
        let message::Patch { input, stream, on } = patch;
        let Some(own) = self.inputs.get(&input).filter(|own| link.standing.sees(own.config().session)) else {
            let text = Text::new("there is no such input");
            return link.send(Message::PatchRefused(PatchRefused { input, stream, text }));
        };
        let config = own.config();
        let by = self.who(link, config.session);
        let deed = if on { "play" } else { "stop playing" };
        let of_session = config.session.is_some() && self.session_of(&stream) == config.session;
        let allowed = may_patch(&link.standing, &config, of_session || !on)
            .and_then(|()| self.wish(own, PatchWish { stream, on, by: by.clone() }));
        let (act, line) = match &allowed {
            Ok(()) => {
                (Act::Patched, format!("{by} had \"{}\" {deed} {}", config.name, self.name_of(&stream)))
            }
            Err(text) => {
                let text = Text::new(text);
                link.send(Message::PatchRefused(PatchRefused { input, stream, text: text.clone() }));
                let what = self.name_of(&stream);
                (
                    Act::Denied,
                    format!("{by} wanted \"{}\" to {deed} {what}, and may not: {text}", config.name),
                )
            }
        };
        self.shared.journal.note(&line);
        self.log(config.session, act, Some(link.peer.user), line);
    }

    /// Hands a wish to the input's owner, where it makes sense there.
    fn wish(&self, input: &InputShared, wish: PatchWish) -> Result<(), String> {
        if wish.on && input.config().mixes && self.is_for_talking(&wish.stream) {
            return Err("what is for talking is in no mix; pick it in a Receive of its own".to_owned());
        }
        let has_room = input.wish(wish);
        has_room.then_some(()).ok_or_else(|| "too many patches wait for it; try again in a moment".to_owned())
    }

    fn is_for_talking(&self, key: &StreamKey) -> bool {
        lock(&self.shared.streams).iter().any(|entry| entry.key == *key && entry.purpose == Purpose::TalkBack)
    }

    /// It is not followed.
    pub(super) fn patch_refused(&mut self, device: DeviceId, refused: PatchRefused) {
        let PatchRefused { input, stream, text } = refused;
        self.shared.journal.note(&format!("the patch of {} to {stream} is refused: {text}", input.short()));
        let mut refusals = lock(&self.shared.patch_refusals);
        if refusals.len() == REFUSALS_MAX {
            refusals.remove(0);
        }
        refusals.push(PatchRefusal { device, input, stream, text: text.into() });
    }

    /// How a peer is called: by their name in the session, and by their device's.
    pub(super) fn who(&self, link: &Connected, session: Option<SessionId>) -> String {
        let sessions = lock(&self.shared.sessions);
        let session = sessions.iter().flatten().find(|status| Some(status.session) == session);
        let member =
            session.and_then(|status| status.members.iter().find(|member| member.user == link.peer.user));
        member.map_or_else(|| link.peer.name.clone(), |member| member.name.clone())
    }

    fn name_of(&self, key: &StreamKey) -> String {
        let streams = lock(&self.shared.streams);
        let known = streams.iter().find(|entry| entry.key == *key);
        known.map_or_else(
            || key.stream.short().to_string(),
            |entry| format!("\"{}\" of {}", entry.name, entry.publisher_name),
        )
    }
}

/// Whether a peer may choose what an input plays.
fn may_patch(standing: &Standing, input: &InputConfig, of_session: bool) -> Result<(), String> {
    if standing.trusted == Some(Trusted::Own) {
        return Ok(());
    }
    if !input.open {
        return Err("its owner does not let others rewire it; they can open it in its window".to_owned());
    }
    standing.allows(input.session, &Operation::Control(&input.name))?;
    if standing.trusted.is_none() && !of_session {
        return Err("no such stream is known in the session that it plays".to_owned());
    }
    Ok(())
}

fn remote(link: &Connected, input: &message::Input) -> InputStatus {
    InputStatus {
        device: link.peer.device,
        device_name: link.peer.name.clone(),
        input: input.input,
        name: input.name.to_string(),
        session: input.session,
        playing: input.playing.clone(),
        open: input.open,
        local: false,
    }
}
