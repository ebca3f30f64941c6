//! Sizes and times as people write them: `5MB`, `64 KiB`, `30s`.

/// A unit's name and its factor to the smallest unit.
type Unit = (&'static str, u64);

const SIZES: &[Unit] = &[
    ("b", 1),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Units of time, in milliseconds.
const TIMES: &[Unit] =
    &[("ms", 1), ("s", 1000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads the value of a limit: a plain number in the unit that its name ends in, or one with a unit
/// of its own.
pub(crate) fn amount(name: &str, text: &str) -> Result<u64, String> {
    let text = text.trim();
    let number_len = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_');
    let (number, unit) = text.split_at(number_len.unwrap_or(text.len()));
    let (units, each) = units_of(name);
    let wrong = || format!("the value of {name} is {}, not `{text}`", form_of(name).0);
    let unit = unit.trim().to_ascii_lowercase();
    let of_unit = match unit.as_str() {
        "" => each,
        unit => units.iter().find(|(known, _)| *known == unit).ok_or_else(wrong)?.1,
    };
    let total = whole(number, of_unit).ok_or_else(wrong)?;
    match total % each {
        0 => Ok(total / each),
        _ => Err(wrong()),
    }
}

/// The units that a limit may have, and the size of its own.
fn units_of(name: &str) -> (&'static [Unit], u64) {
    match name {
        _ if name.contains("bytes") => (SIZES, 1),
        _ if name.ends_with("_ms") => (TIMES, 1),
        _ if name.ends_with("_seconds") => (TIMES, 1000),
        _ => (&[], 1),
    }
}

/// The values that a limit takes, in words, and one of them as the configuration file has it.
pub(crate) fn form_of(name: &str) -> (&'static str, &'static str) {
    match units_of(name) {
        (SIZES, _) => (
            "a number of bytes, or a size in B, kB, MB, GB, TB, KiB, MiB, GiB or TiB, such as 5MB",
            "\"5MB\"",
        ),
        (TIMES, 1) => {
            ("a number of milliseconds, or a time in ms, s, m, min, h or d, such as 30s", "\"30s\"")
        }
        (TIMES, _) => (
            "a number of seconds, or a time of whole seconds in ms, s, m, min, h or d, such as 30s",
            "\"30s\"",
        ),
        _ => ("a number without a unit", "1000"),
    }
}

/// A decimal number of units, if that is a whole number of the smallest.
fn whole(number: &str, of_unit: u64) -> Option<u64> {
    let number = number.replace('_', "");
    let (whole, part) = number.split_once('.').unwrap_or((&number, "0"));
    let scale = 10u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part = part.parse::<u64>().ok()?.checked_mul(of_unit)?;
    let total = whole.parse::<u64>().ok()?.checked_mul(of_unit)?;
    (part % scale == 0).then(|| total.checked_add(part / scale))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_may_have_units() {
        for (name, text, value) in [
            ("body_bytes", "5MB", 5_000_000),
            ("body_bytes", "64 KiB", 65_536),
            ("body_bytes", "1.5GiB", 3 << 29),
            ("body_bytes", "4096", 4096),
            ("body_bytes", "1_000", 1000),
            ("body_bytes", "7b", 7),
            ("message_bytes_per_second", "16MiB", 16 << 20),
            ("drain_ms", "5s", 5000),
            ("drain_ms", "250ms", 250),
            ("drain_ms", "1.5 s", 1500),
            ("ping_ms", "2min", 120_000),
            ("ping_ms", "1m", 60_000),
            ("wait_seconds", "1min", 60),
            ("wait_seconds", "30", 30),
            ("connections", "100", 100),
        ] {
            assert_eq!(amount(name, text), Ok(value), "{name}={text}");
        }
        for (name, text) in [
            ("body_bytes", ""),
            ("body_bytes", "MB"),
            ("body_bytes", "5 M"),
            ("body_bytes", "5s"),
            ("body_bytes", "-5MB"),
            ("body_bytes", "1.5"),
            ("body_bytes", "0.0001kB"),
            ("body_bytes", "1.2.3"),
            ("body_bytes", "99999999999999TB"),
            ("body_bytes", "5MB5"),
            ("drain_ms", "5MB"),
            ("drain_ms", "0.5ms"),
            ("wait_seconds", "1500ms"),
            ("connections", "1kB"),
            ("connections", "ten"),
        ] {
            assert!(amount(name, text).is_err(), "{name}={text}");
        }
    }

    #[test]
    fn the_error_of_a_wrong_unit_lists_all_that_there_are() {
        for name in ["body_bytes", "drain_ms", "wait_seconds"] {
            let said = amount(name, "1 fortnight").unwrap_err().to_lowercase();
            let words: Vec<&str> = said.split([' ', ',']).collect();
            for (unit, _) in units_of(name).0 {
                assert!(words.contains(unit), "{unit}: {said}");
            }
        }
    }
}
