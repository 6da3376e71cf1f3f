//! Between the events of the engine and those of slices.

use audiocloud_rt::chain_event::ChainBody;
use audiocloud_wire::packet::slice;

use crate::convert;

/// The body as it goes over the wire; none for what is no event but the lack of some.
pub(super) fn body_to_wire(body: &ChainBody) -> Option<slice::Body<'static>> {
    Some(match *body {
        ChainBody::Voice(voice) => slice::Body::Voice(convert::body_to_wire(&voice)?),
        ChainBody::Parameter { effect, parameter, value, ramp_frames } => {
            slice::Body::Parameter { effect, parameter, value, ramp_frames }
        }
        ChainBody::Bypass { effect, on } => slice::Body::Bypass { effect, on },
        ChainBody::Transport { playing, tempo_bpm, position_beats, signature } => {
            slice::Body::Transport { playing, tempo_bpm, position_beats, signature }
        }
    })
}

/// The body as the engine has it; none for one that this version does not know.
pub(super) fn body_from_wire(body: &slice::Body<'_>) -> Option<ChainBody> {
    Some(match *body {
        slice::Body::Voice(voice) => ChainBody::Voice(convert::body_from_wire(&voice)?),
        slice::Body::Parameter { effect, parameter, value, ramp_frames } => {
            ChainBody::Parameter { effect, parameter, value, ramp_frames }
        }
        slice::Body::Bypass { effect, on } => ChainBody::Bypass { effect, on },
        slice::Body::Transport { playing, tempo_bpm, position_beats, signature } => {
            ChainBody::Transport { playing, tempo_bpm, position_beats, signature }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_rt::event::Body;

    #[test]
    fn bodies_go_there_and_back() {
        let transport =
            ChainBody::Transport { playing: true, tempo_bpm: 93.5, position_beats: -1.25, signature: (7, 8) };
        for body in [
            ChainBody::Voice(Body::Midi1 { port: 0, bytes: [0x90, 60, 100] }),
            ChainBody::Parameter { effect: 1, parameter: 2, value: 0.5, ramp_frames: None },
            ChainBody::Parameter { effect: 1, parameter: 2, value: 0.5, ramp_frames: Some(64) },
            ChainBody::Bypass { effect: 3, on: true },
            transport,
        ] {
            assert_eq!(body_from_wire(&body_to_wire(&body).unwrap()), Some(body));
        }
        assert_eq!(body_to_wire(&ChainBody::Voice(Body::Lost { count: 1 })), None);
    }
}
