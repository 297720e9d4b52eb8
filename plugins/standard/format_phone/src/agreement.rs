//! This plugin's own reading held against the library's, over the examples of every region and over generated digits: equal,
//! or left to the library.

use crate::plan::{self, Plan};
use crate::read::{Number, Reading, read};
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, PhoneNumberType, Region};

/// What the library alone makes of a text: E.164, or `None` for a number of no plan, or `Err` where it reads none.
fn by_library(text: &str, home: Option<Region>) -> Result<Option<String>, ()> {
    let number = PhoneNumber::parse(text, home).map_err(drop)?;
    Ok(number.is_valid().then(|| number.format_as(PhoneNumberFormat::E164).into_owned()))
}

/// How often texts were read here, and how often they were a number.
#[derive(Debug, Default)]
struct Tally {
    read: u32,
    valid: u32,
}

/// Compares both on one text.
fn compare(text: &str, home: Option<(Region, &'static Plan)>, tally: &mut Tally) {
    let ours = match read(text, home.map(|(_, plan)| plan)) {
        Reading::Valid(Number { code, national, .. }) => Ok(Some(format!("+{code}{}", national.as_str()))),
        Reading::Invalid => Ok(None),
        Reading::Unreadable => Err(()),
        Reading::Unsure => return,
    };
    let region = home.map(|(region, _)| region);
    tally.read += 1;
    tally.valid += u32::from(matches!(ours, Ok(Some(_))));
    assert_eq!(ours, by_library(text, region), "{text:?} at home in {region:?}");
}

fn regions() -> Vec<(Region, &'static Plan)> {
    let mut regions: Vec<_> = PHONE_NUMBER_UTIL.get_supported_regions().collect();
    regions.sort_by_key(|region| region.to_string());
    regions.into_iter().map(|region| (region, plan::of_region(&region.to_string()).unwrap())).collect()
}

/// A fixed sequence of numbers that look random (xorshift).
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % bound
    }

    fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from_digit(u32::try_from(self.below(10)).unwrap(), 10).unwrap()).collect()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// The digits with something between and around them that says nothing.
    fn dressed(&mut self, digits: &str) -> String {
        const BETWEEN: [&str; 12] = ["", "", "", "", "", " ", "-", ".", "/", ") ", "\u{a0}", "\u{2013}"];
        const BEFORE: [&str; 7] = ["", "", "", " (", "tel:", "Phone: ", "\u{ff08}"];
        let mut text = self.pick(&BEFORE).to_owned();
        for character in digits.chars() {
            text.push(character);
            text.push_str(self.pick(&BETWEEN));
        }
        text
    }
}

/// Each digit of a number changed, left out or doubled, now and then.
fn mutated(noise: &mut Noise, digits: &str) -> String {
    let mut made = String::new();
    for character in digits.chars() {
        match noise.below(24) {
            0 => {}
            1 => made.push_str(&noise.digits(1)),
            2 => made.extend([character, character]),
            _ => made.push(character),
        }
    }
    made
}

const TYPES: [PhoneNumberType; 10] = [
    PhoneNumberType::FixedLine,
    PhoneNumberType::Mobile,
    PhoneNumberType::TollFree,
    PhoneNumberType::PremiumRate,
    PhoneNumberType::SharedCost,
    PhoneNumberType::PersonalNumber,
    PhoneNumberType::VoIP,
    PhoneNumberType::Pager,
    PhoneNumberType::UAN,
    PhoneNumberType::VoiceMail,
];

fn examples(region: Region) -> impl Iterator<Item = PhoneNumber> {
    TYPES.iter().filter_map(move |kind| PHONE_NUMBER_UTIL.get_example_number_for_type_and_region(region, *kind).ok())
}

#[test]
fn examples_of_every_region_in_every_format() {
    use PhoneNumberFormat::{E164, International, National, RFC3966};
    let mut tally = Tally::default();
    for (region, plan) in regions() {
        for number in examples(region) {
            for format in [E164, International, National, RFC3966] {
                let text = number.format_as(format);
                for home in [Some((region, plan)), None, Some((Region::US, plan::of_region("US").unwrap()))] {
                    compare(&text, home, &mut tally);
                }
            }
        }
    }
    assert!(tally.read > 10_000 && tally.valid > 8_000, "{tally:?}");
}

#[test]
fn generated_digits_of_every_region() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let (all, mut tally) = (regions(), Tally::default());
    let prefixes = ["", "", "", "0", "00", "1", "8", "011", "9", "15"];
    for &(region, plan) in &all {
        let examples: Vec<String> =
            examples(region).map(|number| rlibphonenumber::get_national_significant_number_owned(&number)).collect();
        for round in 0..2_000 {
            let national = match round % 4 {
                0 => {
                    let count = noise.below(20);
                    noise.digits(count)
                }
                1 => {
                    let example = examples[noise.below(examples.len())].clone();
                    let kept = noise.below(example.len());
                    let tail = noise.digits(example.len() - kept);
                    example[..kept].to_owned() + &tail
                }
                _ => {
                    let example = examples[noise.below(examples.len())].clone();
                    mutated(&mut noise, &example)
                }
            };
            let code = plan.code.to_string();
            let before = match noise.below(5) {
                0 | 1 => String::from("+") + &code,
                2 => code,
                3 => format!("{}{code}", noise.pick(&["00", "011", "010", "000", "810", "0011", "119", "+"])),
                _ => noise.pick(&prefixes).to_string(),
            };
            let trunk = if noise.below(6) == 0 { "0" } else { "" };
            let text = noise.dressed(&format!("{before}{trunk}{national}"));
            for home in [Some((region, plan)), Some(noise.pick(&all)), None] {
                compare(&text, home, &mut tally);
            }
        }
    }
    assert!(tally.read > 1_000_000 && tally.valid > 200_000, "{tally:?}");
}

/// The tables alone say whether a number that the library parsed is one.
#[test]
fn generated_numbers_of_every_calling_code() {
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    let mut tally = Tally::default();
    let codes: Vec<i32> = PHONE_NUMBER_UTIL.get_supported_calling_codes().collect();
    assert!(codes.len() > 200, "{}", codes.len());
    for code in codes {
        for _ in 0..4_000 {
            let count = 2 + noise.below(14);
            compare(&format!("+{code}{}", noise.digits(count)), None, &mut tally);
        }
    }
    assert!(tally.read > 800_000 && tally.valid > 10_000, "{tally:?}");
}

/// Characters of every script and sort, among digits.
#[test]
fn other_characters() {
    let mut noise = Noise(0x1234_5678_9abc_def1);
    let alphabet: Vec<char> =
        "+++＋0123456789٣５xX#*,;~- .()[]/tel:extFLOWERS\t\n\r\u{a0}\u{ad}\u{200b}\u{200e}\u{2060}\u{3000}–−ー（）\
                               äé日\u{301}⁓½²"
            .chars()
            .collect();
    let mut tally = Tally::default();
    let us = Some((Region::US, plan::of_region("US").unwrap()));
    for round in 0..60_000 {
        let strange = if round % 3 == 0 { 1 } else { 4 };
        let text: String =
            (0..4 + noise.below(16))
                .map(|_| {
                    if noise.below(6) < strange {
                        noise.pick(&alphabet)
                    } else {
                        noise.digits(1).chars().next().unwrap()
                    }
                })
                .collect();
        compare(&text, us, &mut tally);
        compare(&text, None, &mut tally);
    }
    assert!(tally.read > 15_000 && tally.valid > 100, "{tally:?}");
}
