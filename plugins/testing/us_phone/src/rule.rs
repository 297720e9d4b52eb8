//! Numbers of North America as people write them (brackets, dots, `+1`, extensions, vanity letters) to `+1` and ten digits.
//!
//! One function, compiled into guests and natively into `benches/plugins.rs`: what differs there is the way it is run.

use super::steps;

/// What a byte is: a digit as it is written, nothing, or one of these.
const EXTENSION: u8 = 0x40;
const REFUSED: u8 = 0x80;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let keypad = *b"22233344455566677778889999";
    let mut classes = [REFUSED; 256];
    let mut byte = 0;
    while byte < 26 {
        classes[b'a' as usize + byte] = keypad[byte];
        classes[b'A' as usize + byte] = keypad[byte];
        byte += 1;
    }
    byte = b'0' as usize;
    while byte <= b'9' as usize {
        classes[byte] = byte as u8;
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

/// Digits that are kept: eleven, and what one more turn may add before it is seen that there are too many.
const KEPT: usize = 32;

/// The number as `+1` and ten digits; `None` for what is none.
pub fn us_phone(value: &str) -> Option<[u8; 12]> {
    // The place after the last digit takes what is none.
    let mut digits = [0_u8; KEPT];
    let mut count = 0;
    for step in steps(value, b' ') {
        let (before, mut seen) = (count, 0);
        for byte in step {
            let class = CLASSES[usize::from(byte)];
            digits[count % KEPT] = class;
            count += usize::from(class != 0);
            seen |= class;
        }
        if seen & (EXTENSION | REFUSED) != 0 {
            count = before + digits_before(step)?;
            break;
        }
        if count > 11 {
            return None;
        }
    }
    let first = usize::from(count == 11 && digits[0] == b'1');
    if count - first != 10 {
        return None;
    }
    let mut number = *b"+10000000000";
    number[2..].copy_from_slice(&digits[first..first + 10]);
    // Area and exchange begin with 2 to 9.
    (number[2] >= b'2' && number[5] >= b'2').then_some(number)
}

/// Digits before an extension; `None` where something else comes first that is in no number. Apart, as it is seldom.
#[cold]
#[inline(never)]
fn digits_before(step: [u8; 8]) -> Option<usize> {
    let classes = step.map(|byte| CLASSES[usize::from(byte)]);
    let at = classes.iter().position(|class| class & (EXTENSION | REFUSED) != 0)?;
    let digits = classes[..at].iter().filter(|class| **class != 0).count();
    (classes[at] == EXTENSION).then_some(digits)
}
