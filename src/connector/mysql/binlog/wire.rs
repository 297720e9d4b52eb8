//! A connection that asks for the server's log (layer 4): sqlx has none, for the answer to `COM_BINLOG_DUMP` is no result. Logging in is what
//! sqlx does (native, SHA-2), TLS is that of the other connections; see docs/decisions/0010.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html>, <https://mariadb.com/kb/en/replication-protocol/>

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use rsa::pkcs8::DecodePublicKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::connector::tls::{self, Trust};

const READ_BYTES: usize = 64 << 10;
/// A packet of this length is continued by the next.
const PACKET_MAX: usize = 0xff_ff_ff;
/// What we can do: long passwords and flags, the protocol of 4.1, transactions, log-in plugins.
const CAPABILITIES: u32 = 1 | 4 | 1 << 9 | 1 << 13 | 1 << 15 | 1 << 19 | 1 << 21;
const TLS: u32 = 1 << 11;
const UTF8MB4: u8 = 45;
const NATIVE: &[u8] = b"mysql_native_password";
const SHA2: &[u8] = b"caching_sha2_password";
const CLEAR: &[u8] = b"mysql_clear_password";

/// Where to connect, and as whom.
#[derive(Clone)]
pub(in super::super) struct Address {
    /// Host name or address.
    pub(in super::super) host: String,
    /// Unix socket, instead of the host.
    pub(in super::super) socket: Option<PathBuf>,
    /// Port.
    pub(in super::super) port: u16,
    /// User.
    pub(in super::super) user: String,
    /// Password; empty where there is none.
    pub(in super::super) password: String,
    /// Whether and how the connection is encrypted.
    pub(in super::super) trust: Trust,
    /// How long the server may be silent, where that was said.
    pub(in super::super) timeout: Option<Duration>,
    /// Which replica we are, where that was said.
    pub(in super::super) server_id: Option<u32>,
}

