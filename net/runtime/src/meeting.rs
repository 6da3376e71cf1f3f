//! Meeting peers at rendezvous nodes, and being such a node.
//!
//! A member's runtime keeps a connection to each node of its sessions ([`client`]), and is told there who else is in the
//! room. Whoever is introduced gets one virtual address with every way to it beneath ([`peers`]): straight, by the node's
//! relay, or by its relay over TLS and TCP ([`tunnel`]). As soon as one is open it is dialled like any other candidate.
//! A node ([`server`]) is an ordinary runtime that serves these.

use std::time::Duration;

use audiocloud_wire::id::SessionId;

use crate::config::MeetingPoint;

pub(crate) mod client;
pub(crate) mod datagram_queue;
pub(crate) mod own_addresses;
pub(crate) mod peers;
pub(crate) mod server;
pub(crate) mod tunnel;

pub(crate) use client::Meeting;
pub(crate) use server::Server;

/// How long UDP has before TCP is tried beside it.
const HEAD_START: Duration = Duration::from_millis(800);

/// By UDP, or when that takes long or fails, by TCP: whichever gets there.
pub(crate) async fn by_udp_or_tcp<T, E>(
    by_udp: impl Future<Output = Result<T, E>>,
    by_tcp: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let by_tcp = async {
        tokio::time::sleep(HEAD_START).await;
        by_tcp.await
    };
    tokio::pin!(by_udp, by_tcp);
    tokio::select! {
        reached = &mut by_udp => match reached {
            Ok(reached) => Ok(reached),
            Err(_) => by_tcp.await,
        },
        reached = &mut by_tcp => match reached {
            Ok(reached) => Ok(reached),
            Err(_) => by_udp.await,
        },
    }
}

/// Where to meet whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The node.
    pub(crate) point: MeetingPoint,
    /// The members of this session; without one, the machines of this user.
    pub(crate) session: Option<SessionId>,
}
