//! A connection in replication mode (layer 4): sqlx has none, for it knows no `COPY` in both directions. Messages and authentication are
//! those of `postgres-protocol`, TLS is that of the other connections (`connector/tls`); see docs/decisions/0007.
//!
//! <https://www.postgresql.org/docs/current/protocol-replication.html>

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::connector::tls::{self, Trust};

/// The server's clock begins in 2000: microseconds from 1970 to there.
pub(super) const EPOCH_MICROS: i64 = 946_684_800_000_000;
const READ_BYTES: usize = 64 << 10;
/// The server gives up on us after this long without a word, and asks us for one after half of it.
const SERVER_TIMEOUT: &str = "30s";
/// As in the sessions of `options`: a value has one text.
const SETTINGS: [(&str, &str); 6] = [
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO, YMD"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
];

/// Where to connect, and as whom.
pub(in super::super) struct Address {
    /// Host name or address.
    pub(in super::super) host: String,
    /// Folder of a Unix socket, instead of the host.
    pub(in super::super) socket: Option<PathBuf>,
    /// Port.
    pub(in super::super) port: u16,
    /// User.
    pub(in super::super) user: String,
    /// Password, if there is one.
    pub(in super::super) password: Option<String>,
    /// Database.
    pub(in super::super) database: String,
    /// Whether and how the connection is encrypted.
    pub(in super::super) trust: Trust,
    /// How long the server may be silent, where that was said.
    pub(in super::super) timeout: Option<Duration>,
}

