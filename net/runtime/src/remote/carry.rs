//! An exact chain's slices on a QUIC stream of their own: all of them, in order, and no faster than the other side takes
//! them.
//!
//! The stream begins with the opening's number (u64, big-endian), from the plug-in's side. Each slice has its length in
//! front of it (u16, big-endian).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use audiocloud_rt::host_time;
use audiocloud_wire::id::RemoteId;
use audiocloud_wire::packet::slice::{SLICE_BYTES_MAX, SlicePacket};
use quinn::{Connection, RecvStream, SendStream};

use super::end::{Bells, End, Given};

/// Below control streams, of 0.
const PRIORITY: i32 = -1;
/// Slices that are written at once.
const WRITE_BYTES: usize = 64 << 10;
/// How long a stream may be open without saying whose it is.
const NAME_TIMEOUT: Duration = Duration::from_secs(2);
/// Who takes blocks from a full ring does not always say so, nor does who waits in the middle of a callback.
const LOOK_AGAIN: Duration = Duration::from_millis(3);

/// Opens the stream of an opening, from the plug-in's side, and carries its slices until it is over. Why it ended before that.
pub(crate) async fn open(connection: Connection, remote: RemoteId, end: Rc<RefCell<End>>) -> Option<String> {
    let opened = async {
        let (mut send, receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
        send.write_all(&remote.to_bytes()).await.map_err(|error| error.to_string())?;
        Ok::<_, String>((send, receive))
    };
    match opened.await {
        Ok((send, receive)) => carry(send, receive, remote, end).await,
        Err(why) => Some(why),
    }
}

/// Reads whose stream it is.
pub(crate) async fn name(receive: &mut RecvStream) -> Option<RemoteId> {
    let mut name = [0; 8];
    let read = tokio::time::timeout(NAME_TIMEOUT, receive.read_exact(&mut name)).await;
    matches!(read, Ok(Ok(()))).then(|| RemoteId::from_bytes(name))
}

/// Carries slices both ways until the opening is over; why it ended before that.
pub(crate) async fn carry(
    send: SendStream,
    receive: RecvStream,
    remote: RemoteId,
    end: Rc<RefCell<End>>,
) -> Option<String> {
    let bells = Rc::clone(&end.borrow().bells);
    tokio::select! {
        ended = take(send, remote, &end, &bells) => ended.err(),
        ended = give(receive, &end, &bells) => ended.err(),
    }
}

/// From the rings to the stream.
async fn take(
    mut send: SendStream,
    remote: RemoteId,
    end: &RefCell<End>,
    bells: &Bells,
) -> Result<(), String> {
    // It ends with the connection, which says so itself.
    send.set_priority(PRIORITY).ok();
    let mut bytes = Vec::with_capacity(WRITE_BYTES + SLICE_BYTES_MAX);
    loop {
        bytes.clear();
        let open = {
            let mut end = end.borrow_mut();
            let open = end.is_open(remote);
            if open {
                end.take_framed(WRITE_BYTES, &mut bytes);
            }
            open
        };
        if !open {
            send.finish().ok();
            return Ok(());
        }
        if bytes.is_empty() {
            tokio::time::timeout(LOOK_AGAIN, bells.work.notified()).await.ok();
        } else {
            send.write_all(&bytes).await.map_err(|error| error.to_string())?;
        }
    }
}

/// From the stream to the rings.
async fn give(mut receive: RecvStream, end: &RefCell<End>, bells: &Bells) -> Result<(), String> {
    let mut slice = [0; SLICE_BYTES_MAX];
    loop {
        let mut length = [0; 2];
        receive.read_exact(&mut length).await.map_err(|error| error.to_string())?;
        let length = usize::from(u16::from_be_bytes(length));
        let bytes = slice.get_mut(..length).ok_or_else(|| format!("a slice of {length} bytes"))?;
        receive.read_exact(bytes).await.map_err(|error| error.to_string())?;
        let packet = SlicePacket::decode(bytes).map_err(|error| error.to_string())?;
        loop {
            let given = end.borrow_mut().give(&packet, host_time::now());
            match given {
                Given::Taken => break,
                Given::Over => return Ok(()),
                Given::Full => {
                    tokio::time::timeout(LOOK_AGAIN, bells.room.notified()).await.ok();
                }
            }
        }
    }
}
