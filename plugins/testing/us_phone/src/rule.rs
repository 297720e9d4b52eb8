//! Numbers of North America as people write them (brackets, dots, `+1`, extensions, vanity letters) to `+1` and ten digits.
//!
//! One function, compiled into guests and natively into `benches/plugins.rs`: what differs there is the way it is run.

use super::steps;

/// What a byte is: a digit, which stands in the upper half, with the bits that it takes in the lower one; nothing; or one of these, which as
/// numbers of bits are multiples of 64, hence none.
const EXTENSION: u16 = 0x40;
const REFUSED: u16 = 0x80;

/// Bits of a digit while the number is put together.
const BITS: u32 = 4;

static CLASSES: [u16; 256] = classes();

const fn classes() -> [u16; 256] {
    let keypad = *b"22233344455566677778889999";
    let mut classes = [REFUSED; 256];
    let mut byte = 0;
    while byte < 26 {
        classes[b'a' as usize + byte] = digit(keypad[byte]);
        classes[b'A' as usize + byte] = digit(keypad[byte]);
        byte += 1;
    }
    byte = b'0' as usize;
    while byte <= b'9' as usize {
        classes[byte] = digit(byte as u8);
        byte += 1;
    }
    let skipped = *b" +-./()";
    byte = 0;
    while byte < skipped.len() {
        classes[skipped[byte] as usize] = 0;
        byte += 1;
    }
    classes[b'x' as usize] = EXTENSION;
    classes[b'#' as usize] = EXTENSION;
    classes
}

const fn digit(written: u8) -> u16 {
    ((written - b'0') as u16) << 8 | BITS as u16
}

/// Digits of one turn, before the first: the one that stands in front of them says how many there are.
const NO_DIGITS: u64 = 1;

/// The number as `+1` and ten digits; `None` for what is none.
pub fn us_phone(value: &str) -> Option<[u8; 12]> {
    let (mut digits, mut bits) = (0_u64, 0);
    for step in steps(value, b' ') {
        let (mut taken, mut seen) = (NO_DIGITS, 0);
        for byte in step {
            let class = CLASSES[usize::from(byte)];
            taken = take(taken, class);
            seen |= class;
        }
        let ends = seen & (EXTENSION | REFUSED) != 0;
        if ends {
            taken = digits_before(step)?;
        }
        let more = taken.ilog2();
        digits = digits << more | taken ^ 1 << more;
        bits += more;
        if ends {
            break;
        }
        if bits > 11 * BITS {
            return None;
        }
    }
    if bits == 11 * BITS && digits >> (10 * BITS) == 1 {
        (digits, bits) = (digits ^ 1 << (10 * BITS), 10 * BITS);
    }
    // Area and exchange begin with 2 to 9.
    let begins_well = |rest: u32| digits >> (rest * BITS) & 0xf >= 2;
    (bits == 10 * BITS && begins_well(9) && begins_well(6)).then(|| written(digits))
}

/// Takes the digit of a byte of this class, if it is one.
fn take(taken: u64, class: u16) -> u64 {
    taken.wrapping_shl(u32::from(class)) | u64::from(class >> 8)
}

/// Digits before an extension; `None` where something else comes first that is in no number. Apart, as it is seldom.
#[cold]
#[inline(never)]
fn digits_before(step: [u8; 8]) -> Option<u64> {
    let classes = step.map(|byte| CLASSES[usize::from(byte)]);
    let at = classes.iter().position(|class| class & (EXTENSION | REFUSED) != 0)?;
    let taken = classes[..at].iter().fold(NO_DIGITS, |taken, class| take(taken, *class));
    (classes[at] == EXTENSION).then_some(taken)
}

/// Ten digits as they are written, `+1` in front.
fn written(digits: u64) -> [u8; 12] {
    let first = eight_written(digits >> (4 * BITS) | 1 << (6 * BITS)) - u64::from(b'0' - b'+');
    let last = eight_written(digits << (4 * BITS) & 0xffff_ffff);
    let mut number = [0; 12];
    number[..8].copy_from_slice(&first.to_le_bytes());
    number[8..].copy_from_slice(&(last as u32).to_le_bytes());
    number
}

/// Eight digits as they are written, the first in the lowest byte: halves, quarters and digits move apart and change places.
fn eight_written(digits: u64) -> u64 {
    let halves = digits >> 16 | (digits & 0xffff) << 32;
    let quarters = halves >> 8 & 0x00ff_0000_00ff | (halves & 0x00ff_0000_00ff) << 16;
    let apart = quarters >> 4 & 0x000f_000f_000f_000f | (quarters & 0x000f_000f_000f_000f) << 8;
    apart | 0x3030_3030_3030_3030
}
