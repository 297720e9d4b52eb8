//! Small packets are sent at once (layer 4a): see docs/decisions/0012-small-packets.md.

use std::os::fd::{BorrowedFd, RawFd};

/// Turns Nagle's algorithm off for every TCP connection that the process has by now (Linux and macOS). Who sends twice before reading, as at the
/// end of a COPY, would else wait for the peer's delayed acknowledgement: 40 ms.
pub(super) fn send_at_once() {
    let Ok(open) = std::fs::read_dir("/dev/fd") else { return };
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    for number in numbers.filter(|number| *number >= 0) {
        let _unless_it_is_tcp = rustix::net::sockopt::set_tcp_nodelay(borrowed(number), true);
    }
}

#[expect(unsafe_code, reason = "the sockets are sqlx's, which lends none of them")]
fn borrowed(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: it is used for one system call, which takes any number: of a file that was closed meanwhile it says so, and on one that was opened
    // in its place it does what is meant for all of them.
    unsafe { BorrowedFd::borrow_raw(number) }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn every_connection_sends_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(!stream.nodelay().unwrap());
        send_at_once();
        assert!(stream.nodelay().unwrap() && accepted.nodelay().unwrap());
    }
}
