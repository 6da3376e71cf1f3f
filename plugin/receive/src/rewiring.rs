//! What others ask of this Receive through the patch bay, where its user lets them.

use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::state::{FaderKey, Selection, Stored, StreamRef};
use audiocloud_net::runtime::{Handle, Input, InputConfig, PatchWish};
use audiocloud_net::wire::id::StreamKey;

use crate::roster::Track;

/// Digits of an input's id in the name of one that nobody named.
const SHORT: usize = 4;

/// This Receive's place in the patch bay, from its first look until it is switched off.
#[derive(Debug, Default)]
pub(crate) struct Rewiring {
    input: Option<Input>,
    /// What was done last, and who asked for it.
    latest: String,
}

/// What is done about a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Select(Selection),
    /// Within the mix of a person or of everybody.
    Mute(bool),
}

impl Rewiring {
    /// Shows the input as the project has it, and does what was asked for since the last look.
    pub(crate) fn look(&mut self, handle: &Handle, stored: &Stored, tracks: &[Track], played: &[StreamRef]) {
        let config = InputConfig {
            name: stored.input_name(),
            session: stored.session().map(|session| session.id),
            open: stored.is_open(),
            mixes: matches!(stored.selection(), Selection::Person(_) | Selection::Session),
        };
        let input = self.input.get_or_insert_with(|| handle.input(config.clone()));
        let name = if config.name.is_empty() { unnamed(input) } else { config.name };
        input.set(InputConfig { name, ..config });
        // Whoever asks for it may: the runtime has seen to that. This user may always, from the command line too.
        for wish in input.take_patches() {
            if let Some(words) = obey(stored, tracks, played, &wish) {
                self.latest = words;
            }
        }
        let is_heard = |stream: &&StreamRef| !stored.fader(FaderKey::Stream(**stream)).is_muted;
        let heard: Vec<StreamKey> = played.iter().filter(is_heard).map(|stream| (*stream).into()).collect();
        input.playing(&heard);
    }

    /// What was done last, for the window.
    pub(crate) fn detail(&self) -> Option<Detail> {
        let meaning =
            "What others did here last through the patch bay; the switch in Session keeps them out.";
        (!self.latest.is_empty()).then(|| Detail::new("Rewired", self.latest.clone(), meaning))
    }
}

/// The name of an input that nobody named.
fn unnamed(input: &Input) -> String {
    let id = input.id().to_string();
    format!("Receive {}", id.get(..SHORT).unwrap_or_default())
}

fn obey(stored: &Stored, tracks: &[Track], played: &[StreamRef], wish: &PatchWish) -> Option<String> {
    let stream = StreamRef::from(wish.stream);
    let key = FaderKey::Stream(stream);
    let name = tracks.iter().find(|track| track.stream == stream).map_or("", |track| &track.entry.name);
    let change = change(stored.selection(), stream, played.contains(&stream), wish.on)?;
    let is_done = match change {
        Change::Select(selection) => stored.select(selection, if wish.on { name } else { "" }),
        Change::Mute(is_muted) => {
            let fader = stored.fader(key);
            fader.is_muted != is_muted
                && stored.set_fader(key, audiocloud_instance::state::Fader { is_muted, ..fader })
        }
    };
    let what = if wish.on { "connected" } else { "disconnected" };
    is_done.then(|| format!("{} {what} “{name}”", wish.by))
}

/// A single stream takes the place of what was picked; within a mix it is let in and kept out.
fn change(selection: Selection, stream: StreamRef, is_played: bool, on: bool) -> Option<Change> {
    let picked = Selection::Stream(stream);
    match (on, selection == picked, is_played) {
        (false, true, _) => Some(Change::Select(Selection::Nothing)),
        (true, true, _) | (true, _, true) => Some(Change::Mute(false)),
        (true, false, false) => Some(Change::Select(picked)),
        (false, false, true) => Some(Change::Mute(true)),
        (false, false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::tests::track;
    use audiocloud_instance::state::Fader;

    #[test]
    fn a_wish_selects_or_mutes_and_says_who_had_it() {
        let (stored, tracks) = (Stored::default(), [track(1, 2, 1, false), track(1, 2, 2, false)]);
        let [drums, bass] = [tracks[0].stream, tracks[1].stream];
        let wish = |stream: StreamRef, on, played: &[StreamRef]| {
            let wish = PatchWish { stream: stream.into(), on, by: "Anna".into() };
            obey(&stored, &tracks, played, &wish)
        };
        assert_eq!(wish(drums, false, &[]), None, "it was not played");
        assert_eq!(wish(drums, true, &[]).as_deref(), Some("Anna connected “Track 1”"));
        assert_eq!((stored.selection(), stored.name().as_str()), (Selection::Stream(drums), "Track 1"));
        assert_eq!(wish(drums, true, &[drums]), None, "it is played already");
        assert_eq!(wish(bass, true, &[drums]).as_deref(), Some("Anna connected “Track 2”"));
        assert_eq!(wish(bass, false, &[bass]).as_deref(), Some("Anna disconnected “Track 2”"));
        assert_eq!(stored.selection(), Selection::Nothing);

        assert!(stored.select(Selection::Session, ""));
        let is_muted = || stored.fader(FaderKey::Stream(drums)).is_muted;
        assert!(wish(drums, false, &[drums, bass]).is_some() && is_muted());
        assert!(stored.set_fader(FaderKey::Stream(bass), Fader { pan: 1.0, ..Fader::default() }));
        assert!(wish(drums, true, &[drums, bass]).is_some() && !is_muted());
        assert_eq!(stored.selection(), Selection::Session, "the mix stays");
    }
}
