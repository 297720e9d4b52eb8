//! What the log has packed (layer 4, pure): MariaDB's single events (zlib), and MySQL's whole transactions (zstd), whose events come out one by
//! one, so that nobody holds all of them.
//!
//! <https://dev.mysql.com/doc/refman/8.4/en/binary-log-transaction-compression.html>,
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Transaction__payload__event.html>

use std::io::{self, Cursor, Read};

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use super::bytes::Fields;
use super::events::HEAD;

/// The largest event that is unpacked: as large as a packet may be.
const UNPACKED_MAX: usize = 1 << 30;
/// How far back a packed transaction may refer, in bytes: what the highest level of compression does.
const WINDOW_MAX: u64 = 1 << 27;
/// The fields before a payload.
const END: usize = 0;
const COMPRESSION: usize = 2;
/// Kinds of compression.
const ZSTD: usize = 0;
const NONE: usize = 255;

/// What MariaDB packs: a byte that says how, the length in up to four bytes, and a zlib stream.
pub(super) fn unpacked(packed: &[u8]) -> Option<Vec<u8>> {
    let mut fields = Fields(packed);
    let how = fields.byte()?;
    let length = usize::try_from(fields.big(usize::from(how & 7))?).ok()?;
    if how & 0xf0 != 0x80 || length > UNPACKED_MAX {
        return None;
    }
    let mut unpacked = Vec::new();
    // One byte more than it says would be too much.
    let limit = u64::try_from(length).ok()?.saturating_add(1);
    flate2::read::ZlibDecoder::new(fields.0).take(limit).read_to_end(&mut unpacked).ok()?;
    (unpacked.len() == length).then_some(unpacked)
}

/// The events of a packed transaction of MySQL. They have no checksums, and stand nowhere in the log.
pub(super) struct Transaction(Box<dyn Read + Send + Sync>);

impl Transaction {
    /// Reads the head of its event's body; `None` where that is not what it should be.
    pub(super) fn read(mut body: Fields<'_>) -> Option<Self> {
        let mut compression = NONE;
        loop {
            match body.packed()? {
                END => break,
                field => {
                    let mut value = Fields(body.counted()?);
                    if field == COMPRESSION {
                        compression = value.packed()?;
                    }
                }
            }
        }
        let payload = Cursor::new(body.0.to_vec());
        match compression {
            ZSTD => Some(Self(Box::new(Frames { rest: Some(payload), frame: None }))),
            NONE => Some(Self(Box::new(payload))),
            _ => None,
        }
    }

    /// The next event; `None` behind the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut event = Vec::with_capacity(HEAD);
        let mut more = |event: &mut Vec<u8>, count: usize| {
            let count = u64::try_from(count).unwrap_or_default();
            (&mut self.0).take(count).read_to_end(event)
        };
        if more(&mut event, HEAD)? == 0 {
            return Ok(None);
        }
        let unreadable = || io::Error::from(io::ErrorKind::InvalidData);
        let mut length = Fields(event.get(9..).unwrap_or_default());
        let length = length.size(4).filter(|length| (HEAD..=UNPACKED_MAX).contains(length)).ok_or_else(unreadable)?;
        more(&mut event, length - HEAD)?;
        if event.len() == length { Ok(Some(event)) } else { Err(unreadable()) }
    }
}

/// Frames of zstd, one behind the other.
struct Frames {
    /// What no frame was begun of; nothing while one is read.
    rest: Option<Cursor<Vec<u8>>>,
    frame: Option<Box<StreamingDecoder<Cursor<Vec<u8>>, FrameDecoder>>>,
}

impl Read for Frames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let count = frame.read(buffer)?;
                if count > 0 {
                    return Ok(count);
                }
            }
            if let Some(ended) = self.frame.take() {
                self.rest = Some(ended.into_inner());
            }
            let ended =
                |rest: &Cursor<Vec<u8>>| rest.position() >= u64::try_from(rest.get_ref().len()).unwrap_or_default();
            let Some(rest) = self.rest.take_if(|rest| !ended(rest)) else { return Ok(0) };
            let frame = StreamingDecoder::new_with_max_window_size(rest, WINDOW_MAX).map_err(io::Error::other)?;
            self.frame = Some(Box::new(frame));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event of no meaning, of so many bytes.
    fn event(length: usize) -> Vec<u8> {
        let mut event = vec![7; length];
        event[9..13].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        event
    }

    fn all(body: &[u8]) -> Option<Vec<usize>> {
        let mut transaction = Transaction::read(Fields(body))?;
        let mut lengths = Vec::new();
        loop {
            match transaction.next() {
                Ok(Some(event)) => lengths.push(event.len()),
                Ok(None) => return Some(lengths),
                Err(_) => return None,
            }
        }
    }

    #[test]
    fn events_come_out_of_one_frame_or_several() {
        let pack = |bytes: &[u8]| ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest);
        let whole = [event(19), event(300_000), event(40)].concat();
        // Fields: the size, which is not needed, and zstd.
        let head = [1, 1, 9, 2, 1, 0, 0];
        assert_eq!(all(&[&head[..], &pack(&whole)].concat()).unwrap(), [19, 300_000, 40]);
        let cut = [pack(&whole[..1_000]), pack(&whole[1_000..])].concat();
        assert_eq!(all(&[&head[..], &cut].concat()).unwrap(), [19, 300_000, 40]);
        // Not compressed at all: 255 takes three bytes.
        assert_eq!(all(&[&[2, 3, 0xfc, 255, 0, 0][..], &whole].concat()).unwrap(), [19, 300_000, 40]);
        assert!(all(&[&head[..], &pack(&whole)[..100]].concat()).is_none(), "cut off");
        assert!(all(&[&[2, 1, 3, 0][..], &whole].concat()).is_none(), "a compression that is not known");
        assert!(all(&[2, 1]).is_none());
    }
}