/// What went wrong on the connection.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum WireError {
    #[error("{0}")]
    Lost(String),
    #[error("{0}")]
    Tls(String),
    #[error("{0}")]
    Refused(&'static str),
    #[error("{message} (error {number})")]
    Server { number: u16, state: String, message: String },
    #[error("the server sent something that is no event of its log")]
    Unreadable,
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection to a server.
pub(super) struct Wire {
    stream: Box<dyn Duplex>,
    read: BytesMut,
    /// Parts of a payload that goes on in the next packet.
    part: BytesMut,
    number: u8,
    /// Nobody on the way can read what is said.
    private: bool,
}

impl Wire {
    /// Connects and logs in.
    pub(super) async fn open(address: &Address) -> Result<Self, WireError> {
        let (stream, private): (Box<dyn Duplex>, bool) = match &address.socket {
            Some(path) => (Box::new(UnixStream::connect(path).await?), true),
            None => {
                let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
                stream.set_nodelay(true)?;
                // The greeting comes before TLS: it has to be read from the bare connection.
                return Self::greet_tcp(stream, address).await;
            }
        };
        let mut wire = Self::over(stream, private);
        let greeting = Greeting::read(&wire.packet().await?)?;
        wire.log_in(address, greeting, CAPABILITIES).await?;
        Ok(wire)
    }

    fn over(stream: Box<dyn Duplex>, private: bool) -> Self {
        Self { stream, read: BytesMut::with_capacity(READ_BYTES), part: BytesMut::new(), number: 0, private }
    }

    async fn greet_tcp(mut stream: TcpStream, address: &Address) -> Result<Self, WireError> {
        // Exactly the greeting: what comes after it may be TLS already.
        let length = stream.read_u32_le().await?;
        let mut greeting = vec![0; usize::try_from(length & 0xff_ff_ff).map_err(|_| WireError::Unreadable)?];
        stream.read_exact(&mut greeting).await?;
        let greeting = Greeting::read(&greeting)?;
        let can = greeting.capabilities & TLS != 0;
        match &address.trust {
            Trust::Plain => {}
            Trust::Preferred if !can => {}
            _ if !can => {
                return Err(WireError::Refused("the server does not encrypt connections, which \"ssl_mode\" asks for"));
            }
            trust @ (Trust::Preferred | Trust::Anybody | Trust::Authority(_) | Trust::Host(_)) => {
                let mut request = BytesMut::new();
                request.put_slice(&[32, 0, 0, 1]);
                response_head(&mut request, CAPABILITIES | TLS);
                stream.write_all(&request).await?;
                let encrypted = tls::encrypt(stream, &address.host, trust).await;
                let encrypted = encrypted.map_err(|error| WireError::Tls(error.to_string()))?;
                let mut wire = Self::over(Box::new(encrypted), true);
                wire.number = 2;
                wire.log_in(address, greeting, CAPABILITIES | TLS).await?;
                return Ok(wire);
            }
        }
        let mut wire = Self::over(Box::new(stream), false);
        wire.number = 1;
        wire.log_in(address, greeting, CAPABILITIES).await?;
        Ok(wire)
    }

    async fn log_in(&mut self, address: &Address, greeting: Greeting, capabilities: u32) -> Result<(), WireError> {
        let Greeting { mut plugin, mut salt, .. } = greeting;
        if proof(&plugin, &address.password, &salt, self.private).is_err() {
            // The server names another if it does not like this one.
            plugin = NATIVE.to_vec();
        }
        let mut response = BytesMut::new();
        response_head(&mut response, capabilities);
        response.put_slice(address.user.as_bytes());
        response.put_u8(0);
        let answer = proof(&plugin, &address.password, &salt, self.private)?;
        put_length(&mut response, answer.len());
        response.put_slice(&answer);
        response.put_slice(&plugin);
        response.put_u8(0);
        self.send(&response).await?;
        loop {
            let packet = self.packet().await?;
            match (packet.first(), packet.get(1)) {
                (Some(0), _) => return Ok(()),
                // SHA-2: 3 says that the proof was enough, 4 that the password itself is wanted.
                (Some(1), Some(3)) if plugin == SHA2 => {}
                (Some(1), Some(4)) if plugin == SHA2 => {
                    let mut password = [address.password.as_bytes(), &[0]].concat();
                    if !self.private {
                        // Where others may listen, it is sealed with the server's key.
                        self.send(&[2]).await?;
                        password = sealed(&self.packet().await?, &password, &salt)?;
                    }
                    self.send(&password).await?;
                }
                (Some(0xfe), Some(_)) => {
                    let mut parts = packet.get(1..).unwrap_or_default().splitn(2, |byte| *byte == 0);
                    plugin = parts.next().unwrap_or_default().to_vec();
                    salt = parts.next().unwrap_or_default().to_vec();
                    if salt.last() == Some(&0) {
                        salt.pop();
                    }
                    let answer = proof(&plugin, &address.password, &salt, self.private)?;
                    self.send(&answer).await?;
                }
                _ => return Err(WireError::Refused("the server asks for a way to log in that is not known here")),
            }
        }
    }

    /// Runs a statement that answers with no rows.
    pub(super) async fn run(&mut self, sql: &str) -> Result<(), WireError> {
        self.number = 0;
        self.send(&[&[3], sql.as_bytes()].concat()).await?;
        match self.packet().await?.first() {
            Some(0) => Ok(()),
            _ => Err(WireError::Unreadable),
        }
    }

    /// Asks for the log from a place on; [`Self::event`] has what comes.
    pub(super) async fn dump(&mut self, file: &str, position: u32, server_id: u32) -> Result<(), WireError> {
        let mut command = BytesMut::new();
        command.put_u8(0x12);
        command.put_u32_le(position);
        command.put_u16_le(0);
        command.put_u32_le(server_id);
        command.put_slice(file.as_bytes());
        self.number = 0;
        self.send(&command).await
    }

    /// The same of MySQL, for all transactions but those of an encoded set: see [`super::gtid::Gtids::encoded`].
    pub(super) async fn dump_but(&mut self, had: &[u8], server_id: u32) -> Result<(), WireError> {
        let mut command = BytesMut::new();
        command.put_u8(0x1e);
        command.put_u16_le(0);
        command.put_u32_le(server_id);
        // No file, from its first event on.
        command.put_u32_le(0);
        command.put_u64_le(4);
        command.put_u32_le(u32::try_from(had.len()).map_err(|_| WireError::Unreadable)?);
        command.put_slice(had);
        self.number = 0;
        self.send(&command).await
    }

    /// The next event of a log that was asked for. Cancel-safe.
    pub(super) async fn event(&mut self) -> Result<Bytes, WireError> {
        let mut packet = self.packet().await?;
        match packet.first() {
            Some(0) => {
                packet.advance(1);
                Ok(packet)
            }
            // The server ends the log where it is stopped.
            Some(0xfe) => Err(WireError::Lost("the server ended its log".to_owned())),
            _ => Err(WireError::Unreadable),
        }
    }

    async fn send(&mut self, payload: &[u8]) -> Result<(), WireError> {
        let length = u32::try_from(payload.len()).ok().filter(|length| *length < 0xff_ff_ff);
        let length = length.ok_or(WireError::Unreadable)?;
        let mut out = BytesMut::with_capacity(payload.len() + 4);
        out.put_uint_le(u64::from(length), 3);
        out.put_u8(self.number);
        out.put_slice(payload);
        self.number = self.number.wrapping_add(1);
        self.stream.write_all(&out).await?;
        Ok(self.stream.flush().await?)
    }

    /// The next payload; an error where that is what it tells. Cancel-safe.
    async fn packet(&mut self) -> Result<Bytes, WireError> {
        loop {
            while let Some((number, part)) = cut(&mut self.read) {
                self.number = number.wrapping_add(1);
                let more = part.len() == PACKET_MAX;
                if !more && self.part.is_empty() {
                    return answer(part.freeze());
                }
                self.part.unsplit(part);
                if !more {
                    return answer(self.part.split().freeze());
                }
            }
            self.read.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

/// Cuts the first whole packet off: its number and content.
fn cut(read: &mut BytesMut) -> Option<(u8, BytesMut)> {
    let head = *read.first_chunk::<4>()?;
    let [a, b, c, number] = head;
    let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
    if read.len() < length + 4 {
        read.reserve(length + 4 - read.len());
        return None;
    }
    read.advance(4);
    Some((number, read.split_to(length)))
}

/// ERR is 0xff, the number, and for most `#` and five letters.
fn answer(payload: Bytes) -> Result<Bytes, WireError> {
    let Some((0xff, rest)) = payload.split_first() else { return Ok(payload) };
    let Some((number, text)) = rest.split_first_chunk::<2>() else { return Err(WireError::Unreadable) };
    let (state, message) = match text.split_first() {
        Some((b'#', text)) => text.split_at_checked(5).unwrap_or_default(),
        _ => (Default::default(), text),
    };
    let string = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Err(WireError::Server { number: u16::from_le_bytes(*number), state: string(state), message: string(message) })
}

fn response_head(out: &mut BytesMut, capabilities: u32) {
    out.put_u32_le(capabilities);
    out.put_u32_le(1 << 30);
    out.put_u8(UTF8MB4);
    out.put_bytes(0, 23);
}

fn put_length(out: &mut BytesMut, length: usize) {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 0xfb => out.put_u8(short),
        (_, Ok(length)) => {
            out.put_u8(0xfc);
            out.put_u16_le(length);
        }
        // No proof is as long as that; the server will refuse it.
        _ => out.put_u8(0xfb),
    }
}

/// What a server says first.
struct Greeting {
    capabilities: u32,
    plugin: Vec<u8>,
    salt: Vec<u8>,
}

impl Greeting {
    fn read(packet: &[u8]) -> Result<Self, WireError> {
        answer(Bytes::copy_from_slice(packet))?;
        let unreadable = || WireError::Unreadable;
        let rest = packet.strip_prefix(&[10]).ok_or(WireError::Refused("the server speaks a protocol of old"))?;
        let end = rest.iter().position(|byte| *byte == 0).ok_or_else(unreadable)?;
        let mut rest = Bytes::copy_from_slice(rest.get(end + 1..).unwrap_or_default());
        if rest.len() < 31 {
            return Err(unreadable());
        }
        rest.advance(4);
        let mut salt = rest.split_to(8).to_vec();
        rest.advance(1);
        let low = u32::from(rest.get_u16_le());
        rest.advance(3);
        let capabilities = low | u32::from(rest.get_u16_le()) << 16;
        let length = usize::from(rest.get_u8());
        rest.advance(10);
        let second = rest.split_to(length.saturating_sub(8).max(13).min(rest.len()));
        // A zero ends it.
        salt.extend_from_slice(second.get(..second.len().saturating_sub(1)).unwrap_or_default());
        let plugin = rest.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        Ok(Self { capabilities, plugin: if plugin.is_empty() { NATIVE.to_vec() } else { plugin }, salt })
    }
}

/// The proof that one knows the password, in the way of a plugin.
fn proof(plugin: &[u8], password: &str, salt: &[u8], private: bool) -> Result<Vec<u8>, WireError> {
    let mixed = |algorithm, parts: fn(&[u8], &[u8]) -> Vec<u8>| {
        if password.is_empty() {
            return Vec::new();
        }
        let digest = |bytes: &[u8]| {
            let mut context = Context::new(algorithm);
            context.update(bytes);
            context.finish().as_ref().to_vec()
        };
        let once = digest(password.as_bytes());
        let mask = digest(&parts(&digest(&once), salt));
        once.iter().zip(&mask).map(|(a, b)| a ^ b).collect()
    };
    match plugin {
        NATIVE => Ok(mixed(&SHA1_FOR_LEGACY_USE_ONLY, |twice, salt| [salt, twice].concat())),
        SHA2 => Ok(mixed(&SHA256, |twice, salt| [twice, salt].concat())),
        CLEAR if private => Ok([password.as_bytes(), &[0]].concat()),
        CLEAR => Err(WireError::Refused("the server asks for the password as it is: use TLS or a socket")),
        _ => Err(WireError::Refused("the server asks for a way to log in that is not known here")),
    }
}

/// A password, a zero at its end, sealed with the key that the server sent.
fn sealed(packet: &[u8], password: &[u8], salt: &[u8]) -> Result<Vec<u8>, WireError> {
    let unusable = || WireError::Refused("the server sent no usable key for the password: use TLS or a socket");
    let key = packet.split_first().and_then(|(_, key)| std::str::from_utf8(key).ok()).ok_or_else(unusable)?;
    let key = rsa::PublicKey::from_public_key_pem(key).map_err(|_| unusable())?;
    let mixed: Vec<u8> = password.iter().zip(salt.iter().cycle()).map(|(a, b)| a ^ b).collect();
    key.oaep_encrypt::<sha1::Sha1>(&mixed).map_err(|_| unusable())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_cut_wherever_the_network_cuts_them() {
        let bytes = [b"\x02\0\0\x05ab".as_slice(), b"\0\0\0\x06", b"\x01\0\0\x07c"].concat();
        for size in 1..=bytes.len() {
            let (mut read, mut found) = (BytesMut::new(), Vec::new());
            for part in bytes.chunks(size) {
                read.extend_from_slice(part);
                while let Some((number, payload)) = cut(&mut read) {
                    found.push((number, payload.to_vec()));
                }
            }
            assert_eq!(found, [(5, b"ab".to_vec()), (6, vec![]), (7, b"c".to_vec())]);
        }
    }

    #[test]
    fn errors_are_told_with_their_numbers() {
        let error = answer(Bytes::from_static(b"\xff\xd4\x04#HY000no such log")).unwrap_err();
        assert_eq!(error.to_string(), "no such log (error 1236)");
        assert!(answer(Bytes::from_static(b"\xff\xd4")).is_err());
        assert!(answer(Bytes::from_static(b"\0ok")).is_ok());
    }

    #[tokio::test]
    async fn long_payloads_come_in_several_packets() {
        let (client, mut server) = tokio::io::duplex(1 << 20);
        let mut wire = Wire::over(Box::new(client), false);
        let whole = vec![7_u8; PACKET_MAX + 3];
        let sent = whole.clone();
        let sending = async move {
            server.write_all(&[0xff, 0xff, 0xff, 0]).await.unwrap();
            server.write_all(&sent[..PACKET_MAX]).await.unwrap();
            server.write_all(&[3, 0, 0, 1]).await.unwrap();
            server.write_all(&sent[PACKET_MAX..]).await.unwrap();
            server
        };
        let (_server, packet) = tokio::join!(sending, wire.packet());
        assert_eq!(packet.unwrap(), whole);
    }

    /// The examples of the manuals' descriptions, computed with another implementation (Python's hashlib).
    #[test]
    fn a_password_is_proved_without_being_said() {
        let salt = b"01234567890123456789";
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(proof(NATIVE, "secret", salt, false).unwrap()), "7abe1a8776b59e931059451f81e596a60dbbf7a8");
        assert_eq!(
            hex(proof(SHA2, "secret", salt, false).unwrap()),
            "1a2da2573c2faa367e2afddb54cdfd11a95ed22eef0167151196a6fc8e3d3813"
        );
        assert!(proof(NATIVE, "", salt, false).unwrap().is_empty());
        assert!(proof(CLEAR, "secret", salt, false).is_err(), "not where others listen");
        assert_eq!(proof(CLEAR, "secret", salt, true).unwrap(), b"secret\0");
    }
}
