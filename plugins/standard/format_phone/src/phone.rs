//! One phone number: read it as a person wrote it, check it against the numbering plan, write it in one format.

use crate::plan::{self, Digits, Plan};
use crate::read::{Number, Reading, read};
use rlibphonenumber::{PhoneNumber, PhoneNumberFormat, Region, get_national_significant_number_owned};
use tidelock_plugin::{Failure, ParamError, Params, Text};

/// The formats' names, the default first.
pub const FORMATS: [&str; 4] = ["e164", "international", "national", "rfc3966"];

/// How numbers are read and written: the function's parameters.
#[derive(Clone, Copy)]
pub struct Style {
    /// Where numbers without a country code are at home.
    home: Option<Home>,
    format: PhoneNumberFormat,
}

/// A region, for the tables and for the library.
#[derive(Clone, Copy)]
struct Home {
    plan: &'static Plan,
    region: Region,
}

impl Style {
    /// Reads `region` and `format`.
    ///
    /// # Errors
    /// For a region that has no numbering plan, and for `national` without a region: such a number could not be read again.
    pub fn from_params(params: &Params) -> Result<Self, ParamError> {
        let home = params.text("region").map(home).transpose()?;
        let format = match params.text("format") {
            Some("international") => PhoneNumberFormat::International,
            Some("national") => PhoneNumberFormat::National,
            Some("rfc3966") => PhoneNumberFormat::RFC3966,
            _ => PhoneNumberFormat::E164,
        };
        if home.is_none() && format == PhoneNumberFormat::National {
            return Err(ParamError::new("region", "required with format \"national\", such as {\"region\":\"US\"}"));
        }
        Ok(Self { home, format })
    }

    /// Appends `value` in this style.
    ///
    /// # Errors
    /// `invalid-phone`, with a reason that does not repeat the number.
    pub fn write(&self, value: &str, out: &mut Text) -> Result<(), Failure> {
        match self.read(value) {
            Reading::Valid(number) => self.write_number(&number, out),
            Reading::Invalid => return Err(invalid("is no number of its country's numbering plan")),
            Reading::Unreadable | Reading::Unsure => {
                return Err(invalid(match self.home {
                    Some(_) => "cannot be read as a phone number",
                    None => {
                        "cannot be read as a phone number; without the parameter \"region\" it needs a + and a country code"
                    }
                }));
            }
        }
        Ok(())
    }

    fn read(&self, value: &str) -> Reading {
        match read(value, self.home.map(|home| home.plan)) {
            Reading::Unsure => self.read_by_library(value),
            sure => sure,
        }
    }

    /// Every spelling that libphonenumber knows. Whether there is such a number is not asked of it: the tables say the same.
    fn read_by_library(&self, value: &str) -> Reading {
        let Ok(parsed) = PhoneNumber::parse(value, self.home.map(|home| home.region)) else {
            return Reading::Unreadable;
        };
        let code = u16::try_from(parsed.country_code).ok().and_then(plan::code);
        let national = get_national_significant_number_owned(&parsed);
        match (code, Digits::of(national.as_bytes())) {
            (Some(code), Some(national)) if code.has(national.as_bytes()) => {
                Reading::Valid(Number { code: code.code, national, extension: parsed.extension })
            }
            _ => Reading::Invalid,
        }
    }

    /// The number in the wanted format, or in the first simpler one that reads as the same number again: a few numbering
    /// plans have numbers whose national form is somebody else's, and a number abroad has none here.
    fn write_number(&self, number: &Number, out: &mut Text) {
        let steps: &[PhoneNumberFormat] = match self.format {
            PhoneNumberFormat::National => &[PhoneNumberFormat::National, PhoneNumberFormat::International],
            PhoneNumberFormat::International => &[PhoneNumberFormat::International],
            PhoneNumberFormat::RFC3966 => &[PhoneNumberFormat::RFC3966],
            PhoneNumberFormat::E164 => &[],
        };
        for step in steps {
            let number_for_library = for_library(number);
            let text = number_for_library.format_as(*step);
            if matches!(self.read(&text), Reading::Valid(again) if again == *number) {
                out.push_str(&text);
                return;
            }
        }
        out.push('+');
        push_code(number.code, out);
        out.push_ascii_bytes(number.national.as_bytes());
    }
}

/// The number as the library has it: leading zeros are counted beside the rest.
fn for_library(number: &Number) -> PhoneNumber {
    let national = number.national.as_str();
    let rest = national.trim_start_matches('0');
    let zeros = national.len() - rest.len();
    PhoneNumber {
        country_code: number.code.into(),
        national_number: rest.parse().unwrap_or(0),
        extension: number.extension.clone(),
        italian_leading_zero: (zeros > 0).then_some(true),
        number_of_leading_zeros: i32::try_from(zeros).ok().filter(|zeros| *zeros > 1),
        ..PhoneNumber::default()
    }
}

