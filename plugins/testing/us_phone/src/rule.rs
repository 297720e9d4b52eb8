//! Numbers of North America as people write them (brackets, dots, `+1`, extensions, vanity letters) to `+1` and ten digits.
//!
//! One function, compiled into guests and natively into `benches/plugins.rs`: what differs there is the way it is run.

/// What a byte is: a digit, or one of these.
const SKIPPED: u8 = 16;
const EXTENSION: u8 = 17;
const REFUSED: u8 = 18;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let keypad = *b"22233344455566677778889999";
    let mut classes = [REFUSED; 256];
    let mut byte = 0;
    while byte < 26 {
        classes[b'a' as usize + byte] = keypad[byte] - b'0';
        classes[b'A' as usize + byte] = keypad[byte] - b'0';
        byte += 1;
    }
    byte = 0;
    while byte < 10 {
        classes[b'0' as usize + byte] = byte as u8;
        byte += 1;
    }
    let skipped = *b" +-./()";
    byte = 0;
    while byte < skipped.len() {
        classes[skipped[byte] as usize] = SKIPPED;
        byte += 1;
    }
    classes[b'x' as usize] = EXTENSION;
    classes[b'#' as usize] = EXTENSION;
    classes
}

/// Bytes of one turn: in the sandbox every turn of a loop looks at the deadline.
const STEP: usize = 8;
/// Digits that are kept: eleven, and what one more turn may add before it is seen that there are too many.
const KEPT: usize = 32;

/// The number as `+1` and ten digits; `None` for what is none.
pub fn us_phone(value: &str) -> Option<[u8; 12]> {
    // The place after the last digit takes what is none.
    let mut digits = [0_u8; KEPT];
    let mut count = 0;
    let (steps, rest) = value.as_bytes().as_chunks::<STEP>();
    let mut last = [b' '; STEP];
    for (place, byte) in last.iter_mut().zip(rest) {
        *place = *byte;
    }
    'all: for step in steps.iter().chain([&last]) {
        for byte in step {
            let class = CLASSES[usize::from(*byte)];
            digits[count % KEPT] = class;
            count += usize::from(class < 10);
            if class == REFUSED {
                return None;
            }
            if class == EXTENSION {
                break 'all;
            }
        }
        if count > 11 {
            return None;
        }
    }
    let first = usize::from(count == 11 && digits[0] == 1);
    if count - first != 10 {
        return None;
    }
    let mut number = *b"+10000000000";
    for place in 0..10 {
        number[place + 2] = b'0' + digits[place + first];
    }
    // Area and exchange begin with 2 to 9.
    (number[2] >= b'2' && number[5] >= b'2').then_some(number)
}
