//! A TCP proxy in the test's own process: lets traffic through, delays it, holds it back without a word (half-open), or cuts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// It passes.
    Passes,
    /// Each piece passes after this long.
    Slow(Duration),
    /// It is held back; connections stay open and new ones are accepted.
    Silent,
    /// What the server sends on the connections that its log comes over is held back, and nothing else.
    DeafStream,
    /// What the server is sent there is held back, and nothing else.
    MuteStream,
    /// Connections are closed, new ones too.
    Cut,
}

/// Runs until dropped.
pub struct Proxy {
    port: u16,
    traffic: Arc<watch::Sender<Traffic>>,
}

impl Proxy {
    /// A proxy in front of `host:port`, on a port of its own.
    pub async fn to(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let traffic = Arc::new(watch::channel(Traffic::Passes).0);
        let sender = Arc::downgrade(&traffic);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Some(traffic) = sender.upgrade().map(|sender| sender.subscribe()) else { return };
                tokio::spawn(carry(client, upstream.clone(), traffic));
            }
        });
        Self { port, traffic }
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Says what becomes of the traffic from now on.
    pub fn set(&self, traffic: Traffic) {
        self.traffic.send_replace(traffic);
    }
}

async fn carry(client: TcpStream, upstream: String, traffic: watch::Receiver<Traffic>) {
    if *traffic.borrow() == Traffic::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut watching = traffic.clone();
    // Whichever ends first ends both: neither half outlives the other.
    let replicates = AtomicBool::new(false);
    tokio::select! {
        () = pump(&mut from_client, &mut to_server, (traffic.clone(), Traffic::MuteStream, &replicates)) => {}
        () = pump(&mut from_server, &mut to_client, (traffic, Traffic::DeafStream, &replicates)) => {}
        _ = watching.wait_for(|traffic| *traffic == Traffic::Cut) => {}
    }
}

/// How a client asks for the log: PostgreSQL's in its start-up message, MariaDB's in a statement.
const REPLICATES: [&[u8]; 2] = [b"replication\0database\0", b"@mariadb_slave_capability"];

async fn pump(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    (mut traffic, held, replicates): (watch::Receiver<Traffic>, Traffic, &AtomicBool),
) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let asks = |words: &&[u8]| piece[..length].windows(words.len()).any(|part| part == *words);
        if REPLICATES.iter().any(asks) {
            replicates.store(true, Ordering::Relaxed);
        }
        let passes = |traffic: &Traffic| {
            *traffic != Traffic::Silent && !(*traffic == held && replicates.load(Ordering::Relaxed))
        };
        if traffic.wait_for(passes).await.is_err() {
            return;
        }
        let slow = match *traffic.borrow() {
            Traffic::Slow(delay) => Some(delay),
            Traffic::Passes | Traffic::Silent | Traffic::DeafStream | Traffic::MuteStream | Traffic::Cut => None,
        };
        if let Some(delay) = slow {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