/// The region of an ISO 3166 code that has a numbering plan.
fn home(code: &str) -> Result<Home, ParamError> {
    let known = plan::of_region(code).zip(Region::from_code(code).ok());
    known.map(|(plan, region)| Home { plan, region }).ok_or_else(|| {
        ParamError::new("region", "expected a two-letter ISO 3166 country code, such as \"US\" or \"DE\"")
    })
}

fn push_code(code: u16, out: &mut Text) {
    let digits = [code / 100, code / 10 % 10, code % 10];
    for digit in digits.iter().skip_while(|digit| **digit == 0) {
        out.push(char::from_digit(u32::from(*digit), 10).unwrap_or('0'));
    }
}

fn invalid(reason: &str) -> Failure {
    Failure::new("invalid-phone", format!("the value {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlibphonenumber::PHONE_NUMBER_UTIL;

    fn style(region: Option<&str>, format: PhoneNumberFormat) -> Style {
        Style { home: region.map(|code| home(code).unwrap()), format }
    }

    fn written(style: Style, value: &str) -> Result<String, &'static str> {
        let mut out = Text::new();
        style.write(value, &mut out).map(|()| out.as_str().to_owned()).map_err(|failure| failure.code)
    }

    #[test]
    fn a_region_is_a_country_with_a_numbering_plan() {
        for code in ["US", "us", "GB", "TA", "AC", "XK"] {
            assert!(home(code).is_ok(), "{code}");
        }
        for code in ["", "U", "UK", "EU", "XX", "USA", "001", "ÄÖ"] {
            assert!(home(code).is_err(), "{code}");
        }
    }

    #[test]
    fn numbers_as_people_write_them() {
        let cases = [
            (None, "+55 (12) 3923-5555", Ok("+551239235555")),
            (None, "+49 0711 2842222", Ok("+497112842222")),
            (None, "+39 06 39733434", Ok("+390639733434")),
            (None, "+54 (0)11 4311 4333", Ok("+541143114333")),
            (None, "tel:+1-206-342-8631", Ok("+12063428631")),
            (None, "＋１ ２０６ ３４２ ８６３１", Ok("+12063428631")),
            (Some("US"), "1-800-FLOWERS", Ok("+18003569377")),
            (Some("US"), " 206.342.8631 x7 ", Ok("+12063428631")),
            (Some("US"), "+46 08-651 52 52", Ok("+4686515252")),
            (Some("SE"), "08-651 52 52", Ok("+4686515252")),
            // One digit too many or too few for the country's plan.
            (None, "+453 3331 9991", Err("invalid-phone")),
            (None, "+56 (0)2 635 4444", Err("invalid-phone")),
            (None, "+91 0124 39883988", Err("invalid-phone")),
            (None, "206-342-8631", Err("invalid-phone")),
            (Some("US"), "", Err("invalid-phone")),
            (Some("US"), "n/a", Err("invalid-phone")),
        ];
        for (region, value, expected) in cases {
            assert_eq!(written(style(region, PhoneNumberFormat::E164), value), expected.map(str::to_owned), "{value}");
        }
    }

    #[test]
    fn a_number_from_elsewhere_has_no_national_form() {
        let national = style(Some("US"), PhoneNumberFormat::National);
        assert_eq!(written(national, "+44 20 7946 0958").as_deref(), Ok("+44 20 7946 0958"));
        assert_eq!(written(national, "+1 416 363 8888").as_deref(), Ok("(416) 363-8888"));
    }

    #[test]
    fn failures_do_not_repeat_the_number() {
        let failure = style(Some("US"), PhoneNumberFormat::E164).write("206-555", &mut Text::new()).unwrap_err();
        assert!(!failure.message.contains("206"), "{}", failure.message);
    }

    /// The declared law, for a number of every kind in every country, read from home, from the US and from nowhere.
    #[test]
    fn twice_is_once_in_every_country_and_format() {
        use PhoneNumberFormat::{E164, International, National, RFC3966};
        use rlibphonenumber::PhoneNumberType as Kind;
        let kinds =
            [Kind::FixedLine, Kind::Mobile, Kind::TollFree, Kind::PremiumRate, Kind::SharedCost, Kind::VoIP, Kind::UAN];
        let mut numbers = 0;
        for region in PHONE_NUMBER_UTIL.get_supported_regions() {
            for kind in kinds {
                let Ok(number) = PHONE_NUMBER_UTIL.get_example_number_for_type_and_region(region, kind) else {
                    continue;
                };
                numbers += 1;
                for at in [Some(region), Some(Region::US), Some(Region::DE), None] {
                    for format in [E164, International, National, RFC3966] {
                        let style = style(at.map(|region| region.to_string()).as_deref(), format);
                        let once = written(style, &number.format_as(International)).unwrap();
                        assert_eq!(
                            written(style, &once).as_deref(),
                            Ok(once.as_str()),
                            "{region} {kind:?} {at:?} {format:?}"
                        );
                    }
                }
            }
        }
        assert!(numbers > 900, "{numbers}");
    }
}
