//! Prints a port of the loopback address that was free a moment ago. Built by tests/run with rustc alone.

use std::net::{Ipv4Addr, TcpListener};

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    Ok(())
}
