//! One phone number: read it as a person wrote it, check it against the numbering plan, write it in one format.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, Region};
use std::borrow::Cow;
use tidelock_plugin::{Failure, ParamError, Params, Text};

/// The formats' names, the default first.
pub const FORMATS: [&str; 4] = ["e164", "international", "national", "rfc3966"];

/// How numbers are read and written: the function's parameters.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Where numbers without a country code are at home.
    region: Option<Region>,
    format: PhoneNumberFormat,
}

impl Style {
    /// Reads `region` and `format`.
    ///
    /// # Errors
    /// For a region that has no numbering plan, and for `national` without a region: such a number could not be read again.
    pub fn from_params(params: &Params) -> Result<Self, ParamError> {
        let region = params.text("region").map(region).transpose()?;
        let format = match params.text("format") {
            Some("international") => PhoneNumberFormat::International,
            Some("national") => PhoneNumberFormat::National,
            Some("rfc3966") => PhoneNumberFormat::RFC3966,
            _ => PhoneNumberFormat::E164,
        };
        if region.is_none() && format == PhoneNumberFormat::National {
            return Err(ParamError::new("region", "required with format \"national\", such as {\"region\":\"US\"}"));
        }
        Ok(Self { region, format })
    }

    /// Appends `value` in this style.
    ///
    /// # Errors
    /// `invalid-phone`, with a reason that does not repeat the number.
    pub fn write(&self, value: &str, out: &mut Text) -> Result<(), Failure> {
        let number = self.read(value)?;
        out.push_str(&self.format(&number));
        Ok(())
    }

    fn read(&self, value: &str) -> Result<PhoneNumber, Failure> {
        let parsed = PhoneNumber::parse(value, self.region);
        let number = parsed.map_err(|_| {
            invalid(match self.region {
                Some(_) => "cannot be read as a phone number",
                None => {
                    "cannot be read as a phone number; without the parameter \"region\" it needs a + and a country code"
                }
            })
        })?;
        if number.is_valid() { Ok(number) } else { Err(invalid("is no number of its country's numbering plan")) }
    }

    /// The number in the wanted format, or in the first simpler one that reads as the same number again: a few numbering
    /// plans have numbers whose national form is somebody else's, and a number abroad has none here.
    fn format<'a>(&self, number: &'a PhoneNumber) -> Cow<'a, str> {
        let steps: &[PhoneNumberFormat] = match self.format {
            PhoneNumberFormat::National => &[PhoneNumberFormat::National, PhoneNumberFormat::International],
            PhoneNumberFormat::International => &[PhoneNumberFormat::International],
            PhoneNumberFormat::RFC3966 => &[PhoneNumberFormat::RFC3966],
            PhoneNumberFormat::E164 => &[],
        };
        for step in steps {
            let text = number.format_as(*step);
            if self.read(&text).is_ok_and(|again| again == *number) {
                return text;
            }
        }
        number.format_as(PhoneNumberFormat::E164)
    }
}

/// The region of an ISO 3166 code that has a numbering plan.
fn region(code: &str) -> Result<Region, ParamError> {
    let known =
        Region::from_code(code).ok().filter(|&region| PHONE_NUMBER_UTIL.get_country_code_for_region(region).is_some());
    known.ok_or_else(|| {
        ParamError::new("region", "expected a two-letter ISO 3166 country code, such as \"US\" or \"DE\"")
    })
}

fn invalid(reason: &str) -> Failure {
    Failure::new("invalid-phone", format!("the value {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(region: Option<&str>, format: PhoneNumberFormat) -> Style {
        Style { region: region.map(|code| super::region(code).unwrap()), format }
    }

    fn written(style: Style, value: &str) -> Result<String, &'static str> {
        let mut out = Text::new();
        style.write(value, &mut out).map(|()| out.as_str().to_owned()).map_err(|failure| failure.code)
    }

    #[test]
    fn a_region_is_a_country_with_a_numbering_plan() {
        for code in ["US", "us", "GB", "TA", "AC", "XK"] {
            assert!(region(code).is_ok(), "{code}");
        }
        for code in ["", "U", "UK", "EU", "XX", "USA", "001", "ÄÖ"] {
            assert!(region(code).is_err(), "{code}");
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
                        let style = Style { region: at, format };
                        let once = written(style, &number.format_as(International)).unwrap();
                        assert_eq!(written(style, &once).as_deref(), Ok(once.as_str()), "{region} {kind:?} {style:?}");
                    }
                }
            }
        }
        assert!(numbers > 900, "{numbers}");
    }
}
