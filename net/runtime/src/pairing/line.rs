//! What the messages of a pairing go over: a stream between the two, or a meeting point that passes them on.

use std::time::Duration;

use audiocloud_membership::pairing::PAIRING_BYTES_MAX;
use audiocloud_traversal::frame::ChannelId;
use audiocloud_traversal::meeting::{self, Message, PASSED_BYTES_MAX, Pass};
use audiocloud_wire::id::DeviceId;
use quinn::{Connection, Endpoint, RecvStream, SendStream};

use super::Error;

/// How long the last message has to leave.
const DRAIN: Duration = Duration::from_millis(500);
/// Before a piece: more of the same message follows.
const MORE: u8 = 1;
/// Before a piece: the last of its message.
const LAST: u8 = 0;

/// Both ends' view of it.
#[derive(Debug)]
pub(super) struct Line {
    peer: DeviceId,
    send: SendStream,
    receive: RecvStream,
    /// Where a meeting point passes pieces on: to and from whom.
    channel: Option<ChannelId>,
    connection: Connection,
    /// Held, for the connection's sake.
    endpoint: Endpoint,
}

impl Line {
    pub(super) fn direct(
        peer: DeviceId,
        (send, receive): (SendStream, RecvStream),
        connection: Connection,
        endpoint: Endpoint,
    ) -> Self {
        Self { peer, send, receive, channel: None, connection, endpoint }
    }

    pub(super) fn passed(
        peer: DeviceId,
        channel: ChannelId,
        (send, receive): (SendStream, RecvStream),
        connection: Connection,
        endpoint: Endpoint,
    ) -> Self {
        Self { peer, send, receive, channel: Some(channel), connection, endpoint }
    }

    /// The device at the other end.
    pub(super) fn peer(&self) -> DeviceId {
        self.peer
    }

    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        let frames = match self.channel {
            None => {
                let length = u32::try_from(message.len()).map_err(broken)?;
                [&length.to_be_bytes()[..], message].concat()
            }
            Some(channel) => {
                pieces(message).flat_map(|data| Message::Pass(Pass { channel, data }).to_frame()).collect()
            }
        };
        self.send.write_all(&frames).await.map_err(broken)
    }

    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, Error> {
        let Some(channel) = self.channel else {
            let mut length = [0; 4];
            self.receive.read_exact(&mut length).await.map_err(broken)?;
            let length = usize::try_from(u32::from_be_bytes(length)).map_err(broken)?;
            if length > PAIRING_BYTES_MAX {
                return Err(broken("a message that is too long"));
            }
            let mut message = vec![0; length];
            self.receive.read_exact(&mut message).await.map_err(broken)?;
            return Ok(message);
        };
        let mut message = Vec::new();
        loop {
            // Others of the room are not listened to.
            let data = match read(&mut self.receive).await? {
                Message::Pass(pass) if pass.channel == channel => pass.data,
                Message::Refused(refused) => return Err(broken(refused.text)),
                Message::Gone(gone) if gone.device == self.peer => return Err(broken("it has left")),
                _ => continue,
            };
            let Some((kind, piece)) = data.split_first() else { continue };
            message.extend_from_slice(piece);
            match *kind {
                LAST => return Ok(message),
                MORE if message.len() <= PAIRING_BYTES_MAX => {}
                _ => return Err(broken("a message that is too long")),
            }
        }
    }

    /// Waits until what was sent has arrived, or nobody is there any more.
    pub(super) async fn end(mut self) {
        let arrived = async {
            self.send.finish().ok();
            self.send.stopped().await.ok();
        };
        tokio::time::timeout(DRAIN, arrived).await.ok();
        self.connection.close(quinn::VarInt::from_u32(0), b"paired");
        tokio::time::timeout(DRAIN, self.endpoint.wait_idle()).await.ok();
    }
}

fn pieces(message: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let pieces = message.chunks(PASSED_BYTES_MAX - 1);
    let last = pieces.len().saturating_sub(1);
    pieces
        .enumerate()
        .map(move |(number, piece)| [&[if number == last { LAST } else { MORE }], piece].concat())
}

/// One message of a meeting point.
pub(super) async fn read(receive: &mut RecvStream) -> Result<Message, Error> {
    let mut prefix = [0; meeting::LENGTH_BYTES];
    receive.read_exact(&mut prefix).await.map_err(broken)?;
    let mut body = vec![0; meeting::frame_length(prefix).map_err(broken)?];
    receive.read_exact(&mut body).await.map_err(broken)?;
    Message::decode(&body).map_err(broken)
}

pub(super) fn broken(cause: impl ToString) -> Error {
    Error::BrokenOff(cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_into_pieces_that_are_passed_on() {
        let check = |length: usize, expected: &[usize]| {
            let message = vec![7; length];
            let cut: Vec<Vec<u8>> = pieces(&message).collect();
            assert_eq!(cut.iter().map(Vec::len).collect::<Vec<_>>(), expected);
            let (last, others) = cut.split_last().unwrap();
            assert!(last[0] == LAST && others.iter().all(|piece| piece[0] == MORE));
        };
        check(1, &[2]);
        check(PASSED_BYTES_MAX - 1, &[PASSED_BYTES_MAX]);
        check(PASSED_BYTES_MAX, &[PASSED_BYTES_MAX, 2]);
    }
}
