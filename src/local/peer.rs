//! Whether the other end of a connection on loopback is a process of this user: any process of the
//! machine can connect to a port, and the Runtime API sends payloads and accepts responses.
//!
//! The kernel lists every connection with the user who opened it.

use crate::base::platform;
use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result};

/// State of an open connection (`TCP_ESTABLISHED`). In any other the user is no longer listed.
const ESTABLISHED: &str = "01";

/// The list is not atomic: while others connect and disconnect, an entry may be missing.
const ATTEMPTS: usize = 5;

/// Returns whether a process of this user opened the connection from `peer` to `own`; `true` if the
/// system has no list of connections.
pub(super) fn is_own_user(peer: SocketAddr, own: SocketAddr) -> io::Result<bool> {
    let user = rustix::process::geteuid().as_raw();
    for _ in 0..ATTEMPTS {
        let Some(list) = platform::connections() else { return Ok(true) };
        if let Some(found) = user_of(&list?, peer, own) {
            return Ok(found == user);
        }
    }
    Ok(false)
}

/// Fails if the list cannot be read: then every connection would be refused.
pub(super) fn check() -> Result<()> {
    let list = platform::connections().transpose();
    list.context("a local call needs the list of connections, to identify its clients")?;
    Ok(())
}

/// Returns the user with the end `peer` of an open connection to `own`.
fn user_of(list: &str, peer: SocketAddr, own: SocketAddr) -> Option<u32> {
    let (peer, own) = (written(peer)?, written(own)?);
    list.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, local, remote, state, _, _, _, user, ..] = fields.as_slice() else { return None };
        let is_it = (*local, *remote, *state) == (peer.as_str(), own.as_str(), ESTABLISHED);
        if is_it { user.parse().ok() } else { None }
    })
}

/// Formats an address as in the list: four bytes in the byte order of the machine, then the port.
fn written(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let bytes = u32::from_ne_bytes(address.ip().octets());
    Some(format!("{bytes:08X}:{:04X}", address.port()))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn an_own_connection_is_known_and_a_closed_one_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap();
        let client = TcpStream::connect(own).unwrap();
        let (_server, peer) = listener.accept().unwrap();
        assert!(is_own_user(peer, own).unwrap());
        if platform::connections().is_none() {
            return;
        }
        // For a connection without an owner, the kernel lists root.
        drop(client);
        assert!(!is_own_user(peer, own).unwrap());
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_user_is_that_of_the_other_end_of_an_open_connection() {
        let [peer, own] = ["127.0.0.1:40000", "127.0.0.1:80"].map(|text| text.parse().unwrap());
        let head =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid";
        let line = |local: &str, remote: &str, state: &str, user: u32| {
            let rest =
                format!("00000000:00000000 00:00000000 00000000 {user} 0 1 1 0 20 4 30 10 -1");
            format!("   0: {local} {remote} {state} {rest}\n")
        };
        let (near, far) = ("0100007F:9C40", "0100007F:0050");
        let list = |state: &str| {
            format!("{head}\n{}{}", line(far, near, "01", 7), line(near, far, state, 1000))
        };
        assert_eq!(user_of(&list("01"), peer, own), Some(1000));
        for state in ["02", "04", "05", "06"] {
            assert_eq!(user_of(&list(state), peer, own), None, "{state}");
        }
        assert_eq!(user_of(head, peer, own), None);
    }
}
