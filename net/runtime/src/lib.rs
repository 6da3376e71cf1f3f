//! The only sockets: QUIC mesh, identity, discovery, pumps