/// What went wrong on the connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("{0}")]
    Lost(#[from] io::Error),
    #[error("{0}")]
    Tls(String),
    #[error("{0}")]
    Refused(&'static str),
    #[error("{message} (SQLSTATE {state})")]
    Server { state: String, message: String },
    #[error("the server sent something that is no replication message")]
    Unreadable,
}

/// What comes over a started stream.
pub(super) enum Event {
    /// A message of the output plugin.
    Data(Bytes),
    /// Everything that was committed before `end` was sent; whether the server wants an answer now.
    Alive { end: u64, answer: bool },
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection in replication mode.
pub(super) struct Wire {
    stream: Box<dyn Duplex>,
    read: BytesMut,
    out: BytesMut,
    timeout: Option<Duration>,
}

impl Wire {
    /// Connects and logs in.
    pub(super) async fn open(address: &Address) -> Result<Self, WireError> {
        let stream = connect(address).await?;
        let read = BytesMut::with_capacity(READ_BYTES);
        let mut wire = Self { stream, read, out: BytesMut::new(), timeout: address.timeout };
        let own = [
            ("user", address.user.as_str()),
            ("database", &address.database),
            ("replication", "database"),
            ("application_name", "tidelock"),
            ("wal_sender_timeout", SERVER_TIMEOUT),
        ];
        frontend::startup_message(own.into_iter().chain(SETTINGS), &mut wire.out)?;
        wire.flush().await?;
        wire.log_in(address).await?;
        Ok(wire)
    }

    async fn log_in(&mut self, address: &Address) -> Result<(), WireError> {
        let password = || address.password.as_deref().ok_or(WireError::Refused("the server asks for a password"));
        let mut scram = None;
        loop {
            let (tag, body) = self.frame().await?;
            if tag == b'Z' {
                return Ok(());
            }
            let Some((code, rest)) = (tag == b'R').then(|| body.split_first_chunk::<4>()).flatten() else { continue };
            match (u32::from_be_bytes(*code), scram.as_mut()) {
                (0, _) => {}
                (3, _) => frontend::password_message(password()?.as_bytes(), &mut self.out)?,
                (5, _) => {
                    let salt = rest.first_chunk::<4>().ok_or(WireError::Unreadable)?;
                    let hash = md5_hash(address.user.as_bytes(), password()?.as_bytes(), *salt);
                    frontend::password_message(hash.as_bytes(), &mut self.out)?;
                }
                (10, _) => {
                    if !rest.split(|byte| *byte == 0).any(|name| name == SCRAM_SHA_256.as_bytes()) {
                        return Err(WireError::Refused("the server asks for a way to log in that is not known here"));
                    }
                    let begun = ScramSha256::new(password()?.as_bytes(), ChannelBinding::unsupported());
                    frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), &mut self.out)?;
                    scram = Some(begun);
                }
                (11, Some(scram)) => {
                    scram.update(rest)?;
                    frontend::sasl_response(scram.message(), &mut self.out)?;
                }
                (12, Some(scram)) => scram.finish(rest)?,
                _ => return Err(WireError::Refused("the server asks for a way to log in that is not known here")),
            }
            self.flush().await?;
        }
    }

    /// Starts the stream of a slot where it was confirmed.
    pub(super) async fn start(&mut self, slot: &str, publication: &str) -> Result<(), WireError> {
        // Both names are made of letters, digits and `_`.
        let command = format!(
            "START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names '{publication}', messages 'true')"
        );
        frontend::query(&command, &mut self.out)?;
        self.flush().await?;
        while self.frame().await?.0 != b'W' {}
        Ok(())
    }

    /// How long the server may be silent, where that was said.
    pub(super) const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The next event of a started stream. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Event, WireError> {
        loop {
            match self.frame().await? {
                (b'd', body) => return event(&body),
                (b'c' | b'C', _) => return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
                _ => {}
            }
        }
    }

    /// Tells the server what it may forget: what was committed before `through`; and asks it for an answer, or does not.
    pub(super) async fn confirm(&mut self, through: u64, answer: bool) -> Result<(), WireError> {
        let mut status = Vec::with_capacity(34);
        status.push(b'r');
        for _ in ["written", "flushed", "applied"] {
            status.extend_from_slice(&through.to_be_bytes());
        }
        // Our clock is of no use to anybody.
        status.extend_from_slice(&[0; 8]);
        status.push(u8::from(answer));
        frontend::CopyData::new(status.as_slice())?.write(&mut self.out);
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), WireError> {
        self.stream.write_all(&self.out).await?;
        self.out.clear();
        Ok(self.stream.flush().await?)
    }

    /// The next message: its tag and body; an error where that is what it tells. Cancel-safe.
    async fn frame(&mut self) -> Result<(u8, Bytes), WireError> {
        loop {
            if let Some((tag, body)) = cut(&mut self.read)? {
                if tag == b'E' {
                    return Err(said(&body));
                }
                return Ok((tag, body));
            }
            self.read.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

async fn connect(address: &Address) -> Result<Box<dyn Duplex>, WireError> {
    if let Some(folder) = &address.socket {
        return Ok(Box::new(UnixStream::connect(folder.join(format!(".s.PGSQL.{}", address.port))).await?));
    }
    let mut stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    stream.set_nodelay(true)?;
    if matches!(address.trust, Trust::Plain) {
        return Ok(Box::new(stream));
    }
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    match (stream.read_u8().await?, &address.trust) {
        (b'S', trust) => {
            let encrypted = tls::encrypt(stream, &address.host, trust).await;
            Ok(Box::new(encrypted.map_err(|error| WireError::Tls(error.to_string()))?))
        }
        (b'N', Trust::Preferred) => Ok(Box::new(stream)),
        _ => Err(WireError::Refused("the server does not encrypt connections, which \"sslmode\" asks for")),
    }
}

/// Cuts the first whole message off.
fn cut(read: &mut BytesMut) -> Result<Option<(u8, Bytes)>, WireError> {
    let Some((tag, rest)) = read.split_first() else { return Ok(None) };
    let Some(length) = rest.first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| WireError::Unreadable)?;
    let tag = *tag;
    if length < 4 {
        return Err(WireError::Unreadable);
    }
    if read.len() <= length {
        return Ok(None);
    }
    Ok(Some((tag, read.split_to(length + 1).freeze().slice(5..))))
}

fn event(body: &Bytes) -> Result<Event, WireError> {
    // w: from, to, time, data; k: end, time, whether an answer is wanted.
    match body.split_first() {
        Some((b'w', rest)) if rest.len() >= 24 => Ok(Event::Data(body.slice(25..))),
        Some((b'k', rest)) => match (rest.first_chunk::<8>(), rest.get(16)) {
            (Some(end), Some(answer)) => Ok(Event::Alive { end: u64::from_be_bytes(*end), answer: *answer != 0 }),
            _ => Err(WireError::Unreadable),
        },
        _ => Err(WireError::Unreadable),
    }
}

/// Reads an ErrorResponse: fields of a letter and a text that ends with a zero.
fn said(body: &[u8]) -> WireError {
    let field = |letter: u8| {
        let mut fields = body.split(|byte| *byte == 0);
        let found = fields.find(|field| field.first() == Some(&letter)).and_then(|field| field.get(1..));
        found.map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
    };
    WireError::Server { state: field(b'C'), message: field(b'M') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_wherever_the_network_cuts_them() {
        let bytes = [b"d\0\0\0\x05k".as_slice(), b"Z\0\0\0\x04", b"E\0\0\0\x0aC42\0\0\0"].concat();
        for size in 1..=bytes.len() {
            let (mut read, mut found) = (BytesMut::new(), Vec::new());
            for part in bytes.chunks(size) {
                read.extend_from_slice(part);
                while let Some((tag, body)) = cut(&mut read).unwrap() {
                    found.push((tag, body.to_vec()));
                }
            }
            assert_eq!(found, [(b'd', b"k".to_vec()), (b'Z', vec![]), (b'E', b"C42\0\0\0".to_vec())]);
        }
        assert!(cut(&mut BytesMut::from(&b"d\0\0\0\x03"[..])).is_err(), "shorter than its own length");
    }

    #[test]
    fn events_and_errors_are_read() {
        let mut alive = vec![b'k'];
        alive.extend_from_slice(&0x1_0000_0002_u64.to_be_bytes());
        alive.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert!(matches!(event(&alive.into()), Ok(Event::Alive { end: 0x1_0000_0002, answer: true })));
        let mut data = vec![b'w'];
        data.extend_from_slice(&[0; 24]);
        data.extend_from_slice(b"B!");
        assert!(matches!(event(&data.into()), Ok(Event::Data(data)) if &*data == b"B!"));
        assert!(event(&Bytes::from_static(b"w123")).is_err());
        assert!(event(&Bytes::from_static(b"k123")).is_err());
        let error = said(b"SERROR\0C55006\0Mslot is active\0\0");
        assert_eq!(error.to_string(), "slot is active (SQLSTATE 55006)");
    }

    /// Connects to a server that does not encrypt.
    async fn meets_plain_server(trust: Trust) -> Result<(), WireError> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address {
            host: "127.0.0.1".to_owned(),
            socket: None,
            port: listener.local_addr().unwrap().port(),
            user: "ann".to_owned(),
            password: None,
            database: "shop".to_owned(),
            trust,
            timeout: None,
        };
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47], "a request for TLS, and nothing before the answer");
            stream.write_all(b"N").await.unwrap();
            stream
        };
        let (_stream, met) = tokio::join!(server, connect(&address));
        met.map(|_| ())
    }

    #[tokio::test]
    async fn nothing_is_sent_in_the_open_where_that_is_not_wanted() {
        for trust in [Trust::Anybody, Trust::Authority(None), Trust::Host(None)] {
            let refused = meets_plain_server(trust).await;
            assert!(matches!(&refused, Err(WireError::Refused(why)) if why.contains("sslmode")), "{refused:?}");
        }
        meets_plain_server(Trust::Preferred).await.unwrap();
    }
}
